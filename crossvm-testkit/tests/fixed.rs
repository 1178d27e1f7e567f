//! Connections on a backend that cannot map at run time: it says where dataports and event pages are.

mod common;

use common::{Connections, Vm, event, vm};
use crossvm_core::device::Name;
use crossvm_core::{
    BarIndex, Bdf, Config, ConfigAccess, Connection, Error, ErrorKind, EventSet, GuestAccess, GuestAddr, InstallCause, Outcome, PciSpace,
    Rights, Width,
};
use crossvm_testkit::{Doorbell, FakeDataport, FakeMemory, FakeNotifier, RAM, WINDOW, range};

const EVENTS: [u64; 2] = [WINDOW.0 + 0x1000, WINDOW.0];
const DATA: [u64; 2] = [WINDOW.0 + 0x10_0000, WINDOW.0 + 0x4000];

fn fixed_vm() -> Vm {
    Vm { memory: FakeMemory::new([range(RAM)]).with_fixed_pages(EVENTS.map(GuestAddr::new)), ..vm() }
}

fn connection(name: &str, bit: u8, bytes: u64, at: u64, doorbell: &Doorbell) -> Connection<FakeDataport, FakeNotifier> {
    let dataport = FakeDataport::new(bytes).fixed(GuestAddr::new(at));
    let connection = Connection::new(Name::new(name).unwrap()).with_emit(doorbell.notifier(event(bit))).with_event(event(bit));
    connection.with_dataport(dataport, Rights::ReadWrite).unwrap()
}

fn installed() -> (Vm, Connections, Doorbell) {
    let (mut vm, mut connections, doorbell) = (fixed_vm(), Connections::new(Config::default()), Doorbell::default());
    let specs = [connection("large", 0, 1 << 20, DATA[0], &doorbell), connection("small", 1, 12 << 10, DATA[1], &doorbell)];
    connections.install(&mut vm, specs).unwrap();
    (vm, connections, doorbell)
}

/// Where the guest reaches event registers, dataport and MSI-X table of each connection.
fn places(connections: &Connections) -> Vec<Vec<Option<u64>>> {
    let status = connections.connections().filter_map(|id| connections.status(id));
    status.map(|status| status.bars.iter().map(|bar| bar.mapped_at.map(GuestAddr::get)).collect()).collect()
}

fn bar_register(bar: BarIndex) -> ConfigAccess {
    ConfigAccess { offset: 0x10 + 4 * u16::try_from(bar.get()).unwrap(), width: Width::U32 }
}

fn write(vm: &mut Vm, connections: &mut Connections, bdf: Bdf, access: ConfigAccess, value: u32) {
    if let Some(effect) = vm.pci.write(bdf, access, value) {
        connections.apply(vm, effect).unwrap();
    }
}

#[test]
fn bars_are_where_the_backend_has_the_memory() {
    let (_, connections, _) = installed();
    let places = places(&connections);
    // Event pages are given from the last one on.
    assert_eq!(places[0][..2], [Some(EVENTS[1]), Some(DATA[0])]);
    assert_eq!(places[1][..2], [Some(EVENTS[0]), Some(DATA[1])]);
    assert!(places.iter().all(|bars| bars[2].is_some()), "the table of messages is wherever there is room");
}

#[test]
fn a_guest_that_sizes_and_restores_finds_all_as_it_was() {
    let (mut vm, mut connections, _) = installed();
    let before = places(&connections);
    for bdf in vm.pci.functions().collect::<Vec<_>>() {
        for bar in BarIndex::ALL {
            let address = vm.pci.read(bdf, bar_register(bar));
            write(&mut vm, &mut connections, bdf, bar_register(bar), u32::MAX);
            write(&mut vm, &mut connections, bdf, bar_register(bar), address);
        }
    }
    assert_eq!(places(&connections), before);
}

#[test]
fn a_bar_that_a_guest_moves_is_nowhere_until_it_comes_back_or_is_reset() {
    let (mut vm, mut connections, doorbell) = installed();
    let before = places(&connections);
    let bdf = vm.pci.functions().next().unwrap();
    let elsewhere = u32::try_from(WINDOW.0 + 0x80_0000).unwrap();
    for bar in [BarIndex::ALL[0], BarIndex::ALL[1]] {
        write(&mut vm, &mut connections, bdf, bar_register(bar), elsewhere);
    }
    assert_eq!(places(&connections)[0][..2], [None, None]);
    let emit = |at: u64| GuestAccess::Write { at: GuestAddr::new(at), width: Width::U32, value: 1 };
    for at in [u64::from(elsewhere), EVENTS[1]] {
        assert_eq!(connections.handle(&mut vm, emit(at)).unwrap(), Outcome::NotOurs, "nothing answers at {at:#x}");
    }
    // Events of the peer count all the same.
    connections.consume(&mut vm, EventSet::of(event(0))).unwrap();
    write(&mut vm, &mut connections, bdf, bar_register(BarIndex::ALL[0]), u32::try_from(EVENTS[1]).unwrap());
    assert!(matches!(connections.handle(&mut vm, emit(EVENTS[1])).unwrap(), Outcome::Emitted(_)));
    assert_eq!(doorbell.take(), EventSet::of(event(0)));
    connections.reset(&mut vm).unwrap();
    assert_eq!(places(&connections), before);
}

#[test]
fn a_dataport_at_an_address_that_cannot_be_is_refused_and_leaves_nothing() {
    let (mut vm, mut connections, doorbell) = installed();
    let before = places(&connections);
    let (pages, functions) = (vm.memory.event_pages(), vm.pci.functions().count());
    let bad = [(DATA[0], ErrorKind::Overlap), (RAM.0, ErrorKind::OutOfRange), (DATA[1] + 0x1000, ErrorKind::OutOfRange)];
    for (at, kind) in bad {
        let error = connections.install(&mut vm, [connection("third", 2, 12 << 10, at, &doorbell)]).unwrap_err();
        assert!(matches!(error.cause, InstallCause::Pci(_)), "{error}");
        assert_eq!(error.kind(), kind, "{error}");
        assert_eq!((vm.memory.event_pages(), vm.pci.functions().count(), places(&connections)), (pages, functions, before.clone()));
    }
}
