//! Layouts of syndromes and the exception classes that a guest can cause (Arm DDI 0487, ESR_EL2).

use bitfield_struct::bitfield;

/// Exception syndrome register.
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct Syndrome {
    /// Instruction-specific syndrome.
    #[bits(25)]
    pub iss: u32,
    /// The instruction has 32 bits.
    pub long_instruction: bool,
    /// Exception class.
    #[bits(6)]
    pub class: u8,
    #[bits(32)]
    _iss2: u32,
}

impl Syndrome {
    /// Whether HPFAR_EL2 holds the address of an abort: for all faults of stage 2 but permission faults that no walk has met
    /// (Arm DDI 0487, HPFAR_EL2). Of exceptions that are no aborts nobody asks for it.
    #[must_use]
    pub const fn hpfar_is_valid(self) -> bool {
        let abort = matches!(self.class(), CLASS_DATA_ABORT_LOWER | CLASS_INSTRUCTION_ABORT_LOWER);
        let iss = DataAbortIss::from_bits(self.iss());
        !abort || iss.stage1_walk() || iss.fault_status() >> 2 != FAULT_PERMISSION
    }
}

/// Exception class: WFI or WFE.
pub const CLASS_WFX: u8 = 0x01;
/// Exception classes of instructions that trap for want of a feature or a permission: coprocessor accesses of AArch32 user space,
/// floating point, pointer authentication, LS64, SVE, SME.
pub const CLASSES_REFUSED: [u8; 11] = [0x00, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0a, 0x19, 0x1d];
/// Exception class: HVC in AArch64 state.
pub const CLASS_HVC64: u8 = 0x16;
/// Exception class: SMC in AArch64 state.
pub const CLASS_SMC64: u8 = 0x17;
/// Exception class: access to a system register in AArch64 state.
pub const CLASS_SYSTEM_REGISTER: u8 = 0x18;
/// Exception class: instruction abort from a lower exception level.
pub const CLASS_INSTRUCTION_ABORT_LOWER: u8 = 0x20;
/// Exception class: instruction abort without a change of exception level.
pub const CLASS_INSTRUCTION_ABORT_SAME: u8 = 0x21;
/// Exception class: data abort from a lower exception level.
pub const CLASS_DATA_ABORT_LOWER: u8 = 0x24;
/// Exception class: data abort without a change of exception level.
pub const CLASS_DATA_ABORT_SAME: u8 = 0x25;
/// Exception class: unknown reason. An undefined instruction.
pub const CLASS_UNKNOWN: u8 = 0x00;

/// ISS of a data abort. An instruction abort has the same fault status, S1PTW, EA and FnV fields.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct DataAbortIss {
    /// Fault status code.
    #[bits(6)]
    pub fault_status: u8,
    /// A store, or a cache maintenance instruction.
    pub write: bool,
    /// Stage 2 fault of a stage 1 walk.
    pub stage1_walk: bool,
    /// Cache maintenance or address translation instruction.
    pub cache_maintenance: bool,
    /// External abort type.
    pub external: bool,
    /// FAR does not hold the address.
    pub far_not_valid: bool,
    #[bits(2)]
    _set: u8,
    _lst: bool,
    /// Load-acquire or store-release.
    pub ordered: bool,
    /// The register is a 64-bit one.
    pub register_64: bool,
    /// Number of the register.
    #[bits(5)]
    pub register: u8,
    /// The value is to be sign-extended.
    pub sign_extend: bool,
    /// Size of the access: its logarithm to the base 2.
    #[bits(2)]
    pub size: u8,
    /// The fields from `ordered` up to here are valid.
    pub valid: bool,
    #[bits(7)]
    _iss2: u8,
}

/// Fault status without its level: address size fault.
pub const FAULT_ADDRESS_SIZE: u8 = 0b0000;
/// Fault status without its level: translation fault.
pub const FAULT_TRANSLATION: u8 = 0b0001;
/// Fault status without its level: access flag fault.
pub const FAULT_ACCESS_FLAG: u8 = 0b0010;
/// Fault status without its level: permission fault.
pub const FAULT_PERMISSION: u8 = 0b0011;
/// Fault status: synchronous external abort, not of a walk.
pub const FAULT_EXTERNAL: u8 = 0b01_0000;

/// ISS of a trapped MSR, MRS or system instruction.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct SystemRegisterIss {
    /// A read.
    pub read: bool,
    /// CRm.
    #[bits(4)]
    pub crm: u8,
    /// The general register.
    #[bits(5)]
    pub register: u8,
    /// CRn.
    #[bits(4)]
    pub crn: u8,
    /// Op1.
    #[bits(3)]
    pub op1: u8,
    /// Op2.
    #[bits(3)]
    pub op2: u8,
    /// Op0.
    #[bits(2)]
    pub op0: u8,
    #[bits(10)]
    _reserved: u16,
}
