//! Self-hosted debug and the performance monitors, which are the guest's as far as the processor has them.

use vmm_common::identity::DebugFeatures;

use super::registers::{read_register, write_register};

fn features() -> DebugFeatures {
    DebugFeatures::from_bits(read_register!("id_aa64dfr0_el1"))
}

/// Lets the guest use breakpoints, watchpoints and every event counter.
///
/// # Safety
///
/// To be called by the CPU that is about to run the guest, in the VMM.
pub(super) unsafe fn let_through() {
    // HPMN, the guest's counters, is their number, PMCR_EL0.N. Without monitors none of them can be asked for, and HPMN is RES0.
    let counters = if features().has_pmu() { (read_register!("pmcr_el0") >> 11) & 0x1f } else { 0 };
    // SAFETY: nothing of EL2 depends on it.
    unsafe { write_register!("mdcr_el2", counters) };
}

/// The registers as at a reset of the guest; what a reset leaves unknown is zero.
///
/// # Safety
///
/// The guest is not running on this CPU.
pub(super) unsafe fn reset() {
    let features = features();
    macro_rules! off {
        ($count:expr, $($number:literal: $control:literal),*) => {
            $(if $number < $count { write_register!($control, 0) })*
        };
    }
    // SAFETY: registers that exist, and that have no effect on EL2.
    unsafe {
        write_register!("mdscr_el1", 0);
        write_register!("osdlr_el1", 0);
        write_register!("oslar_el1", 1);
        off!(
            features.breakpoints().saturating_add(1),
            0: "dbgbcr0_el1", 1: "dbgbcr1_el1", 2: "dbgbcr2_el1", 3: "dbgbcr3_el1", 4: "dbgbcr4_el1", 5: "dbgbcr5_el1", 6: "dbgbcr6_el1",
            7: "dbgbcr7_el1", 8: "dbgbcr8_el1", 9: "dbgbcr9_el1", 10: "dbgbcr10_el1", 11: "dbgbcr11_el1", 12: "dbgbcr12_el1",
            13: "dbgbcr13_el1", 14: "dbgbcr14_el1", 15: "dbgbcr15_el1"
        );
        off!(
            features.watchpoints().saturating_add(1),
            0: "dbgwcr0_el1", 1: "dbgwcr1_el1", 2: "dbgwcr2_el1", 3: "dbgwcr3_el1", 4: "dbgwcr4_el1", 5: "dbgwcr5_el1", 6: "dbgwcr6_el1",
            7: "dbgwcr7_el1", 8: "dbgwcr8_el1", 9: "dbgwcr9_el1", 10: "dbgwcr10_el1", 11: "dbgwcr11_el1", 12: "dbgwcr12_el1",
            13: "dbgwcr13_el1", 14: "dbgwcr14_el1", 15: "dbgwcr15_el1"
        );
        if features.has_pmu() {
            write_register!("pmcr_el0", 0);
            write_register!("pmcntenclr_el0", 0xffff_ffff);
            write_register!("pmintenclr_el1", 0xffff_ffff);
            write_register!("pmovsclr_el0", 0xffff_ffff);
            write_register!("pmuserenr_el0", 0);
        }
    }
}
