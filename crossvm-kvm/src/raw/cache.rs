//! Data caches, for guests that read past them.

use std::arch::asm;
use std::sync::atomic::AtomicU32;

/// Writes a word that was stored back to where accesses past the caches see it (the point of coherency), before anything later.
pub(crate) fn clean(word: &AtomicU32) {
    let address = std::ptr::from_ref(word);
    // SAFETY: cleaning a line, of memory that is mapped, changes no value that anyone reads. Linux lets programs do it (SCTLR_EL1.UCI).
    unsafe { asm!("dc cvac, {}", "dsb sy", in(reg) address, options(nostack, preserves_flags)) };
}
