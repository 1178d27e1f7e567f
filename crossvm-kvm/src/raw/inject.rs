//! External interrupts for a vCPU: what kvm-ioctls does not have.

use kvm_bindings::kvm_interrupt;
use kvm_ioctls::VcpuFd;
use vmm_sys_util::ioctl::ioctl_with_ref;
use vmm_sys_util::ioctl_iow_nr;

use crate::error::{Call, CallError};

ioctl_iow_nr!(KVM_INTERRUPT, kvm_bindings::KVMIO, 0x86, kvm_interrupt);

/// The vCPU takes `vector` as an interrupt of the 8259 pair.
pub(crate) fn interrupt(vcpu: &VcpuFd, vector: u8) -> Result<(), CallError> {
    let argument = kvm_interrupt { irq: vector.into() };
    // SAFETY: the descriptor is a vCPU's, and the kernel reads one `kvm_interrupt` from the argument and writes nothing.
    match unsafe { ioctl_with_ref(vcpu, KVM_INTERRUPT(), &argument) } {
        0 => Ok(()),
        _ => Err(CallError::of_io(Call::Interrupt)(std::io::Error::last_os_error())),
    }
}
