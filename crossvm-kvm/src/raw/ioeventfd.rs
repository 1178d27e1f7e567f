//! Ioeventfds of any length.

use std::os::fd::AsRawFd;

use crossvm_core::GuestAddr;
use kvm_bindings::{kvm_ioeventfd, kvm_ioeventfd_flag_nr_deassign};
use kvm_ioctls::VmFd;
use vmm_sys_util::eventfd::EventFd;
use vmm_sys_util::ioctl::ioctl_with_ref;
use vmm_sys_util::ioctl_iow_nr;

use crate::error::{Call, CallError};

ioctl_iow_nr!(KVM_IOEVENTFD, kvm_bindings::KVMIO, 0x79, kvm_ioeventfd);

/// Which stores an ioeventfd answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stores {
    /// Those of every length.
    Any,
    /// Those of this many bytes.
    Length(u32),
}

/// Whether an ioeventfd is to come or to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Registration {
    /// It is to be there.
    Assign,
    /// It is to be gone.
    Deassign,
}

impl Registration {
    /// Asks KVM for it. Ends with an error where it is there, or gone, already.
    pub(crate) fn apply(self, vm: &VmFd, at: GuestAddr, stores: Stores, event: &EventFd) -> Result<(), CallError> {
        let len = match stores {
            Stores::Any => 0,
            Stores::Length(bytes) => bytes,
        };
        let (flags, call) = match self {
            Self::Assign => (0, Call::AssignIoeventfd),
            Self::Deassign => (1 << kvm_ioeventfd_flag_nr_deassign, Call::DeassignIoeventfd),
        };
        let argument = kvm_ioeventfd { addr: at.get(), len, fd: event.as_raw_fd(), flags, ..Default::default() };
        // SAFETY: the descriptor is a VM's, and the kernel reads one `kvm_ioeventfd` from the argument and writes nothing. KVM takes a reference of its own to
        // the eventfd.
        match unsafe { ioctl_with_ref(vm, KVM_IOEVENTFD(), &argument) } {
            0 => Ok(()),
            _ => Err(CallError::of_io(call)(std::io::Error::last_os_error())),
        }
    }
}
