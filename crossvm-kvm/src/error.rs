//! Failed calls: which one, and the errno.

use std::{fmt, io};

use crossvm_core::ErrorKind;
use rustix::io::Errno;

/// A call to the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Call {
    /// `memfd_create`.
    MemfdCreate,
    /// `ftruncate`.
    Truncate,
    /// `fcntl(F_ADD_SEALS)`.
    AddSeals,
    /// `fcntl(F_GET_SEALS)`.
    GetSeals,
    /// `fstat` or `fstatfs`.
    Stat,
    /// `dup` of a descriptor.
    Duplicate,
    /// `mmap`.
    Map,
    /// `eventfd`.
    EventFd,
    /// `fcntl(F_SETFL)`.
    SetFlags,
    /// `readlink` of a descriptor.
    ReadLink,
    /// `read` of an eventfd.
    ReadEvent,
    /// `write` to an eventfd.
    WriteEvent,
    /// `open("/dev/kvm")`.
    OpenKvm,
    /// `KVM_CREATE_VM`.
    CreateVm,
    /// `KVM_CREATE_VCPU`.
    CreateVcpu,
    /// `KVM_GET_SREGS` or `KVM_SET_SREGS`.
    Sregs,
    /// `KVM_GET_REGS` or `KVM_SET_REGS`.
    Regs,
    /// `KVM_RUN`.
    Run,
    /// `KVM_ENABLE_CAP`.
    EnableCap,
    /// `KVM_SET_USER_MEMORY_REGION` that makes a memory slot.
    CreateSlot,
    /// `KVM_SET_USER_MEMORY_REGION` that deletes a memory slot.
    DeleteSlot,
    /// `KVM_CREATE_IRQCHIP`.
    CreateIrqchip,
    /// `KVM_GET_IRQCHIP` or `KVM_SET_IRQCHIP`.
    Irqchip,
    /// `KVM_CREATE_DEVICE`.
    CreateDevice,
    /// `KVM_SET_DEVICE_ATTR` or `KVM_GET_DEVICE_ATTR`.
    DeviceAttribute,
    /// `KVM_IRQ_LINE`.
    IrqLine,
    /// `KVM_SIGNAL_MSI`.
    SignalMsi,
    /// `KVM_SET_GSI_ROUTING`.
    SetGsiRouting,
    /// `KVM_IRQFD`.
    Irqfd,
    /// `KVM_IOEVENTFD` that assigns.
    AssignIoeventfd,
    /// `KVM_IOEVENTFD` that takes back.
    DeassignIoeventfd,
    /// `KVM_INTERRUPT`.
    Interrupt,
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MemfdCreate => "memfd_create",
            Self::Truncate => "ftruncate",
            Self::AddSeals => "fcntl(F_ADD_SEALS)",
            Self::GetSeals => "fcntl(F_GET_SEALS)",
            Self::Stat => "fstat",
            Self::Duplicate => "dup",
            Self::Map => "mmap",
            Self::EventFd => "eventfd",
            Self::SetFlags => "fcntl(F_SETFL)",
            Self::ReadLink => "readlink of a descriptor",
            Self::ReadEvent => "read of an eventfd",
            Self::WriteEvent => "write to an eventfd",
            Self::OpenKvm => "open of /dev/kvm",
            Self::CreateVm => "KVM_CREATE_VM",
            Self::CreateVcpu => "KVM_CREATE_VCPU",
            Self::Sregs => "KVM_GET_SREGS, KVM_SET_SREGS",
            Self::Regs => "KVM_GET_REGS, KVM_SET_REGS",
            Self::Run => "KVM_RUN",
            Self::EnableCap => "KVM_ENABLE_CAP",
            Self::CreateSlot => "KVM_SET_USER_MEMORY_REGION",
            Self::DeleteSlot => "KVM_SET_USER_MEMORY_REGION of size 0",
            Self::CreateIrqchip => "KVM_CREATE_IRQCHIP",
            Self::Irqchip => "KVM_GET_IRQCHIP, KVM_SET_IRQCHIP",
            Self::CreateDevice => "KVM_CREATE_DEVICE",
            Self::DeviceAttribute => "KVM_SET_DEVICE_ATTR, KVM_GET_DEVICE_ATTR",
            Self::IrqLine => "KVM_IRQ_LINE",
            Self::SignalMsi => "KVM_SIGNAL_MSI",
            Self::SetGsiRouting => "KVM_SET_GSI_ROUTING",
            Self::Irqfd => "KVM_IRQFD",
            Self::AssignIoeventfd => "KVM_IOEVENTFD",
            Self::DeassignIoeventfd => "KVM_IOEVENTFD that takes back",
            Self::Interrupt => "KVM_INTERRUPT",
        })
    }
}

/// A call that failed, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CallError {
    call: Call,
    errno: Errno,
}

impl CallError {
    /// `call` failed with `errno`.
    #[must_use]
    pub const fn new(call: Call, errno: Errno) -> Self {
        Self { call, errno }
    }

    /// The call.
    #[must_use]
    pub const fn call(self) -> Call {
        self.call
    }

    /// The errno, as the kernel counts them.
    #[must_use]
    pub const fn errno(self) -> i32 {
        self.errno.raw_os_error()
    }

    /// Turns the error of a call through rustix into one of ours.
    pub(crate) fn of(call: Call) -> impl Fn(Errno) -> Self {
        move |errno| Self::new(call, errno)
    }

    /// Turns the error of a call through kvm-ioctls into one of ours.
    pub(crate) fn of_ioctl(call: Call) -> impl Fn(kvm_ioctls::Error) -> Self {
        move |error| Self::new(call, Errno::from_raw_os_error(error.errno()))
    }

    /// Turns the error of a call through the standard library into one of ours.
    pub(crate) fn of_io(call: Call) -> impl Fn(io::Error) -> Self {
        move |error| Self::new(call, Errno::from_io_error(&error).unwrap_or(Errno::IO))
    }
}

impl crossvm_core::Error for CallError {
    fn kind(&self) -> ErrorKind {
        match self.errno {
            Errno::NOMEM | Errno::NOSPC | Errno::MFILE | Errno::NFILE | Errno::DQUOT => ErrorKind::Exhausted,
            Errno::EXIST => ErrorKind::Overlap,
            Errno::TOOBIG | Errno::FBIG | Errno::RANGE | Errno::OVERFLOW => ErrorKind::OutOfRange,
            // What these calls refuse in our arguments, once alignment is checked, is a number or an address beyond what they serve.
            Errno::INVAL if matches!(self.call, Call::CreateSlot | Call::IrqLine | Call::SetGsiRouting | Call::AssignIoeventfd) => {
                ErrorKind::OutOfRange
            }
            Errno::NOENT | Errno::NXIO => ErrorKind::NotFound,
            Errno::PERM | Errno::ACCESS | Errno::ROFS => ErrorKind::Denied,
            Errno::NOSYS | Errno::NOTTY | Errno::OPNOTSUPP | Errno::NODEV => ErrorKind::Unsupported,
            _ => ErrorKind::Hypervisor,
        }
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.call, io::Error::from(self.errno))
    }
}

impl std::error::Error for CallError {}

#[cfg(test)]
mod tests {
    use crossvm_core::Error;

    use super::*;

    #[test]
    fn an_error_names_the_call_and_the_errno() {
        let error = CallError::new(Call::CreateSlot, Errno::EXIST);
        assert_eq!(error.to_string(), "KVM_SET_USER_MEMORY_REGION: File exists (os error 17)");
        assert_eq!((error.call(), error.errno()), (Call::CreateSlot, 17));
    }

    #[test]
    fn generic_code_learns_the_kind() {
        let kind = |call, errno| CallError::new(call, errno).kind();
        assert_eq!(kind(Call::CreateSlot, Errno::EXIST), ErrorKind::Overlap);
        assert_eq!(kind(Call::CreateSlot, Errno::NOMEM), ErrorKind::Exhausted);
        assert_eq!(kind(Call::CreateSlot, Errno::INVAL), ErrorKind::OutOfRange);
        assert_eq!(kind(Call::AssignIoeventfd, Errno::NOSPC), ErrorKind::Exhausted);
        assert_eq!(kind(Call::SignalMsi, Errno::INVAL), ErrorKind::Hypervisor);
        assert_eq!(kind(Call::OpenKvm, Errno::ACCESS), ErrorKind::Denied);
        assert_eq!(kind(Call::OpenKvm, Errno::NOENT), ErrorKind::NotFound);
        assert_eq!(kind(Call::EnableCap, Errno::NOTTY), ErrorKind::Unsupported);
    }
}
