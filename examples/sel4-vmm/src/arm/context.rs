//! `seL4_UserContext` of AArch64, and the registers of a vCPU.

use vmm_common::vcpu::Registers;

/// Words of it.
pub const WORDS: usize = 36;

/// Registers of EL0 that no exit has to do with, and a VMM gives back as they were.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Others {
    /// SP_EL0.
    pub stack: u64,
    /// TPIDR_EL0.
    pub thread: u64,
    /// TPIDRRO_EL0.
    pub thread_read_only: u64,
}

/// The registers x0 to x30 in its order, behind program counter, stack pointer and status; the thread pointers come last.
const ORDER: [usize; 31] =
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 16, 17, 18, 29, 30, 9, 10, 11, 12, 13, 14, 15, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28];

/// Takes it apart.
pub fn unpack(context: &[u64; WORDS], registers: &mut Registers, others: &mut Others) {
    let [pc, stack, pstate, x @ .., thread, thread_read_only] = context;
    (registers.pc, registers.pstate) = (*pc, *pstate);
    for (number, value) in ORDER.iter().zip(x) {
        if let Some(register) = registers.x.get_mut(*number) {
            *register = *value;
        }
    }
    *others = Others { stack: *stack, thread: *thread, thread_read_only: *thread_read_only };
}

/// Puts it together.
#[must_use]
pub fn pack(registers: &Registers, others: Others) -> [u64; WORDS] {
    let mut context = [0; WORDS];
    let [pc, stack, pstate, x @ .., thread, thread_read_only] = &mut context;
    (*pc, *pstate) = (registers.pc, registers.pstate);
    (*stack, *thread, *thread_read_only) = (others.stack, others.thread, others.thread_read_only);
    for (number, value) in ORDER.iter().zip(x) {
        *value = registers.x.get(*number).copied().unwrap_or(0);
    }
    context
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_register_has_its_place() {
        let mut registers = Registers { pc: 100, pstate: 101, ..Registers::default() };
        for (number, register) in registers.x.iter_mut().enumerate() {
            *register = 200 + number as u64;
        }
        let others = Others { stack: 102, thread: 103, thread_read_only: 104 };
        let context = pack(&registers, others);
        // As libsel4's structure names them: pc, sp, spsr, x0 to x8, x16, x17, x18, x29, x30, x9 to x15, x19 to x28, tpidr_el0, tpidrro_el0.
        assert_eq!(context[..4], [100, 102, 101, 200]);
        assert_eq!(context[11..17], [208, 216, 217, 218, 229, 230]);
        assert_eq!((context[17], context[23], context[24], context[33]), (209, 215, 219, 228));
        assert_eq!(context[34..], [103, 104]);
        let (mut back, mut back_others) = (Registers::default(), Others::default());
        unpack(&context, &mut back, &mut back_others);
        assert_eq!((back, back_others), (registers, others));
    }
}
