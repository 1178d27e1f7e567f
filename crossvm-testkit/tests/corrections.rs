//! Where the device differs from the one of seL4's module on purpose: one test for each correction, named after its row in `docs/device.md`.

mod common;

use std::collections::BTreeMap;

use common::{Connections, Vm, event, four, installed, msix_capability, vm};
use crossvm_core::device::{DeviceClass, EventBarSize, Name, Profile};
use crossvm_core::{
    BarIndex, BarWidth, Config, ConfigAccess, Connection, ConnectionId, CrossVm, Error, ErrorKind, Event, EventSet, ExactId, FrameSize,
    GuestAccess, GuestAddr, GuestRange, InstallCause, InterruptMode, Invalid, Level, MemoryType, Messages, Outcome, Parts, PciSpace,
    Rights, Width,
};
use crossvm_pci::{HostBridge, PciBus};
use crossvm_testkit::{Doorbell, FakeDataport, FakeInterrupts, FakeIrqs, FakeMemory, FakeNotifier, GuestFault, RAM, WINDOW, range};
use proptest::prelude::*;

const COUNT: u64 = 0x04;
const ACK: u64 = 0x48;
/// A window above 4 GiB.
const HIGH: (u64, u64) = (0x10_0000_0000, 64 << 30);

/// A VM with room for many connections.
type LargeVm = Parts<FakeMemory, PciBus<254>, FakeIrqs, FakeInterrupts>;
type LargeConnections = CrossVm<LargeVm, FakeDataport, FakeNotifier, 254>;

fn large_vm() -> LargeVm {
    let pci = PciBus::new(HostBridge::default(), range(WINDOW)).with_window(range(HIGH)).unwrap();
    Parts { memory: FakeMemory::new([range(RAM)]), pci, irqs: FakeIrqs::new(32..64), interrupts: FakeInterrupts::default() }
}

fn plus(at: GuestAddr, offset: u64) -> GuestAddr {
    at.checked_add(offset).unwrap()
}

fn bar(connections: &Connections, id: ConnectionId, index: usize) -> GuestAddr {
    connections.status(id).unwrap().bars[index].mapped_at.unwrap()
}

fn dword(offset: u16) -> ConfigAccess {
    ConfigAccess { offset, width: Width::U32 }
}

fn store(vm: &mut Vm, connections: &mut Connections, at: GuestAddr, value: u64) -> Outcome {
    connections.handle(vm, GuestAccess::Write { at, width: Width::U32, value }).unwrap()
}

fn count(vm: &Vm, events: GuestAddr) -> u32 {
    u32::from_le_bytes(vm.memory.load(plus(events, COUNT), 4).unwrap().try_into().unwrap())
}

fn configure(vm: &mut Vm, connections: &mut Connections, id: ConnectionId, offset: u16, width: Width, value: u32) {
    let bdf = connections.status(id).unwrap().bdf;
    if let Some(effect) = vm.pci.write(bdf, ConfigAccess { offset, width }, value) {
        connections.apply(vm, effect).unwrap();
    }
}

/// What a handler of the reference driver does, step by step, for all connections of a line.
#[derive(Debug, Clone, Copy)]
enum Handler {
    Idle,
    /// The line was high: connection `0` of the line is looked at next.
    At(usize),
    /// COUNT of connection `0` was not zero: it is cleared next.
    Clear(usize),
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// Events land between any two steps of handlers that clear COUNT by writing zero, on a line of their own and on a shared one: in the end every
    /// connection has been served after its last event, and the lines are low.
    #[test]
    fn c1_an_event_at_any_step_of_the_handler_is_not_lost(steps in prop::collection::vec((any::<bool>(), 0u64..16), 1..120)) {
        let (mut vm, mut connections, _) = installed();
        let ids: Vec<_> = connections.connections().collect();
        let lines: BTreeMap<_, Vec<ConnectionId>> = ids.iter().fold(BTreeMap::new(), |mut lines, id| {
            lines.entry(connections.status(*id).unwrap().irq.unwrap()).or_insert_with(Vec::new).push(*id);
            lines
        });
        prop_assert_eq!(lines.len(), 3, "two lines and a shared one");
        let mut handlers: BTreeMap<_, _> = lines.keys().map(|irq| (*irq, Handler::Idle)).collect();
        let mut unserved = [false; 4];
        // After the steps given, handlers alone run until nothing is to be done.
        let quiet = (0..64).map(|_| (false, 0));
        for (is_event, set) in steps.into_iter().chain(quiet) {
            if is_event {
                connections.consume(&mut vm, EventSet::from_word(set)).unwrap();
                (0..4).filter(|bit| set >> bit & 1 == 1).for_each(|bit| unserved[bit] = true);
                continue;
            }
            for (irq, members) in &lines {
                let handler = handlers.get_mut(irq).unwrap();
                *handler = match *handler {
                    Handler::Idle if vm.interrupts.level(*irq) == Level::High => Handler::At(0),
                    Handler::Idle => Handler::Idle,
                    Handler::At(index) if index == members.len() => Handler::Idle,
                    Handler::At(index) => {
                        let events = bar(&connections, members[index], 0);
                        if count(&vm, events) == 0 { Handler::At(index + 1) } else { Handler::Clear(index) }
                    }
                    Handler::Clear(index) => {
                        let events = bar(&connections, members[index], 0);
                        store(&mut vm, &mut connections, plus(events, COUNT), 0);
                        // The driver wakes its reader after it has cleared: all that came before is served.
                        unserved[ids.iter().position(|id| *id == members[index]).unwrap()] = false;
                        Handler::At(index + 1)
                    }
                };
            }
        }
        prop_assert_eq!(unserved, [false; 4]);
        prop_assert_eq!(vm.interrupts.high().count(), 0);
    }
}

#[test]
fn c2_an_event_before_the_driver_binds_interrupts_it_once_bound() {
    let (mut vm, mut connections, _) = installed();
    let id = connections.connections().next().unwrap();
    let irq = connections.status(id).unwrap().irq.unwrap();
    // A kernel without a driver masks the pin.
    configure(&mut vm, &mut connections, id, 4, Width::U16, 0x0402);
    for _ in 0..5 {
        connections.consume(&mut vm, EventSet::of(event(0))).unwrap();
    }
    assert_eq!(vm.interrupts.level(irq), Level::Low);
    configure(&mut vm, &mut connections, id, 4, Width::U16, 0x0002);
    assert_eq!((count(&vm, bar(&connections, id, 0)), vm.interrupts.level(irq)), (5, Level::High));
}

#[test]
fn c3_a_clearing_write_loses_no_wake_up_and_ack_no_event() {
    let (mut vm, mut connections, _) = installed();
    let id = connections.connections().next().unwrap();
    let (events, irq) = (bar(&connections, id, 0), connections.status(id).unwrap().irq.unwrap());
    // The guest reads COUNT, an event comes, the guest clears: the event's wake-up is the handler that runs. The next one raises again.
    connections.consume(&mut vm, EventSet::of(event(0))).unwrap();
    assert_eq!(count(&vm, events), 1);
    connections.consume(&mut vm, EventSet::of(event(0))).unwrap();
    store(&mut vm, &mut connections, plus(events, COUNT), 0);
    assert_eq!(vm.interrupts.level(irq), Level::Low);
    connections.consume(&mut vm, EventSet::of(event(0))).unwrap();
    assert_eq!(vm.interrupts.level(irq), Level::High);
    // With ACK the sum over all rounds is exact, whatever comes in between.
    let (mut sent, mut seen) = (1u64, 0u64);
    for round in 0..50u64 {
        let now = count(&vm, events);
        for _ in 0..round % 4 {
            connections.consume(&mut vm, EventSet::of(event(0))).unwrap();
            sent += 1;
        }
        store(&mut vm, &mut connections, plus(events, ACK), now.into());
        seen += u64::from(now);
    }
    seen += u64::from(count(&vm, events));
    assert_eq!(seen, sent);
}

#[test]
fn c4_without_a_free_interrupt_line_install_fails_and_leaves_nothing() {
    let doorbell = Doorbell::default();
    let mut vm = Parts { irqs: FakeIrqs::new(32..34), ..vm() };
    let mut connections = Connections::new(Config::default());
    let error = connections.install(&mut vm, four(|event| doorbell.notifier(event))).unwrap_err();
    assert!(matches!(error.cause, InstallCause::Interrupt(ErrorKind::Exhausted)), "{error}");
    assert_eq!((error.position, error.kind()), (2, ErrorKind::Exhausted));
    assert_eq!(vm.irqs.used().count() + vm.memory.mappings().count() + vm.memory.event_pages() + vm.pci.functions().count(), 0);
    assert_eq!((vm.memory.reserved(), connections.connections().count()), (&[][..], 0));
}

#[test]
fn c5_every_id_of_a_coalesced_set_is_served_and_exact_ids_match_as_a_whole() {
    for set in 0..16u64 {
        let (mut vm, mut connections, _) = installed();
        connections.consume(&mut vm, EventSet::from_word(set)).unwrap();
        for (bit, id) in connections.connections().enumerate() {
            assert_eq!(u64::from(connections.status(id).unwrap().count), set >> bit & 1, "set {set:#b}, bit {bit}");
        }
    }
    let (mut vm, mut connections) = (vm(), Connections::new(Config::default()));
    // Values of which one holds the bits of the other, given in no order.
    let values = [0b11, u64::MAX, 0b01, 0, 0b10];
    let named =
        |(index, value): (usize, &u64)| Connection::new(Name::new(&format!("exact{index}")).unwrap()).with_event(ExactId::new(*value));
    let ids = connections.install(&mut vm, values.iter().enumerate().map(named)).unwrap();
    for (round, (value, id)) in (1..).zip(values.iter().zip(&ids)) {
        assert_eq!(connections.consume_counted(&mut vm, ExactId::new(*value).into(), round), Ok(Some(*id)));
    }
    for unknown in [4, 0b111, u64::MAX - 1] {
        assert_eq!(connections.consume_counted(&mut vm, ExactId::new(unknown).into(), 1), Ok(None), "{unknown:#x}");
    }
    let counts = |connections: &Connections| ids.iter().map(|id| connections.status(*id).map(|status| status.count)).collect::<Vec<_>>();
    assert_eq!(counts(&connections), [Some(1), Some(2), Some(3), Some(4), Some(5)]);
    // No bit of a set is any of them; a removed one is known no longer, its value is free again.
    assert_eq!(connections.consume(&mut vm, EventSet::from_word(0b11)).unwrap().word(), 0b11);
    let taken = connections.install(&mut vm, [named((9, &0b01))]).unwrap_err();
    assert!(matches!(taken.cause, InstallCause::Invalid(Invalid::EventTaken(Event::Exact(_)))), "{taken}");
    connections.remove(&mut vm, ids[2]).unwrap().unwrap();
    assert_eq!(connections.consume_counted(&mut vm, ExactId::new(0b01).into(), 1), Ok(None));
    connections.install(&mut vm, [named((9, &0b01))]).unwrap();
    assert_eq!(connections.consume_counted(&mut vm, ExactId::new(0b01).into(), 0).map(|id| id.is_some()), Ok(true));
    assert_eq!(vm.interrupts.high().count(), 4, "no event, no interrupt");
}

#[test]
fn c6_the_class_is_memory_and_the_old_value_can_be_chosen() {
    for (class, expected) in [(DeviceClass::Ram, 0x0500_0001), (DeviceClass::Reference, 0x0005_0001)] {
        let (mut vm, mut connections) = (vm(), Connections::new(Config { class, ..Config::default() }));
        connections.install(&mut vm, four(|event| Doorbell::default().notifier(event))).unwrap();
        for id in connections.connections() {
            assert_eq!(vm.pci.read(connections.status(id).unwrap().bdf, dword(0x08)), expected, "{class:?}");
        }
    }
}

#[test]
fn c7_bars_are_aligned_to_their_size() {
    let (mut vm, mut connections) = (large_vm(), LargeConnections::new(Config::default()));
    let sizes = [1u64, 3, 5, 16, 17, 256, 257, 1000];
    let named = |(index, pages): (usize, &u64)| {
        let connection = Connection::new(Name::new(&format!("c{index}")).unwrap()).with_interrupt(InterruptMode::SharedLine);
        let narrow = connection.with_dataport(FakeDataport::new(pages << 12), Rights::ReadWrite).unwrap();
        narrow.with_wide_dataport(FakeDataport::new(pages << 12), Rights::Read).unwrap()
    };
    connections.install(&mut vm, sizes.iter().enumerate().map(named)).unwrap();
    let mut seen: Vec<GuestRange> = Vec::new();
    for id in connections.connections() {
        let status = connections.status(id).unwrap();
        assert_eq!(status.bars.len(), 4);
        for bar in &status.bars {
            let at = bar.mapped_at.unwrap();
            assert!(at.is_aligned(bar.size.bytes()), "{} {}: {at}", status.name, bar.bar);
            let range = GuestRange::new(at, bar.size.bytes()).unwrap();
            assert!(!seen.iter().any(|other| other.overlaps(range)), "{} {} overlaps", status.name, bar.bar);
            seen.push(range);
        }
    }
}

#[test]
fn c8_sizes_are_rounded_up_and_the_true_ones_published() {
    for pages in [1u64, 2, 3, 5, 7, 8, 9, 100] {
        let (mut vm, mut connections) = (vm(), Connections::new(Config::default()));
        let dataport = FakeDataport::new(pages << 12);
        let connection = Connection::new(Name::new("odd").unwrap()).with_dataport(dataport.clone(), Rights::ReadWrite).unwrap();
        let id = connections.install(&mut vm, [connection]).unwrap()[0];
        let status = connections.status(id).unwrap();
        assert_eq!(status.bars[1].size.bytes(), (pages << 12).next_power_of_two());
        // In the registers: the number, then the size in 64 bits and the rights.
        let registers = vm.memory.load(plus(bar(&connections, id, 0), 0x50), 24).unwrap();
        let expected = [&1u64.to_le_bytes()[..], &(pages << 12).to_le_bytes(), &3u64.to_le_bytes()].concat();
        assert_eq!(registers, expected, "{pages} pages");
        // What the guest probes is the size of the BAR.
        let bdf = status.bdf;
        vm.pci.write(bdf, dword(0x14), u32::MAX);
        let probed = !(vm.pci.read(bdf, dword(0x14)) & !0xf) + 1;
        assert_eq!(u64::from(probed), status.bars[1].size.bytes(), "{pages} pages");
    }
}

#[test]
fn c9_bars_move_have_64_bits_and_obey_memory_decode() {
    let doorbell = Doorbell::default();
    let (mut vm, mut connections) = (large_vm(), LargeConnections::new(Config::default()));
    let dataport = FakeDataport::new(8 << 12);
    let wide = Connection::new(Name::new("wide").unwrap()).with_wide_dataport(dataport.clone(), Rights::ReadWrite).unwrap();
    let id = connections.install(&mut vm, [wide.with_emit(doorbell.notifier(event(0)))]).unwrap()[0];
    let bdf = connections.status(id).unwrap().bdf;
    let write = |vm: &mut LargeVm, connections: &mut LargeConnections, offset, value| {
        if let Some(effect) = vm.pci.write(bdf, dword(offset), value) {
            connections.apply(vm, effect).unwrap();
        }
    };
    let at = |connections: &LargeConnections| connections.status(id).unwrap().bars[1].mapped_at;
    assert_eq!(connections.status(id).unwrap().bars[1].bar, BarIndex::ALL[1]);
    // To an address that does not fit in 32 bits, one half after the other.
    write(&mut vm, &mut connections, 0x18, 0x1f);
    write(&mut vm, &mut connections, 0x14, 0x8765_8000);
    assert_eq!(at(&connections), Some(GuestAddr::new(0x1f_8765_8000)));
    vm.memory.store(GuestAddr::new(0x1f_8765_8000), b"far").unwrap();
    assert_eq!(dataport.load(0, 3), b"far");
    // Below 4 GiB, where the other window is.
    write(&mut vm, &mut connections, 0x18, 0);
    write(&mut vm, &mut connections, 0x14, 0x1230_0000);
    assert_eq!(at(&connections), Some(GuestAddr::new(0x1230_0000)));
    assert_eq!(vm.memory.load(GuestAddr::new(0x1230_0000), 3).unwrap(), b"far");
    // Out of every window: nowhere. And back.
    write(&mut vm, &mut connections, 0x18, 0x7fff);
    assert_eq!(at(&connections), None);
    write(&mut vm, &mut connections, 0x18, 0);
    // Memory decode off: nothing of the function is reached, not even EMIT.
    let events = connections.status(id).unwrap().bars[0].mapped_at.unwrap();
    write(&mut vm, &mut connections, 0x04, 0);
    assert_eq!((at(&connections), vm.memory.mappings().count()), (None, 0));
    assert_eq!(connections.handle(&mut vm, GuestAccess::Write { at: events, width: Width::U8, value: 1 }), Ok(Outcome::NotOurs));
    write(&mut vm, &mut connections, 0x04, 2);
    assert_eq!(connections.handle(&mut vm, GuestAccess::Write { at: events, width: Width::U8, value: 1 }), Ok(Outcome::Emitted(id)));
    assert_eq!(doorbell.take(), EventSet::of(event(0)));
}

#[test]
fn c10_the_event_bar_is_backed_in_full() {
    for (event_bar, size) in [(EventBarSize::Kib4, 4u64 << 10), (EventBarSize::Kib16, 16 << 10), (EventBarSize::Kib64, 64 << 10)] {
        for profile in [Profile::Reference, Profile::Extended] {
            let (mut vm, mut connections) = (vm(), Connections::new(Config { profile, event_bar, ..Config::default() }));
            let id = connections.install(&mut vm, four(|event| Doorbell::default().notifier(event))).unwrap()[0];
            let bdf = connections.status(id).unwrap().bdf;
            let events = bar(&connections, id, 0);
            assert_eq!(vm.memory.load(events, size).map(|bytes| bytes.len() as u64), Ok(size), "each byte is readable without an exit");
            vm.pci.write(bdf, dword(0x10), u32::MAX);
            assert_eq!(u64::from(!(vm.pci.read(bdf, dword(0x10)) & !0xf) + 1), size, "and the BAR claims no byte more");
        }
    }
}

#[test]
fn c11_only_the_writable_bits_of_configuration_space_change() {
    for profile in [Profile::Reference, Profile::Extended] {
        let (mut vm, mut connections) = (vm(), Connections::new(Config { profile, ..Config::default() }));
        let id = connections.install(&mut vm, four(|event| Doorbell::default().notifier(event))).unwrap()[2];
        let bdf = connections.status(id).unwrap().bdf;
        // The connection with dataports of 4 and 8 KiB, and MSI-X in the extended profile.
        let mut writable = BTreeMap::from([(0x04, 0x0406u32), (0x10, 0xffff_f000), (0x14, 0xffff_f000), (0x18, 0xffff_e000), (0x3c, 0xff)]);
        if profile == Profile::Extended {
            writable.insert(0x24, 0xffff_f000);
            writable.insert(msix_capability(&vm.pci, bdf), 0xc000_0000);
        }
        for offset in (0..0x1000).step_by(4) {
            let mask = writable.get(&offset).copied().unwrap_or(0);
            for value in [u32::MAX, 0, 0x5555_5555, 0xaaaa_aaaa] {
                let before = vm.pci.read(bdf, dword(offset));
                if let Some(effect) = vm.pci.write(bdf, dword(offset), value) {
                    connections.apply(&mut vm, effect).unwrap();
                }
                assert_eq!(vm.pci.read(bdf, dword(offset)), before & !mask | value & mask, "{profile:?} {offset:#x} {value:#x}");
            }
        }
    }
}

#[test]
fn c12_every_offset_and_width_is_defined() {
    let (mut vm, connections, _) = installed();
    let bdf = connections.status(connections.connections().next().unwrap()).unwrap().bdf;
    let whole = |vm: &Vm| -> Vec<u8> { (0..0x1000).step_by(4).flat_map(|at| vm.pci.read(bdf, dword(at)).to_le_bytes()).collect() };
    let bytes = whole(&vm);
    for offset in (0..0x1010).chain([0x7fff, 0xfffc, 0xffff]) {
        for width in Width::ALL {
            let access = ConfigAccess { offset, width };
            let value = vm.pci.read(bdf, access);
            let length = usize::try_from(width.bytes()).unwrap();
            let at = usize::from(offset);
            if width == Width::U64 || at % length != 0 || at >= 0x1000 {
                assert_eq!(value, u32::MAX, "{access:x?} is no configuration cycle");
                assert_eq!(vm.pci.write(bdf, access, 0x5a5a_5a5a), None, "{access:x?}");
                assert!(whole(&vm) == bytes, "{access:x?} changed something");
            } else {
                let expected = bytes[at..at + length].iter().rev().fold(0, |value, byte| value << 8 | u32::from(*byte));
                assert_eq!(value, expected, "{access:x?}");
            }
        }
    }
}

#[test]
fn c13_no_register_has_an_alias() {
    for event_bar in [EventBarSize::Kib4, EventBarSize::Kib64] {
        let doorbell = Doorbell::default();
        let (mut vm, mut connections) = (vm(), Connections::new(Config { event_bar, ..Config::default() }));
        let id = connections.install(&mut vm, four(|event| doorbell.notifier(event))).unwrap()[0];
        let events = bar(&connections, id, 0);
        connections.consume(&mut vm, EventSet::of(event(0))).unwrap();
        let page = vm.memory.load(events, event_bar.size().bytes()).unwrap();
        for offset in 0..event_bar.size().bytes() {
            for width in Width::ALL {
                let access = GuestAccess::Write { at: plus(events, offset), width, value: 1 };
                let outcome = connections.handle(&mut vm, access).unwrap();
                let expected = match offset {
                    0 => Outcome::Emitted(id),
                    COUNT | ACK => Outcome::Written(id),
                    _ => Outcome::Ignored,
                };
                assert_eq!(outcome, expected, "{offset:#x} {width:?}");
                assert_eq!(doorbell.take().is_empty(), offset != 0, "{offset:#x} {width:?}");
                if outcome == Outcome::Written(id) {
                    store(&mut vm, &mut connections, plus(events, COUNT), 1);
                }
            }
        }
        assert!(vm.memory.load(events, event_bar.size().bytes()).unwrap() == page, "nothing but COUNT ever changes");
    }
}

#[test]
fn c14_connections_fill_functions_1_to_7_and_a_full_bus_or_vm_is_an_error() {
    let connection = |index: usize, mode| Connection::new(Name::new(&format!("c{index}")).unwrap()).with_interrupt(mode);
    let shared = |range: std::ops::Range<usize>| range.map(|index| connection(index, InterruptMode::SharedLine)).collect::<Vec<_>>();
    // Without MSI-X: half as many BARs to place.
    let config = Config { messages: Messages::Absent, ..Config::default() };
    let (mut vm, mut connections) = (large_vm(), LargeConnections::new(config));
    // 31 device numbers of 8 functions.
    let ids = connections.install(&mut vm, shared(0..248)).unwrap();
    let bdfs: Vec<_> = ids.iter().map(|id| connections.status(*id).unwrap().bdf).collect();
    assert_eq!(bdfs.iter().filter(|bdf| bdf.function() == 0).count(), 31);
    assert!(bdfs.iter().all(|bdf| bdf.bus() == 0 && bdf.device() != 0));
    for bdf in &bdfs {
        assert_eq!(vm.pci.read(*bdf, dword(0)), 0xa111_1af4, "{bdf}");
        if bdf.function() == 0 {
            assert_eq!(vm.pci.read(*bdf, dword(0x0c)) >> 16 & 0xff, 0x80, "{bdf} says that its device has more functions");
        }
    }
    let full = connections.install(&mut vm, shared(248..249)).unwrap_err();
    assert_eq!((full.kind(), connections.connections().count()), (ErrorKind::Exhausted, 248), "{full}");
    assert!(matches!(full.cause, InstallCause::Pci(_)), "{full}");
    // Lines of their own: a device number each.
    let (mut vm, mut connections) = (large_vm(), LargeConnections::new(Config::default()));
    let own = |range: std::ops::Range<usize>| range.map(|index| connection(index, InterruptMode::OwnLine)).collect::<Vec<_>>();
    connections.install(&mut vm, own(0..31)).unwrap();
    let full = connections.install(&mut vm, own(31..32)).unwrap_err();
    assert!(matches!(full.cause, InstallCause::Pci(_)), "{full}");
    // The bound of the table is a const generic.
    let mut small: CrossVm<LargeVm, FakeDataport, FakeNotifier, 2> = CrossVm::new(Config::default());
    let full = small.install(&mut large_vm(), shared(0..3)).unwrap_err();
    assert!(matches!(full.cause, InstallCause::Invalid(Invalid::Full { capacity: 2 })), "{full}");
}

#[test]
fn c15_a_region_has_one_attribute_for_all_who_map_it() {
    let (mut vm, mut connections) = (vm(), Connections::new(Config::default()));
    let (mut other, mut peers) = (common::vm(), Connections::new(Config::default()));
    let dataport = FakeDataport::of_frames(FrameSize::from_bytes(1 << 20).unwrap(), 2);
    let end = |rights| Connection::new(Name::new("region").unwrap()).with_dataport(dataport.clone(), rights).unwrap();
    connections.install(&mut vm, [end(Rights::ReadWrite)]).unwrap();
    peers.install(&mut other, [end(Rights::Read)]).unwrap();
    for (_, mapping) in vm.memory.mappings().chain(other.memory.mappings()) {
        assert_eq!(mapping.memory_type, MemoryType::WriteBack);
    }
    // A guest that reads past the caches sees each store of the VMM: it is published before the operation ends.
    let id = connections.connections().next().unwrap();
    assert_eq!(vm.memory.load(plus(bar(&connections, id, 0), 8), 6).unwrap(), b"region");
}

#[test]
fn c16_an_access_that_the_fault_does_not_describe_is_skipped_and_emit_still_emits() {
    let (mut vm, mut connections, doorbell) = installed();
    let ids: Vec<_> = connections.connections().collect();
    let id = ids[0];
    let events = bar(&connections, id, 0);
    connections.consume(&mut vm, EventSet::of(event(0))).unwrap();
    for offset in 0..0x1000u64 {
        for size in [1, 2, 8, 16, 32, 64].into_iter().filter(|size| offset + size <= 0x1000) {
            let covered = GuestRange::new(plus(events, offset), size).unwrap();
            let expected = if offset == 0 { Outcome::Emitted(id) } else { Outcome::Ignored };
            assert_eq!(connections.handle(&mut vm, GuestAccess::UndecodedWrite(covered)), Ok(expected), "{covered}");
            assert_eq!(connections.handle(&mut vm, GuestAccess::UndecodedRead(covered)), Ok(Outcome::Ignored), "{covered}");
            assert_eq!(doorbell.take().is_empty(), offset != 0, "{covered}");
        }
    }
    assert_eq!(count(&vm, events), 1, "a store pair over COUNT does not change it");
    // A read-only dataport, and the tail behind a dataport: skipped.
    let read_only = GuestRange::new(bar(&connections, ids[2], 1), 16).unwrap();
    assert_eq!(vm.memory.store(read_only.start(), &[1]), Err(GuestFault::ReadOnly(read_only.start())));
    let tail = GuestRange::new(plus(bar(&connections, ids[0], 1), 0x3000), 16).unwrap();
    for skipped in [read_only, tail] {
        assert_eq!(connections.handle(&mut vm, GuestAccess::UndecodedWrite(skipped)), Ok(Outcome::Ignored), "{skipped}");
    }
    // MSI-X: its table is not changed by what cannot be told.
    let table = GuestRange::new(connections.status(id).unwrap().bars.last().unwrap().mapped_at.unwrap(), 16).unwrap();
    assert_eq!(connections.handle(&mut vm, GuestAccess::UndecodedWrite(table)), Ok(Outcome::Ignored));
    let load = GuestAccess::Read { at: plus(table.start(), 8), width: Width::U64 };
    assert_eq!(connections.handle(&mut vm, load), Ok(Outcome::Read(1 << 32)));
}

#[test]
fn dataports_of_64_bits_take_two_registers_and_the_budget_is_three() {
    let page = || FakeDataport::new(1 << 12);
    let named = || Connection::new(Name::new("budget").unwrap());
    let mut vm = large_vm();
    let mut install = |connection| {
        let mut connections = LargeConnections::new(Config::default());
        let result = connections.install(&mut vm, [connection]).map(|ids| ids[0]);
        let bars = result.as_ref().ok().map(|id| connections.status(*id).unwrap().bars.iter().map(|bar| bar.bar.get()).collect::<Vec<_>>());
        if let Ok(id) = &result {
            connections.remove(&mut vm, *id).unwrap().unwrap();
        }
        (bars, result.map_err(|error| error.to_string()))
    };
    let rw = Rights::ReadWrite;
    let one_and_one = named().with_wide_dataport(page(), rw).unwrap().with_dataport(page(), rw).unwrap();
    assert_eq!(one_and_one.dataports[0].width, BarWidth::Bits64);
    assert_eq!(install(one_and_one).0, Some(vec![0, 1, 3, 5]));
    assert_eq!(install(named().with_dataport(page(), rw).unwrap().with_wide_dataport(page(), rw).unwrap()).0, Some(vec![0, 1, 2, 5]));
    let two_wide = install(named().with_wide_dataport(page(), rw).unwrap().with_wide_dataport(page(), rw).unwrap());
    assert!(two_wide.1.unwrap_err().contains("takes two"));
}
