//! Vectors and matrices: SVE and SME, which a guest may use where the processor has them, only if EL2 lets it.
//!
//! A guest reads the processor's own ID registers. Of the features beyond Armv8.0 that they tell of, those that need no permission of
//! EL2 work as they are. Of those that do, the VMM permits these and no others:
//!
//! | feature | permitted by |
//! | --- | --- |
//! | SVE, all vector lengths | CPTR_EL2.TZ, ZCR_EL2 |
//! | SME, all vector lengths, FA64 | CPTR_EL2.TSM, SMCR_EL2; SMPRI_EL1 and TPIDR2_EL0 by HFGRTR_EL2 and HFGWTR_EL2 |
//! | pointer authentication | HCR_EL2.APK and API, which [`super::el1`] sets |
//!
//! Every other feature that needs a bit of HCR_EL2, SMCR_EL2, MDCR_EL2, HFGRTR_EL2 or HFGWTR_EL2 is left off, such as memory tagging,
//! statistical profiling, SME2's ZT0 or permission indirection. What traps of it, its registers above all, gives the guest an
//! undefined-instruction exception, though the ID registers tell of the feature. HCRX_EL2 is not written: what it enables is as the
//! reset left it, off in QEMU.
//!
//! The VMM uses no vector registers and runs one guest on a CPU, so vector and matrix state stay where they are, as floating point does.

use bitfield_struct::bitfield;

use super::registers::{read_register, write_register};

/// CPTR_EL2 with HCR_EL2.E2H clear: what traps.
#[bitfield(u64)]
struct FeatureTraps {
    /// RES1.
    #[bits(8, default = 0xff)]
    _res1_low: u8,
    /// SVE. RES1 where there is none.
    #[bits(default = true)]
    sve: bool,
    /// RES1.
    #[bits(default = true)]
    _res1_middle: bool,
    /// Floating point.
    floating_point: bool,
    _reserved: bool,
    /// SME. RES1 where there is none.
    #[bits(default = true)]
    sme: bool,
    /// RES1.
    #[bits(default = true)]
    _res1_high: bool,
    #[bits(50)]
    _rest: u64,
}

/// HFGRTR_EL2 and HFGWTR_EL2, as far as SME is concerned: set bits do not trap.
#[bitfield(u64)]
struct FineGrainedTraps {
    #[bits(54)]
    _low: u64,
    /// SMPRI_EL1.
    streaming_priority: bool,
    /// TPIDR2_EL0.
    second_thread_pointer: bool,
    #[bits(8)]
    _high: u8,
}

/// ZCR_EL2 and SMCR_EL2: vectors as long as they are.
const LONGEST_VECTORS: u64 = 0xf;
/// SMCR_EL2.FA64: all instructions in streaming mode, where there are; ignored where not.
const ALL_INSTRUCTIONS: u64 = 1 << 31;

/// A four-bit field of an ID register, zero where the feature is missing.
const fn field(register: u64, shift: u32) -> u64 {
    (register >> shift) & 0xf
}

/// Lets the guest use SVE and SME where there are. Floating point never traps.
///
/// # Safety
///
/// To be called by the CPU that is about to run the guest, in the VMM.
pub(super) unsafe fn let_through() {
    let (features0, features1) = (read_register!("id_aa64pfr0_el1"), read_register!("id_aa64pfr1_el1"));
    let sve = field(features0, 32) != 0;
    let sme = field(features1, 24) != 0;
    let fine_grained = field(read_register!("id_aa64mmfr0_el1"), 56) != 0;
    let traps = FeatureTraps::new().with_sve(!sve).with_sme(!sme);
    // SAFETY: the VMM's own code uses none of these features; each register exists where its feature does.
    unsafe {
        write_register!("cptr_el2", traps.into_bits());
        core::arch::asm!("isb", options(nostack, preserves_flags));
        if sve {
            // ZCR_EL2.
            write_register!("s3_4_c1_c2_0", LONGEST_VECTORS);
        }
        if sme {
            // SMCR_EL2.
            write_register!("s3_4_c1_c2_6", LONGEST_VECTORS | ALL_INSTRUCTIONS);
        }
        if fine_grained {
            let none = FineGrainedTraps::new().with_streaming_priority(sme).with_second_thread_pointer(sme);
            // HFGRTR_EL2, HFGWTR_EL2.
            write_register!("s3_4_c1_c1_4", none.into_bits());
            write_register!("s3_4_c1_c1_5", none.into_bits());
        }
    }
}
