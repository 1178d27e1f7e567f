//! A virtual CPU: what of it is plain data. Its system registers live in the CPU that runs it.

use crossvm_arm::VcpuId;
use crossvm_core::GuestAddr;

use crate::exit::{Pstate, Register};
use crate::stats::ExitCounts;

/// General-purpose registers, program counter and status of a guest. The world switch knows this layout.
#[repr(C)]
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Registers {
    /// x0 to x30.
    pub x: [u64; 31],
    /// Program counter.
    pub pc: u64,
    /// Program status.
    pub pstate: u64,
}

impl Registers {
    /// What `register` holds; zero for the zero register.
    #[must_use]
    pub fn read(&self, register: Register) -> u64 {
        self.x.get(register.number()).copied().unwrap_or(0)
    }

    /// Sets `register`; the zero register stays zero.
    pub fn write(&mut self, register: Register, value: u64) {
        if let Some(x) = self.x.get_mut(register.number()) {
            *x = value;
        }
    }

    /// The first four registers: arguments of a call.
    #[must_use]
    pub fn arguments(&self) -> [u64; 4] {
        let [x0, x1, x2, x3, ..] = self.x;
        [x0, x1, x2, x3]
    }

    /// Goes on behind an instruction of AArch64, or of AArch32 user space, whose length the syndrome tells.
    pub fn skip_instruction(&mut self, long: bool) {
        self.pc = self.pc.wrapping_add(if long { 4 } else { 2 });
        // The instruction is done: who steps through it stops behind it (Arm DDI 0487, D2.12).
        let pstate = Pstate::from_bits(self.pstate).with_single_step(false);
        self.pstate = match (pstate.aarch32(), pstate.thumb()) {
            // No branch has just led here (D8.4.6).
            (false, _) => pstate.with_branch_type(0).into_bits(),
            (true, true) => advance_it(pstate.into_bits()),
            (true, false) => pstate.into_bits(),
        };
    }
}

/// Advances an IT block of Thumb code (Arm DDI 0487, G1.6.1): IT\[1:0\] is in bits 26:25, IT\[7:2\] in bits 15:10.
fn advance_it(pstate: u64) -> u64 {
    let it = pstate >> 25 & 0b11 | (pstate >> 10 & 0x3f) << 2;
    let next = if it & 0b111 == 0 { 0 } else { it & 0xe0 | it << 1 & 0x1f };
    pstate & !(0b11 << 25 | 0x3f << 10) | (next & 0b11) << 25 | (next >> 2) << 10
}

/// Where a vCPU starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Start {
    /// Guest-physical address of its first instruction.
    pub entry: GuestAddr,
    /// Its x0.
    pub context: u64,
}

/// A virtual CPU.
#[derive(Debug)]
pub struct Vcpu {
    /// Its number in its VM.
    pub id: VcpuId,
    /// Its registers while it does not run.
    pub registers: Registers,
    /// How often and why it was left, since the VM was last told.
    pub exits: ExitCounts,
    /// Where it was when it was last given an exception.
    pub interrupted_at: Option<u64>,
}

impl Vcpu {
    /// A vCPU that is off.
    #[must_use]
    pub fn new(id: VcpuId) -> Self {
        Self { id, registers: Registers::default(), exits: ExitCounts::default(), interrupted_at: None }
    }

    /// Brings the registers to what they are when the vCPU is switched on.
    pub fn start(&mut self, start: Start) {
        self.registers = Registers { pc: start.entry.get(), pstate: Pstate::RESET.into_bits(), ..Registers::default() };
        self.registers.write(Register::new(0), start.context);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skipping_advances_an_it_block() {
        // AArch32 user mode, Thumb, in an IT block of three instructions: 0b0000_0010 (mask of three) after two steps ends.
        let thumb = 0x30u64;
        let with_it = |it: u64| thumb | (it & 3) << 25 | (it >> 2) << 10;
        let mut registers = Registers { pc: 0x100, pstate: with_it(0b1010_1110), ..Registers::default() };
        for (pc, it) in [(0x102, 0b1011_1100), (0x106, 0b1011_1000), (0x108, 0)] {
            registers.skip_instruction(pc == 0x106);
            assert_eq!((registers.pc, registers.pstate), (pc, with_it(it)), "{it:#b}");
        }
    }

    #[test]
    fn skipping_ends_a_step_and_forgets_the_branch_before() {
        let (step, branch) = (1 << 21, 0b11 << 10);
        let skipped = |pstate| {
            let mut registers = Registers { pc: 0x100, pstate, ..Registers::default() };
            registers.skip_instruction(true);
            registers.pstate
        };
        assert_eq!(skipped(0x3c5 | step | branch), 0x3c5);
        // AArch32: no Thumb, and Thumb in an IT block, whose state is where BTYPE is.
        assert_eq!(skipped(0x10 | step), 0x10);
        assert_eq!(skipped(0x30 | step | 0b10 << 10 | 0b10 << 25), 0x30 | 0b101 << 10);
    }

    #[test]
    fn a_vcpu_starts_at_el1_with_interrupts_masked() {
        let mut vcpu = Vcpu::new(VcpuId::new(0).unwrap());
        vcpu.registers.x = [7; 31];
        vcpu.start(Start { entry: GuestAddr::new(0x4000_0000), context: 0x4800_0000 });
        assert_eq!(vcpu.registers.pstate, 0x3c5);
        assert_eq!((vcpu.registers.pc, vcpu.registers.arguments()), (0x4000_0000, [0x4800_0000, 0, 0, 0]));
    }
}
