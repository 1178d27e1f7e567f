//! Guest memory: the contract, and what KVM adds to it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crossvm_core::{
    Dataport, Error, ErrorKind, ErrorType, EventPage, FrameSize, GuestAddr, GuestMemory, GuestRange, Mapping, MemoryType, Rights,
};
use crossvm_kvm::{Call, Frame, GuestSpace, Memfd, MemfdDataport, SharedPage, SpaceError};
use crossvm_testkit::conformance::guest_memory::{self, GuestView};

use crate::machine::{DONE, Exit, Machine, RAM, WINDOW, at, range, usable};
use crate::program::{Bytes, Program};

const RW: Mapping = Mapping { size: FrameSize::KIB_4, rights: Rights::ReadWrite, memory_type: MemoryType::WriteBack };
const RO: Mapping = Mapping { rights: Rights::Read, ..RW };

impl ErrorType for Machine {
    type Error = SpaceError;
}

impl GuestMemory for Machine {
    type Frame = Frame;
    type EventPage = SharedPage;

    fn reserve(&mut self, range: GuestRange) -> Result<(), SpaceError> {
        self.space.reserve(range)
    }

    fn release(&mut self, range: GuestRange) {
        self.space.release(range);
    }

    fn map(&mut self, at: GuestAddr, frames: &[Frame], mapping: Mapping) -> Result<(), SpaceError> {
        self.space.map(at, frames, mapping)
    }

    fn unmap(&mut self, range: GuestRange) {
        self.space.unmap(range);
    }

    fn create_event_page(&mut self, size: FrameSize) -> Result<SharedPage, SpaceError> {
        self.space.create_event_page(size)
    }

    fn destroy_event_page(&mut self, page: SharedPage) {
        self.space.destroy_event_page(page);
    }
}

fn dataport(bytes: u64) -> MemfdDataport {
    MemfdDataport::new(Arc::new(Memfd::create("test", bytes).unwrap()), FrameSize::KIB_4).unwrap()
}

impl GuestView for Machine {
    fn free_range(&self) -> GuestRange {
        range(WINDOW, 64 << 10)
    }

    fn ram_range(&self) -> GuestRange {
        range(0x1000, RAM - 0x1000)
    }

    fn new_frame(&mut self, size: FrameSize) -> Frame {
        dataport(size.bytes()).frames()[0].clone()
    }

    fn guest_load(&mut self, at: GuestAddr) -> Option<u32> {
        let exits = self.exits_of(&Program::new().load(at.get()).out_word(0x20).out(DONE, 0));
        match exits[..] {
            [Exit::Out(0x20, value)] => Some(value),
            [Exit::Load(address, 4), Exit::Out(0x20, _)] if address == at.get() => None,
            _ => panic!("{exits:?}"),
        }
    }

    fn guest_store(&mut self, at: GuestAddr, value: u32) -> bool {
        let exits = self.exits_of(&Program::new().store(at.get(), Bytes::Four, value.into()).out(DONE, 0));
        match &exits[..] {
            [] => true,
            [Exit::Store(address, bytes)] if (*address, &bytes[..]) == (at.get(), &value.to_le_bytes()) => false,
            _ => panic!("{exits:?}"),
        }
    }
}

#[test]
fn memory_slots_keep_the_contract_of_guest_memory() {
    if usable("the contract of guest memory") {
        guest_memory::all(Machine::new);
    }
}

#[test]
fn a_store_to_a_read_only_page_is_an_exit_and_a_load_is_none() {
    if !usable("read-only page") {
        return;
    }
    let mut machine = Machine::new();
    machine.reserve(range(WINDOW, 0x1000)).unwrap();
    let page = machine.create_event_page(FrameSize::KIB_4).unwrap();
    machine.map(at(WINDOW), std::slice::from_ref(page.frame()), RO).unwrap();
    for bytes in Bytes::ALL {
        page.words()[0].store(0xfeed_f00d, Ordering::Release);
        let program = Program::new().load(WINDOW).out_word(0x20).store(WINDOW, bytes, 0x0807_0605_0403_0201).load(WINDOW).out_word(0x21);
        let exits = machine.exits_of(&program.out(DONE, 0));
        let stored = vec![1, 2, 3, 4, 5, 6, 7, 8][..bytes.count()].to_vec();
        assert_eq!(exits, [Exit::Out(0x20, 0xfeed_f00d), Exit::Store(WINDOW, stored), Exit::Out(0x21, 0xfeed_f00d)]);
        assert_eq!(page.words()[0].load(Ordering::Acquire), 0xfeed_f00d);
    }
}

#[test]
fn components_and_guests_share_a_dataport_of_one_slot() {
    if !usable("dataports") {
        return;
    }
    let (mut one, mut other) = (Machine::new(), Machine::new());
    let dataport = dataport(1 << 20);
    for machine in [&mut one, &mut other] {
        let slots = machine.space.slots_in_use();
        machine.reserve(range(WINDOW, 1 << 20)).unwrap();
        machine.map(at(WINDOW), dataport.frames(), RW).unwrap();
        assert_eq!(machine.space.slots_in_use(), slots + 1, "256 frames of one file");
    }
    assert!(one.guest_store(at(WINDOW + 0xf_fffc), 0xabcd));
    assert_eq!(other.guest_load(at(WINDOW + 0xf_fffc)), Some(0xabcd));
    let bytes = dataport.bytes().unwrap();
    assert_eq!((bytes.len(), bytes[0xf_fffc].load(Ordering::Acquire)), (1 << 20, 0xcd));
    bytes[5].store(1, Ordering::Release);
    assert_eq!(other.guest_load(at(WINDOW + 4)), Some(0x100));
}

#[test]
fn frames_of_several_files_take_a_slot_for_each_run() {
    if !usable("memory slots") {
        return;
    }
    let mut machine = Machine::new();
    let slots = machine.space.slots_in_use();
    let (one, other) = (dataport(0x3000), dataport(0x1000));
    let frames: Vec<_> = [&one.frames()[1..], other.frames(), &one.frames()[..1]].concat();
    machine.reserve(range(WINDOW, 0x4000)).unwrap();
    machine.map(at(WINDOW), &frames, RW).unwrap();
    assert_eq!(machine.space.slots_in_use(), slots + 3);
    for page in 0..4 {
        assert!(machine.guest_store(at(WINDOW + page * 0x1000), u32::try_from(page).unwrap() + 1));
    }
    let first = |dataport: &MemfdDataport, page: usize| dataport.bytes().unwrap()[page * 0x1000].load(Ordering::Acquire);
    assert_eq!([first(&one, 1), first(&one, 2), first(&other, 0), first(&one, 0)], [1, 2, 3, 4]);
    machine.unmap(range(WINDOW, 0x4000));
    assert_eq!(machine.space.slots_in_use(), slots);
}

#[test]
fn slots_run_out_and_a_failed_map_leaves_none() {
    if !usable("memory slots") {
        return;
    }
    let mut machine = Machine::new();
    machine.space = machine.space.with_slot_limit(3);
    machine.reserve(range(WINDOW, 0x1_0000)).unwrap();
    let ports = [dataport(0x1000), dataport(0x1000), dataport(0x1000)];
    let frames: Vec<_> = ports.iter().map(|dataport| dataport.frames()[0].clone()).collect();
    let error = machine.map(at(WINDOW), &frames, RW).unwrap_err();
    assert_eq!((error, error.kind()), (SpaceError::NoSlot(3), ErrorKind::Exhausted));
    assert_eq!(machine.space.slots_in_use(), 1, "RAM alone");
    assert_eq!(machine.guest_load(at(WINDOW)), None);
    machine.map(at(WINDOW), &frames[..2], RW).unwrap();
}

#[test]
fn what_kvm_refuses_names_the_call_and_leaves_nothing() {
    if !usable("memory slots") {
        return;
    }
    let mut machine = Machine::new();
    // A second address space of the same VM: its slot 0 is the first one's RAM, which KVM lets nobody move.
    let mut other = GuestSpace::new(Arc::clone(&machine.vm)).unwrap();
    other.reserve(range(WINDOW, 0x1000)).unwrap();
    let error = other.map(at(WINDOW), dataport(0x1000).frames(), RW).unwrap_err();
    assert!(matches!(error, SpaceError::Call(call) if call.call() == Call::CreateSlot && call.errno() == libc::EINVAL), "{error}");
    assert_eq!((machine.guest_load(at(WINDOW)), other.slots_in_use()), (None, 0));
}

#[test]
fn an_end_that_only_reads_cannot_be_mapped_for_writing() {
    if !usable("rights") {
        return;
    }
    let mut machine = Machine::new();
    machine.reserve(range(WINDOW, 0x1000)).unwrap();
    let dataport = MemfdDataport::read_only(Arc::new(Memfd::create("test", 0x1000).unwrap()), FrameSize::KIB_4).unwrap();
    assert_eq!(machine.map(at(WINDOW), dataport.frames(), RW).map_err(|error| error.kind()), Err(ErrorKind::Denied));
    machine.map(at(WINDOW), dataport.frames(), RO).unwrap();
    assert_eq!(machine.guest_load(at(WINDOW)), Some(0));
    assert!(!machine.guest_store(at(WINDOW), 1));
}

#[test]
fn nothing_is_mapped_outside_of_what_is_reserved_or_reachable() {
    if !usable("reservations") {
        return;
    }
    let mut machine = Machine::new();
    machine.space = machine.space.with_address_bits(36);
    let device = range(2 * WINDOW, 0x1000);
    machine.space.add_device(device).unwrap();
    for taken in [device, range(2 * WINDOW + 0xfff, 0x10)] {
        assert_eq!(machine.reserve(taken), Err(SpaceError::Taken(device)));
    }
    assert_eq!(machine.space.add_device(range(0x1000, 0x1000)).map_err(|error| error.kind()), Err(ErrorKind::Overlap));
    assert_eq!(machine.reserve(range((1 << 36) - 0x1000, 0x1000)), Ok(()));
    let beyond = range((1 << 36) - 0x1000, 0x1001);
    assert_eq!(machine.reserve(beyond), Err(SpaceError::Unreachable(beyond)));
    machine.reserve(range(WINDOW, 0x2000)).unwrap();
    let dataport = dataport(0x3000);
    let result = machine.map(at(WINDOW), dataport.frames(), RW);
    assert_eq!(result, Err(SpaceError::NotReserved(range(WINDOW, 0x3000))));
    assert_eq!(machine.map(at(WINDOW), &[], RW), Err(SpaceError::WrongCount(0)));
    let large = Mapping { size: FrameSize::MIB_2, ..RW };
    assert_eq!(machine.map(at(WINDOW), dataport.frames(), large), Err(SpaceError::WrongSize(FrameSize::MIB_2)));
    assert_eq!(machine.space.slots_in_use(), 1);
}
