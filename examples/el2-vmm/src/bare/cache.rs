//! Caches, barriers and TLBs.

use core::arch::asm;

use crossvm_core::GuestRange;
use vmm_common::host::HostRange;

use super::registers::read_register;

/// Above this size, all translations of the guest are dropped at once.
const MOST_PAGES: u64 = 512;

/// Smallest data cache line in bytes (CTR_EL0.DminLine: its logarithm in words, bits 19:16).
fn line() -> u64 {
    4 << ((read_register!("ctr_el0") >> 16) & 0xf)
}

fn lines(range: HostRange) -> impl Iterator<Item = u64> {
    let line = line();
    let first = range.start().get() & !(line - 1);
    (first..=range.last().get()).step_by(usize::try_from(line).unwrap_or(usize::MAX))
}

/// Writes a range back to the point of coherency.
pub(super) fn clean(range: HostRange) {
    for line in lines(range) {
        // SAFETY: cleaning a line changes no value that anyone reads.
        unsafe { asm!("dc cvac, {}", in(reg) line, options(nostack, preserves_flags)) };
    }
    barrier();
}

/// Writes a range back to the point of coherency and drops it from the caches.
pub(super) fn clean_and_invalidate(range: HostRange) {
    for line in lines(range) {
        // SAFETY: the line is written back before it is dropped: no value is lost.
        unsafe { asm!("dc civac, {}", in(reg) line, options(nostack, preserves_flags)) };
    }
    barrier();
}

/// Drops all instructions from the caches of all CPUs.
pub(super) fn invalidate_instructions() {
    // SAFETY: instructions are fetched anew; nothing is lost.
    unsafe { asm!("ic ialluis", "dsb ish", "isb", options(nostack, preserves_flags)) };
}

/// Completes all earlier accesses, with whatever attributes, before any later one.
pub(super) fn barrier() {
    // SAFETY: a barrier changes nothing.
    unsafe { asm!("dsb sy", options(nostack, preserves_flags)) };
}

/// Makes stores to translation tables, of entries that were invalid, visible to the walks of this CPU.
pub(super) fn publish_tables() {
    // SAFETY: barriers change nothing.
    unsafe { asm!("dsb ishst", "isb", options(nostack, preserves_flags)) };
}

/// Drops the translations of a range of the running guest on all CPUs: first those of stage 2, then those that combine both stages
/// (Arm DDI 0487, D8.14.5).
pub(super) fn invalidate_stage2(range: GuestRange) {
    // SAFETY: translations are fetched anew from the tables, which hold what is to be in force.
    unsafe {
        asm!("dsb ishst", options(nostack, preserves_flags));
        if range.size() / 4096 > MOST_PAGES {
            asm!("tlbi vmalls12e1is", options(nostack, preserves_flags));
        } else {
            for page in range.start().get() >> 12..=range.last().get() >> 12 {
                asm!("tlbi ipas2e1is, {}", in(reg) page, options(nostack, preserves_flags));
            }
            asm!("dsb ish", "tlbi vmalle1is", options(nostack, preserves_flags));
        }
        asm!("dsb ish", "isb", options(nostack, preserves_flags));
    }
}
