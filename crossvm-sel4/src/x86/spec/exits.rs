//! What the processor says about an exit (§25.9.1, appendix C).

use bitfield_struct::bitfield;
use crossvm_core::Width;

/// Basic reason of an exit (appendix C).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Reason {
    /// An exception, or a non-maskable interrupt of the machine.
    ExceptionOrNmi,
    /// The guest's exceptions cannot be delivered.
    TripleFault,
    /// The guest can be interrupted now.
    InterruptWindow,
    /// CPUID.
    Cpuid,
    /// HLT.
    Hlt,
    /// MOV to or from a control register, CLTS, LMSW.
    ControlRegister,
    /// IN, OUT, INS, OUTS.
    Port,
    /// RDMSR.
    ReadMsr,
    /// WRMSR.
    WriteMsr,
    /// The guest's state is not one to enter with.
    InvalidGuestState,
    /// A guest-physical address that is not mapped, or not with the rights for this access.
    EptViolation,
    /// The preemption timer is at 0.
    PreemptionTimer,
    /// Another instruction that a VMM may let a guest have, or not.
    Instruction(u16),
    /// The guest was not entered. This is seL4's own number.
    EntryFailed,
    /// Another one.
    Other(u32),
}

impl From<u64> for Reason {
    fn from(raw: u64) -> Self {
        // seL4 gives 32 bits, of which it has cut those above the basic reason; -1 stands for an entry that failed.
        let Ok(raw) = u16::try_from(raw & 0xffff_ffff) else { return Self::EntryFailed };
        match raw {
            0 => Self::ExceptionOrNmi,
            2 => Self::TripleFault,
            7 => Self::InterruptWindow,
            10 => Self::Cpuid,
            12 => Self::Hlt,
            28 => Self::ControlRegister,
            30 => Self::Port,
            31 => Self::ReadMsr,
            32 => Self::WriteMsr,
            33 => Self::InvalidGuestState,
            48 => Self::EptViolation,
            52 => Self::PreemptionTimer,
            // GETSEC, INVD, INVLPG, RDPMC, RDTSC, RSM, VMCALL to VMXON, MOV DR, MWAIT, MONITOR, PAUSE, the descriptor tables' loads and stores,
            // INVEPT, RDTSCP, INVVPID, WBINVD, XSETBV, RDRAND, INVPCID, VMFUNC, ENCLS, RDSEED, XSAVES, XRSTORS.
            11 | 13..=27 | 29 | 36 | 39 | 40 | 46 | 47 | 50 | 51 | 53..=55 | 57..=61 | 63 | 64 => Self::Instruction(raw),
            _ => Self::Other(u32::from(raw)),
        }
    }
}

/// Number of bytes of a port access, as the hardware writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct PortSize(u8);

impl PortSize {
    const fn into_bits(self) -> u8 {
        self.0
    }

    const fn from_bits(bits: u8) -> Self {
        Self(bits)
    }

    /// As a width; the hardware knows 1, 2 and 4 bytes.
    #[must_use]
    pub const fn width(self) -> Width {
        match self.0 {
            0 => Width::U8,
            1 => Width::U16,
            _ => Width::U32,
        }
    }
}

/// Exit qualification of [`Reason::Port`] (table 28-5).
#[bitfield(u32, defmt = cfg(feature = "defmt"))]
#[derive(PartialEq, Eq)]
pub struct PortQualification {
    /// Its size.
    #[bits(3)]
    pub size: PortSize,
    /// IN, not OUT.
    pub is_in: bool,
    /// INS or OUTS.
    pub string: bool,
    /// With a REP prefix.
    pub rep: bool,
    /// The port is in the instruction, not in DX.
    pub immediate: bool,
    #[bits(9)]
    __: u16,
    /// The port.
    pub port: u16,
}

/// Exit qualification of [`Reason::EptViolation`] (table 28-7).
#[bitfield(u32, defmt = cfg(feature = "defmt"))]
#[derive(PartialEq, Eq)]
pub struct AccessQualification {
    /// It was a load.
    pub read: bool,
    /// It was a store. An instruction that changes memory may have both.
    pub write: bool,
    /// It was an instruction's fetch.
    pub fetch: bool,
    /// Loads are permitted there.
    pub readable: bool,
    /// Stores are permitted there.
    pub writable: bool,
    /// Fetches are permitted there.
    pub executable: bool,
    __: bool,
    /// The access has a linear address.
    pub linear: bool,
    /// It was the access itself, not one to the guest's translation tables on the way to it.
    pub translated: bool,
    #[bits(23)]
    __: u32,
}

/// Exit qualification of [`Reason::ControlRegister`] (table 28-3).
#[bitfield(u32, defmt = cfg(feature = "defmt"))]
#[derive(PartialEq, Eq)]
pub struct ControlRegisterQualification {
    /// The control register's number.
    #[bits(4)]
    pub register: u8,
    /// 0: MOV to it, 1: MOV from it, 2: CLTS, 3: LMSW.
    #[bits(2)]
    pub kind: u8,
    #[bits(2)]
    __: u8,
    /// The general register's number.
    #[bits(4)]
    pub source: u8,
    #[bits(20)]
    __: u32,
}
