//! Virtual CPUs, of Arm and of x86.

use std::collections::{BTreeMap, BTreeSet};

use crossvm_sel4::kernel::VirtualInterrupt;

/// A list register of an Arm vCPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ListRegister {
    /// It is free.
    #[default]
    Empty,
    /// The guest has not taken the interrupt yet.
    Pending(VirtualInterrupt),
    /// The guest has taken the interrupt, and not ended it.
    Active(VirtualInterrupt),
}

/// List registers of the simulated Arm kernels.
pub const LIST_REGISTERS: usize = 4;

/// A vCPU, of whichever kind.
#[derive(Debug, Default)]
pub(super) struct Vcpu {
    pub(super) thread: Option<u64>,
    /// Arm: the list registers.
    pub(super) list: [ListRegister; LIST_REGISTERS],
    /// Arm: the private interrupts that do not come until they are acknowledged.
    pub(super) masked: BTreeSet<u64>,
    /// Registers of Arm's system, or fields of the VMCS.
    pub(super) registers: BTreeMap<u64, u64>,
    /// x86: the guest's general registers.
    pub(super) general: Vec<u64>,
}
