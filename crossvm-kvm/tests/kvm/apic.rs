//! A vCPU's local APIC, as a processor uses it. The tests take interrupts in the guest's place: not every KVM delivers them to code as bare as this.

use kvm_ioctls::VcpuFd;

use crate::program::{Bytes, Program};

pub(crate) const LOCAL_APIC: u64 = 0xfee0_0000;

const TASK_PRIORITY: usize = 0x80;
const END_OF_INTERRUPT: u64 = 0xb0;
const SPURIOUS: u64 = 0xf0;
const IN_SERVICE: usize = 0x100;
const REQUESTED: usize = 0x200;

type Registers = kvm_bindings::kvm_lapic_state;

fn byte(registers: &Registers, bank: usize, vector: u8) -> (usize, u8) {
    // 32 vectors in each register of 16 bytes.
    let at = bank + usize::from(vector >> 5) * 16 + usize::from(vector >> 3 & 3);
    (at, registers.regs[at].to_ne_bytes()[0])
}

fn highest(registers: &Registers, bank: usize) -> Option<u8> {
    (16..=255).rev().find(|vector| byte(registers, bank, *vector).1 >> (vector & 7) & 1 != 0)
}

fn set(registers: &mut Registers, bank: usize, vector: u8, on: bool) {
    let (at, bits) = byte(registers, bank, vector);
    let bit = 1 << (vector & 7);
    registers.regs[at] = i8::from_ne_bytes([if on { bits | bit } else { bits & !bit }]);
}

/// Turns it on.
pub(crate) fn enable() -> Program {
    store(SPURIOUS, 0x1ff)
}

/// Takes the highest interrupt that is requested and of a higher class than what is in service and than the task's.
pub(crate) fn acknowledge(vcpu: &VcpuFd) -> Option<u8> {
    let mut registers = vcpu.get_lapic().unwrap();
    let class = (highest(&registers, IN_SERVICE).unwrap_or(0) >> 4).max(registers.regs[TASK_PRIORITY].to_ne_bytes()[0] >> 4);
    let vector = highest(&registers, REQUESTED).filter(|vector| vector >> 4 > class)?;
    set(&mut registers, REQUESTED, vector, false);
    set(&mut registers, IN_SERVICE, vector, true);
    vcpu.set_lapic(&registers).unwrap();
    Some(vector)
}

/// Whether the vector is requested, whatever may be in service.
pub(crate) fn is_requested(vcpu: &VcpuFd, vector: u8) -> bool {
    byte(&vcpu.get_lapic().unwrap(), REQUESTED, vector).1 >> (vector & 7) & 1 != 0
}

/// Ends the interrupt that is in service: by the guest's own store, as KVM tells IOAPICs of it.
pub(crate) fn end() -> Program {
    store(END_OF_INTERRUPT, 0)
}

/// Sets the task's priority class: lower ones and the same are held back.
pub(crate) fn set_task_class(class: u8) -> Program {
    store(TASK_PRIORITY as u64, u32::from(class) << 4)
}

/// Masks LINT0, where the 8259 pair is.
pub(crate) fn mask_pic() -> Program {
    store(0x350, 0x1_0000)
}

fn store(register: u64, value: u32) -> Program {
    Program::new().store(LOCAL_APIC + register, Bytes::Four, value.into())
}
