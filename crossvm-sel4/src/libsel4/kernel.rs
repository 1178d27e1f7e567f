//! [`Kernel`] on libsel4.

use super::{Libsel4, done, mapped, raw};
use crate::kernel::{Attributes, Badge, CPtr, CapRights, Kernel, KernelError, Label, Message, Object, Received, Space};

impl Kernel for Libsel4 {
    fn signal(&self, notification: CPtr) {
        raw::crossvm_signal(notification.raw());
    }

    fn wait(&self, notification: CPtr) -> Badge {
        Badge::new(raw::crossvm_wait(notification.raw()))
    }

    fn poll(&self, notification: CPtr) -> Badge {
        Badge::new(raw::crossvm_poll(notification.raw()))
    }

    fn copy(&self, from: CPtr, to: CPtr, rights: CapRights) -> Result<(), KernelError> {
        done(raw::crossvm_copy(self.cspace.raw(), from.raw(), to.raw(), bits(rights)))
    }

    fn mint(&self, from: CPtr, to: CPtr, rights: CapRights, badge: Badge) -> Result<(), KernelError> {
        done(raw::crossvm_mint(self.cspace.raw(), from.raw(), to.raw(), bits(rights), badge.value()))
    }

    fn delete(&self, slot: CPtr) -> Result<(), KernelError> {
        done(raw::crossvm_delete(self.cspace.raw(), slot.raw()))
    }

    fn revoke(&self, slot: CPtr) -> Result<(), KernelError> {
        done(raw::crossvm_revoke(self.cspace.raw(), slot.raw()))
    }

    fn retype(&self, untyped: CPtr, object: Object, to: CPtr) -> Result<(), KernelError> {
        let (kind, size) = described(object);
        done(raw::crossvm_retype(self.cspace.raw(), untyped.raw(), kind, size, to.raw()))
    }

    fn badge_bits(&self) -> u8 {
        u8::try_from(raw::crossvm_badge_bits()).unwrap_or(0)
    }

    fn object_bits(&self, object: Object) -> u8 {
        let (kind, size) = described(object);
        u8::try_from(raw::crossvm_object_bits(kind, size)).unwrap_or(0)
    }

    fn map_frame(&self, frame: CPtr, space: Space, at: u64, rights: CapRights, attributes: Attributes) -> Result<(), KernelError> {
        let attribute = match attributes {
            Attributes::Memory => 0,
            Attributes::Code => 1,
            Attributes::Device => 2,
        };
        let (root, ept) = rooted(space);
        let mut missing = 0;
        let error = raw::crossvm_map_frame(frame.raw(), root, ept, at, bits(rights), attribute, &mut missing);
        mapped(error, missing)
    }

    fn unmap_frame(&self, frame: CPtr) -> Result<(), KernelError> {
        done(raw::crossvm_unmap_frame(frame.raw()))
    }

    fn frame_address(&self, frame: CPtr) -> Result<u64, KernelError> {
        let mut address = 0;
        done(raw::crossvm_frame_address(frame.raw(), &mut address)).map(|()| address)
    }

    fn map_table(&self, table: CPtr, bits: u8, space: Space, at: u64) -> Result<(), KernelError> {
        let (root, ept) = rooted(space);
        let mut missing = 0;
        let error = raw::crossvm_map_table(table.raw(), u64::from(bits), root, ept, at, &mut missing);
        mapped(error, missing)
    }

    fn unmap_table(&self, table: CPtr, bits: u8, space: Space) -> Result<(), KernelError> {
        done(raw::crossvm_unmap_table(table.raw(), u64::from(bits), rooted(space).1))
    }

    fn assign_asid(&self, pool: CPtr, root: CPtr) -> Result<(), KernelError> {
        done(raw::crossvm_assign_asid(pool.raw(), root.raw()))
    }

    fn receive(&self, endpoint: CPtr) -> Received {
        let mut message = raw::RawMessage::default();
        raw::crossvm_receive(endpoint.raw(), 1, &mut message);
        received(&message)
    }

    fn try_receive(&self, endpoint: CPtr) -> Option<Received> {
        let mut message = raw::RawMessage::default();
        raw::crossvm_receive(endpoint.raw(), 0, &mut message);
        (message.kind != raw::kind::NONE).then(|| received(&message))
    }

    fn reply(&self, answer: &Message) {
        let label = match answer.label {
            Label::User(label) | Label::Other(label) => label,
            _ => 0,
        };
        // SAFETY: the pointer and the length are those of one slice, which the call only reads.
        unsafe { raw::crossvm_reply(label, answer.words.as_ptr(), answer.words.len() as u64) };
    }
}

pub(super) fn bits(rights: CapRights) -> u64 {
    [(rights.read, raw::RIGHT_READ), (rights.write, raw::RIGHT_WRITE), (rights.grant, raw::RIGHT_GRANT)]
        .into_iter()
        .filter(|(has, _)| *has)
        .fold(0, |bits, (_, bit)| bits | bit)
}

fn rooted(space: Space) -> (u64, u64) {
    (space.root().raw(), u64::from(matches!(space, Space::Ept(_))))
}

/// An object's number in `enum object_kind` of `shim/kernel.h`, and its size where it has one.
fn described(object: Object) -> (u64, u64) {
    match object {
        Object::Untyped(bits) => (0, u64::from(bits)),
        Object::Endpoint => (1, 0),
        Object::Notification => (2, 0),
        Object::Tcb => (3, 0),
        Object::CNode(bits) => (4, u64::from(bits)),
        Object::SmallFrame => (5, 0),
        Object::LargeFrame => (6, 0),
        Object::HugeFrame => (7, 0),
        Object::VSpace => (8, 0),
        Object::Table(bits) => (9, u64::from(bits)),
        Object::EptRoot => (10, 0),
        Object::EptTable(bits) => (11, u64::from(bits)),
        Object::Vcpu => (12, 0),
    }
}

fn received(message: &raw::RawMessage) -> Received {
    let label = match message.kind {
        raw::kind::SIGNAL | raw::kind::USER => Label::User(message.label),
        raw::kind::CAP_FAULT => Label::CapFault,
        raw::kind::UNKNOWN_SYSCALL => Label::UnknownSyscall,
        raw::kind::USER_EXCEPTION => Label::UserException,
        raw::kind::VM_FAULT => Label::VmFault,
        raw::kind::VGIC_MAINTENANCE => Label::VgicMaintenance,
        raw::kind::VCPU_FAULT => Label::VcpuFault,
        raw::kind::VPPI_EVENT => Label::VppiEvent,
        _ => Label::Other(message.label),
    };
    Received { badge: Badge::new(message.badge), message: Message { label, words: first(&message.words, message.length) } }
}

/// The first `length` of words.
pub(super) fn first<const N: usize>(words: &[u64; N], length: u64) -> heapless::Vec<u64, N> {
    words.iter().copied().take(usize::try_from(length).unwrap_or(0)).collect()
}
