//! `install` is all or nothing, whichever backend call fails.

mod common;

use common::{Connections, event, four, installed, vm};
use crossvm_core::device::Name;
use crossvm_core::{
    Config, Connection, CrossVm, Error, ErrorKind, EventSet, GuestRange, InstallCause, InterruptMode, Invalid, Mapping, Parts, PciSpace,
};
use crossvm_pci::{HostBridge, PciBus};
use crossvm_testkit::{Doorbell, FakeDataport, FakeInterrupts, FakeIrqs, FakeMemory, FakeNotifier, Faults, Faulty, RAM, WINDOW, range};

type FaultyVm = Parts<Faulty<FakeMemory>, Faulty<PciBus<8>>, Faulty<FakeIrqs>, Faulty<FakeInterrupts>>;
type FaultyConnections = CrossVm<FaultyVm, FakeDataport, Faulty<FakeNotifier>, 8>;

fn faulty(faults: &Faults) -> FaultyVm {
    let Parts { memory, pci, irqs, interrupts } = vm();
    let pci = pci.with_window(range((0x8_0000_0000, 1 << 30))).unwrap();
    Parts { memory: faults.wrap(memory), pci: faults.wrap(pci), irqs: faults.wrap(irqs), interrupts: faults.wrap(interrupts) }
}

/// All that an installation leaves in the backends.
#[derive(Debug, PartialEq)]
struct Trace {
    mappings: Vec<(GuestRange, Mapping)>,
    reserved: Vec<GuestRange>,
    event_pages: usize,
    functions: Vec<crossvm_core::Bdf>,
    wires: Vec<(u8, crossvm_core::Irq)>,
    irqs: Vec<crossvm_core::Irq>,
    high: Vec<crossvm_core::Irq>,
}

fn trace(vm: &FaultyVm) -> Trace {
    Trace {
        mappings: vm.memory.inner.mappings().collect(),
        reserved: vm.memory.inner.reserved().to_vec(),
        event_pages: vm.memory.inner.event_pages(),
        functions: vm.pci.inner.functions().collect(),
        wires: vm.pci.inner.wires().collect(),
        irqs: vm.irqs.inner.used().collect(),
        high: vm.interrupts.inner.high().collect(),
    }
}

#[test]
fn a_failure_of_any_backend_call_leaves_no_trace() {
    let (faults, doorbell) = (Faults::default(), Doorbell::default());
    let specs = || four(|event| faults.wrap(doorbell.notifier(event)));
    // Once without a failure, to count the calls.
    let (mut backend, mut connections) = (faulty(&faults), FaultyConnections::new(Config::default()));
    faults.fail_at(None);
    connections.install(&mut backend, specs()).unwrap();
    let (calls, complete) = (faults.calls(), trace(&backend));
    assert_eq!(calls, 2 + 3 + 4 + 4 + 4 + 4, "windows, lines, event pages, functions, event BARs, dataports");

    for call in 0..calls {
        let (mut backend, mut connections) = (faulty(&faults), FaultyConnections::new(Config::default()));
        let before = trace(&backend);
        faults.fail_at(Some(call));
        let error = connections.install(&mut backend, specs()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Other, "call {call}: {error}");
        assert_eq!(trace(&backend), before, "call {call} left something behind: {error}");
        assert_eq!(connections.connections().count(), 0, "call {call}");
        // And the same VM takes the same connections afterwards.
        faults.fail_at(None);
        connections.install(&mut backend, specs()).unwrap();
        assert_eq!(trace(&backend), complete, "after a failure at call {call}");
    }
}

#[test]
fn a_failure_of_a_second_install_leaves_the_first_alone() {
    let (faults, doorbell) = (Faults::default(), Doorbell::default());
    let specs = || four(|event| faults.wrap(doorbell.notifier(event)));
    let setup = || {
        let (mut backend, mut connections) = (faulty(&faults), FaultyConnections::new(Config::default()));
        faults.fail_at(None);
        connections.install(&mut backend, specs().drain(..2)).unwrap();
        faults.fail_at(None);
        (backend, connections)
    };
    let (mut backend, mut connections) = setup();
    connections.install(&mut backend, specs().drain(2..)).unwrap();
    let calls = faults.calls();
    for call in 0..calls {
        let (mut backend, mut connections) = setup();
        let before = trace(&backend);
        faults.fail_at(Some(call));
        let error = connections.install(&mut backend, specs().drain(2..)).unwrap_err();
        assert_eq!(trace(&backend), before, "call {call}: {error}");
        faults.fail_at(None);
        assert_eq!(connections.consume(&mut backend, EventSet::from_word(0b1111)).unwrap().word(), 0b1100, "call {call}");
        assert_eq!(backend.interrupts.inner.high().count(), 2, "call {call}: the first two still interrupt");
    }
}

#[test]
fn remove_undoes_install() {
    let faults = Faults::default();
    let doorbell = Doorbell::default();
    let (mut backend, mut connections) = (faulty(&faults), FaultyConnections::new(Config::default()));
    let before = trace(&backend);
    for _ in 0..3 {
        let ids = connections.install(&mut backend, four(|event| faults.wrap(doorbell.notifier(event)))).unwrap();
        connections.consume(&mut backend, EventSet::from_word(0b1111)).unwrap();
        assert_eq!(backend.interrupts.inner.high().count(), 3, "two lines and a shared one");
        // From the middle outwards, with everything pending.
        for index in [1, 2, 0, 3] {
            let removed = connections.remove(&mut backend, ids[index]).unwrap().unwrap();
            assert_eq!(removed.connection.event, Some(event(u8::try_from(index).unwrap()).into()));
        }
        assert_eq!(trace(&backend), before);
        assert!(connections.remove(&mut backend, ids[0]).unwrap().is_none(), "removed twice");
    }
}

#[test]
fn what_a_removed_function_hid_appears() {
    let (mut vm, mut connections, doorbell) = installed();
    let ids: Vec<_> = connections.connections().collect();
    let (low, high) = (connections.status(ids[0]).unwrap(), connections.status(ids[1]).unwrap());
    let target = low.bars[0].mapped_at.unwrap();
    let access = crossvm_core::ConfigAccess { offset: 0x10, width: crossvm_core::Width::U32 };
    let effect = vm.pci.write(high.bdf, access, u32::try_from(target.get()).unwrap()).unwrap();
    connections.apply(&mut vm, effect).unwrap();
    assert_eq!(connections.status(ids[1]).unwrap().bars[0].mapped_at, None, "the lower number hides it");
    let removed = connections.remove(&mut vm, ids[0]).unwrap().unwrap();
    assert_eq!(removed.connection.name, low.name);
    removed.uncovered.unwrap();
    assert_eq!(connections.status(ids[1]).unwrap().bars[0].mapped_at, Some(target));
    let store = crossvm_core::GuestAccess::Write { at: target, width: crossvm_core::Width::U8, value: 1 };
    assert_eq!(connections.handle(&mut vm, store), Ok(crossvm_core::Outcome::Emitted(ids[1])));
    assert_eq!(doorbell.take(), EventSet::of(event(1)));
}

#[test]
fn refresh_brings_lines_and_mappings_to_where_they_must_be() {
    let (faults, doorbell) = (Faults::default(), Doorbell::default());
    let (mut backend, mut connections) = (faulty(&faults), FaultyConnections::new(Config::default()));
    let ids = connections.install(&mut backend, four(|event| faults.wrap(doorbell.notifier(event)))).unwrap();
    // The first of two lines cannot be raised: nothing of the set is lost, and what is unknown comes back all the same.
    faults.fail_at(Some(0));
    let error = connections.consume(&mut backend, EventSet::from_word(0x13)).unwrap_err();
    assert_eq!((error.unknown.word(), error.kind()), (0x10, ErrorKind::Other));
    assert_eq!(backend.interrupts.inner.high().count(), 1);
    assert_eq!(ids.iter().map(|id| connections.status(*id).unwrap().count).collect::<Vec<_>>(), [1, 1, 0, 0]);
    connections.refresh(&mut backend).unwrap();
    assert_eq!(backend.interrupts.inner.high().count(), 2);
    // A BAR moves, and cannot be mapped where it is now.
    let before = trace(&backend).mappings.len();
    let bdf = connections.status(ids[1]).unwrap().bdf;
    let access = crossvm_core::ConfigAccess { offset: 0x14, width: crossvm_core::Width::U32 };
    let effect = backend.pci.write(bdf, access, 0x1000_0000).unwrap();
    faults.fail_at(Some(0));
    connections.apply(&mut backend, effect).unwrap_err();
    assert_eq!(trace(&backend).mappings.len(), before - 1);
    connections.refresh(&mut backend).unwrap();
    assert_eq!(connections.status(ids[1]).unwrap().bars[1].mapped_at.map(crossvm_core::GuestAddr::get), Some(0x1000_0000));
    // So can a reset: it says that it could not map, and goes on.
    faults.fail_at(Some(2));
    connections.reset(&mut backend).unwrap_err();
    faults.fail_at(None);
    connections.refresh(&mut backend).unwrap();
    assert_eq!(trace(&backend).mappings.len(), before);
}

#[test]
fn an_emit_that_cannot_be_delivered_counts_as_dropped_until_reset() {
    let (faults, doorbell) = (Faults::default(), Doorbell::default());
    let (mut backend, mut connections) = (faulty(&faults), FaultyConnections::new(Config::default()));
    let ids = connections.install(&mut backend, four(|event| faults.wrap(doorbell.notifier(event)))).unwrap();
    let events = connections.status(ids[0]).unwrap().bars[0].mapped_at.unwrap();
    let store = crossvm_core::GuestAccess::Write { at: events, width: crossvm_core::Width::U32, value: 1 };
    faults.fail_at(Some(0));
    connections.handle(&mut backend, store).unwrap_err();
    connections.handle(&mut backend, store).unwrap();
    let status = connections.status(ids[0]).unwrap();
    assert_eq!((status.emitted, status.dropped), (1, 1));
    let dropped = |backend: &FaultyVm| backend.memory.inner.load(events.checked_add(0x4c).unwrap(), 4).unwrap();
    assert_eq!(dropped(&backend), [1, 0, 0, 0]);
    connections.reset(&mut backend).unwrap();
    assert_eq!(dropped(&backend), [0; 4]);
}

#[test]
fn remove_changes_nothing_where_the_line_cannot_be_lowered() {
    let (faults, doorbell) = (Faults::default(), Doorbell::default());
    let (mut backend, mut connections) = (faulty(&faults), FaultyConnections::new(Config::default()));
    let ids = connections.install(&mut backend, four(|event| faults.wrap(doorbell.notifier(event)))).unwrap();
    connections.consume(&mut backend, EventSet::from_word(1)).unwrap();
    let before = trace(&backend);
    faults.fail_at(Some(0));
    connections.remove(&mut backend, ids[0]).unwrap_err();
    assert_eq!(trace(&backend), before);
    assert_eq!(connections.connections().count(), 4);
    // It is as pending as before: what the guest does with it still counts, and the line is not lost.
    connections.refresh(&mut backend).unwrap();
    assert_eq!(trace(&backend), before);
    connections.remove(&mut backend, ids[0]).unwrap().unwrap();
    assert_eq!(backend.interrupts.inner.high().count(), 0);
}

#[test]
fn what_cannot_be_is_refused_before_any_backend_is_asked() {
    let (mut vm, mut connections, doorbell) = installed();
    let named = |name: &str| Connection::<FakeDataport, FakeNotifier>::new(Name::new(name).unwrap());
    let mut refused = |connection| match connections.install(&mut vm, [connection]).unwrap_err().cause {
        InstallCause::Invalid(invalid) => invalid,
        other => panic!("{other}"),
    };
    assert_eq!(refused(named("small")), Invalid::NameTaken);
    assert_eq!(refused(named("new").with_event(event(2))), Invalid::EventTaken(event(2).into()));
    let empty = FakeDataport::new(0);
    let connection = named("new").with_dataport(empty, crossvm_core::Rights::Read).unwrap();
    assert!(matches!(refused(connection), Invalid::EmptyDataport(bar) if bar.get() == 1));
    // Two of one call collide just as well, and the first of them is gone again.
    let error = connections.install(&mut vm, [named("twin"), named("twin")]).unwrap_err();
    assert_eq!((error.position, error.name.as_str()), (1, "twin"));
    assert_eq!(connections.connections().count(), 4);
    assert_eq!(doorbell.take(), EventSet::EMPTY);
}

#[test]
fn the_ninth_connection_of_a_vm_for_eight_is_an_error() {
    let (mut vm, mut connections) = (vm(), Connections::new(Config::default()));
    let named = |index: u32| {
        Connection::<FakeDataport, FakeNotifier>::new(Name::new(&format!("c{index}")).unwrap()).with_interrupt(InterruptMode::SharedLine)
    };
    connections.install(&mut vm, (0..8).map(named)).unwrap();
    let error = connections.install(&mut vm, [named(8)]).unwrap_err();
    assert!(matches!(error.cause, InstallCause::Invalid(Invalid::Full { capacity: 8 })), "{error}");
    assert_eq!(vm.irqs.used().count(), 1, "eight connections share one line");
}

#[test]
fn a_full_bus_is_an_error() {
    type Wide = Parts<FakeMemory, PciBus<64>, FakeIrqs, FakeInterrupts>;
    let mut vm: Wide = Parts {
        memory: FakeMemory::new([range(RAM)]),
        pci: PciBus::new(HostBridge::default(), range(WINDOW)),
        irqs: FakeIrqs::new(32..128),
        interrupts: FakeInterrupts::default(),
    };
    let mut connections: CrossVm<Wide, FakeDataport, FakeNotifier, 64> = CrossVm::new(Config::default());
    // Each has a line of its own, so each needs a device number of its own: 31 of them.
    let named = |index: u32| Connection::new(Name::new(&format!("c{index}")).unwrap());
    let error = connections.install(&mut vm, (0..32).map(named)).unwrap_err();
    assert_eq!((error.position, error.kind()), (31, ErrorKind::Exhausted), "{error}");
    assert_eq!((vm.irqs.used().count(), vm.pci.functions().count(), vm.memory.event_pages()), (0, 0, 0));
    connections.install(&mut vm, (0..31).map(named)).unwrap();
    // With a shared line, functions 1 to 7 are used too.
    let shared = |index: u32| named(index).with_interrupt(InterruptMode::SharedLine);
    let error = connections.install(&mut vm, [shared(40)]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Exhausted, "no device number has the shared line");
    let first = connections.connections().next().unwrap();
    connections.remove(&mut vm, first).unwrap();
    connections.install(&mut vm, (40..48).map(shared)).unwrap();
    let bdf = crossvm_core::Bdf::new(0, 1, 0).unwrap();
    let header = vm.pci.read(bdf, crossvm_core::ConfigAccess { offset: 0x0e, width: crossvm_core::Width::U8 });
    assert_eq!(header, 0x80, "the device number is marked as multifunction");
}
