//! Configuration space as memory, and accesses through whatever mechanism there is.

use core::ptr::NonNull;

use pci_types::{ConfigRegionAccess, PciAddress};

use crate::bare::PhysicalRange;
use crate::raw::Plain;
use crate::raw::pointer::Hal;
use crate::spec::Register;

/// Reads a register of a function.
pub(crate) fn read(access: &impl ConfigRegionAccess, address: PciAddress, register: Register) -> u32 {
    // SAFETY: every address of a function is valid, there or not (PCI 3.0, 6.1: absent ones read all ones), and a register's offset is
    // a multiple of four in the first 256 bytes.
    unsafe { access.read(address, register.offset()) }
}

/// Writes a register of a function.
pub(crate) fn write(access: &impl ConfigRegionAccess, address: PciAddress, register: Register, value: u32) {
    // SAFETY: as for `read`. That a connection moves or stops answering is no matter of memory safety: its memory is reached by volatile
    // accesses only, and a `Hal`'s pointers stay valid.
    unsafe { access.write(address, register.offset(), value) }
}

/// Configuration space as memory, 4 KiB for each function (PCI Express 3.0, 7.2.2), from bus 0 of one segment on.
#[derive(Debug)]
pub struct Ecam {
    start: NonNull<u8>,
    length: u64,
}

// SAFETY: the mapping belongs to the program, and lives until it ends.
unsafe impl Send for Ecam {}
// SAFETY: all accesses are single loads and stores; no reference to this memory is ever made.
unsafe impl Sync for Ecam {}

impl Ecam {
    /// Bytes for each function.
    const FUNCTION_BYTES: u64 = 4096;

    /// The configuration space at `range`; `None` where `hal` cannot reach it. Functions beyond its end are absent.
    pub fn new(hal: &impl Hal, range: PhysicalRange) -> Option<Self> {
        let start = hal.map(range).filter(|start| start.as_ptr().cast::<u64>().is_aligned())?;
        usize::try_from(range.length()).ok()?;
        Some(Self { start, length: range.length() })
    }

    /// Length of the range in bytes.
    #[cfg(feature = "defmt")]
    pub(crate) const fn length(&self) -> u64 {
        self.length
    }

    /// Where the register is: `None` outside of the range.
    fn register(&self, address: PciAddress, offset: u16) -> Option<NonNull<u32>> {
        let function = u64::from(address.bus()) << 8 | u64::from(address.device()) << 3 | u64::from(address.function());
        let aligned = u64::from(offset & !3) % Self::FUNCTION_BYTES;
        let at = function * Self::FUNCTION_BYTES + aligned;
        if address.segment() != 0 || at + 4 > self.length {
            return None;
        }
        // SAFETY: the register's four bytes end inside of the mapped range.
        Some(unsafe { self.start.add(usize::try_from(at).ok()?) }.cast())
    }
}

impl ConfigRegionAccess for Ecam {
    unsafe fn read(&self, address: PciAddress, offset: u16) -> u32 {
        // SAFETY: the register lies in the mapped range and is aligned.
        self.register(address, offset).map_or(u32::MAX, |register| u32::from_le(unsafe { u32::load_from(register.as_ptr()) }))
    }

    unsafe fn write(&self, address: PciAddress, offset: u16, value: u32) {
        if let Some(register) = self.register(address, offset) {
            // SAFETY: the register lies in the mapped range and is aligned; no reference to it exists.
            unsafe { u32::store_to(register.as_ptr(), value.to_le()) };
        }
    }
}
