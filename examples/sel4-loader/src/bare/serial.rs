//! The serial port of QEMU's `virt` machine: for the loader's last words.

use core::fmt;

/// Data register of the PL011, which QEMU has ready.
const DATA: usize = 0x0900_0000;

/// The serial port.
pub(super) struct Serial;

impl fmt::Write for Serial {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            // SAFETY: the loader's tables map the port as Device memory, and a store to it sends a character and does nothing else.
            unsafe { core::ptr::with_exposed_provenance_mut::<u32>(DATA).write_volatile(byte.into()) };
        }
        Ok(())
    }
}
