//! crossvm's kernel traits for seL4 on the crate `sel4` of rust-sel4.
//!
//! For programs that are built on rust-sel4 and want crossvm's connections: [`RustSel4`] is the handle that `crossvm_sel4` asks for.
//! Kernels with mixed-criticality scheduling (MCS) are not supported. vCPUs are those of the Arm hypervisor configuration: rust-sel4 cannot enter one of
//! VT-x.
//!
//! ```ignore
//! let kernel = crossvm_rust_sel4::RustSel4::new(sel4::init_thread::slot::CNODE.cap());
//! kernel.signal(CPtr::new(notification.bits()));
//! ```
#![no_std]
#![deny(unsafe_code)]

#[cfg(not(any(target_arch = "aarch64", target_arch = "x86_64")))]
compile_error!("crossvm has backends for seL4 on aarch64 and x86_64");
#[sel4::sel4_cfg(KERNEL_MCS)]
compile_error!("crossvm does not know the system calls of kernels with mixed-criticality scheduling (MCS)");
#[cfg(target_arch = "aarch64")]
#[sel4::sel4_cfg(not(ARM_HYPERVISOR_SUPPORT))]
compile_error!("the kernel has no vCPUs: build it with KernelArmHypervisorSupport on");

mod kernel;
mod object;
#[allow(unsafe_code)]
mod raw;
mod thread;
#[cfg(target_arch = "aarch64")]
mod vcpu;

use crossvm_sel4::kernel::{Code, KernelError};
use sel4::sys::{seL4_Error, seL4_IPCBuffer, seL4_LookupFailureType};

/// The handle: the capability of the root of the calling thread's CSpace, whose addresses are resolved at full depth. The IPC buffer is the one that
/// `sel4::set_ipc_buffer` was told.
#[derive(Debug, Clone, Copy)]
pub struct RustSel4 {
    cspace: sel4::cap::CNode,
    #[cfg(target_arch = "aarch64")]
    list_registers: usize,
}

impl RustSel4 {
    /// The handle of a thread with this CSpace.
    #[must_use]
    pub const fn new(cspace: sel4::cap::CNode) -> Self {
        Self {
            cspace,
            // Those of a GIC-400, and so of most GICs of version 2.
            #[cfg(target_arch = "aarch64")]
            list_registers: 4,
        }
    }

    /// For a machine with another number of list registers than 4.
    #[cfg(target_arch = "aarch64")]
    #[must_use]
    pub const fn with_list_registers(mut self, count: usize) -> Self {
        self.list_registers = count;
        self
    }
}

/// Invokes something through the IPC buffer; says of a failed lookup which table is missing.
fn invoke(call: impl FnOnce(&mut seL4_IPCBuffer) -> seL4_Error::Type) -> Result<(), KernelError> {
    sel4::with_ipc_buffer_mut(|buffer| {
        let error = call(buffer.inner_mut());
        // Words 1 and 2 of a failed lookup: its type, and the bits that were left to translate.
        let [_, kind, bits, ..] = buffer.inner().msg;
        if error == seL4_Error::seL4_NoError {
            return Ok(());
        }
        let missing = error == seL4_Error::seL4_FailedLookup && kind == seL4_LookupFailureType::seL4_MissingCapability;
        let missing_table = u8::try_from(bits).ok().filter(|_| missing);
        Err(KernelError { missing_table, ..Code::from_raw(error.into()).into() })
    })
}

/// Invokes something that gives a word.
fn ask(call: impl FnOnce(&mut seL4_IPCBuffer) -> (seL4_Error::Type, u64)) -> Result<u64, KernelError> {
    let mut word = 0;
    invoke(|buffer| {
        let (error, value) = call(buffer);
        word = value;
        error
    })?;
    Ok(word)
}
