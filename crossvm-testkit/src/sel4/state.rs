//! The kernel's state, and how capabilities are invoked, copied and deleted.

use std::collections::{BTreeMap, VecDeque};

use crossvm_sel4::kernel::{CPtr, CapRights, Code, KernelError, Object};

use super::arch::Arch;
use super::cap::{Cap, Kind};
use super::memory::Memory;
use super::messages::{Answer, Waiting};
use super::spaces::Spaces;
use super::thread::Thread;
use super::tree::{SlotId, ThreadSlot, Tree};
use super::vcpu::Vcpu;

/// Slots of the VMM's CSpace: 2^12.
pub(super) const SLOTS: u64 = 1 << 12;

#[derive(Debug)]
pub(super) struct State {
    pub(super) arch: Arch,
    pub(super) tree: Tree,
    pub(super) memory: Memory,
    pub(super) spaces: Spaces,
    /// Badges of notifications that are signalled.
    pub(super) signals: BTreeMap<u64, u64>,
    /// Messages that wait at endpoints.
    pub(super) messages: BTreeMap<u64, VecDeque<Waiting>>,
    pub(super) answers: Vec<Answer>,
    /// The thread whose message was received last, until it is answered.
    pub(super) caller: Option<Option<u64>>,
    pub(super) threads: BTreeMap<u64, Thread>,
    pub(super) vcpus: BTreeMap<u64, Vcpu>,
    /// The thread that makes all calls: the VMM.
    pub(super) own_thread: u64,
}

/// A capability that is invoked.
pub(super) enum Invoked {
    /// This one, in the slot.
    Cap(SlotId, Cap),
    /// A notification: the kernel takes any invocation of one for a signal, and says that all went well.
    Signalled,
}

impl State {
    /// Where a call names a slot for the kernel to look at.
    pub(super) fn slot(slot: CPtr) -> Result<SlotId, KernelError> {
        if slot.raw() < SLOTS { Ok(SlotId::Own(slot.raw())) } else { Err(Code::FailedLookup.into()) }
    }

    /// Where a call names a capability to invoke.
    ///
    /// # Panics
    /// Outside of the CSpace: the kernel does not answer that, the caller faults.
    pub(super) fn own(slot: CPtr) -> SlotId {
        assert!(slot.raw() < SLOTS, "{slot} lies outside of the CSpace: the caller faults");
        SlotId::Own(slot.raw())
    }

    /// A capability that comes with a call, if there is one.
    pub(super) fn argument(&self, slot: CPtr) -> Option<Cap> {
        self.tree.get(Self::own(slot)).copied()
    }

    /// The capability that a call invokes: what it is decides who understands the call.
    pub(super) fn invoke(&mut self, slot: CPtr, understands: impl Fn(&Kind) -> bool) -> Result<Invoked, KernelError> {
        let id = Self::own(slot);
        let Some(cap) = self.tree.get(id).copied() else { return Err(Code::InvalidCapability.into()) };
        match cap.kind {
            Kind::Endpoint(port) | Kind::Notification(port) if !port.rights.write => Err(Code::InvalidCapability.into()),
            Kind::Notification(port) => {
                *self.signals.entry(cap.base).or_insert(0) |= port.badge;
                Ok(Invoked::Signalled)
            }
            Kind::Endpoint(_) => panic!("{slot} is an endpoint: the caller waits for a receiver for ever"),
            kind if understands(&kind) => Ok(Invoked::Cap(id, cap)),
            _ => Err(Code::IllegalOperation.into()),
        }
    }

    /// What a copy of a capability is, or why there is none.
    pub(super) fn derive(&self, from: SlotId, mut cap: Cap) -> Result<Cap, KernelError> {
        match &mut cap.kind {
            Kind::Table { ept: false, covers: 39, .. } if self.arch.is_5_0_0() => {
                panic!("seL4 5.0.0 stops for good when a table of 2^39 is copied")
            }
            Kind::Untyped { .. } if self.tree.first_child(from).is_some() => Err(Code::RevokeFirst.into()),
            Kind::Table { mapped: None, .. } | Kind::Root { asid: None, .. } => Err(Code::IllegalOperation.into()),
            Kind::Frame { mapped, .. } => {
                *mapped = None;
                Ok(cap)
            }
            _ => Ok(cap),
        }
    }

    pub(super) fn copy(&mut self, from: CPtr, to: CPtr, rights: CapRights, badge: Option<u64>) -> Result<(), KernelError> {
        let to = Self::slot(to)?;
        if self.tree.get(to).is_some() {
            return Err(Code::DeleteFirst.into());
        }
        let from = Self::slot(from)?;
        let mut cap = self.tree.get(from).ok_or(Code::FailedLookup)?.masked(rights);
        if let (Some(badge), Kind::Endpoint(port) | Kind::Notification(port)) = (badge, &mut cap.kind) {
            if port.badge != 0 {
                return Err(Code::IllegalOperation.into());
            }
            port.badge = badge & self.arch.badge_mask();
        }
        let cap = self.derive(from, cap)?;
        self.tree.insert_derived(from, to, cap);
        Ok(())
    }

    pub(super) fn retype(&mut self, untyped: CPtr, object: Object, to: CPtr) -> Result<(), KernelError> {
        let Invoked::Cap(parent, cap) = self.invoke(untyped, |kind| matches!(kind, Kind::Untyped { .. }))? else { return Ok(()) };
        match object {
            Object::Untyped(bits) | Object::CNode(bits) if bits > 47 => return Err(Code::RangeError.into()),
            Object::Untyped(..4) | Object::CNode(0) => return Err(Code::InvalidArgument.into()),
            object if !self.arch.has(object) => return Err(Code::InvalidArgument.into()),
            _ => {}
        }
        let to = if to.raw() < SLOTS { SlotId::Own(to.raw()) } else { return Err(Code::RangeError.into()) };
        if self.tree.get(to).is_some() {
            return Err(Code::DeleteFirst.into());
        }
        let free = self.free(parent, &cap);
        let bits = self.arch.object_bits(object);
        if free >> bits == 0 {
            return Err(Code::NotEnoughMemory.into());
        }
        let base = (cap.base + ((1 << cap.bits) - free)).next_multiple_of(1 << bits);
        if let Some(Cap { kind: Kind::Untyped { free }, .. }) = self.tree.get_mut(parent) {
            *free = base + (1 << bits) - cap.base;
        }
        self.create(object, base, bits);
        self.tree.insert_new(parent, to, Cap::new(object, base, self.arch));
        Ok(())
    }

    /// Bytes that an untyped capability can still give: everything where nothing made from it is left.
    pub(super) fn free(&self, slot: SlotId, cap: &Cap) -> u64 {
        match cap.kind {
            Kind::Table { ept: false, covers: 39, .. } if self.arch.is_5_0_0() => {
                panic!("seL4 5.0.0 stops for good when a table of 2^39 is copied")
            }
            Kind::Untyped { .. } if self.tree.first_child(slot).is_none() => 1 << cap.bits,
            Kind::Untyped { free } => (1 << cap.bits) - free,
            _ => 0,
        }
    }

    fn create(&mut self, object: Object, base: u64, bits: u8) {
        match object {
            Object::SmallFrame | Object::LargeFrame | Object::HugeFrame => self.memory.clear(base, bits),
            Object::Tcb => {
                self.threads.insert(base, Thread::new(self.arch));
            }
            Object::Vcpu => {
                self.vcpus.insert(base, Vcpu::default());
            }
            _ => {}
        }
    }

    /// Empties a slot. What else goes with it is in [`Self::finalise`].
    pub(super) fn delete(&mut self, slot: SlotId) {
        if let Some(cap) = self.tree.get(slot).copied() {
            self.finalise(&cap, self.tree.is_final(slot));
            self.tree.remove(slot);
        }
    }

    pub(super) fn revoke(&mut self, slot: SlotId) {
        while self.tree.get(slot).is_some() {
            let Some(child) = self.tree.first_child(slot) else { break };
            self.delete(child);
        }
    }

    /// What happens to an object when a capability of it goes, its last or another.
    fn finalise(&mut self, cap: &Cap, last: bool) {
        match cap.kind {
            Kind::Frame { mapped: Some(mapped), .. } if last || !self.arch.is_5_0_0() => {
                self.spaces.unmap(mapped, cap.bits, cap.base, false);
            }
            Kind::Table { mapped, covers, .. } if last => {
                if let Some(mapped) = mapped {
                    self.spaces.unmap(mapped, covers, cap.base, true);
                }
                self.spaces.clear(cap.base);
            }
            Kind::Root { asid, .. } if last => {
                if let Some(asid) = asid {
                    self.spaces.release(asid);
                }
                self.spaces.clear(cap.base);
            }
            Kind::Endpoint(_) if last => {
                self.messages.remove(&cap.base);
            }
            Kind::Notification(_) if last => {
                self.signals.remove(&cap.base);
                for thread in self.threads.values_mut() {
                    thread.bound.take_if(|bound| *bound == cap.base);
                }
            }
            Kind::Tcb if last => {
                self.threads.remove(&cap.base);
                for vcpu in self.vcpus.values_mut() {
                    vcpu.thread.take_if(|thread| *thread == cap.base);
                }
                for held in ThreadSlot::ALL {
                    self.delete(SlotId::Thread(cap.base, held));
                }
            }
            Kind::Vcpu if last => {
                self.vcpus.remove(&cap.base);
            }
            _ => {}
        }
    }
}
