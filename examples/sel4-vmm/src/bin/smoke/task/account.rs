//! What a root task has, by the kernel's own account.

use core::ops::Range;

use crossvm_sel4::kernel::CPtr;
use crossvm_sel4::libsel4::Libsel4;
use sel4_vmm::task::System;

/// The slots that are counted: all that the root task uses.
const SLOTS: Range<u64> = 0..1 << 13;

/// What a root task has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Account {
    /// Slots of the root task's CSpace that are not empty, but for untyped memory: asked of the kernel, slot by slot.
    pub(crate) capabilities: u64,
    /// Untyped memory that is free, in bytes.
    pub(crate) bytes: u64,
}

impl Account {
    /// As it is now.
    pub(crate) fn of(system: System<'_>) -> Self {
        Self { capabilities: capabilities(system.kernel(), SLOTS), bytes: system.objects().borrow().free_bytes() }
    }
}

/// How many of these slots of the root task's CSpace are not empty, and no untyped memory, by the kernel's account.
pub(crate) fn capabilities(kernel: Libsel4, slots: Range<u64>) -> u64 {
    /// Capability types of the kernel (its `structures.bf`).
    const NULL: u64 = 0;
    const UNTYPED: u64 = 2;
    slots.map(|slot| u64::from(!matches!(kernel.debug_identify(CPtr::new(slot)), NULL | UNTYPED))).sum()
}
