//! A guest's physical address space beyond what connections take of it: RAM, and devices.

use crossvm_core::{ErrorType, GuestAddr, GuestMemory, GuestRange};

use crate::host::HostRange;

/// What a region of the guest's address space is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GuestRegion {
    /// The guest's RAM.
    Ram,
    /// A device that the VMM emulates: nothing is ever mapped there.
    Device,
    /// Reserved for connections.
    Window,
}

/// An address space to which a VMM adds what a machine has beside connections: tables of its own, or those of a kernel below it.
///
/// # Contract
///
/// 1. What is added stays where it is. A range that is taken or reserved is refused, and changes nothing.
/// 2. `region_at` tells of every range that was added or reserved, as long as it is.
pub trait GuestSpace: GuestMemory {
    /// Maps guest RAM: readable, writable, executable.
    ///
    /// # Errors
    /// Where the range is taken or cannot be mapped.
    fn add_ram(&mut self, range: GuestRange, memory: HostRange) -> Result<(), <Self as ErrorType>::Error>;

    /// Maps registers of a physical device.
    ///
    /// # Errors
    /// Where the range is taken or cannot be mapped.
    fn add_registers(&mut self, range: GuestRange, registers: HostRange) -> Result<(), <Self as ErrorType>::Error>;

    /// Keeps a range free of mappings, for an emulated device.
    ///
    /// # Errors
    /// Where the range is taken.
    fn add_device(&mut self, range: GuestRange) -> Result<(), <Self as ErrorType>::Error>;

    /// What lies at `address`.
    fn region_at(&self, address: GuestAddr) -> Option<GuestRegion>;
}
