//! [`ArmVcpus`] on libsel4, and the upkeep of caches.

use super::{Libsel4, done, raw};
use crate::kernel::{ArmVcpus, CPtr, Code, KernelError, VcpuRegister, VirtualInterrupt};

/// List registers of a GIC-400, and so of most GICs of version 2.
pub(super) const LIST_REGISTERS: u8 = 4;

impl Libsel4 {
    /// Counts the list registers that the kernel has, with a vCPU that never runs: an interrupt is made pending in each. Without it 4 are taken
    /// to be there.
    ///
    /// # Errors
    /// What the kernel says, such as [`Code::InvalidCapability`] for what is no vCPU.
    pub fn count_list_registers(&mut self, scratch: CPtr) -> Result<usize, KernelError> {
        // GICv2 and GICv3 have no more than 64 (IHI 0048B 5.3.2) and 16.
        for index in 0..64 {
            match self.inject(scratch, VirtualInterrupt { intid: 32 + u16::from(index), priority: 0, group: 0, index }) {
                Ok(()) => self.list_registers = index.saturating_add(1),
                Err(KernelError { code: Code::RangeError, .. }) => break,
                Err(error) => return Err(error),
            }
        }
        Ok(self.list_registers())
    }

    /// Writes the first `length` bytes of a mapped frame back to memory, and makes them visible as instructions: what a guest is given that
    /// starts with its caches off.
    ///
    /// # Errors
    /// [`Code::IllegalOperation`] where the frame is not mapped, [`Code::InvalidArgument`] for more than the frame.
    pub fn clean_frame(&self, frame: CPtr, length: u64) -> Result<(), KernelError> {
        done(raw::crossvm_clean_frame(frame.raw(), length))
    }
}

impl ArmVcpus for Libsel4 {
    fn list_registers(&self) -> usize {
        usize::from(self.list_registers)
    }

    fn set_tcb(&self, vcpu: CPtr, tcb: CPtr) -> Result<(), KernelError> {
        done(raw::crossvm_vcpu_set_tcb(vcpu.raw(), tcb.raw()))
    }

    fn inject(&self, vcpu: CPtr, interrupt: VirtualInterrupt) -> Result<(), KernelError> {
        done(raw::crossvm_vcpu_inject(
            vcpu.raw(),
            u64::from(interrupt.intid),
            u64::from(interrupt.priority),
            u64::from(interrupt.group),
            u64::from(interrupt.index),
        ))
    }

    fn acknowledge_private(&self, vcpu: CPtr, intid: u64) -> Result<(), KernelError> {
        done(raw::crossvm_vcpu_acknowledge(vcpu.raw(), intid))
    }

    fn read_register(&self, vcpu: CPtr, register: VcpuRegister) -> Result<u64, KernelError> {
        let mut value = 0;
        done(raw::crossvm_vcpu_read(vcpu.raw(), register.0, &mut value)).map(|()| value)
    }

    fn write_register(&self, vcpu: CPtr, register: VcpuRegister, value: u64) -> Result<(), KernelError> {
        done(raw::crossvm_vcpu_write(vcpu.raw(), register.0, value))
    }
}
