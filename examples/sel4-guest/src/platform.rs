//! What differs between a guest that is a thread and one in a vCPU.

use crossvm_guest::bare::{ConfigRegionAccess, PhysicalMemory};

use crate::Report;

/// What a guest runs on.
pub trait Platform {
    /// Its way to configuration space.
    type Access: ConfigRegionAccess;
    /// Its way to guest-physical memory.
    type Memory: PhysicalMemory;

    /// The way to configuration space; `None` where there is none.
    fn access(&self) -> Option<Self::Access>;

    /// The way to guest-physical memory.
    fn memory(&self) -> Self::Memory;

    /// Tells the VMM. When this returns, the VMM has done its part.
    fn report(&self, report: Report);

    /// Sleeps until an interrupt has come since the last sleep. It may have come for another reason than an event.
    fn wait(&self);

    /// Loads 32 bits from any address.
    fn load(&self, address: u32) -> u32;

    /// Stores 32 bits to any address.
    fn store(&self, address: u32, value: u32);

    /// Stores to `address` by odd instruction `number`; `false` where there is none.
    fn store_oddly(&self, address: u32, number: u32) -> bool;

    /// Goes to `address`. It does not come back, but on a platform that only pretends.
    fn jump(&self, address: u32);

    /// Receives from the capability in `slot`; nothing where there are no capabilities.
    fn listen(&self, slot: u32) {
        let _ = slot;
    }

    /// Makes one access to configuration space that no driver would make.
    fn disturb(&self, random: &mut Random);
}

/// Pseudo-random numbers (xorshift, 32 bits): the same for the same seed.
#[derive(Debug, Clone)]
pub struct Random(u32);

impl Random {
    /// The numbers of `seed`.
    #[must_use]
    pub const fn new(seed: u32) -> Self {
        // Zero would stay zero.
        Self(if seed == 0 { 0x9e37_79b9 } else { seed })
    }

    /// The next number.
    pub fn draw(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0
    }
}
