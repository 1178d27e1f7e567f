//! The clauses of [`GuestMemory`], seen from the guest.

use std::slice::from_ref;
use std::sync::atomic::Ordering;

use crossvm_core::{Error, ErrorKind, EventPage, FrameSize, GuestAddr, GuestMemory, GuestRange, Mapping, MemoryType, Rights};

/// The address space under test, with the guest's view of it.
pub trait GuestView: GuestMemory {
    /// A range of at least 64 KiB, aligned to 64 KiB, that is free.
    fn free_range(&self) -> GuestRange;
    /// A range that guest RAM takes.
    fn ram_range(&self) -> GuestRange;
    /// A new frame of zeros.
    fn new_frame(&mut self, size: FrameSize) -> Self::Frame;
    /// The guest loads a 32-bit word; `None`: the access traps.
    fn guest_load(&mut self, at: GuestAddr) -> Option<u32>;
    /// The guest stores a 32-bit word; false: the access traps.
    fn guest_store(&mut self, at: GuestAddr, value: u32) -> bool;
}

/// Every clause.
pub fn all<M: GuestView>(make: impl Fn() -> M) {
    clause_1_reservations_exclude_each_other(&mut make());
    clause_2_a_mapped_frame_appears_with_its_rights(&mut make());
    clause_2_frames_appear_one_behind_the_other(&mut make());
    clause_3_some_frames_are_mapped_or_none(&mut make());
    clause_3_nothing_is_mapped_twice(&mut make());
    clause_4_unmapped_is_unreachable(&mut make());
    clause_5_one_frame_at_two_addresses(&mut make());
    clause_6_event_pages(&mut make());
}

const RW: Mapping = Mapping { size: FrameSize::KIB_4, rights: Rights::ReadWrite, memory_type: MemoryType::WriteBack };
const RO: Mapping = Mapping { size: FrameSize::KIB_4, rights: Rights::Read, memory_type: MemoryType::WriteBack };

fn page(range: GuestRange, index: u64) -> GuestAddr {
    range.start().checked_add(index * 4096).expect("inside the range")
}

/// The range of page `index` alone.
fn one(range: GuestRange, index: u64) -> GuestRange {
    GuestRange::new(page(range, index), 4096).expect("inside the range")
}

fn reserved<M: GuestView>(memory: &mut M) -> GuestRange {
    let range = memory.free_range();
    memory.reserve(range).expect("the range is free");
    range
}

/// Clause 1.
pub fn clause_1_reservations_exclude_each_other<M: GuestView>(memory: &mut M) {
    let range = reserved(memory);
    let part = GuestRange::new(range.last(), 1).expect("one byte");
    let ram = memory.ram_range();
    for taken in [range, part, ram] {
        assert_eq!(memory.reserve(taken).map_err(|error| error.kind()), Err(ErrorKind::Overlap), "clause 1: {taken}");
    }
    memory.release(range);
    memory.reserve(range).expect("clause 1: free again after release");
}

/// Clause 2.
pub fn clause_2_a_mapped_frame_appears_with_its_rights<M: GuestView>(memory: &mut M) {
    let range = reserved(memory);
    let frame = memory.new_frame(FrameSize::KIB_4);
    memory.map(page(range, 0), from_ref(&frame), RW).expect("a free page");
    memory.map(page(range, 1), from_ref(&frame), RO).expect("a free page");
    assert!(memory.guest_store(page(range, 0), 0x1234_5678), "clause 2: stores are allowed");
    assert_eq!(memory.guest_load(page(range, 1)), Some(0x1234_5678), "clause 2: the same bytes");
    assert!(!memory.guest_store(page(range, 1), 1), "clause 2: a store to a read-only frame traps");
    assert_eq!(memory.guest_load(page(range, 0)), Some(0x1234_5678), "clause 2: and changes nothing");
    assert_eq!(memory.guest_load(page(range, 2)), None, "clause 2: nothing appears beside it");
}

/// Clause 2.
pub fn clause_2_frames_appear_one_behind_the_other<M: GuestView>(memory: &mut M) {
    let range = reserved(memory);
    let frames: Vec<_> = (0..3).map(|_| memory.new_frame(FrameSize::KIB_4)).collect();
    memory.map(page(range, 1), &frames, RW).expect("three free pages");
    for index in 0..3 {
        assert!(memory.guest_store(page(range, 1 + u64::from(index)), index), "clause 2: frame {index}");
    }
    assert_eq!((memory.guest_load(page(range, 0)), memory.guest_load(page(range, 4))), (None, None), "clause 2: and no further");
    memory.unmap(GuestRange::new(page(range, 1), 3 * 4096).expect("inside the range"));
    assert!((0..5).all(|index| memory.guest_load(page(range, index)).is_none()), "clause 4: all of them are unmapped");
    memory.map(page(range, 0), from_ref(&frames[2]), RW).expect("a free page");
    assert_eq!(memory.guest_load(page(range, 0)), Some(2), "clause 2: the last frame was behind the others");
}

/// Clause 3.
pub fn clause_3_some_frames_are_mapped_or_none<M: GuestView>(memory: &mut M) {
    let range = reserved(memory);
    let frames: Vec<_> = (0..3).map(|_| memory.new_frame(FrameSize::KIB_4)).collect();
    memory.map(page(range, 2), from_ref(&frames[0]), RW).expect("a free page");
    let result = memory.map(page(range, 0), &frames, RW);
    assert_eq!(result.map_err(|error| error.kind()), Err(ErrorKind::Overlap), "clause 3: the last of three is in the way");
    assert_eq!(
        (memory.guest_load(page(range, 0)), memory.guest_load(page(range, 1))),
        (None, None),
        "clause 3: nothing is left of the others"
    );
    assert_eq!(memory.guest_load(page(range, 2)), Some(0), "clause 3: what was there stays");
}

/// Clause 3.
pub fn clause_3_nothing_is_mapped_twice<M: GuestView>(memory: &mut M) {
    let range = reserved(memory);
    let (one, other) = (memory.new_frame(FrameSize::KIB_4), memory.new_frame(FrameSize::KIB_4));
    memory.map(page(range, 0), from_ref(&one), RW).expect("a free page");
    assert!(memory.guest_store(page(range, 0), 1));
    assert_eq!(memory.map(page(range, 0), from_ref(&other), RW).map_err(|error| error.kind()), Err(ErrorKind::Overlap), "clause 3");
    assert_eq!(memory.guest_load(page(range, 0)), Some(1), "clause 3: a failed map changes nothing");
    let askew = page(range, 1).checked_add(0x800).expect("inside the range");
    assert_eq!(memory.map(askew, from_ref(&other), RW).map_err(|error| error.kind()), Err(ErrorKind::Misaligned), "clause 3");
    assert_eq!(memory.guest_load(page(range, 1)), None, "clause 3: a failed map leaves nothing");
}

/// Clause 4.
pub fn clause_4_unmapped_is_unreachable<M: GuestView>(memory: &mut M) {
    let range = reserved(memory);
    let frame = memory.new_frame(FrameSize::KIB_4);
    for round in 0..3 {
        memory.map(page(range, round), from_ref(&frame), RW).expect("a free page");
        assert!(memory.guest_store(page(range, round), 7));
        memory.unmap(one(range, round));
        assert_eq!(memory.guest_load(page(range, round)), None, "clause 4");
        assert!(!memory.guest_store(page(range, round), 8), "clause 4");
    }
    memory.map(page(range, 0), from_ref(&frame), RW).expect("clause 4: a page that was unmapped can be mapped");
    assert_eq!(memory.guest_load(page(range, 0)), Some(7), "clause 4: the frame keeps its bytes");
}

/// Clause 5.
pub fn clause_5_one_frame_at_two_addresses<M: GuestView>(memory: &mut M) {
    let range = reserved(memory);
    let frame = memory.new_frame(FrameSize::KIB_4);
    memory.map(page(range, 3), from_ref(&frame), RW).expect("a free page");
    memory.map(page(range, 5), from_ref(&frame), RW).expect("a free page");
    assert!(memory.guest_store(page(range, 5), 9));
    assert_eq!(memory.guest_load(page(range, 3)), Some(9), "clause 5");
    memory.unmap(one(range, 3));
    assert_eq!(memory.guest_load(page(range, 5)), Some(9), "clause 5: the other stays");
}

/// Clause 6.
pub fn clause_6_event_pages<M: GuestView>(memory: &mut M) {
    let range = reserved(memory);
    let events = memory.create_event_page(FrameSize::KIB_4).expect("memory for a page");
    assert_eq!(events.words().len(), 1024, "clause 6: the words cover the page");
    assert!(events.words().iter().all(|word| word.load(Ordering::Relaxed) == 0), "clause 6: all zero");
    memory.map(page(range, 0), from_ref(events.frame()), RO).expect("a free page");
    events.words()[1].store(5u32.to_le(), Ordering::Release);
    events.published(1);
    assert_eq!(memory.guest_load(page(range, 0).checked_add(4).expect("inside")), Some(5), "clause 6: the guest sees what the VMM stores");
    assert!(!memory.guest_store(page(range, 0), 1), "clause 6: and cannot store");
    memory.unmap(one(range, 0));
    memory.destroy_event_page(events);
}
