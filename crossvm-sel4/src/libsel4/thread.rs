//! [`Threads`] on libsel4.

use super::{Libsel4, done, raw};
use crate::kernel::{CPtr, KernelError, ThreadSpaces, Threads};

impl Threads for Libsel4 {
    fn configure(&self, tcb: CPtr, spaces: ThreadSpaces) -> Result<(), KernelError> {
        let (buffer, frame) = spaces.ipc_buffer.unwrap_or((0, CPtr::NULL));
        done(raw::crossvm_configure(
            tcb.raw(),
            spaces.fault_endpoint.raw(),
            spaces.cspace.raw(),
            u64::from(spaces.guard_bits),
            spaces.vspace.raw(),
            buffer,
            frame.raw(),
        ))
    }

    fn set_priority(&self, tcb: CPtr, authority: CPtr, priority: u8) -> Result<(), KernelError> {
        done(raw::crossvm_set_priority(tcb.raw(), authority.raw(), u64::from(priority)))
    }

    fn bind_notification(&self, tcb: CPtr, notification: CPtr) -> Result<(), KernelError> {
        done(raw::crossvm_bind_notification(tcb.raw(), notification.raw()))
    }

    fn read_registers(&self, tcb: CPtr, registers: &mut [u64]) -> Result<(), KernelError> {
        // SAFETY: the pointer and the length are those of one slice, which the call writes.
        done(unsafe { raw::crossvm_read_registers(tcb.raw(), registers.as_mut_ptr(), registers.len() as u64) })
    }

    fn write_registers(&self, tcb: CPtr, registers: &[u64]) -> Result<(), KernelError> {
        // SAFETY: the pointer and the length are those of one slice, which the call only reads.
        done(unsafe { raw::crossvm_write_registers(tcb.raw(), registers.as_ptr(), registers.len() as u64) })
    }

    fn resume(&self, tcb: CPtr) -> Result<(), KernelError> {
        done(raw::crossvm_resume(tcb.raw()))
    }

    fn suspend(&self, tcb: CPtr) -> Result<(), KernelError> {
        done(raw::crossvm_suspend(tcb.raw()))
    }
}
