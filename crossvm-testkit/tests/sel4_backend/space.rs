//! Guests' address spaces: what mappings take, and that they give it back.

use std::sync::atomic::Ordering;

use crossvm_core::{Dataport, Error, ErrorKind, EventPage, FrameSize, GuestAddr, GuestMemory, GuestRange, Mapping, MemoryType, Rights};
use crossvm_sel4::frame::DataportError;
use crossvm_sel4::kernel::{Attributes, CPtr, CapRights, Kernel, Object, Space};
use crossvm_sel4::vspace::{SpaceError, Table};
use crossvm_sel4::{Frame, FrameDataport, FrameKind, Objects, VSpace};
use crossvm_testkit::sel4::{Arch, SimKernel, SimWindow};
use crossvm_testkit::{RAM, WINDOW, range};

use crate::machine::{ALL, Kind, Machine, pool, root};

const SMALL: FrameSize = FrameSize::KIB_4;

fn mapping(size: FrameSize, rights: Rights) -> Mapping {
    Mapping { size, rights, memory_type: MemoryType::WriteBack }
}

/// More calls of the kernel than anything here takes.
const MANY: usize = 1000;

const RW: Mapping = Mapping { size: SMALL, rights: Rights::ReadWrite, memory_type: MemoryType::WriteBack };

fn at(offset: u64) -> GuestAddr {
    GuestAddr::new(WINDOW.0 + offset)
}

fn bytes(offset: u64, bytes: u64) -> GuestRange {
    GuestRange::new(at(offset), bytes).unwrap()
}

/// A guest with its window reserved, and some small frames.
fn machine(space: (Arch, Kind)) -> (Machine, Vec<Frame>) {
    let mut machine = Machine::new(space);
    machine.reserve(range(WINDOW)).unwrap();
    let frames = (0..5).map(|_| machine.frame(FrameKind::Small)).collect();
    (machine, frames)
}

fn kind<T>(result: Result<T, SpaceError>) -> Option<ErrorKind> {
    result.err().map(|error| error.kind())
}

#[test]
fn a_bar_that_moves_for_ever_takes_no_more_than_one_that_does_not() {
    for space in ALL {
        let (mut machine, frames) = machine(space);
        let before = machine.left();
        let mut most = 0;
        for round in 0..400 {
            // All over the window, across the borders of translation tables.
            let offset = round * 0x1f_f000 % (WINDOW.1 - 0x5000);
            machine.map(at(offset), &frames, RW).unwrap();
            assert!(machine.store(at(offset + 0x4ffc), 7));
            most = most.max(before.0 - machine.left().0);
            machine.unmap(bytes(offset, 0x5000));
            assert_eq!(machine.left(), before, "round {round} of {space:?}");
            assert_eq!(machine.mappings(), []);
        }
        assert_eq!(most, 5 + 3, "five frames, two tables of 2 MiB, one of 1 GiB; the RAM has the largest");
    }
}

#[test]
fn tables_stay_as_long_as_something_is_mapped_in_them() {
    for space in ALL {
        let (mut machine, frames) = machine(space);
        machine.map(at(0), &frames[..1], RW).unwrap();
        machine.map(at(0x1000), &frames[1..2], RW).unwrap();
        machine.unmap(bytes(0, 0x1000));
        assert!(machine.store(at(0x1000), 3) && machine.load(at(0)).is_none());
        machine.unmap(bytes(0x1000, 0x1000));
        assert_eq!(machine.load(at(0x1000)), None);
    }
}

#[test]
fn tables_that_the_vmm_may_have_come_to_rely_on_stay() {
    for space in ALL {
        let (kernel, pool) = pool(space.0);
        let root = root(&kernel, pool, space.1);
        let window = SimWindow::new(kernel.clone(), 0x1000_0000, 0x2000);
        let mut guest = VSpace::<_, _, _>::new(kernel.clone(), pool, root, window).unwrap().with_taken(range(RAM)).unwrap();
        let left = || (pool.borrow().free_slots(), pool.borrow().free_bytes());
        let make = |object| {
            let slot = (&mut &*pool).allocate_slots(1).unwrap();
            pool.borrow_mut().create(object, slot).unwrap();
            slot
        };
        let frames = [Frame::new(make(Object::SmallFrame), FrameKind::Small)];
        // Behind the RAM, with which it shares all tables but the lowest.
        let behind = GuestRange::new(GuestAddr::new(RAM.0 + RAM.1), 0x1000).unwrap();
        guest.reserve(behind).unwrap();
        guest.map(behind.start(), &frames, RW).unwrap();
        // The VMM maps RAM, and needs no table but the lowest.
        let table = make(if let Space::Ept(_) = root { Object::EptTable(21) } else { Object::Table(21) });
        kernel.map_table(table, 21, root, RAM.0).unwrap();
        kernel.map_frame(make(Object::SmallFrame), root, RAM.0, CapRights::READ_WRITE, Attributes::Memory).unwrap();
        let before = left();
        for _ in 0..10 {
            guest.unmap(behind);
            assert!(kernel.store(root, RAM.0, &[5]).is_ok(), "the guest's RAM is still there");
            guest.map(behind.start(), &frames, RW).unwrap();
            assert_eq!(left(), before, "and what stays is made once");
        }
    }
}

#[test]
fn every_call_of_the_kernel_may_fail() {
    for space in ALL {
        let (mut machine, frames) = machine(space);
        let before = machine.left();
        // The last page of one table, and the first four of the next.
        for nth in 0..=MANY {
            assert!(nth < MANY, "it fails without a fault");
            machine.kernel.faults().fail_at(Some(nth));
            let result = machine.map(at(0x1f_f000), &frames, RW);
            machine.kernel.faults().fail_at(None);
            if result.is_ok() {
                assert!(nth >= 16, "five frames are copied and mapped, three tables made and mapped: {nth} calls");
                break;
            }
            assert_eq!(machine.left(), before, "{space:?}: call {nth}");
            assert_eq!(machine.mappings(), []);
        }
        machine.unmap(bytes(0x1f_f000, 0x5000));
        assert_eq!(machine.left(), before);
    }
}

#[test]
fn frames_of_each_size_are_mapped_at_multiples_of_it() {
    for space in ALL {
        for frame_kind in [FrameKind::Large, FrameKind::Huge] {
            // The kernel has no guest-physical frames of 1 GiB.
            if (space.1, frame_kind) == (Kind::Ept, FrameKind::Huge) {
                continue;
            }
            let mut machine = Machine::new(space);
            let size = frame_kind.size().bytes();
            let window = GuestRange::new(GuestAddr::new(4 << 30), 4 << 30).unwrap();
            machine.reserve(window).unwrap();
            let frames = [machine.frame(frame_kind)];
            let (before, last) = (machine.left(), window.start().checked_add(size * 2).unwrap());
            machine.map(window.start(), &frames, mapping(frame_kind.size(), Rights::ReadWrite)).unwrap();
            machine.map(last, &frames, mapping(frame_kind.size(), Rights::Read)).unwrap();
            let end = |start: GuestAddr| start.checked_add(size - 4).unwrap();
            assert!(machine.store(end(window.start()), 9) && !machine.store(end(last), 8));
            assert_eq!((machine.load(end(last)), machine.load(last.checked_add(size).unwrap())), (Some(9), None));
            let askew = window.start().checked_add(size / 2).unwrap();
            let result = machine.map(askew, &frames, mapping(frame_kind.size(), Rights::Read));
            assert_eq!(kind(result), Some(ErrorKind::Misaligned));
            for start in [window.start(), last] {
                machine.unmap(GuestRange::new(start, size).unwrap());
            }
            assert_eq!(machine.left(), before);
        }
    }
}

#[test]
fn what_cannot_be_mapped_is_refused() {
    for space in ALL {
        let (mut machine, frames) = machine(space);
        let before = machine.left();
        let large = machine.map(at(0), &frames, mapping(FrameSize::MIB_2, Rights::Read));
        assert_eq!(large, Err(SpaceError::WrongSize), "they are small");
        let end = GuestAddr::new(WINDOW.0 + WINDOW.1 - 0x4000);
        assert_eq!(kind(machine.map(end, &frames, RW)), Some(ErrorKind::OutOfRange), "not wholly reserved");
        assert_eq!(kind(machine.map(GuestAddr::new(!0xfff), &frames, RW)), Some(ErrorKind::OutOfRange));
        assert_eq!(kind(machine.reserve(GuestRange::new(GuestAddr::new(1 << 47), 1).unwrap())), Some(ErrorKind::OutOfRange));
        let none = Frame::new(machine.kernel.first_free().offset(3000), FrameKind::Small);
        assert!(machine.map(at(0), &[frames[0], none], RW).is_err(), "there is no such capability");
        assert_eq!((machine.left(), machine.mappings()), (before, vec![]));
    }
}

#[test]
fn frames_find_slots_wherever_there_are_some() {
    let (mut machine, frames) = machine((Arch::Aarch64, Kind::Thread));
    machine.map(at(0), &frames[..1], RW).unwrap();
    // Every second slot is taken, and five besides.
    let mut slots = Vec::new();
    while let Ok(slot) = machine.pool.borrow_mut().allocate_slots(1) {
        slots.push(slot);
    }
    let odd = slots.iter().skip(1).step_by(2).take(5);
    odd.for_each(|slot| machine.pool.borrow_mut().release_slots(*slot, 1));
    machine.map(at(0x1000), &frames, RW).unwrap();
    assert!(machine.store(at(0x5ffc), 1));
    assert_eq!((machine.left().0, kind(machine.map(at(0x6000), &frames, RW))), (0, Some(ErrorKind::Exhausted)));
    machine.unmap(bytes(0x1000, 0x5000));
    assert_eq!((machine.left().0, machine.load(at(0x1000)), machine.load(at(0))), (5, None, Some(0)));
    // One slot is missing: none is left over.
    machine.pool.borrow_mut().allocate_slots(1).unwrap();
    assert_eq!((kind(machine.map(at(0x1000), &frames, RW)), machine.left().0), (Some(ErrorKind::Exhausted), 4));
    assert_eq!(machine.load(at(0x1000)), None);
}

#[test]
fn tables_of_the_space_that_are_full_are_an_error() {
    let (kernel, pool) = pool(Arch::Aarch64);
    let root = root(&kernel, pool, Kind::Thread);
    let window = SimWindow::new(kernel.clone(), 0x1000_0000, 0x2000);
    let mut space = VSpace::<_, _, _, 2, 4>::new(kernel.clone(), pool, root, window).unwrap();
    space.reserve(range(WINDOW)).unwrap();
    let slot = (&mut &*pool).allocate_slots(1).unwrap();
    pool.borrow_mut().create(Object::SmallFrame, slot).unwrap();
    let frames = [Frame::new(slot, FrameKind::Small)];
    space.map(at(0), &frames, RW).unwrap();
    let left = |pool: &std::cell::RefCell<crate::machine::Pool>| (pool.borrow().free_slots(), pool.borrow().free_bytes());
    let before = left(pool);
    space.map(at(0x20_0000), &frames, RW).unwrap();
    assert_eq!(space.map(at(0x1000), &frames, RW), Err(SpaceError::Full(Table::Mappings)));
    space.unmap(bytes(0x20_0000, 0x1000));
    assert_eq!(left(pool), before);
    let pages: Vec<_> = (0..2).map(|_| space.create_event_page(SMALL).unwrap()).collect();
    assert_eq!(space.create_event_page(SMALL).err(), Some(SpaceError::Full(Table::Window)));
    pages.into_iter().for_each(|page| space.destroy_event_page(page));
    assert_eq!(left(pool), before);
}

#[test]
fn a_space_that_is_closed_gives_everything_back() {
    for (arch, space) in ALL {
        let (kernel, pool) = pool(arch);
        let root = root(&kernel, pool, space);
        let frame = (&mut &*pool).allocate_slots(1).unwrap();
        pool.borrow_mut().create(Object::SmallFrame, frame).unwrap();
        let left = || (pool.borrow().free_slots(), pool.borrow().free_bytes());
        let before = left();
        let window = SimWindow::new(kernel.clone(), 0x1000_0000, 0x20_0000);
        let mut guest = VSpace::<_, _, _>::new(kernel.clone(), pool, root, window).unwrap().with_taken(range(RAM)).unwrap();
        guest.reserve(range(WINDOW)).unwrap();
        guest.map(at(0), &[Frame::new(frame, FrameKind::Small)], RW).unwrap();
        guest.close();
        assert_eq!((kernel.mappings(root), kernel.mappings(Space::Virtual(SimKernel::VSPACE))), (vec![], vec![]));
        assert_eq!(left(), before, "the table that also covers the RAM as well");
    }
}

#[test]
fn event_pages_of_each_size_are_written_by_the_vmm_and_read_by_the_guest() {
    for space in ALL {
        let (mut machine, _) = machine(space);
        let before = machine.left();
        for size in [FrameSize::KIB_4, FrameSize::KIB_16, FrameSize::KIB_64] {
            let first = machine.create_event_page(size).unwrap();
            let second = machine.create_event_page(size).unwrap();
            for (page, offset) in [(&first, 0), (&second, 0x2_0000)] {
                machine.map(at(offset), std::slice::from_ref(page.frame()), mapping(size, Rights::Read)).unwrap();
                assert_eq!(page.words().len() as u64 * 4, size.bytes());
                let last = page.words().len() - 1;
                page.words()[last].store(0x1234 + u32::try_from(offset).unwrap(), Ordering::Release);
                page.published(last);
            }
            for offset in [0, 0x2_0000] {
                let last = at(offset + size.bytes() - 4);
                assert_eq!(machine.load(last), Some(0x1234 + u32::try_from(offset).unwrap()));
                assert!(!machine.store(last, 1) && machine.load(last.checked_add(4).unwrap()).is_none());
                machine.unmap(bytes(offset, size.bytes()));
            }
            machine.destroy_event_page(first);
            machine.destroy_event_page(second);
            assert_eq!(machine.left(), before);
            assert_eq!(machine.kernel.mappings(Space::Virtual(SimKernel::VSPACE)), []);
        }
    }
}

#[test]
fn an_event_page_that_cannot_be_made_leaves_nothing() {
    for space in ALL {
        let (mut machine, _) = machine(space);
        let before = machine.left();
        for size in [FrameSize::KIB_4, FrameSize::KIB_16, FrameSize::KIB_64] {
            let page = (0..MANY).find_map(|nth| {
                machine.kernel.faults().fail_at(Some(nth));
                let result = machine.create_event_page(size);
                machine.kernel.faults().fail_at(None);
                assert!(result.is_ok() || machine.left() == before, "{space:?}: call {nth} for {size}");
                result.ok()
            });
            assert_eq!(machine.kernel.mappings(Space::Virtual(SimKernel::VSPACE)).len() as u64 * 4096, size.bytes());
            machine.destroy_event_page(page.unwrap());
            assert_eq!(machine.left(), before);
        }
        assert_eq!(machine.create_event_page(FrameSize::GIB_1).err().map(|error| error.kind()), Some(ErrorKind::Exhausted));
        assert_eq!(machine.left(), before);
    }
}

#[test]
fn a_window_that_cannot_be_opened_leaves_nothing() {
    for arch in [Arch::X86_64_5_0_0, Arch::X86_64, Arch::Aarch64] {
        let (kernel, pool) = pool(arch);
        let root = root(&kernel, pool, Kind::Thread);
        let before = (pool.borrow().free_slots(), pool.borrow().free_bytes());
        for nth in 0..=MANY {
            assert!(nth < MANY, "it fails without a fault");
            kernel.faults().fail_at(Some(nth));
            let space = VSpace::<_, _, _, 4, 4>::new(kernel.clone(), pool, root, SimWindow::new(kernel.clone(), 0x1000_0000, 0x40_0000));
            kernel.faults().fail_at(None);
            let left = || (pool.borrow().free_slots(), pool.borrow().free_bytes());
            match space {
                Err(_) => assert_eq!(left(), before, "{arch:?}: call {nth}"),
                Ok(space) => {
                    assert_eq!(left(), (before.0 - 4, before.1 - 4 * 4096), "two tables of 2 MiB and one of each larger size");
                    space.close();
                    assert_eq!(left(), before);
                    break;
                }
            }
        }
    }
}

#[test]
fn a_dataport_is_of_frames_of_one_size_that_are_what_they_are_said_to_be() {
    let (mut machine, frames) = machine((Arch::Aarch64, Kind::Thread));
    let large = machine.frame(FrameKind::Large);
    assert_eq!(FrameDataport::new(&frames[..0]).err(), Some(DataportError::Empty));
    assert_eq!(FrameDataport::new([frames[0], large]).err(), Some(DataportError::Mixed { index: 1 }));
    let dataport = FrameDataport::checked(&machine.kernel, &frames[..]).unwrap();
    assert_eq!((dataport.frame_size(), dataport.frames()), (SMALL, &frames[..]));
    assert!(FrameDataport::checked(&machine.kernel, [large]).is_ok());
    let pretended = frames.iter().map(|frame| Frame::new(frame.capability(), FrameKind::Large)).collect::<Vec<_>>();
    let error = FrameDataport::checked(&machine.kernel, pretended).unwrap_err();
    assert!(matches!(error, DataportError::OtherKind { .. }), "{error}");
    let error = FrameDataport::checked(&machine.kernel, [Frame::new(CPtr::new(4000), FrameKind::Small)]).unwrap_err();
    assert!(matches!(error, DataportError::NoFrame { index: 0, .. }), "{error}");
}
