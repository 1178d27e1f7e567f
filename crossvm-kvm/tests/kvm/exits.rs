//! Guests run, and stop for what is the VMM's.

use crossvm_kvm::{GuestReport, probe_guest};

use crate::machine::{DONE, Exit, Machine, WINDOW, usable};
use crate::program::{Bytes, Program};

#[test]
fn ports_and_addresses_without_memory_are_exits() {
    if !usable("exits") {
        return;
    }
    let mut machine = Machine::new();
    let program = Program::new()
        .out(0x3f, 7)
        .store(WINDOW, Bytes::Four, 0x1234_5678)
        .load(WINDOW + 0x1004)
        .out_word(0x3e)
        .store(0x2_0000, Bytes::Eight, 0x55)
        .load(0x2_0000)
        .out_word(0x3d)
        .out(DONE, 0);
    let expected = [
        Exit::Out(0x3f, 7),
        Exit::Store(WINDOW, vec![0x78, 0x56, 0x34, 0x12]),
        Exit::Load(WINDOW + 0x1004, 4),
        Exit::Out(0x3e, u32::MAX),
        Exit::Out(0x3d, 0x55),
    ];
    assert_eq!(machine.exits_of(&program), expected);
}

#[test]
fn a_halted_guest_stops_where_nothing_can_wake_it() {
    if usable("exits") {
        let mut machine = Machine::new();
        machine.start(&Program::new().halt());
        assert_eq!(machine.run(), Exit::Halt);
    }
}

#[test]
fn the_probe_of_guests_comes_to_an_answer() {
    if usable("probe of guests") {
        let report = probe_guest();
        println!("{report}");
        assert!(matches!(report, GuestReport::Sound | GuestReport::Unsound { .. }), "{report}");
    }
}
