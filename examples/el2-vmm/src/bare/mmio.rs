//! Registers of physical devices.

use core::ptr::{self, NonNull};

use vmm_common::host::HostRange;
use volatile::VolatilePtr;

/// The registers of a device, in the VMM's map as Device memory.
#[derive(Debug, Clone, Copy)]
pub(super) struct Registers {
    base: usize,
    size: usize,
}

impl Registers {
    /// The registers at `range`.
    ///
    /// # Safety
    ///
    /// The range is mapped as Device memory from now on, and holds registers that no access makes touch the VMM's memory.
    #[expect(clippy::cast_possible_truncation, reason = "this code is built for 64-bit processors alone")]
    pub(super) const unsafe fn new(range: HostRange) -> Self {
        Self { base: range.start().get() as usize, size: range.size() as usize }
    }

    /// Reads a 32-bit register; zero beyond the last one.
    pub(super) fn read(self, offset: usize) -> u32 {
        self.register(offset).map_or(0, |register| register.read())
    }

    /// Writes a 32-bit register; ignored beyond the last one.
    pub(super) fn write(self, offset: usize, value: u32) {
        if let Some(register) = self.register(offset) {
            register.write(value);
        }
    }

    /// Writes a 64-bit register as two halves, the upper one first.
    pub(super) fn write_wide(self, offset: usize, value: u64) {
        let [b0, b1, b2, b3, b4, b5, b6, b7] = value.to_le_bytes();
        self.write(offset + 4, u32::from_le_bytes([b4, b5, b6, b7]));
        self.write(offset, u32::from_le_bytes([b0, b1, b2, b3]));
    }

    fn register(self, offset: usize) -> Option<VolatilePtr<'static, u32>> {
        if !offset.is_multiple_of(4) || offset >= self.size {
            return None;
        }
        let pointer = NonNull::new(ptr::with_exposed_provenance_mut(self.base + offset))?;
        // SAFETY: `new` promises registers from `base` on for `size` bytes; the offset lies inside and is aligned.
        Some(unsafe { VolatilePtr::new(pointer) })
    }
}
