//! [`ArmVcpus`] on rust-sel4.

use crossvm_sel4::kernel::{ArmVcpus, CPtr, KernelError, VcpuRegister, VirtualInterrupt};

use crate::{RustSel4, ask, invoke};

impl ArmVcpus for RustSel4 {
    fn list_registers(&self) -> usize {
        self.list_registers
    }

    fn set_tcb(&self, vcpu: CPtr, tcb: CPtr) -> Result<(), KernelError> {
        invoke(|buffer| buffer.seL4_ARM_VCPU_SetTCB(vcpu.raw(), tcb.raw()))
    }

    fn inject(&self, vcpu: CPtr, interrupt: VirtualInterrupt) -> Result<(), KernelError> {
        let VirtualInterrupt { intid, priority, group, index } = interrupt;
        invoke(|buffer| buffer.seL4_ARM_VCPU_InjectIRQ(vcpu.raw(), intid, priority, group, index))
    }

    fn acknowledge_private(&self, vcpu: CPtr, intid: u64) -> Result<(), KernelError> {
        invoke(|buffer| buffer.seL4_ARM_VCPU_AckVPPI(vcpu.raw(), intid))
    }

    fn read_register(&self, vcpu: CPtr, register: VcpuRegister) -> Result<u64, KernelError> {
        ask(|buffer| {
            let found = buffer.seL4_ARM_VCPU_ReadRegs(vcpu.raw(), register.0);
            (found.error, found.value)
        })
    }

    fn write_register(&self, vcpu: CPtr, register: VcpuRegister, value: u64) -> Result<(), KernelError> {
        invoke(|buffer| buffer.seL4_ARM_VCPU_WriteRegs(vcpu.raw(), register.0, value))
    }
}
