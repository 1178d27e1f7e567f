//! Clauses of the IOAPIC, each with its paragraph of the data sheet.

use std::vec::Vec;

use crossvm_core::{ErrorKind, ErrorType, Level, Message, Width};

use super::{IoApic, IoApicVersion, Mask, Pin, Wire};
use crate::message::{ApicMessage, Destination, LocalApics, Trigger};
use crate::spec::DeliveryMode;
use crate::spec::ioapic::{RedirectionEntry, VersionRegister};

const PIN: Pin = Pin::new(5).unwrap();
const VECTOR: u8 = 0x51;

/// Takes everything while it is told to.
#[derive(Debug, Default)]
struct Apics {
    refuses: bool,
    taken: Vec<ApicMessage>,
}

impl ErrorType for Apics {
    type Error = ErrorKind;
}

impl LocalApics for Apics {
    fn deliver(&mut self, message: ApicMessage) -> Result<(), ErrorKind> {
        if self.refuses {
            return Err(ErrorKind::Hypervisor);
        }
        self.taken.push(message);
        Ok(())
    }
}

fn write(ioapic: &mut IoApic, register: u16, value: u32) -> Option<Pin> {
    ioapic.write(0x00, Width::U32, register.into());
    ioapic.write(0x10, Width::U32, value.into())
}

fn read(ioapic: &mut IoApic, register: u16) -> u32 {
    ioapic.write(0x00, Width::U32, register.into());
    ioapic.read(0x10, Width::U32).try_into().unwrap()
}

fn program(ioapic: &mut IoApic, entry: RedirectionEntry) {
    let [low, high] = [entry.into_bits() & 0xffff_ffff, entry.into_bits() >> 32].map(|half| u32::try_from(half).unwrap());
    write(ioapic, 0x11 + 2 * u16::from(PIN.number()), high);
    write(ioapic, 0x10 + 2 * u16::from(PIN.number()), low);
}

fn edge() -> RedirectionEntry {
    RedirectionEntry::new().with_vector(VECTOR)
}

fn level() -> RedirectionEntry {
    edge().with_level(true)
}

fn with(entry: RedirectionEntry) -> IoApic {
    let mut ioapic = IoApic::new();
    program(&mut ioapic, entry);
    ioapic
}

/// The vectors that are delivered now.
fn deliver(ioapic: &mut IoApic) -> Vec<u8> {
    let mut apics = Apics::default();
    ioapic.deliver(&mut apics).unwrap();
    apics.taken.iter().map(|message| message.vector).collect()
}

fn entry(ioapic: &IoApic) -> RedirectionEntry {
    ioapic.entry(PIN).unwrap()
}

#[test]
fn at_power_on_every_entry_is_masked_and_the_registers_tell_what_it_is() {
    let mut ioapic = IoApic::<24>::new();
    for pin in 0..24 {
        assert_eq!((read(&mut ioapic, 0x10 + 2 * pin), read(&mut ioapic, 0x11 + 2 * pin)), (0x1_0000, 0));
    }
    assert_eq!((read(&mut ioapic, 0), read(&mut ioapic, 1), read(&mut ioapic, 2)), (0, 0x17_0011, 0));
    let mut new = IoApic::<24>::new().with_version(IoApicVersion::V20);
    assert_eq!(read(&mut new, 1), 0x17_0020);
    let most = IoApic::<240>::new();
    let mut select = most.clone();
    select.write(0, Width::U32, 1);
    let version = VersionRegister::from_bits(select.read(0x10, Width::U32).try_into().unwrap());
    assert_eq!((version.last_entry(), most.pins().count()), (239, 240));
}

#[test]
fn the_identifier_is_four_bits_and_the_arbitration_register_follows_it() {
    let mut ioapic = IoApic::new();
    write(&mut ioapic, 0, u32::MAX);
    assert_eq!((read(&mut ioapic, 0), read(&mut ioapic, 2)), (0x0f00_0000, 0x0f00_0000));
    write(&mut ioapic, 2, 0);
    write(&mut ioapic, 1, 0);
    assert_eq!((read(&mut ioapic, 0), read(&mut ioapic, 1)), (0x0f00_0000, 0x17_0011));
}

#[test]
fn delivery_status_and_remote_irr_are_read_only() {
    let mut ioapic = IoApic::new();
    write(&mut ioapic, 0x10, 0x1_f000);
    assert_eq!(read(&mut ioapic, 0x10), 0x1_a000);
    write(&mut ioapic, 0x11, u32::MAX);
    assert_eq!(read(&mut ioapic, 0x11), 0xff00_0000);
}

#[test]
fn an_access_of_any_offset_and_width_has_a_result() {
    let mut ioapic = with(level());
    let before = ioapic.clone();
    for width in Width::ALL {
        for offset in (0..0x60).chain([0xff0, 0x1000, 0x1010, u32::MAX]).filter(|offset| ![0x00, 0x10].contains(offset)) {
            assert_eq!(ioapic.read(offset, width), 0, "{offset:#x}");
            assert_eq!(ioapic.write(offset, width, u64::MAX), None, "{offset:#x}");
        }
    }
    assert_eq!(ioapic, before);
    // Registers begin where they begin, and are as wide as the access.
    assert_eq!(ioapic.write(0, Width::U64, 0xffff_ffff_ffff_ff1a), None);
    assert_eq!((ioapic.read(0, Width::U8), ioapic.read(0, Width::U64)), (0x1a, 0x1a));
    assert_eq!((ioapic.read(0x10, Width::U8), ioapic.read(0x10, Width::U16), ioapic.read(0x10, Width::U64)), (0x51, 0x8051, 0x8051));
    assert_eq!(ioapic.write(0x10, Width::U16, 0xffff_0031), Some(PIN));
    assert_eq!(ioapic.read(0x10, Width::U32), 0x31);
}

#[test]
fn a_write_names_the_pin_whose_entry_it_changes() {
    let mut ioapic = IoApic::new();
    assert_eq!(write(&mut ioapic, 0x1a, 0x1_0051), Some(PIN));
    assert_eq!(write(&mut ioapic, 0x1a, 0x1_5051), None, "nothing that can be written has changed");
    assert_eq!(write(&mut ioapic, 0x1b, 0x0100_0000), Some(PIN));
    assert_eq!([0x00, 0x01, 0x0f, 0x10 + 2 * 24, 0xff].map(|register| write(&mut ioapic, register, 0x0100_0000)), [None; 5]);
}

#[test]
fn a_level_is_delivered_once_until_its_end_and_again_if_it_is_still_high() {
    let mut ioapic = with(level());
    ioapic.set_level(PIN, Level::High).unwrap();
    assert!(entry(&ioapic).delivery_status());
    assert_eq!(deliver(&mut ioapic), [VECTOR]);
    assert!(entry(&ioapic).remote_irr() && !entry(&ioapic).delivery_status());
    assert_eq!(deliver(&mut ioapic), []);
    ioapic.end_of_interrupt(VECTOR ^ 1);
    assert_eq!(deliver(&mut ioapic), [], "another vector's end");
    ioapic.end_of_interrupt(VECTOR);
    assert_eq!(deliver(&mut ioapic), [VECTOR]);
    ioapic.set_level(PIN, Level::Low).unwrap();
    ioapic.end_of_interrupt(VECTOR);
    assert_eq!(deliver(&mut ioapic), []);
}

#[test]
fn a_level_that_falls_and_rises_before_the_end_is_delivered_after_it() {
    let mut ioapic = with(level());
    ioapic.set_level(PIN, Level::High).unwrap();
    assert_eq!(deliver(&mut ioapic), [VECTOR]);
    ioapic.set_level(PIN, Level::Low).unwrap();
    ioapic.set_level(PIN, Level::High).unwrap();
    assert_eq!(deliver(&mut ioapic), []);
    ioapic.end_of_interrupt(VECTOR);
    assert_eq!(deliver(&mut ioapic), [VECTOR]);
}

#[test]
fn a_level_that_is_masked_waits_and_is_forgotten_when_it_falls() {
    let mut ioapic = with(level().with_masked(true));
    ioapic.set_level(PIN, Level::High).unwrap();
    assert_eq!(deliver(&mut ioapic), []);
    program(&mut ioapic, level());
    assert_eq!(deliver(&mut ioapic), [VECTOR]);
    program(&mut ioapic, level().with_masked(true));
    assert!(entry(&ioapic).remote_irr(), "a mask does not end an interrupt");
    ioapic.end_of_interrupt(VECTOR);
    ioapic.set_level(PIN, Level::Low).unwrap();
    program(&mut ioapic, level());
    assert_eq!(deliver(&mut ioapic), []);
}

#[test]
fn an_edge_is_delivered_once_and_has_no_end() {
    let mut ioapic = with(edge());
    ioapic.set_level(PIN, Level::High).unwrap();
    ioapic.set_level(PIN, Level::High).unwrap();
    assert_eq!(deliver(&mut ioapic), [VECTOR]);
    assert!(!entry(&ioapic).remote_irr());
    ioapic.end_of_interrupt(VECTOR);
    ioapic.set_level(PIN, Level::Low).unwrap();
    assert_eq!(deliver(&mut ioapic), []);
    ioapic.set_level(PIN, Level::High).unwrap();
    assert_eq!(deliver(&mut ioapic), [VECTOR]);
    ioapic.pulse(PIN).unwrap();
    assert_eq!(deliver(&mut ioapic), [VECTOR]);
}

#[test]
fn an_edge_that_comes_while_masked_is_ignored() {
    let mut ioapic = with(edge().with_masked(true));
    ioapic.set_level(PIN, Level::High).unwrap();
    ioapic.pulse(PIN).unwrap();
    program(&mut ioapic, edge());
    assert_eq!(deliver(&mut ioapic), []);
}

#[test]
fn an_edge_that_was_not_sent_survives_a_mask() {
    let mut ioapic = with(edge());
    ioapic.pulse(PIN).unwrap();
    program(&mut ioapic, edge().with_masked(true));
    assert_eq!(deliver(&mut ioapic), []);
    program(&mut ioapic, edge());
    assert_eq!(deliver(&mut ioapic), [VECTOR]);
}

#[test]
fn a_pulse_on_a_level_is_nothing() {
    let mut ioapic = with(level());
    ioapic.pulse(PIN).unwrap();
    assert_eq!(deliver(&mut ioapic), []);
}

#[test]
fn an_entry_that_becomes_an_edge_loses_remote_irr() {
    let mut ioapic = with(level());
    ioapic.set_level(PIN, Level::High).unwrap();
    assert_eq!(deliver(&mut ioapic), [VECTOR]);
    // As Linux does it on version 0x11: masked, an edge, then what it was.
    program(&mut ioapic, edge().with_masked(true));
    program(&mut ioapic, level());
    assert_eq!(deliver(&mut ioapic), [VECTOR]);
}

#[test]
fn the_end_of_interrupt_register_is_there_in_version_0x20_only() {
    for (version, again) in [(IoApicVersion::V11, &[][..]), (IoApicVersion::V20, &[VECTOR])] {
        let mut ioapic = with(level()).with_version(version);
        ioapic.set_level(PIN, Level::High).unwrap();
        deliver(&mut ioapic);
        ioapic.write(0x40, Width::U32, VECTOR.into());
        assert_eq!(deliver(&mut ioapic), again);
    }
}

#[test]
fn an_end_is_for_every_pin_of_the_vector() {
    let mut ioapic = with(level());
    let other = Pin::new(9).unwrap();
    write(&mut ioapic, 0x10 + 2 * 9, 0x8000 | u32::from(VECTOR));
    ioapic.set_level(PIN, Level::High).unwrap();
    ioapic.set_level(other, Level::High).unwrap();
    assert_eq!(deliver(&mut ioapic), [VECTOR; 2]);
    ioapic.end_of_interrupt(VECTOR);
    assert_eq!(deliver(&mut ioapic), [VECTOR; 2]);
}

#[test]
fn a_message_carries_destination_and_mode() {
    let modes =
        [DeliveryMode::Fixed, DeliveryMode::LowestPriority, DeliveryMode::Smi, DeliveryMode::Nmi, DeliveryMode::Init, DeliveryMode::ExtInt];
    for mode in modes {
        for (logical, destination) in [(false, Destination::Physical(0xa5)), (true, Destination::Logical(0xa5))] {
            let ioapic = &mut with(level().with_mode(mode).with_logical(logical).with_destination(0xa5));
            // Modes without a vector are edges even where the entry says level.
            ioapic.set_level(PIN, Level::High).unwrap();
            let (pin, message) = ioapic.next_message(Pin::FIRST).unwrap();
            let trigger = if mode.has_vector() { Trigger::Level } else { Trigger::Edge };
            assert_eq!((pin, message.destination, message.mode, message.trigger), (PIN, destination, mode, trigger));
            ioapic.sent(pin);
            assert_eq!((ioapic.next_message(Pin::FIRST), entry(ioapic).remote_irr()), (None, mode.has_vector()));
        }
    }
}

#[test]
fn reserved_modes_deliver_nothing() {
    for mode in [DeliveryMode::Reserved3, DeliveryMode::Reserved6] {
        for entry in [edge(), level()] {
            let mut ioapic = with(entry.with_mode(mode));
            ioapic.set_level(PIN, Level::High).unwrap();
            ioapic.pulse(PIN).unwrap();
            assert_eq!(deliver(&mut ioapic), []);
        }
    }
}

#[test]
fn polarity_matters_where_the_wire_has_one() {
    for (wire, low, seen) in [
        (Wire::AsProgrammed, false, true),
        (Wire::AsProgrammed, true, true),
        (Wire::ActiveHigh, false, true),
        (Wire::ActiveLow, true, true),
        (Wire::ActiveHigh, true, false),
        (Wire::ActiveLow, false, false),
    ] {
        let mut ioapic = IoApic::<24>::new().with_wire(PIN, wire).unwrap();
        program(&mut ioapic, level().with_active_low(low));
        assert_eq!(deliver(&mut ioapic).is_empty(), seen, "{wire:?}: asserted by nobody");
        ioapic.end_of_interrupt(VECTOR);
        ioapic.set_level(PIN, Level::High).unwrap();
        assert_eq!(deliver(&mut ioapic).is_empty(), !seen, "{wire:?}: asserted");
    }
}

#[test]
fn a_message_that_is_refused_stays_due_and_holds_no_other_back() {
    let mut ioapic = with(level());
    write(&mut ioapic, 0x10 + 2 * 9, 0x61);
    ioapic.set_level(PIN, Level::High).unwrap();
    ioapic.pulse(Pin::new(9).unwrap()).unwrap();
    let mut apics = Apics { refuses: true, ..Apics::default() };
    assert_eq!(ioapic.deliver(&mut apics), Err(ErrorKind::Hypervisor));
    assert!(entry(&ioapic).delivery_status() && !entry(&ioapic).remote_irr());
    assert_eq!(deliver(&mut ioapic), [VECTOR, 0x61]);
}

#[test]
fn a_route_is_what_the_entry_says_whether_masked_or_not() {
    let mut ioapic = with(level().with_destination(3).with_masked(true));
    let route = ioapic.route(PIN).unwrap();
    let message = Message { address: 0xfee0_3000, data: 0xc000 | u32::from(VECTOR) };
    assert_eq!((route.message, route.trigger, route.mask), (message, Trigger::Level, Mask::Set));
    program(&mut ioapic, edge());
    let route = ioapic.route(PIN).unwrap();
    assert_eq!(
        (route.message, route.trigger, route.mask),
        (Message { address: 0xfee0_0000, data: VECTOR.into() }, Trigger::Edge, Mask::Clear)
    );
    assert_eq!(ioapic.route(Pin::new(24).unwrap()), None);
}

#[test]
fn a_pin_that_is_not_there_is_an_error() {
    let mut ioapic = IoApic::<4>::new();
    let pin = Pin::new(4).unwrap();
    assert!(
        ioapic.set_level(pin, Level::High).is_err()
            && ioapic.pulse(pin).is_err()
            && ioapic.clone().with_wire(pin, Wire::ActiveLow).is_err()
    );
    assert_eq!((ioapic.level(pin), ioapic.entry(pin), ioapic.next_message(pin)), (Level::Low, None, None));
    ioapic.sent(pin);
    assert_eq!((Pin::new(239).map(Pin::number), Pin::new(240), Pin::new(u32::MAX)), (Some(239), None, None));
}

#[test]
fn a_reset_keeps_lines_and_wires() {
    let mut ioapic = with(edge());
    ioapic.set_level(PIN, Level::High).unwrap();
    write(&mut ioapic, 0, 0x0300_0000);
    ioapic.reset();
    assert_eq!((deliver(&mut ioapic), read(&mut ioapic, 0), ioapic.level(PIN)), (std::vec![], 0, Level::High));
    program(&mut ioapic, level());
    assert_eq!(deliver(&mut ioapic), [VECTOR]);
}
