//! Slots, and which capability was derived from which.
//!
//! The kernel keeps all capabilities in lists in which what was derived from a capability follows it; whether a capability is the parent of the
//! next one, and whether it is an object's last, is seen from the neighbours.

use std::collections::BTreeMap;

use super::cap::{Cap, Kind};

/// A slot: of the VMM's CSpace, or one of the three in which a thread holds what it was configured with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum SlotId {
    Own(u64),
    Thread(u64, ThreadSlot),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ThreadSlot {
    CSpace,
    VSpace,
    IpcBuffer,
}

impl ThreadSlot {
    pub(super) const ALL: [Self; 3] = [Self::CSpace, Self::VSpace, Self::IpcBuffer];
}

#[derive(Debug)]
struct Slot {
    cap: Cap,
    /// Whether it can be the parent of what follows.
    revocable: bool,
    /// Whether it is the first with its badge.
    first_badged: bool,
}

#[derive(Debug, Default)]
pub(super) struct Tree {
    slots: BTreeMap<SlotId, Slot>,
    /// All slots in use, each behind what it was derived from.
    order: Vec<SlotId>,
}

impl Tree {
    pub(super) fn get(&self, slot: SlotId) -> Option<&Cap> {
        self.slots.get(&slot).map(|slot| &slot.cap)
    }

    pub(super) fn get_mut(&mut self, slot: SlotId) -> Option<&mut Cap> {
        self.slots.get_mut(&slot).map(|slot| &mut slot.cap)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (SlotId, &Cap)> {
        self.order.iter().map(|id| (*id, &self.slots[id].cap))
    }

    fn position(&self, slot: SlotId) -> usize {
        self.order.iter().position(|id| *id == slot).expect("a slot in use is in the order")
    }

    fn next(&self, slot: SlotId) -> Option<SlotId> {
        self.order.get(self.position(slot) + 1).copied()
    }

    /// Puts a capability that has no parent into an empty slot.
    pub(super) fn insert_root(&mut self, to: SlotId, cap: Cap) {
        self.slots.insert(to, Slot { cap, revocable: true, first_badged: true });
        self.order.push(to);
    }

    /// Puts the first capability of a new object into an empty slot, as child of the untyped memory it was made from.
    pub(super) fn insert_new(&mut self, parent: SlotId, to: SlotId, cap: Cap) {
        let at = self.position(parent) + 1;
        self.slots.insert(to, Slot { cap, revocable: true, first_badged: true });
        self.order.insert(at, to);
    }

    /// Puts a capability that was derived from the one in `from` into an empty slot.
    pub(super) fn insert_derived(&mut self, from: SlotId, to: SlotId, cap: Cap) {
        let source = self.slots[&from].cap;
        let revocable = match cap.kind {
            Kind::Endpoint(_) | Kind::Notification(_) => cap.badge() != source.badge(),
            Kind::Untyped { .. } => true,
            _ => false,
        };
        // Of untyped memory only the newest capability makes objects.
        if let (Kind::Untyped { free }, Kind::Untyped { .. }) =
            (&mut self.slots.get_mut(&from).expect("the source is there").cap.kind, cap.kind)
        {
            *free = 1 << cap.bits;
        }
        let at = self.position(from) + 1;
        self.slots.insert(to, Slot { cap, revocable, first_badged: revocable });
        self.order.insert(at, to);
    }

    /// Empties a slot.
    pub(super) fn remove(&mut self, slot: SlotId) {
        let next = self.next(slot);
        let at = self.position(slot);
        self.order.remove(at);
        let removed = self.slots.remove(&slot).expect("a slot in the order is in use");
        if let Some(next) = next.and_then(|next| self.slots.get_mut(&next)) {
            next.first_badged |= removed.first_badged;
        }
    }

    fn is_parent(&self, parent: SlotId, child: SlotId) -> bool {
        let (parent, child) = (&self.slots[&parent], &self.slots[&child]);
        if !parent.revocable || !parent.cap.same_region(&child.cap) {
            return false;
        }
        match parent.cap.badge() {
            None | Some(0) => true,
            badge => badge == child.cap.badge() && !child.first_badged,
        }
    }

    /// The next capability, if it was made from that in `slot`.
    pub(super) fn first_child(&self, slot: SlotId) -> Option<SlotId> {
        self.next(slot).filter(|next| self.is_parent(slot, *next))
    }

    /// Whether it is the last capability of its object.
    pub(super) fn is_final(&self, slot: SlotId) -> bool {
        let at = self.position(slot);
        let cap = &self.slots[&slot].cap;
        let previous = at.checked_sub(1).map(|at| &self.slots[&self.order[at]].cap);
        let next = self.order.get(at + 1).map(|id| &self.slots[id].cap);
        !previous.is_some_and(|previous| previous.same_object(cap)) && !next.is_some_and(|next| cap.same_object(next))
    }
}
