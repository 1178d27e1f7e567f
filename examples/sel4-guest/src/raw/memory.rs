//! Memory at fixed addresses, and single accesses of each width.

use core::arch::asm;
use core::ptr::NonNull;

use crossvm_guest::bare::{Hal, PhysicalRange};

use crate::Mailbox;
use crate::peer::Exchange;

/// These programs have all memory that the VMM maps for them at its guest-physical address.
#[derive(Debug, Clone, Copy, Default)]
pub struct Identity;

// SAFETY: the VMM maps event registers and dataports where the BARs are, and answers for the rest of the window and for configuration
// space. Where it does neither, an access faults, and the VMM ends this program. No reference to such memory is made.
unsafe impl Hal for Identity {
    fn map(&self, range: PhysicalRange) -> Option<NonNull<u8>> {
        // The range must not wrap round in a program of 32 bits.
        usize::try_from(range.last()).ok()?;
        NonNull::new(core::ptr::with_exposed_provenance_mut(usize::try_from(range.start()).ok()?))
    }
}

/// The mailbox at its place in the memory map.
pub(super) fn mailbox(address: usize) -> &'static Mailbox {
    // SAFETY: the VMM maps the page, read-write, for as long as the program runs; the words in it are atomic.
    unsafe { &*core::ptr::with_exposed_provenance(address) }
}

/// The exchange at the beginning of a dataport that the VMM has mapped.
#[cfg_attr(machine, expect(dead_code, reason = "the peer runs as a thread"))]
pub(super) fn exchange(address: usize) -> &'static Exchange {
    // SAFETY: the VMM maps the page, read-write, for as long as the program runs; the words in it are atomic.
    unsafe { &*core::ptr::with_exposed_provenance(address) }
}

/// Loads and stores by one `mov` with the address in `edx` (`rdx`) and the value in `eax`, as the memory maps promise.
macro_rules! access {
    ($load:ident, $store:ident, $word:ty, $register:tt, $size:literal) => {
        pub(super) fn $load(address: usize) -> $word {
            let value: $word;
            // SAFETY: the VMM told this program to do it, or stands behind the address; where nothing does, it ends this program.
            #[cfg(target_arch = "x86_64")]
            unsafe {
                asm!(concat!("mov ", $register, ", ", $size, " ptr [rdx]"), in("rdx") address, out($register) value, options(nostack, preserves_flags))
            };
            // SAFETY: as above.
            #[cfg(target_arch = "x86")]
            unsafe {
                asm!(concat!("mov ", $register, ", ", $size, " ptr [edx]"), in("edx") address, out($register) value, options(nostack, preserves_flags))
            };
            value
        }

        pub(super) fn $store(address: usize, value: $word) {
            // SAFETY: as for loads. What the VMM has this program destroy is its own.
            #[cfg(target_arch = "x86_64")]
            unsafe {
                asm!(concat!("mov ", $size, " ptr [rdx], ", $register), in("rdx") address, in($register) value, options(nostack, preserves_flags))
            };
            // SAFETY: as above.
            #[cfg(target_arch = "x86")]
            unsafe {
                asm!(concat!("mov ", $size, " ptr [edx], ", $register), in("edx") address, in($register) value, options(nostack, preserves_flags))
            };
        }
    };
}

access!(load_32, store_32, u32, "eax", "dword");
#[cfg(thread)]
access!(load_16, store_16, u16, "ax", "word");
#[cfg(thread)]
access!(load_8, store_8, u8, "al", "byte");

/// Goes to `address` and does not come back.
pub(super) fn jump(address: usize) {
    // SAFETY: the VMM wants to see this program fail there. If there is code after all, it is this program's own.
    unsafe { asm!("jmp {}", in(reg) address, options(noreturn)) }
}
