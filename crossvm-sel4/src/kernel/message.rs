//! Messages of endpoints: faults, and answers to them.

use super::Badge;

/// Words of a message that are kept: more than any fault has.
pub const MESSAGE_WORDS: usize = 32;

/// What a message is: for a fault its kind. The numbers differ between kernels, so an implementation of the kernel's trait translates them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Label {
    /// No fault: what the sender has chosen.
    User(u64),
    /// A capability that does not exist, or does not permit what it was used for.
    CapFault,
    /// A system call that the kernel does not know; on Arm a guest's HVC as well.
    UnknownSyscall,
    /// A processor exception.
    UserException,
    /// A load, store or fetch that the address space does not permit. Its words stand in [`Label::VM_FAULT_IP`] and so on.
    VmFault,
    /// An interrupt of a vCPU has ended, or a list register is free. Word 0: its index.
    VgicMaintenance,
    /// What a vCPU did that it traps for. Word 0: the syndrome (`ESR_EL2`).
    VcpuFault,
    /// A private interrupt of a vCPU, such as its timer. Word 0: its number.
    VppiEvent,
    /// Something else, by the kernel's own number.
    Other(u64),
}

impl Label {
    /// Word of a [`Label::VmFault`]: where the program was.
    pub const VM_FAULT_IP: usize = 0;
    /// Word of a [`Label::VmFault`]: the address; for a vCPU of Arm the guest-physical one.
    pub const VM_FAULT_ADDRESS: usize = 1;
    /// Word of a [`Label::VmFault`]: not 0 where it was a fetch.
    pub const VM_FAULT_FETCH: usize = 2;
    /// Word of a [`Label::VmFault`]: the fault status of the architecture (Arm: `ESR`, x86: the error code).
    pub const VM_FAULT_STATUS: usize = 3;
}

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Message {
    /// What it is.
    pub label: Label,
    /// Its words.
    pub words: heapless::Vec<u64, MESSAGE_WORDS>,
}

impl Message {
    /// An answer without words: to most faults it means that the thread goes on where it was.
    #[must_use]
    pub const fn empty() -> Self {
        Self { label: Label::User(0), words: heapless::Vec::new() }
    }

    /// Word `index`, 0 where there is none.
    #[must_use]
    pub fn word(&self, index: usize) -> u64 {
        self.words.get(index).copied().unwrap_or(0)
    }
}

/// What [`Kernel::receive`](super::Kernel::receive) has received.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Received {
    /// The badge of the sender's capability; for a signal of the bound notification, its badge.
    pub badge: Badge,
    /// The message; empty for a signal.
    pub message: Message,
}
