//! What a guest sees of its connections, access by access.

mod common;

use common::{Vm, event, installed};
use crossvm_core::{ConfigAccess, ConnectionId, EventSet, GuestAccess, GuestAddr, GuestRange, Level, Outcome, PciSpace, Width};
use crossvm_testkit::GuestFault;

fn bar(connections: &common::Connections, id: ConnectionId, index: usize) -> GuestAddr {
    connections.status(id).unwrap().bars[index].mapped_at.unwrap()
}

fn plus(at: GuestAddr, offset: u64) -> GuestAddr {
    at.checked_add(offset).unwrap()
}

fn write(at: GuestAddr, width: Width, value: u64) -> GuestAccess {
    GuestAccess::Write { at, width, value }
}

fn count(vm: &Vm, events: GuestAddr) -> u32 {
    u32::from_le_bytes(vm.memory.load(plus(events, 4), 4).unwrap().try_into().unwrap())
}

#[test]
fn the_event_page_reads_as_described_and_is_backed_in_full() {
    let (mut vm, connections, _) = installed();
    let ids: Vec<_> = connections.connections().collect();
    let pair = bar(&connections, ids[2], 0);
    let page = vm.memory.load(pair, 4096).unwrap();
    assert_eq!(&page[..8], &[0; 8], "EMIT and COUNT");
    assert_eq!(&page[8..12], b"pair");
    assert!(page[12..0x40].iter().all(|byte| *byte == 0), "the name is padded, with two zeros behind it");
    assert_eq!(&page[0x40..0x48], b"xvm1\x01\0\0\0");
    assert_eq!(page[0x50], 2, "dataports");
    assert_eq!(&page[0x58..0x68], &[0, 0x10, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0], "4 KiB, read only");
    assert_eq!(&page[0x68..0x78], &[0, 0x20, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0], "8 KiB, read and write");
    assert_eq!(vm.memory.store(pair, &[1]), Err(GuestFault::ReadOnly(pair)), "stores trap");
}

#[test]
fn emit_takes_any_width_and_value_at_offset_0_and_nothing_else() {
    let (mut vm, mut connections, doorbell) = installed();
    let id = connections.connections().next().unwrap();
    let events = bar(&connections, id, 0);
    for width in Width::ALL {
        for value in [0, 1, u64::MAX] {
            assert_eq!(connections.handle(&mut vm, write(events, width, value)), Ok(Outcome::Emitted(id)));
            assert_eq!(doorbell.take(), EventSet::of(event(0)));
        }
    }
    for offset in [1, 2, 3, 5, 8, 0x38, 0x40, 0x49, 0xffc, 0xfff] {
        assert_eq!(connections.handle(&mut vm, write(plus(events, offset), Width::U8, 1)), Ok(Outcome::Ignored), "{offset:#x}");
    }
    // No alias of EMIT in the rest of the page.
    assert_eq!(connections.handle(&mut vm, write(plus(events, 0x100), Width::U32, 1)), Ok(Outcome::Ignored));
    assert_eq!(doorbell.take(), EventSet::EMPTY);
}

#[test]
fn a_store_that_cannot_be_decoded_emits_where_it_covers_emit() {
    let (mut vm, mut connections, doorbell) = installed();
    let id = connections.connections().next().unwrap();
    let events = bar(&connections, id, 0);
    let range = |offset, size| GuestRange::new(plus(events, offset), size).unwrap();
    assert_eq!(connections.handle(&mut vm, GuestAccess::UndecodedWrite(range(0, 16))), Ok(Outcome::Emitted(id)));
    assert_eq!(doorbell.take(), EventSet::of(event(0)));
    assert_eq!(connections.handle(&mut vm, GuestAccess::UndecodedWrite(range(4, 16))), Ok(Outcome::Ignored));
    assert_eq!(connections.handle(&mut vm, GuestAccess::UndecodedRead(range(0, 16))), Ok(Outcome::Ignored));
    assert_eq!(doorbell.take(), EventSet::EMPTY);
}

#[test]
fn a_store_that_begins_in_front_of_the_page_covers_emit() {
    let (mut vm, mut connections, doorbell) = installed();
    let ids: Vec<_> = connections.connections().collect();
    // Two event pages side by side, then nothing in front of the first.
    for (id, at) in [(ids[0], 0x1000_1000), (ids[1], 0x1000_2000)] {
        let bdf = connections.status(id).unwrap().bdf;
        let effect = vm.pci.write(bdf, ConfigAccess { offset: 0x10, width: Width::U32 }, at).unwrap();
        connections.apply(&mut vm, effect).unwrap();
    }
    for (at, id) in [(0x1000_0ff8, 0), (0x1000_1ff8, 1)] {
        let range = GuestRange::new(GuestAddr::new(at), 16).unwrap();
        assert_eq!(connections.handle(&mut vm, GuestAccess::UndecodedWrite(range)), Ok(Outcome::Emitted(ids[id])), "{at:#x}");
        assert_eq!(doorbell.take(), EventSet::from_word(1 << id));
    }
}

#[test]
fn an_access_to_a_dataport_that_is_mapped_by_now_is_tried_again() {
    let (mut vm, mut connections, _) = installed();
    let base = bar(&connections, connections.connections().next().unwrap(), 1);
    let range = GuestRange::new(base, 16).unwrap();
    for access in [GuestAccess::UndecodedRead(range), GuestAccess::UndecodedWrite(range), write(base, Width::U64, 1)] {
        assert_eq!(connections.handle(&mut vm, access), Ok(Outcome::Retry), "{access}");
    }
}

#[test]
fn the_reference_profile_has_three_registers_and_no_more() {
    let (mut vm, doorbell) = (common::vm(), crossvm_testkit::Doorbell::default());
    let config = crossvm_core::Config { profile: crossvm_core::device::Profile::Reference, ..Default::default() };
    let mut connections = common::Connections::new(config);
    connections.install(&mut vm, common::four(|event| doorbell.notifier(event))).unwrap();
    let id = connections.connections().next().unwrap();
    let events = bar(&connections, id, 0);
    assert_eq!(vm.memory.load(plus(events, 8), 5).unwrap(), b"small");
    assert!(vm.memory.load(plus(events, 0x40), 4096 - 0x40).unwrap().iter().all(|byte| *byte == 0));
    connections.consume(&mut vm, EventSet::of(event(0))).unwrap();
    assert_eq!(connections.handle(&mut vm, write(plus(events, 0x48), Width::U32, 1)), Ok(Outcome::Ignored), "no ACK");
    assert_eq!(count(&vm, events), 1);
}

#[test]
fn a_larger_event_bar_is_backed_in_full() {
    let mut vm = common::vm();
    let config = crossvm_core::Config { event_bar: crossvm_core::device::EventBarSize::Kib16, ..Default::default() };
    let mut connections = common::Connections::new(config);
    connections.install(&mut vm, common::four(|event| crossvm_testkit::Doorbell::default().notifier(event))).unwrap();
    let events = bar(&connections, connections.connections().next().unwrap(), 0);
    assert!(vm.memory.load(plus(events, 0x40 << 4), 0x4000 - 0x400).unwrap().iter().all(|byte| *byte == 0));
    assert_eq!(connections.handle(&mut vm, write(plus(events, 0x3fff), Width::U8, 1)), Ok(Outcome::Ignored));
    assert_eq!(connections.handle(&mut vm, GuestAccess::Read { at: plus(events, 0x3ff8), width: Width::U64 }), Ok(Outcome::Read(0)));
}

#[test]
fn every_id_of_a_set_is_served_and_unknown_ones_come_back() {
    let (mut vm, mut connections, _) = installed();
    let unknown = connections.consume(&mut vm, EventSet::from_word(0x8000_0000_0000_001f)).unwrap();
    assert_eq!(unknown.word(), 0x8000_0000_0000_0010);
    for id in connections.connections().collect::<Vec<_>>() {
        let status = connections.status(id).unwrap();
        assert_eq!((status.count, status.received), (1, 1), "{}", status.name);
        assert_eq!(vm.interrupts.level(status.irq.unwrap()), Level::High, "{}", status.name);
    }
}

#[test]
fn the_clearing_write_drops_the_line_and_an_event_after_it_raises_it_again() {
    let (mut vm, mut connections, _) = installed();
    let id = connections.connections().next().unwrap();
    let (events, irq) = (bar(&connections, id, 0), connections.status(id).unwrap().irq.unwrap());
    for round in 1..4u32 {
        for _ in 0..round {
            connections.consume(&mut vm, EventSet::of(event(0))).unwrap();
        }
        assert_eq!((count(&vm, events), vm.interrupts.level(irq)), (round, Level::High));
        assert_eq!(connections.handle(&mut vm, write(plus(events, 4), Width::U32, 0)), Ok(Outcome::Written(id)));
        assert_eq!((count(&vm, events), vm.interrupts.level(irq)), (0, Level::Low));
    }
    assert_eq!(vm.interrupts.take_changes().len(), 6, "the line changes where the level does, and nowhere else");
}

#[test]
fn a_write_to_count_replaces_all_32_bits_with_the_value_zero_extended() {
    let (mut vm, mut connections, _) = installed();
    let id = connections.connections().next().unwrap();
    let events = bar(&connections, id, 0);
    for (width, expected) in [(Width::U8, 0x88), (Width::U16, 0x7788), (Width::U32, 0x5566_7788), (Width::U64, 0x5566_7788)] {
        connections.handle(&mut vm, write(plus(events, 4), width, 0x1122_3344_5566_7788)).unwrap();
        assert_eq!(count(&vm, events), expected);
    }
}

#[test]
fn acknowledging_forgets_nothing_that_came_meanwhile() {
    let (mut vm, mut connections, _) = installed();
    let id = connections.connections().next().unwrap();
    let (events, irq) = (bar(&connections, id, 0), connections.status(id).unwrap().irq.unwrap());
    let three = |vm: &mut Vm, connections: &mut common::Connections| {
        (0..3).for_each(|_| assert!(connections.consume(vm, EventSet::of(event(0))).unwrap().is_empty()));
    };
    three(&mut vm, &mut connections);
    let seen = count(&vm, events);
    three(&mut vm, &mut connections);
    connections.handle(&mut vm, write(plus(events, 0x48), Width::U32, seen.into())).unwrap();
    assert_eq!((count(&vm, events), vm.interrupts.level(irq)), (3, Level::High));
    connections.handle(&mut vm, write(plus(events, 0x48), Width::U32, 1000)).unwrap();
    assert_eq!((count(&vm, events), vm.interrupts.level(irq)), (0, Level::Low), "at most all");
}

#[test]
fn a_full_counter_does_not_wrap_to_nothing_happened() {
    let (mut vm, mut connections, _) = installed();
    let id = connections.connections().next().unwrap();
    let events = bar(&connections, id, 0);
    connections.handle(&mut vm, write(plus(events, 4), Width::U32, u32::MAX.into())).unwrap();
    connections.consume(&mut vm, EventSet::of(event(0))).unwrap();
    assert_eq!(count(&vm, events), u32::MAX);
}

#[test]
fn intx_disable_masks_the_line_and_the_status_stays() {
    let (mut vm, mut connections, _) = installed();
    let id = connections.connections().next().unwrap();
    let status = connections.status(id).unwrap();
    let (bdf, irq) = (status.bdf, status.irq.unwrap());
    let command = |vm: &mut Vm, connections: &mut common::Connections, value| {
        let effect = vm.pci.write(bdf, ConfigAccess { offset: 4, width: Width::U16 }, value).unwrap();
        connections.apply(vm, effect).unwrap();
    };
    let pending = |vm: &Vm| vm.pci.read(bdf, ConfigAccess { offset: 6, width: Width::U16 }) & 8 != 0;
    assert!(!pending(&vm));
    connections.consume(&mut vm, EventSet::of(event(0))).unwrap();
    assert!(pending(&vm) && vm.interrupts.level(irq).is_high());
    command(&mut vm, &mut connections, 0x0402);
    assert!(pending(&vm) && !vm.interrupts.level(irq).is_high());
    connections.consume(&mut vm, EventSet::of(event(0))).unwrap();
    assert!(pending(&vm) && !vm.interrupts.level(irq).is_high(), "an event while masked stays pending");
    command(&mut vm, &mut connections, 0x0002);
    assert!(pending(&vm) && vm.interrupts.level(irq).is_high());
}

#[test]
fn a_shared_line_is_the_or_of_its_functions() {
    let (mut vm, mut connections, _) = installed();
    let ids: Vec<_> = connections.connections().collect();
    let irq = connections.status(ids[2]).unwrap().irq.unwrap();
    assert_eq!(connections.status(ids[3]).unwrap().irq, Some(irq));
    connections.consume(&mut vm, EventSet::from_word(0b1100)).unwrap();
    for (index, level) in [(2, Level::High), (3, Level::Low)] {
        let events = bar(&connections, ids[index], 0);
        connections.handle(&mut vm, write(plus(events, 4), Width::U32, 0)).unwrap();
        assert_eq!(vm.interrupts.level(irq), level);
    }
}

#[test]
fn reset_is_power_on_and_keeps_the_wiring() {
    let (mut vm, mut connections, doorbell) = installed();
    let id = connections.connections().next().unwrap();
    let first = connections.status(id).unwrap();
    connections.consume(&mut vm, EventSet::from_word(0b1111)).unwrap();
    let effect = vm.pci.write(first.bdf, ConfigAccess { offset: 0x10, width: Width::U32 }, 0x1000_0000).unwrap();
    connections.apply(&mut vm, effect).unwrap();
    assert_eq!(bar(&connections, id, 0), GuestAddr::new(0x1000_0000));
    connections.reset(&mut vm).unwrap();
    let now = connections.status(id).unwrap();
    assert_eq!((now.bars, now.count), (first.bars, 0));
    assert_eq!(vm.interrupts.high().count(), 0);
    // Both directions still work.
    let events = bar(&connections, id, 0);
    connections.handle(&mut vm, write(events, Width::U8, 1)).unwrap();
    assert_eq!(doorbell.take(), EventSet::of(event(0)));
    connections.consume(&mut vm, EventSet::of(event(0))).unwrap();
    assert_eq!(count(&vm, events), 1);
}

#[test]
fn the_tail_behind_a_dataport_reads_zero_and_is_nobodys_memory() {
    let (mut vm, mut connections, _) = installed();
    let id = connections.connections().next().unwrap();
    let base = bar(&connections, id, 1);
    vm.memory.store(plus(base, 0x2ffc), &[1, 2, 3, 4]).unwrap();
    let tail = plus(base, 0x3000);
    assert_eq!(vm.memory.load(tail, 1), Err(GuestFault::NotMapped(tail)), "12 KiB in a BAR of 16 KiB");
    assert_eq!(connections.handle(&mut vm, GuestAccess::Read { at: tail, width: Width::U64 }), Ok(Outcome::Read(0)));
    assert_eq!(connections.handle(&mut vm, write(tail, Width::U64, 1)), Ok(Outcome::Ignored));
    assert_eq!(connections.handle(&mut vm, GuestAccess::Read { at: base, width: Width::U8 }), Ok(Outcome::Retry), "mapped by now");
    let nowhere = GuestAddr::new(0x1000_0000);
    assert_eq!(connections.handle(&mut vm, GuestAccess::Read { at: nowhere, width: Width::U8 }), Ok(Outcome::NotOurs));
}

#[test]
fn what_lies_just_outside_of_the_event_registers_is_not_theirs() {
    let (mut vm, mut connections, doorbell) = installed();
    let status = connections.status(connections.connections().next().unwrap()).unwrap();
    let effect = vm.pci.write(status.bdf, ConfigAccess { offset: 0x10, width: Width::U32 }, 0x1000_1000).unwrap();
    connections.apply(&mut vm, effect).unwrap();
    for at in [0x1000_0fff, 0x1000_2000, 0x1000_2004] {
        let store = write(GuestAddr::new(at), Width::U8, 1);
        assert_eq!(connections.handle(&mut vm, store), Ok(Outcome::NotOurs), "{at:#x}");
    }
    assert_eq!(doorbell.take(), EventSet::EMPTY);
}

#[test]
fn a_store_to_a_read_only_dataport_is_ignored() {
    let (mut vm, mut connections, _) = installed();
    let id = connections.connections().nth(2).unwrap();
    let read_only = bar(&connections, id, 1);
    assert_eq!(vm.memory.store(read_only, &[1]), Err(GuestFault::ReadOnly(read_only)));
    assert_eq!(connections.handle(&mut vm, write(read_only, Width::U32, 1)), Ok(Outcome::Ignored));
}
