//! Objects and mappings, which differ between architectures.

use crossvm_sel4::kernel::{Object, Space};
use sel4::sys::{seL4_Error, seL4_IPCBuffer};
use sel4::{CapRights, ObjectBlueprint, VmAttributes};

/// How rust-sel4 names an object, if the kernel has it.
pub(crate) fn blueprint(object: Object) -> Option<ObjectBlueprint> {
    match object {
        Object::Untyped(bits) => Some(ObjectBlueprint::Untyped { size_bits: bits.into() }),
        Object::Endpoint => Some(ObjectBlueprint::Endpoint),
        Object::Notification => Some(ObjectBlueprint::Notification),
        Object::Tcb => Some(ObjectBlueprint::Tcb),
        Object::CNode(bits) => Some(ObjectBlueprint::CNode { size_bits: bits.into() }),
        _ => arch::blueprint(object),
    }
}

pub(crate) use arch::{map_frame, map_table, unmap_table};

#[cfg(target_arch = "aarch64")]
mod arch {
    use sel4::{ObjectBlueprintAArch64, ObjectBlueprintArm};

    use super::{CapRights, Object, ObjectBlueprint, Space, VmAttributes, seL4_Error, seL4_IPCBuffer};

    pub(super) fn blueprint(object: Object) -> Option<ObjectBlueprint> {
        Some(match object {
            Object::SmallFrame => ObjectBlueprintArm::SmallPage.into(),
            Object::LargeFrame => ObjectBlueprintArm::LargePage.into(),
            Object::HugeFrame => ObjectBlueprintAArch64::HugePage.into(),
            Object::VSpace => ObjectBlueprintAArch64::VSpace.into(),
            // Tables of all levels are one type.
            Object::Table(21 | 30 | 39) => ObjectBlueprintArm::PT.into(),
            Object::Vcpu => ObjectBlueprintArm::VCpu.into(),
            _ => return None,
        })
    }

    pub(crate) fn map_frame(
        buffer: &mut seL4_IPCBuffer,
        frame: u64,
        space: Space,
        at: u64,
        rights: CapRights,
        attributes: VmAttributes,
    ) -> seL4_Error::Type {
        match space {
            Space::Virtual(root) => buffer.seL4_ARM_Page_Map(frame, root.raw(), at, rights.into_inner(), attributes.into_inner()),
            Space::Ept(_) => seL4_Error::seL4_InvalidArgument,
        }
    }

    pub(crate) fn map_table(
        buffer: &mut seL4_IPCBuffer,
        table: u64,
        _: u8,
        space: Space,
        at: u64,
        attributes: VmAttributes,
    ) -> seL4_Error::Type {
        match space {
            Space::Virtual(root) => buffer.seL4_ARM_PageTable_Map(table, root.raw(), at, attributes.into_inner()),
            Space::Ept(_) => seL4_Error::seL4_InvalidArgument,
        }
    }

    pub(crate) fn unmap_table(buffer: &mut seL4_IPCBuffer, table: u64, _: u8, space: Space) -> seL4_Error::Type {
        match space {
            Space::Virtual(_) => buffer.seL4_ARM_PageTable_Unmap(table),
            Space::Ept(_) => seL4_Error::seL4_InvalidArgument,
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod arch {
    use sel4::{ObjectBlueprintX64, ObjectBlueprintX86};

    use super::{CapRights, Object, ObjectBlueprint, Space, VmAttributes, seL4_Error, seL4_IPCBuffer};

    pub(super) fn blueprint(object: Object) -> Option<ObjectBlueprint> {
        Some(match object {
            Object::SmallFrame => ObjectBlueprintX86::_4k.into(),
            Object::LargeFrame => ObjectBlueprintX86::LargePage.into(),
            Object::HugeFrame => return huge_frame(),
            Object::VSpace => ObjectBlueprintX64::PML4.into(),
            Object::Table(21) => ObjectBlueprintX86::PageTable.into(),
            Object::Table(30) => ObjectBlueprintX86::PageDirectory.into(),
            Object::Table(39) => ObjectBlueprintX64::PDPT.into(),
            _ => return vtx::blueprint(object),
        })
    }

    #[sel4::sel4_cfg(HUGE_PAGE)]
    #[allow(clippy::unnecessary_wraps)]
    fn huge_frame() -> Option<ObjectBlueprint> {
        Some(ObjectBlueprintX64::HugePage.into())
    }

    #[sel4::sel4_cfg(not(HUGE_PAGE))]
    fn huge_frame() -> Option<ObjectBlueprint> {
        None
    }

    pub(crate) fn map_frame(
        buffer: &mut seL4_IPCBuffer,
        frame: u64,
        space: Space,
        at: u64,
        rights: CapRights,
        attributes: VmAttributes,
    ) -> seL4_Error::Type {
        match space {
            Space::Virtual(root) => buffer.seL4_X86_Page_Map(frame, root.raw(), at, rights.into_inner(), attributes.into_inner()),
            Space::Ept(root) => vtx::map_frame(buffer, frame, root.raw(), at, rights, attributes),
        }
    }

    pub(crate) fn map_table(
        buffer: &mut seL4_IPCBuffer,
        table: u64,
        bits: u8,
        space: Space,
        at: u64,
        attributes: VmAttributes,
    ) -> seL4_Error::Type {
        let attributes = attributes.into_inner();
        match (space, bits) {
            (Space::Virtual(root), 21) => buffer.seL4_X86_PageTable_Map(table, root.raw(), at, attributes),
            (Space::Virtual(root), 30) => buffer.seL4_X86_PageDirectory_Map(table, root.raw(), at, attributes),
            (Space::Virtual(root), 39) => buffer.seL4_X86_PDPT_Map(table, root.raw(), at, attributes),
            (Space::Ept(root), bits) => vtx::map_table(buffer, table, bits, root.raw(), at, attributes),
            (Space::Virtual(_), _) => seL4_Error::seL4_InvalidArgument,
        }
    }

    pub(crate) fn unmap_table(buffer: &mut seL4_IPCBuffer, table: u64, bits: u8, space: Space) -> seL4_Error::Type {
        match (space, bits) {
            (Space::Virtual(_), 21) => buffer.seL4_X86_PageTable_Unmap(table),
            (Space::Virtual(_), 30) => buffer.seL4_X86_PageDirectory_Unmap(table),
            (Space::Virtual(_), 39) => buffer.seL4_X86_PDPT_Unmap(table),
            (Space::Ept(_), bits) => vtx::unmap_table(buffer, table, bits),
            (Space::Virtual(_), _) => seL4_Error::seL4_InvalidArgument,
        }
    }

    #[sel4::sel4_cfg(VTX)]
    mod vtx {
        use super::*;

        pub(super) fn blueprint(object: Object) -> Option<ObjectBlueprint> {
            Some(match object {
                Object::EptRoot => ObjectBlueprintX64::EPTPML4.into(),
                Object::EptTable(21) => ObjectBlueprintX86::EPTPageTable.into(),
                Object::EptTable(30) => ObjectBlueprintX86::EPTPageDirectory.into(),
                Object::EptTable(39) => ObjectBlueprintX64::EPTPDPT.into(),
                Object::Vcpu => ObjectBlueprintX86::VCpu.into(),
                _ => return None,
            })
        }

        pub(super) fn map_frame(
            buffer: &mut seL4_IPCBuffer,
            frame: u64,
            root: u64,
            at: u64,
            rights: CapRights,
            attributes: VmAttributes,
        ) -> seL4_Error::Type {
            buffer.seL4_X86_Page_MapEPT(frame, root, at, rights.into_inner(), attributes.into_inner())
        }

        pub(super) fn map_table(
            buffer: &mut seL4_IPCBuffer,
            table: u64,
            bits: u8,
            root: u64,
            at: u64,
            attributes: u64,
        ) -> seL4_Error::Type {
            match bits {
                21 => buffer.seL4_X86_EPTPT_Map(table, root, at, attributes),
                30 => buffer.seL4_X86_EPTPD_Map(table, root, at, attributes),
                39 => buffer.seL4_X86_EPTPDPT_Map(table, root, at, attributes),
                _ => seL4_Error::seL4_InvalidArgument,
            }
        }

        pub(super) fn unmap_table(buffer: &mut seL4_IPCBuffer, table: u64, bits: u8) -> seL4_Error::Type {
            match bits {
                21 => buffer.seL4_X86_EPTPT_Unmap(table),
                30 => buffer.seL4_X86_EPTPD_Unmap(table),
                39 => buffer.seL4_X86_EPTPDPT_Unmap(table),
                _ => seL4_Error::seL4_InvalidArgument,
            }
        }
    }

    /// A kernel without VT-x has none of it.
    #[sel4::sel4_cfg(not(VTX))]
    mod vtx {
        use super::*;

        pub(super) fn blueprint(_: Object) -> Option<ObjectBlueprint> {
            None
        }

        pub(super) fn map_frame(_: &mut seL4_IPCBuffer, _: u64, _: u64, _: u64, _: CapRights, _: VmAttributes) -> seL4_Error::Type {
            seL4_Error::seL4_InvalidArgument
        }

        pub(super) fn map_table(_: &mut seL4_IPCBuffer, _: u64, _: u8, _: u64, _: u64, _: u64) -> seL4_Error::Type {
            seL4_Error::seL4_InvalidArgument
        }

        pub(super) fn unmap_table(_: &mut seL4_IPCBuffer, _: u64, _: u8) -> seL4_Error::Type {
            seL4_Error::seL4_InvalidArgument
        }
    }
}
