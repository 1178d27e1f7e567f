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
//! Every other feature that needs a bit of HCR_EL2, HCRX_EL2, SMCR_EL2, MDCR_EL2 or of the fine-grained traps is left off, such as memory
//! tagging, statistical profiling, SME2's ZT0 or permission indirection. What traps of it, its registers above all, gives the guest an
//! undefined-instruction exception, though the ID registers tell of the feature.
//!
//! The VMM uses no vector registers and runs one guest on a CPU, so vector and matrix state stay where they are, as floating point does.

use bitfield_struct::bitfield;

use vmm_common::identity::{InstructionFeatures1, InstructionFeatures2, authentication_keys};

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
    let (sve, sme) = vectors();
    let fine_grained = field(read_register!("id_aa64mmfr0_el1"), 56) != 0;
    let activity_monitors = field(read_register!("id_aa64pfr0_el1"), 44) != 0;
    let extended_configuration = field(read_register!("id_aa64mmfr1_el1"), 40) != 0;
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
            // HFGITR_EL2, HDFGRTR_EL2, HDFGWTR_EL2: a reset leaves them unknown. Zero traps what needs a permission, and nothing else.
            write_register!("s3_4_c1_c1_6", 0);
            write_register!("s3_4_c3_c1_4", 0);
            write_register!("s3_4_c3_c1_5", 0);
            if activity_monitors {
                // HAFGRTR_EL2.
                write_register!("s3_4_c3_c1_6", 0);
            }
        }
        if extended_configuration {
            // HCRX_EL2.
            write_register!("s3_4_c1_c2_2", 0);
        }
    }
}

/// Whether there are SVE and SME.
fn vectors() -> (bool, bool) {
    (field(read_register!("id_aa64pfr0_el1"), 32) != 0, field(read_register!("id_aa64pfr1_el1"), 24) != 0)
}

/// Control and status of floating point, vectors and matrices, and the keys, as at a reset of the guest; what a reset leaves unknown is zero.
///
/// # Safety
///
/// [`let_through`] has been called on this CPU, and the guest is not running on it.
pub(super) unsafe fn reset() {
    let (sve, sme) = vectors();
    let (address_keys, generic_key) = authentication_keys(
        InstructionFeatures1::from_bits(read_register!("id_aa64isar1_el1")),
        // ID_AA64ISAR2_EL1: zero where the processor is older than the register.
        InstructionFeatures2::from_bits(read_register!("s3_0_c0_c6_2")),
    );
    // SAFETY: the VMM's own code uses none of it; each register exists where its feature does.
    unsafe {
        if sme {
            // SVCR: out of streaming mode, no matrices. It changes FPSR, so it comes first. Then SMCR_EL1 and TPIDR2_EL0.
            write_register!("s3_3_c4_c2_2", 0);
            write_register!("s3_0_c1_c2_6", 0);
            write_register!("s3_3_c13_c0_5", 0);
        }
        if sve {
            // ZCR_EL1.
            write_register!("s3_0_c1_c2_0", 0);
        }
        // FPCR, FPSR.
        write_register!("s3_3_c4_c4_0", 0);
        write_register!("s3_3_c4_c4_1", 0);
        if address_keys {
            // APIAKey, APIBKey, APDAKey, APDBKey: Lo and Hi.
            write_register!("s3_0_c2_c1_0", 0);
            write_register!("s3_0_c2_c1_1", 0);
            write_register!("s3_0_c2_c1_2", 0);
            write_register!("s3_0_c2_c1_3", 0);
            write_register!("s3_0_c2_c2_0", 0);
            write_register!("s3_0_c2_c2_1", 0);
            write_register!("s3_0_c2_c2_2", 0);
            write_register!("s3_0_c2_c2_3", 0);
        }
        if generic_key {
            // APGAKey.
            write_register!("s3_0_c2_c3_0", 0);
            write_register!("s3_0_c2_c3_1", 0);
        }
    }
}
