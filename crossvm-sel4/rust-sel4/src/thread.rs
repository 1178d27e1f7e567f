//! [`Threads`] on rust-sel4.

use crossvm_sel4::kernel::{CPtr, Code, KernelError, ThreadSpaces, Threads};
use sel4::CNodeCapData;
use sel4::sys::seL4_UserContext;

use crate::{RustSel4, invoke, raw};

impl Threads for RustSel4 {
    fn configure(&self, tcb: CPtr, spaces: ThreadSpaces) -> Result<(), KernelError> {
        let (address, frame) = spaces.ipc_buffer.unwrap_or((0, CPtr::NULL));
        let guard = CNodeCapData::skip(spaces.guard_bits.into()).into_word();
        let (cspace, vspace, faults) = (spaces.cspace.raw(), spaces.vspace.raw(), spaces.fault_endpoint.raw());
        invoke(|buffer| buffer.seL4_TCB_Configure(tcb.raw(), faults, cspace, guard, vspace, 0, address, frame.raw()))
    }

    fn set_priority(&self, tcb: CPtr, authority: CPtr, priority: u8) -> Result<(), KernelError> {
        invoke(|buffer| buffer.seL4_TCB_SetPriority(tcb.raw(), authority.raw(), priority.into()))
    }

    fn bind_notification(&self, tcb: CPtr, notification: CPtr) -> Result<(), KernelError> {
        invoke(|buffer| buffer.seL4_TCB_BindNotification(tcb.raw(), notification.raw()))
    }

    fn read_registers(&self, tcb: CPtr, registers: &mut [u64]) -> Result<(), KernelError> {
        let mut context = seL4_UserContext::default();
        let count = registers.len();
        let words = raw::words(&mut context).len();
        if count > words {
            return Err(Code::RangeError.into());
        }
        invoke(|buffer| buffer.seL4_TCB_ReadRegisters(tcb.raw(), 0, 0, count as u64, &mut context))?;
        for (register, word) in registers.iter_mut().zip(raw::words(&mut context)) {
            *register = *word;
        }
        Ok(())
    }

    fn write_registers(&self, tcb: CPtr, registers: &[u64]) -> Result<(), KernelError> {
        let mut context = seL4_UserContext::default();
        let words = raw::words(&mut context);
        if registers.len() > words.len() {
            return Err(Code::RangeError.into());
        }
        for (word, register) in words.iter_mut().zip(registers) {
            *word = *register;
        }
        invoke(|buffer| buffer.seL4_TCB_WriteRegisters(tcb.raw(), 0, 0, registers.len() as u64, &context))
    }

    fn resume(&self, tcb: CPtr) -> Result<(), KernelError> {
        invoke(|buffer| buffer.seL4_TCB_Resume(tcb.raw()))
    }

    fn suspend(&self, tcb: CPtr) -> Result<(), KernelError> {
        invoke(|buffer| buffer.seL4_TCB_Suspend(tcb.raw()))
    }
}
