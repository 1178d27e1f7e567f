//! [`MicrokitCalls`] on libmicrokit, through `shim/microkit.c`.
//!
//! The shim is compiled with the program, by whoever builds it, with the include folder of the SDK's board.
#![allow(unsafe_code)]

use core::marker::PhantomData;

use heapless::Vec;

use super::{Channel, MicrokitCalls, VcpuNumber};
use crate::kernel::{Code, KernelError, Label, MESSAGE_WORDS, Message, VcpuRegister, VirtualInterrupt};

/// List registers of a GIC-400, and so of most GICs of version 2.
const LIST_REGISTERS: usize = 4;

unsafe extern "C" {
    fn crossvm_microkit_notify(channel: u32);
    fn crossvm_microkit_inject(vcpu: u32, intid: u64, priority: u64, group: u64, index: u64) -> u64;
    fn crossvm_microkit_acknowledge(vcpu: u32, intid: u64) -> u64;
    fn crossvm_microkit_read_register(vcpu: u32, register: u64, value: *mut u64) -> u64;
    fn crossvm_microkit_write_register(vcpu: u32, register: u64, value: u64) -> u64;
    fn crossvm_microkit_read_context(vcpu: u32, registers: *mut u64, count: u64) -> u64;
    fn crossvm_microkit_write_context(vcpu: u32, resume: u32, registers: *const u64, count: u64) -> u64;
    fn crossvm_microkit_fault(label: u64) -> u32;
    fn crossvm_microkit_word(index: u32) -> u64;
}

/// The handle of a protection domain. It has one thread, so the handle is not sent to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Libmicrokit {
    one_thread: PhantomData<*const ()>,
}

impl Libmicrokit {
    /// The handle.
    ///
    /// # Safety
    ///
    /// The program is a protection domain that was linked with libmicrokit and `shim/microkit.c`, and its entry points alone use the handle.
    #[must_use]
    pub const unsafe fn new() -> Self {
        Self { one_thread: PhantomData }
    }

    /// Reads a vCPU's first general registers, in the order of `seL4_UserContext`: the guest has stopped, as in `fault`.
    ///
    /// # Errors
    /// [`Code::RangeError`] for more registers than there are, or what the kernel says.
    pub fn read_context(self, vcpu: VcpuNumber, registers: &mut [u64]) -> Result<(), KernelError> {
        // SAFETY: the promise to `new`; the shim writes as many words as there are, or none.
        done(unsafe { crossvm_microkit_read_context(vcpu.number().into(), registers.as_mut_ptr(), registers.len() as u64) })
    }

    /// Writes a vCPU's first general registers, in the order of `seL4_UserContext`.
    ///
    /// # Errors
    /// [`Code::RangeError`] for more registers than there are, or what the kernel says.
    pub fn write_context(self, vcpu: VcpuNumber, registers: &[u64]) -> Result<(), KernelError> {
        // SAFETY: the promise to `new`; the shim reads as many words as there are.
        done(unsafe { crossvm_microkit_write_context(vcpu.number().into(), 0, registers.as_ptr(), registers.len() as u64) })
    }

    /// As [`write_context`](Self::write_context), and lets the vCPU run: for its start.
    ///
    /// # Errors
    /// See there.
    pub fn start(self, vcpu: VcpuNumber, registers: &[u64]) -> Result<(), KernelError> {
        // SAFETY: as above.
        done(unsafe { crossvm_microkit_write_context(vcpu.number().into(), 1, registers.as_ptr(), registers.len() as u64) })
    }

    /// What `fault` was called for: `label` and `count` are those of its message. Called before anything else touches the message registers.
    #[must_use]
    pub fn message(self, label: u64, count: u32) -> Message {
        // SAFETY: the promise to `new`; it compares numbers.
        let kind = unsafe { crossvm_microkit_fault(label) };
        let label = match kind {
            1 => Label::UnknownSyscall,
            2 => Label::UserException,
            3 => Label::VmFault,
            4 => Label::VgicMaintenance,
            5 => Label::VcpuFault,
            6 => Label::VppiEvent,
            _ => Label::Other(label),
        };
        let mut words = Vec::new();
        let kept = u32::try_from(MESSAGE_WORDS).unwrap_or(u32::MAX).min(count);
        for index in 0..kept {
            // SAFETY: the promise to `new`; the shim reads a message register that a message can have.
            let word = unsafe { crossvm_microkit_word(index) };
            // No more words than fit.
            let _ = words.push(word);
        }
        Message { label, words }
    }
}

fn done(error: u64) -> Result<(), KernelError> {
    if error == 0 { Ok(()) } else { Err(Code::from_raw(error).into()) }
}

impl MicrokitCalls for Libmicrokit {
    fn notify(&self, channel: Channel) {
        // SAFETY: the promise to `new`; libmicrokit checks the channel.
        unsafe { crossvm_microkit_notify(channel.id().into()) };
    }

    fn list_registers(&self) -> usize {
        LIST_REGISTERS
    }

    fn inject(&self, vcpu: VcpuNumber, interrupt: VirtualInterrupt) -> Result<(), KernelError> {
        let VirtualInterrupt { intid, priority, group, index } = interrupt;
        // SAFETY: the promise to `new`; the kernel checks the capability and the numbers.
        done(unsafe { crossvm_microkit_inject(vcpu.number().into(), intid.into(), priority.into(), group.into(), index.into()) })
    }

    fn acknowledge_private(&self, vcpu: VcpuNumber, intid: u64) -> Result<(), KernelError> {
        // SAFETY: as above.
        done(unsafe { crossvm_microkit_acknowledge(vcpu.number().into(), intid) })
    }

    fn read_register(&self, vcpu: VcpuNumber, register: VcpuRegister) -> Result<u64, KernelError> {
        let mut value = 0;
        // SAFETY: as above; `value` is there for as long as the call takes.
        done(unsafe { crossvm_microkit_read_register(vcpu.number().into(), register.0, &raw mut value) })?;
        Ok(value)
    }

    fn write_register(&self, vcpu: VcpuNumber, register: VcpuRegister, value: u64) -> Result<(), KernelError> {
        // SAFETY: as above.
        done(unsafe { crossvm_microkit_write_register(vcpu.number().into(), register.0, value) })
    }
}
