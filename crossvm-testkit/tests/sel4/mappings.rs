//! Frames and translation tables.

use crossvm_sel4::kernel::{Attributes, CPtr, CapRights, Code, Kernel, KernelError, Object, Space};
use crossvm_testkit::sel4::{Arch, SimKernel, SpaceFault};

use super::{ALL, code, machine, make};

const AT: u64 = 0x4020_0000;
const SPACE: Space = Space::Virtual(SimKernel::VSPACE);

fn tables(kernel: &SimKernel, mut slot: impl FnMut() -> CPtr) {
    for bits in [39, 30, 21] {
        let table = make(kernel, Object::Table(bits), slot());
        kernel.map_table(table, bits, SPACE, AT).unwrap();
    }
}

fn map(kernel: &SimKernel, frame: CPtr, at: u64, rights: CapRights) -> Result<(), KernelError> {
    kernel.map_frame(frame, SPACE, at, rights, Attributes::Memory)
}

#[test]
fn two_capabilities_of_a_frame_map_the_same_memory_each_with_its_rights() {
    for arch in ALL {
        let (kernel, mut slot) = machine(arch);
        tables(&kernel, &mut slot);
        let frame = make(&kernel, Object::SmallFrame, slot());
        let copy = slot();
        kernel.copy(frame, copy, CapRights::READ).unwrap();
        map(&kernel, frame, AT, CapRights::READ_WRITE).unwrap();
        map(&kernel, copy, AT + 0x1000, CapRights::READ_WRITE).unwrap();
        kernel.store(SPACE, AT + 4, b"hello").unwrap();
        assert_eq!(kernel.load(SPACE, AT + 0x1004, 5).unwrap(), b"hello", "{arch:?}");
        assert_eq!(kernel.store(SPACE, AT + 0x1000, &[0]), Err(SpaceFault::ReadOnly(AT + 0x1000)), "{arch:?}");
        assert_eq!(kernel.frame_address(frame), kernel.frame_address(copy));
        kernel.unmap_frame(copy).unwrap();
        assert_eq!(kernel.unmap_frame(copy).is_ok(), arch != Arch::X86_64_5_0_0);
        assert_eq!(kernel.load(SPACE, AT + 0x1000, 1), Err(SpaceFault::NotMapped(AT + 0x1000)));
    }
}

#[test]
fn a_frame_over_another_is_refused_by_5_0_0_and_replaces_it_today() {
    for arch in ALL {
        let (kernel, mut slot) = machine(arch);
        tables(&kernel, &mut slot);
        let (first, second) = (make(&kernel, Object::SmallFrame, slot()), make(&kernel, Object::SmallFrame, slot()));
        map(&kernel, first, AT, CapRights::READ_WRITE).unwrap();
        let refused = (arch == Arch::X86_64_5_0_0).then_some(Code::DeleteFirst);
        assert_eq!(code(map(&kernel, second, AT, CapRights::READ_WRITE)), refused, "{arch:?}");
        let there = kernel.frame_address(if refused.is_some() { first } else { second }).unwrap();
        assert_eq!(kernel.mappings(SPACE)[0].physical, there);
    }
}

#[test]
fn deleting_a_copy_leaves_its_mapping_on_5_0_0_alone() {
    for arch in ALL {
        let (kernel, mut slot) = machine(arch);
        tables(&kernel, &mut slot);
        let frame = make(&kernel, Object::SmallFrame, slot());
        let copy = slot();
        kernel.copy(frame, copy, CapRights::ALL).unwrap();
        map(&kernel, copy, AT, CapRights::READ_WRITE).unwrap();
        kernel.delete(copy).unwrap();
        assert_eq!(kernel.mappings(SPACE).len(), usize::from(arch == Arch::X86_64_5_0_0), "{arch:?}");
    }
}

#[test]
fn a_table_goes_with_all_below_it() {
    for arch in ALL {
        let (kernel, mut slot) = machine(arch);
        tables(&kernel, &mut slot);
        let frame = make(&kernel, Object::SmallFrame, slot());
        map(&kernel, frame, AT, CapRights::READ).unwrap();
        let lowest = CPtr::new(frame.raw() - 1);
        kernel.unmap_table(lowest, 21, SPACE).unwrap();
        assert_eq!(kernel.load(SPACE, AT, 1), Err(SpaceFault::NotMapped(AT)));
        kernel.map_table(lowest, 21, SPACE, AT).unwrap();
        assert_eq!(kernel.load(SPACE, AT, 1), Err(SpaceFault::NotMapped(AT)), "an unmapped table is empty");
        kernel.unmap_frame(frame).unwrap();
        map(&kernel, frame, AT, CapRights::READ).unwrap();
        assert_eq!(kernel.load(SPACE, AT, 1), Ok(vec![0]), "{arch:?}");
    }
}

#[test]
fn what_is_missing_in_guest_physical_memory_5_0_0_does_not_say() {
    for (arch, missing) in [(Arch::X86_64_5_0_0, 22), (Arch::X86_64, 39)] {
        let (kernel, mut slot) = machine(arch);
        let (root, frame) = (make(&kernel, Object::EptRoot, slot()), make(&kernel, Object::SmallFrame, slot()));
        kernel.assign_asid(SimKernel::ASID_POOL, root).unwrap();
        let refused = kernel.map_frame(frame, Space::Ept(root), AT, CapRights::READ, Attributes::Memory).unwrap_err();
        assert_eq!(refused, KernelError { code: Code::FailedLookup, missing_table: Some(missing) }, "{arch:?}");
    }
}

#[test]
fn memory_is_mapped_after_its_identifier_was_assigned() {
    for arch in ALL {
        let (kernel, mut slot) = machine(arch);
        let (root, table) = (make(&kernel, Object::VSpace, slot()), make(&kernel, Object::Table(39), slot()));
        assert_eq!(code(kernel.map_table(table, 39, Space::Virtual(root), AT)), Some(Code::InvalidCapability), "{arch:?}");
        assert_eq!(code(kernel.copy(root, slot(), CapRights::ALL)), Some(Code::IllegalOperation));
        kernel.assign_asid(SimKernel::ASID_POOL, root).unwrap();
        assert_eq!(code(kernel.assign_asid(SimKernel::ASID_POOL, root)), Some(Code::InvalidCapability));
        kernel.map_table(table, 39, Space::Virtual(root), AT).unwrap();
    }
}

#[test]
fn words_of_several_pages_are_one_slice() {
    let (kernel, mut slot) = machine(Arch::X86_64);
    tables(&kernel, &mut slot);
    for page in 0..4 {
        let frame = make(&kernel, Object::SmallFrame, slot());
        map(&kernel, frame, AT + page * 0x1000, CapRights::READ_WRITE).unwrap();
    }
    let words = kernel.words(SPACE, AT, 4096).unwrap();
    words.as_ref()[4095].store(7, std::sync::atomic::Ordering::Release);
    assert_eq!(kernel.load(SPACE, AT + 0x3ffc, 1), Ok(vec![7]));
}
