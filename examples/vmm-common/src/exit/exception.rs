//! Gives a guest an exception, as the hardware would take it to EL1 (Arm DDI 0487, D1.3).

use bitfield_struct::bitfield;

use super::spec::{self, DataAbortIss, Syndrome};
use crate::vcpu::Registers;

/// Saved program status, as far as an exception entry looks at it.
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct Pstate {
    /// Mode: exception level and stack pointer in AArch64 state.
    #[bits(4)]
    pub mode: u8,
    /// AArch32 state.
    pub aarch32: bool,
    /// AArch32: Thumb instructions.
    pub thumb: bool,
    /// Debug, SError, IRQ and FIQ masks (DAIF): F in bit 6, D in bit 9.
    #[bits(4)]
    pub masks: u8,
    /// AArch64: BTYPE. AArch32: IT\[7:2\] starts here.
    #[bits(2)]
    pub branch_type: u8,
    /// Speculative store bypass safe.
    pub speculation_safe: bool,
    #[bits(7)]
    _middle: u8,
    /// Illegal execution state.
    pub illegal: bool,
    /// Software step.
    pub single_step: bool,
    /// Privileged access never.
    pub privileged_access_never: bool,
    /// User access override.
    pub user_access_override: bool,
    /// Data independent timing.
    pub data_independent_timing: bool,
    /// Tag check override.
    pub tag_check_override: bool,
    #[bits(2)]
    _high: u8,
    /// Condition flags.
    #[bits(4)]
    pub flags: u8,
    #[bits(32)]
    _upper: u32,
}

impl Pstate {
    /// EL1 with its own stack pointer, everything masked: what PSCI and the boot protocol of Linux ask for.
    pub const RESET: Self = Self::new().with_mode(MODE_EL1H).with_masks(0b1111);
}

const MODE_EL1T: u8 = 0b0100;
const MODE_EL1H: u8 = 0b0101;

/// The guest's own registers that an exception entry reads and writes.
pub trait El1Registers {
    /// VBAR_EL1.
    fn vector_base(&self) -> u64;
    /// SCTLR_EL1.
    fn control(&self) -> u64;
    /// Sets ELR_EL1, SPSR_EL1 and ESR_EL1.
    fn save(&mut self, return_address: u64, pstate: u64, syndrome: u64);
    /// Sets FAR_EL1.
    fn set_fault_address(&mut self, address: u64);
    /// What helps to understand how the guest came to where it is, by the registers' names.
    fn snapshot(&self) -> [(&'static str, u64); SNAPSHOT];
}

/// How many registers [`El1Registers::snapshot`] gives.
pub const SNAPSHOT: usize = 12;

/// What an exception leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a guest whose exception leads nowhere does nothing any more"]
pub enum Delivered {
    /// The guest handles it.
    Taken,
    /// The handler is where the exception came from: its first instruction cannot be fetched, now and for ever.
    Endless,
}

/// What happens to the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The instruction is undefined.
    Undefined,
    /// A load or store met nothing that answers: synchronous external abort.
    DataAbort {
        /// The virtual address.
        far: u64,
        /// A store.
        write: bool,
    },
    /// A fetch met nothing that answers.
    InstructionAbort {
        /// The virtual address.
        far: u64,
    },
}

/// Makes the guest take the exception instead of the instruction that it is at.
pub fn deliver(cause: Cause, registers: &mut Registers, el1: &mut impl El1Registers) -> Delivered {
    let interrupted = Pstate::from_bits(registers.pstate);
    let same_level = !interrupted.aarch32() && matches!(interrupted.mode(), MODE_EL1T | MODE_EL1H);
    let external = DataAbortIss::new().with_fault_status(spec::FAULT_EXTERNAL);
    let (class, iss) = match (cause, same_level) {
        (Cause::Undefined, _) => (spec::CLASS_UNKNOWN, DataAbortIss::new()),
        (Cause::DataAbort { write, .. }, true) => (spec::CLASS_DATA_ABORT_SAME, external.with_write(write)),
        (Cause::DataAbort { write, .. }, false) => (spec::CLASS_DATA_ABORT_LOWER, external.with_write(write)),
        (Cause::InstructionAbort { .. }, true) => (spec::CLASS_INSTRUCTION_ABORT_SAME, external),
        (Cause::InstructionAbort { .. }, false) => (spec::CLASS_INSTRUCTION_ABORT_LOWER, external),
    };
    let syndrome = Syndrome::new().with_class(class).with_long_instruction(true).with_iss(iss.into_bits());
    if let Cause::DataAbort { far, .. } | Cause::InstructionAbort { far } = cause {
        el1.set_fault_address(far);
    }
    el1.save(registers.pc, registers.pstate, syndrome.into_bits());
    // Offsets of the vectors for synchronous exceptions, table D1-7.
    let offset = match (interrupted.aarch32(), interrupted.mode()) {
        (false, MODE_EL1T) => 0x000,
        (false, MODE_EL1H) => 0x200,
        (false, _) => 0x400,
        (true, _) => 0x600,
    };
    let handler = el1.vector_base().wrapping_add(offset);
    let fetch = matches!(cause, Cause::InstructionAbort { .. });
    let delivered = if fetch && same_level && registers.pc == handler { Delivered::Endless } else { Delivered::Taken };
    registers.pc = handler;
    registers.pstate = entry_state(interrupted, el1.control()).into_bits();
    delivered
}

/// PSTATE of the exception's handler.
fn entry_state(interrupted: Pstate, control: u64) -> Pstate {
    let bit = |number: u32| control.wrapping_shr(number) & 1 != 0;
    // SCTLR_EL1: SPAN (23) leaves PAN alone, DSSBS (44) is the new SSBS.
    let keeps_pan = bit(23);
    Pstate::RESET
        .with_flags(interrupted.flags())
        .with_data_independent_timing(!interrupted.aarch32() && interrupted.data_independent_timing())
        .with_privileged_access_never(!keeps_pan || interrupted.privileged_access_never())
        .with_speculation_safe(bit(44))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Fake {
        control: u64,
        saved: (u64, u64, u64),
        far: Option<u64>,
    }

    impl El1Registers for Fake {
        fn vector_base(&self) -> u64 {
            0xffff_8000_0801_0800
        }
        fn control(&self) -> u64 {
            self.control
        }
        fn save(&mut self, return_address: u64, pstate: u64, syndrome: u64) {
            self.saved = (return_address, pstate, syndrome);
        }
        fn set_fault_address(&mut self, address: u64) {
            self.far = Some(address);
        }
        fn snapshot(&self) -> [(&'static str, u64); SNAPSHOT] {
            [("far_el1", self.far.unwrap_or(0)); SNAPSHOT]
        }
    }

    fn deliver_from(pstate: u64, cause: Cause, control: u64) -> (Fake, Registers) {
        let mut el1 = Fake { control, ..Fake::default() };
        let mut registers = Registers { pc: 0x1234, pstate, ..Registers::default() };
        assert_eq!(deliver(cause, &mut registers, &mut el1), Delivered::Taken);
        (el1, registers)
    }

    #[test]
    fn an_exception_whose_handler_cannot_be_fetched_is_endless() {
        let mut el1 = Fake::default();
        let fetch = Cause::InstructionAbort { far: 0 };
        let mut registers = Registers { pc: 0x1234, pstate: 0x3c5, ..Registers::default() };
        assert_eq!(deliver(fetch, &mut registers, &mut el1), Delivered::Taken);
        // A load of the handler's first instruction is another matter: the handler of that one may be all right.
        assert_eq!(deliver(Cause::DataAbort { far: 0, write: false }, &mut registers.clone(), &mut el1), Delivered::Taken);
        assert_eq!(deliver(fetch, &mut registers, &mut el1), Delivered::Endless);
        // From below, it is another handler.
        registers.pstate = 0;
        assert_eq!(deliver(fetch, &mut registers, &mut el1), Delivered::Taken);
    }

    #[test]
    fn an_abort_in_the_guest_s_kernel_is_taken_by_its_own_vector() {
        // EL1h with N and C set and PAN clear; SPAN set.
        let (el1, registers) = deliver_from(0xa000_0005, Cause::DataAbort { far: 0xdead, write: true }, 1 << 23);
        assert_eq!(el1.saved, (0x1234, 0xa000_0005, 0x9600_0050));
        assert_eq!(el1.far, Some(0xdead));
        assert_eq!((registers.pc, registers.pstate), (0xffff_8000_0801_0a00, 0xa000_03c5));
    }

    #[test]
    fn an_exception_in_the_guest_s_user_space_is_one_from_below() {
        let (el1, registers) = deliver_from(0, Cause::InstructionAbort { far: 0x40_0000 }, 0);
        assert_eq!(el1.saved, (0x1234, 0, 0x8200_0010));
        // SPAN clear: PAN is set.
        assert_eq!((registers.pc, registers.pstate), (0xffff_8000_0801_0c00, 0x0040_03c5));
        let (el1, registers) = deliver_from(0x10, Cause::DataAbort { far: 1, write: false }, 1 << 23);
        assert_eq!(el1.saved.2, 0x9200_0010);
        assert_eq!(registers.pc, 0xffff_8000_0801_0e00);
    }

    #[test]
    fn an_undefined_instruction_has_no_address() {
        let (el1, registers) = deliver_from(0x3c4, Cause::Undefined, 1 << 23 | 1 << 44);
        assert_eq!(el1.saved.2, 0x0200_0000);
        assert_eq!(el1.far, None);
        assert_eq!((registers.pc, registers.pstate), (0xffff_8000_0801_0800, 0x13c5));
    }
}
