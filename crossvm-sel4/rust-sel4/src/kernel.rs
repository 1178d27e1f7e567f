//! [`Kernel`] on rust-sel4.

use crossvm_sel4::kernel::{
    Attributes, Badge, CPtr, CapRights, Code, Kernel, KernelError, Label, MESSAGE_WORDS, Message, Object, Received, Space,
};
use sel4::VmAttributes;
use sel4::sys::{seL4_Fault_tag, seL4_IPCBuffer};

use crate::{RustSel4, ask, invoke, object, raw};

/// Bits of a capability's address: all of a word.
const DEPTH: u8 = 64;

impl Kernel for RustSel4 {
    fn signal(&self, notification: CPtr) {
        sel4::cap::Notification::from_bits(notification.raw()).signal();
    }

    fn wait(&self, notification: CPtr) -> Badge {
        let ((), badge) = sel4::cap::Notification::from_bits(notification.raw()).wait();
        Badge::new(badge)
    }

    fn poll(&self, notification: CPtr) -> Badge {
        let (_, badge) = sel4::cap::Notification::from_bits(notification.raw()).poll();
        Badge::new(badge)
    }

    fn copy(&self, from: CPtr, to: CPtr, rights: CapRights) -> Result<(), KernelError> {
        let cspace = self.cspace.bits();
        invoke(|buffer| buffer.seL4_CNode_Copy(cspace, to.raw(), DEPTH, cspace, from.raw(), DEPTH, rights_of(rights).into_inner()))
    }

    fn mint(&self, from: CPtr, to: CPtr, rights: CapRights, badge: Badge) -> Result<(), KernelError> {
        let cspace = self.cspace.bits();
        let rights = rights_of(rights).into_inner();
        invoke(|buffer| buffer.seL4_CNode_Mint(cspace, to.raw(), DEPTH, cspace, from.raw(), DEPTH, rights, badge.value()))
    }

    fn delete(&self, slot: CPtr) -> Result<(), KernelError> {
        invoke(|buffer| buffer.seL4_CNode_Delete(self.cspace.bits(), slot.raw(), DEPTH))
    }

    fn revoke(&self, slot: CPtr) -> Result<(), KernelError> {
        invoke(|buffer| buffer.seL4_CNode_Revoke(self.cspace.bits(), slot.raw(), DEPTH))
    }

    fn retype(&self, untyped: CPtr, object: Object, to: CPtr) -> Result<(), KernelError> {
        let blueprint = object::blueprint(object).ok_or(Code::InvalidArgument)?;
        let size = blueprint.api_size_bits().unwrap_or(0) as u64;
        let kind = u64::from(blueprint.ty().into_sys());
        // Index and depth 0 name the root of the CSpace itself, so `to` is a slot of it.
        invoke(|buffer| buffer.seL4_Untyped_Retype(untyped.raw(), kind, size, self.cspace.bits(), 0, 0, to.raw(), 1))
    }

    fn object_bits(&self, object: Object) -> u8 {
        object::blueprint(object).and_then(|blueprint| u8::try_from(blueprint.physical_size_bits()).ok()).unwrap_or(0)
    }

    fn map_frame(&self, frame: CPtr, space: Space, at: u64, rights: CapRights, attributes: Attributes) -> Result<(), KernelError> {
        invoke(|buffer| object::map_frame(buffer, frame.raw(), space, at, rights_of(rights), attributes_of(attributes, space)))
    }

    fn unmap_frame(&self, frame: CPtr) -> Result<(), KernelError> {
        #[cfg(target_arch = "aarch64")]
        let call = |buffer: &mut seL4_IPCBuffer| buffer.seL4_ARM_Page_Unmap(frame.raw());
        #[cfg(target_arch = "x86_64")]
        let call = |buffer: &mut seL4_IPCBuffer| buffer.seL4_X86_Page_Unmap(frame.raw());
        invoke(call)
    }

    fn frame_address(&self, frame: CPtr) -> Result<u64, KernelError> {
        ask(|buffer| {
            #[cfg(target_arch = "aarch64")]
            let found = buffer.seL4_ARM_Page_GetAddress(frame.raw());
            #[cfg(target_arch = "x86_64")]
            let found = buffer.seL4_X86_Page_GetAddress(frame.raw());
            (found.error, found.paddr)
        })
    }

    fn map_table(&self, table: CPtr, bits: u8, space: Space, at: u64) -> Result<(), KernelError> {
        let attributes = attributes_of(Attributes::Code, space);
        invoke(|buffer| object::map_table(buffer, table.raw(), bits, space, at, attributes))
    }

    fn unmap_table(&self, table: CPtr, bits: u8, space: Space) -> Result<(), KernelError> {
        invoke(|buffer| object::unmap_table(buffer, table.raw(), bits, space))
    }

    fn assign_asid(&self, pool: CPtr, root: CPtr) -> Result<(), KernelError> {
        #[cfg(target_arch = "aarch64")]
        let call = |buffer: &mut seL4_IPCBuffer| buffer.seL4_ARM_ASIDPool_Assign(pool.raw(), root.raw());
        #[cfg(target_arch = "x86_64")]
        let call = |buffer: &mut seL4_IPCBuffer| buffer.seL4_X86_ASIDPool_Assign(pool.raw(), root.raw());
        invoke(call)
    }

    fn receive(&self, endpoint: CPtr) -> Received {
        received(&raw::receive(endpoint.raw(), true))
    }

    fn try_receive(&self, endpoint: CPtr) -> Option<Received> {
        let raw = raw::receive(endpoint.raw(), false);
        (raw.info.is_some() || raw.badge != 0).then(|| received(&raw))
    }

    fn reply(&self, answer: &Message) {
        let label = match answer.label {
            Label::User(label) | Label::Other(label) => label,
            _ => 0,
        };
        sel4::with_ipc_buffer_mut(|buffer| {
            for (register, word) in buffer.msg_regs_mut().iter_mut().zip(&answer.words) {
                *register = *word;
            }
            sel4::reply(buffer, sel4::MessageInfo::new(label, 0, 0, answer.words.len()));
        });
    }
}

fn received(raw: &raw::Raw) -> Received {
    let badge = Badge::new(raw.badge);
    let Some((label, length)) = raw.info else { return Received { badge, message: Message::empty() } };
    let words = sel4::with_ipc_buffer(|buffer| {
        let rest = buffer.msg_regs().iter().skip(raw.words.len());
        raw.words.iter().chain(rest).copied().take(length.min(MESSAGE_WORDS)).collect()
    });
    Received { badge, message: Message { label: label_of(label), words } }
}

/// The words of a [`Label::VmFault`] come in the order of [`Label::VM_FAULT_IP`] and so on.
fn label_of(label: u64) -> Label {
    match label {
        seL4_Fault_tag::seL4_Fault_CapFault => Label::CapFault,
        seL4_Fault_tag::seL4_Fault_UnknownSyscall => Label::UnknownSyscall,
        seL4_Fault_tag::seL4_Fault_UserException => Label::UserException,
        seL4_Fault_tag::seL4_Fault_VMFault => Label::VmFault,
        #[cfg(target_arch = "aarch64")]
        seL4_Fault_tag::seL4_Fault_VGICMaintenance => Label::VgicMaintenance,
        #[cfg(target_arch = "aarch64")]
        seL4_Fault_tag::seL4_Fault_VCPUFault => Label::VcpuFault,
        #[cfg(target_arch = "aarch64")]
        seL4_Fault_tag::seL4_Fault_VPPIEvent => Label::VppiEvent,
        _ => Label::User(label),
    }
}

fn rights_of(rights: CapRights) -> sel4::CapRights {
    sel4::CapRights::new(rights.grant, rights.grant, rights.read, rights.write)
}

#[cfg(target_arch = "aarch64")]
fn attributes_of(attributes: Attributes, _: Space) -> VmAttributes {
    match attributes {
        Attributes::Memory => VmAttributes::DEFAULT | VmAttributes::EXECUTE_NEVER,
        Attributes::Code => VmAttributes::DEFAULT,
        Attributes::Device => VmAttributes::EXECUTE_NEVER,
    }
}

#[cfg(target_arch = "x86_64")]
fn attributes_of(attributes: Attributes, space: Space) -> VmAttributes {
    match (space, attributes) {
        (Space::Ept(_), Attributes::Device) => VmAttributes::from_inner(0),
        // Write-back in the numbers of an EPT (Intel SDM 30.3.7.2).
        (Space::Ept(_), _) => VmAttributes::from_inner(6),
        (Space::Virtual(_), Attributes::Device) => VmAttributes::from_inner(sel4::sys::seL4_X86_VMAttributes::seL4_X86_Uncacheable),
        (Space::Virtual(_), _) => VmAttributes::DEFAULT,
    }
}
