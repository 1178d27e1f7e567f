//! What a guest did that its VMM has to do something about.

use core::fmt;

use crossvm_core::{GuestAccess, GuestAddr, Width};

use super::registers::{Register, RegisterPart};
use super::spec::Reason;
use crate::kernel::Badge;

/// Why [`Vcpu::run`](super::Vcpu::run) has returned. Where it was an instruction, the guest is behind it already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Exit {
    /// The bound notification was signalled.
    Signal(Badge),
    /// A store to a port.
    PortWrite {
        /// The port.
        port: u16,
        /// 1, 2 or 4 bytes.
        width: Width,
        /// The value, zero-extended.
        value: u32,
    },
    /// A load from a port: [`Vcpu::answer`](super::Vcpu::answer) gives the guest its value.
    PortRead {
        /// The port.
        port: u16,
        /// 1, 2 or 4 bytes.
        width: Width,
        /// Where the value goes.
        into: Answer,
    },
    /// An access to guest-physical memory that is not mapped, or not for this access: for `CrossVm::handle`.
    Memory {
        /// The access, as far as it could be decoded.
        access: GuestAccess,
        /// Where the value of a load goes; `None` for what loads nothing, or nothing that could be decoded.
        into: Option<Answer>,
    },
    /// CPUID: [`Vcpu::identify`](super::Vcpu::identify) gives the guest its answer.
    Cpuid {
        /// The leaf: EAX.
        leaf: u32,
        /// The part of the leaf: ECX.
        subleaf: u32,
    },
    /// HLT, and nothing interrupts the guest now: the VMM waits for signals before it runs the guest again. A guest that takes no interrupts
    /// halts for good.
    Halted {
        /// The guest takes interrupts.
        interrupts: bool,
    },
    /// The preemption timer has run out. It is not set again by itself.
    Timer,
    /// Nothing for the VMM to do: an instruction was skipped that the guest cannot have, or the guest was left so that it can be interrupted.
    Nothing,
    /// The guest cannot go on.
    Stopped(Stop),
}

/// Where the value of a load goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Answer {
    pub(super) into: RegisterPart,
    pub(super) width: Width,
    pub(super) signed: bool,
}

impl Answer {
    /// The register with the value put in.
    pub(super) fn apply(self, register: u32, value: u64) -> u32 {
        let value = u32::try_from(value & self.width.mask() & 0xffff_ffff).unwrap_or(0);
        let sign = match self.width {
            Width::U8 => 0x80,
            Width::U16 => 0x8000,
            Width::U32 | Width::U64 => 0,
        };
        // A value whose sign is set becomes negative: the bits above are those of the sign.
        let value = if self.signed && value & sign != 0 { value | 0_u32.wrapping_sub(sign) } else { value };
        self.into.replaced(register, value)
    }

    /// The accumulator, whole or in part.
    pub(super) const fn accumulator(width: Width) -> Self {
        Self { into: RegisterPart { register: Register::Eax, width, high: false }, width, signed: false }
    }
}

/// Why a guest cannot go on. Its VMM and its peers do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Stop {
    /// Its exceptions cannot be delivered.
    TripleFault,
    /// It fetches instructions where no memory is.
    Fetch(GuestAddr),
    /// Its translation tables are where no memory is, or where it cannot write.
    Tables(GuestAddr),
    /// What delivers an interrupt or exception to it is where no memory is, or where it cannot write: its stack, its tables.
    Delivery(GuestAddr),
    /// The processor or the kernel refuses its state. The number is the processor's, if it has given one.
    Refused(u64),
    /// It was left for a reason that no guest set up here can have.
    Unexpected(Reason),
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TripleFault => f.write_str("triple fault: an exception that its own handlers cannot take"),
            Self::Fetch(at) => write!(f, "it executes at {at}, where no memory is"),
            Self::Tables(at) => write!(f, "its translation tables are at {at}, where it has no memory to read and write"),
            Self::Delivery(at) => write!(f, "an interrupt or exception needs {at}, where it has no memory to read and write"),
            Self::Refused(error) => write!(f, "the processor does not enter it (VM-instruction error {error})"),
            Self::Unexpected(reason) => write!(f, "it was left without a reason to expect ({reason:?})"),
        }
    }
}

/// What CPUID gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Identity {
    /// EAX.
    pub eax: u32,
    /// EBX.
    pub ebx: u32,
    /// ECX.
    pub ecx: u32,
    /// EDX.
    pub edx: u32,
}
