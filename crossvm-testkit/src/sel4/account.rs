//! What is in use, to compare before and after.

use crossvm_sel4::kernel::{CPtr, Space};

use super::SimKernel;
use super::cap::{Kind, VmRights};
use super::tree::SlotId;

/// What the VMM has in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Its slots in use.
    pub slots: usize,
    /// Its capabilities of untyped memory, and the bytes that each can still give.
    pub untyped: Vec<(CPtr, u64)>,
}

impl Account {
    /// The bytes that all untyped memory together can still give.
    #[must_use]
    pub fn free_bytes(&self) -> u64 {
        self.untyped.iter().map(|(_, bytes)| bytes).sum()
    }
}

/// A frame that is mapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mapping {
    /// Where.
    pub at: u64,
    /// Its size in bytes.
    pub bytes: u64,
    /// Its physical address.
    pub physical: u64,
    /// Whether it can be loaded.
    pub load: bool,
    /// Whether it can be stored.
    pub store: bool,
}

impl SimKernel {
    /// What the VMM has in use.
    #[must_use]
    pub fn account(&self) -> Account {
        let state = self.state();
        let mut account = Account { slots: 0, untyped: Vec::new() };
        for (slot, cap) in state.tree.iter() {
            let SlotId::Own(number) = slot else { continue };
            account.slots += 1;
            if let Kind::Untyped { .. } = cap.kind {
                account.untyped.push((CPtr::new(number), state.free(slot, cap)));
            }
        }
        account.untyped.sort();
        account
    }

    /// Whether a slot is empty.
    #[must_use]
    pub fn is_empty(&self, slot: CPtr) -> bool {
        self.state().tree.get(SlotId::Own(slot.raw())).is_none()
    }

    /// What is mapped in an address space, lowest address first.
    ///
    /// # Panics
    /// Where `space` is none.
    #[must_use]
    pub fn mappings(&self, space: Space) -> Vec<Mapping> {
        let state = self.state();
        let (root, ept) = state.root_of(space);
        let leaves = state.spaces.leaves(root).into_iter();
        let whole = |rights| rights == VmRights::ReadWrite || (ept && rights == VmRights::KernelOnly);
        leaves
            .map(|(at, leaf)| Mapping {
                at,
                bytes: 1 << leaf.bits,
                physical: leaf.base,
                load: whole(leaf.rights) || leaf.rights == VmRights::Read,
                store: whole(leaf.rights),
            })
            .collect()
    }
}
