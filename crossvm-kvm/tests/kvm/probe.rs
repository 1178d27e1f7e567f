//! What a guest stops with, and whether the probe learns from it.

use crossvm_kvm::{GuestReport, probe_guest};

use crate::machine::{Exit, Machine, usable};
use crate::program::Program;

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
