//! Whether this machine's KVM can serve connections, and real guests.

#[cfg(target_arch = "x86_64")]
mod guest;

use std::fmt;

use kvm_ioctls::{Cap, Kvm};

use crate::error::{Call, CallError};

#[cfg(target_arch = "x86_64")]
pub use guest::{GuestReport, probe_guest};

/// The version of KVM's interface, which has not changed since Linux 2.6.22.
const API_VERSION: i32 = 12;

/// What connections need of KVM, by its name and what for.
const NEEDED: &[(Cap, &str, &str)] = &[
    (Cap::UserMemory, "KVM_CAP_USER_MEMORY", "memory slots"),
    (Cap::ReadonlyMem, "KVM_CAP_READONLY_MEM", "event registers that the guest only reads"),
    (Cap::Irqchip, "KVM_CAP_IRQCHIP", "an interrupt controller in the kernel"),
    (Cap::Ioeventfd, "KVM_CAP_IOEVENTFD", "EMIT without an exit"),
    (Cap::Irqfd, "KVM_CAP_IRQFD", "eventfds that interrupt"),
    (Cap::ImmediateExit, "KVM_CAP_IMMEDIATE_EXIT", "breaking into a vCPU without a race"),
];

/// What this architecture needs besides.
#[cfg(target_arch = "x86_64")]
const NEEDED_HERE: &[(Cap, &str, &str)] = &[
    (Cap::SignalMsi, "KVM_CAP_SIGNAL_MSI", "MSI-X"),
    (Cap::IrqRouting, "KVM_CAP_IRQ_ROUTING", "routes of interrupt lines"),
    (Cap::SplitIrqchip, "KVM_CAP_SPLIT_IRQCHIP", "the IOAPIC in user space"),
    (Cap::IrqfdResample, "KVM_CAP_IRQFD_RESAMPLE", "level-triggered eventfds"),
];
#[cfg(not(target_arch = "x86_64"))]
const NEEDED_HERE: &[(Cap, &str, &str)] =
    &[(Cap::DeviceCtrl, "KVM_CAP_DEVICE_CTRL", "the vGIC"), (Cap::OneReg, "KVM_CAP_ONE_REG", "a vCPU's registers")];

/// What [`probe`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Why `/dev/kvm` does not open, or no VM can be made.
    pub failure: Option<CallError>,
    /// The version of KVM's interface; `None` where it does not open.
    pub api_version: Option<i32>,
    /// The capabilities that are missing, with what each is needed for.
    pub missing: Vec<(&'static str, &'static str)>,
    /// Memory slots of a VM.
    pub slots: usize,
    /// vCPUs of a VM.
    pub vcpus: usize,
}

impl Report {
    /// Whether connections work on this KVM. It does not say that a real kernel runs in its guests: on x86, `probe_guest` does.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        self.failure.is_none() && self.api_version == Some(API_VERSION) && self.missing.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(failure) = &self.failure {
            return write!(f, "KVM cannot be used: {failure}");
        }
        match self.api_version {
            Some(API_VERSION) => {}
            other => return write!(f, "KVM cannot be used: its interface has version {}, not {API_VERSION}", other.unwrap_or(0)),
        }
        if self.missing.is_empty() {
            return write!(f, "KVM can be used: {} memory slots and up to {} vCPUs for a VM", self.slots, self.vcpus);
        }
        f.write_str("KVM cannot be used: it lacks ")?;
        for (index, (name, purpose)) in self.missing.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(f, "{separator}{name} ({purpose})")?;
        }
        Ok(())
    }
}

/// Opens `/dev/kvm`, makes a VM, and looks whether all is there that connections need.
#[must_use]
pub fn probe() -> Report {
    let mut report = Report { failure: None, api_version: None, missing: Vec::new(), slots: 0, vcpus: 0 };
    let kvm = match Kvm::new().map_err(CallError::of_ioctl(Call::OpenKvm)) {
        Ok(kvm) => kvm,
        Err(error) => {
            report.failure = Some(error);
            return report;
        }
    };
    report.api_version = Some(kvm.get_api_version());
    report.slots = kvm.get_nr_memslots();
    report.vcpus = kvm.get_max_vcpus();
    match kvm.create_vm().map_err(CallError::of_ioctl(Call::CreateVm)) {
        Ok(vm) => {
            let missing = NEEDED.iter().chain(NEEDED_HERE).filter(|(capability, ..)| !vm.check_extension(*capability));
            report.missing = missing.map(|(_, name, purpose)| (*name, *purpose)).collect();
        }
        Err(error) => report.failure = Some(error),
    }
    report
}
