//! Connections of a guest on KVM, and calls that fail.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crossvm_core::device::Name;
use crossvm_core::{
    Config, ConfigAccess, Connection, ConnectionId, CrossVm, Dataport, Error, ErrorKind, EventId, EventSet, FrameSize, GuestAccess,
    GuestMemory, IrqAllocator, Mapping, MemoryType, Outcome, Parts, PciSpace, Rights, Width,
};
use crossvm_kvm::{EmitFds, EventNotifier, GsiPool, GuestSpace, KernelInterrupts, Memfd, MemfdDataport, SpaceError};
use crossvm_pci::{HostBridge, PciBus};
use crossvm_x86::Routing;

use crate::apic;
use crate::failing::{SET_USER_MEMORY_REGION, let_fail};
use crate::guest::LEVEL;
use crate::machine::{DONE, Exit, Machine, WINDOW, at, range, usable, vm};
use crate::program::{Bytes, Program};

type Vm<'a> = Parts<&'a mut GuestSpace, PciBus<8>, GsiPool, KernelInterrupts>;
type Connections<'a> = CrossVm<Vm<'a>, MemfdDataport, EventNotifier, 8>;

const WINDOW_SIZE: u64 = 64 << 20;

fn dataport(bytes: u64) -> MemfdDataport {
    MemfdDataport::new(Arc::new(Memfd::create("test", bytes).unwrap()), FrameSize::KIB_4).unwrap()
}

/// Two connections, with one dataport and with two.
fn two(peer: &EventNotifier) -> [Connection<MemfdDataport, EventNotifier>; 2] {
    let with = |name: &str, bit| Connection::new(Name::new(name).unwrap()).with_emit(peer.clone()).with_event(EventId::new(bit).unwrap());
    [
        with("camera", 0).with_dataport(dataport(64 << 10), Rights::ReadWrite).unwrap(),
        with("disk", 1)
            .with_dataport(dataport(8 << 10), Rights::ReadWrite)
            .unwrap()
            .with_dataport(dataport(4 << 10), Rights::Read)
            .unwrap(),
    ]
}

fn parts(space: &mut GuestSpace, interrupts: KernelInterrupts) -> Vm<'_> {
    Parts { memory: space, pci: PciBus::new(HostBridge::default(), range(WINDOW, WINDOW_SIZE)), irqs: GsiPool::pc(), interrupts }
}

/// A machine with interrupt controllers.
fn machine() -> (Machine, KernelInterrupts) {
    let vm = vm();
    let interrupts = KernelInterrupts::create(Arc::clone(&vm), &Routing::PC).unwrap();
    (Machine::on(vm), interrupts)
}

/// Where the event registers of a connection are.
fn events(connections: &Connections<'_>, id: ConnectionId) -> u64 {
    connections.status(id).unwrap().bars[0].mapped_at.unwrap().get()
}

#[test]
fn a_guest_emits_and_is_interrupted_and_its_emit_register_moves() {
    if !usable("connections") {
        return;
    }
    let (mut machine, interrupts) = machine();
    let peer = EventNotifier::new().unwrap();
    let mut fds = EmitFds::new(Arc::clone(&machine.vm));
    let Machine { space, vcpu, ram, .. } = &mut machine;
    let mut run = |program: Program| {
        let mut exits = Vec::new();
        crossvm_kvm::payload::start(vcpu, ram, program.out(DONE, 0).code()).unwrap();
        loop {
            match crate::machine::run(vcpu) {
                Exit::Out(port, _) if port == u16::from(DONE) => break,
                exit => exits.push(exit),
            }
        }
        crate::machine::finish_exit(vcpu);
        (exits, apic::acknowledge(vcpu))
    };
    let mut vm = parts(space, interrupts);
    let mut connections = Connections::new(Config::default());
    let ids = connections.install(&mut vm, two(&peer)).unwrap();
    let emit = |address: u64| Program::new().store(address, Bytes::Four, 1);

    // Without an ioeventfd, the store is an exit, which `handle` serves.
    let camera = events(&connections, ids[0]);
    assert_eq!(run(apic::enable()), (vec![], None));
    assert_eq!(run(emit(camera)), (vec![Exit::Store(camera, vec![1, 0, 0, 0])], None));
    let access = GuestAccess::Write { at: at(camera), width: Width::U32, value: 1 };
    assert_eq!(connections.handle(&mut vm, access).unwrap(), Outcome::Emitted(ids[0]));
    assert_eq!(peer.take().unwrap(), 1);
    // With it, KVM does the same.
    fds.follow(&connections, |_| Some(&peer)).unwrap();
    assert_eq!(fds.len(), 2);
    assert_eq!((run(emit(camera)), peer.take().unwrap()), ((vec![], None), 1));

    // The peer's event: the line rises, and falls with the guest's store to CONSUME.
    let irq = connections.status(ids[0]).unwrap().irq.unwrap().number();
    let entry = |register, value| {
        let ioapic = crate::guest::IOAPIC;
        Program::new().store(ioapic, Bytes::Four, register).store(ioapic + 0x10, Bytes::Four, value)
    };
    assert_eq!(run(entry(u64::from(0x10 + 2 * irq), u64::from(LEVEL | 0x70))), (vec![], None));
    connections.consume(&mut vm, EventSet::of(EventId::new(0).unwrap())).unwrap();
    assert_eq!(run(Program::new().load(camera + 4).out_word(0x20)), (vec![Exit::Out(0x20, 1)], Some(0x70)), "COUNT and the interrupt");

    // The guest moves the event registers: the ioeventfd follows.
    let bdf = connections.status(ids[0]).unwrap().bdf;
    let moved = WINDOW + WINDOW_SIZE - 0x1_0000;
    let effect = vm.pci.write(bdf, ConfigAccess { offset: 0x10, width: Width::U32 }, u32::try_from(moved).unwrap()).unwrap();
    connections.apply(&mut vm, effect).unwrap();
    assert_eq!(events(&connections, ids[0]), moved);
    fds.follow(&connections, |_| Some(&peer)).unwrap();
    assert_eq!((run(emit(moved)).0, peer.take().unwrap()), (vec![], 1));
    assert_eq!((run(emit(camera)).0.len(), peer.take().unwrap()), (1, 0), "nothing is left at the old address");

    // Decoding off: no register, no ioeventfd.
    let effect = vm.pci.write(bdf, ConfigAccess { offset: 4, width: Width::U16 }, 0).unwrap();
    connections.apply(&mut vm, effect).unwrap();
    fds.follow(&connections, |_| Some(&peer)).unwrap();
    assert_eq!(fds.len(), 1);
    assert_eq!((run(emit(moved)).0.len(), peer.take().unwrap()), (1, 0));
    for id in ids {
        connections.remove(&mut vm, id).unwrap().unwrap();
    }
    fds.follow(&connections, |_| Some(&peer)).unwrap();
    assert!(fds.is_empty());
    assert_eq!(vm.memory.slots_in_use(), 1);
}

/// What an installation may leave: slots, lines that are out, and whether the window is free.
fn left(vm: &mut Vm<'_>) -> (usize, usize, bool) {
    let lines: Vec<_> = std::iter::from_fn(|| vm.irqs.allocate().ok()).collect();
    lines.iter().for_each(|irq| vm.irqs.release(*irq));
    let window = range(WINDOW, WINDOW_SIZE);
    let free = vm.memory.reserve(window).is_ok();
    if free {
        vm.memory.release(window);
    }
    (vm.memory.slots_in_use(), 8 - lines.len(), free)
}

#[test]
fn an_install_without_enough_slots_leaves_no_trace_and_succeeds_with_them() {
    if !usable("failing calls") {
        return;
    }
    // RAM, two event pages, three dataports.
    for limit in 1..=6 {
        let vm = vm();
        let interrupts = KernelInterrupts::create(Arc::clone(&vm), &Routing::PC).unwrap();
        let Machine { space, .. } = Machine::on(vm);
        let mut space = space.with_slot_limit(limit);
        let mut vm = parts(&mut space, interrupts);
        let mut connections = Connections::new(Config::default());
        let before = left(&mut vm);
        match connections.install(&mut vm, two(&EventNotifier::new().unwrap())) {
            Ok(_) => assert_eq!((limit, vm.memory.slots_in_use()), (6, 6)),
            Err(error) => {
                assert_eq!((limit < 6, error.kind()), (true, ErrorKind::Exhausted), "{error}");
                assert_eq!(left(&mut vm), before, "{error}");
                assert_eq!(connections.connections().count(), 0);
            }
        }
    }
}

#[test]
fn an_install_whose_kvm_calls_fail_leaves_no_trace() {
    if !usable("failing calls") {
        return;
    }
    let (mut machine, interrupts) = machine();
    // As many as it takes: the numbers of slots that were not made are free again.
    machine.space = machine.space.with_slot_limit(6);
    let mut vm = parts(&mut machine.space, interrupts);
    let mut connections = Connections::new(Config::default());
    let (before, peer) = (left(&mut vm), EventNotifier::new().unwrap());
    std::thread::scope(|scope| {
        let install = || {
            let_fail(SET_USER_MEMORY_REGION);
            connections.install(&mut vm, two(&peer)).unwrap_err()
        };
        let error = scope.spawn(install).join().unwrap();
        assert_eq!(error.kind(), ErrorKind::Exhausted);
        assert!(["CreateSlot", "code: 12"].iter().all(|part| error.to_string().contains(part)), "{error}");
    });
    assert_eq!(left(&mut vm), before);
    connections.install(&mut vm, two(&peer)).unwrap();
    assert_eq!(vm.memory.slots_in_use(), 6);
}

#[test]
fn a_slot_that_kvm_does_not_give_back_leads_nowhere_and_goes_later() {
    if !usable("failing calls") {
        return;
    }
    let mut machine = Machine::new();
    let (old, new) = (dataport(0x1000), dataport(0x1000));
    let mapping = Mapping { size: FrameSize::KIB_4, rights: Rights::ReadWrite, memory_type: MemoryType::WriteBack };
    machine.space.reserve(range(WINDOW, 0x1000)).unwrap();
    machine.space.map(at(WINDOW), old.frames(), mapping).unwrap();
    let word = || old.bytes().unwrap()[0].load(Ordering::Acquire);
    let store = |machine: &mut Machine, value| machine.exits_of(&Program::new().store(WINDOW, Bytes::Four, value).out(DONE, 0));
    assert_eq!((store(&mut machine, 7), word()), (vec![], 7));
    std::thread::scope(|scope| {
        let unmap = || {
            let_fail(SET_USER_MEMORY_REGION);
            machine.space.unmap(range(WINDOW, 0x1000));
            // The guest goes on, but reaches nothing of the dataport.
            assert_eq!((store(&mut machine, 8), word()), (vec![], 7));
            old.bytes().unwrap()[4].store(9, Ordering::Release);
            let exits = machine.exits_of(&Program::new().load(WINDOW + 4).out_word(0x20).out(DONE, 0));
            assert_eq!(exits, [Exit::Out(0x20, 0)]);
            // Nothing can take its place yet.
            let error = machine.space.map(at(WINDOW), new.frames(), mapping).unwrap_err();
            assert_eq!(error, SpaceError::Taken(range(WINDOW, 0x1000)));
        };
        scope.spawn(unmap).join().unwrap();
    });
    machine.space.map(at(WINDOW), new.frames(), mapping).unwrap();
    assert_eq!(machine.space.slots_in_use(), 2);
    assert_eq!((store(&mut machine, 8), word()), (vec![], 7));
    assert_eq!(new.bytes().unwrap()[0].load(Ordering::Acquire), 8);
}
