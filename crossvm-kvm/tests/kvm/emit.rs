//! EMIT by ioeventfd.

use crossvm_core::{EventPage, FrameSize, GuestMemory, Mapping, MemoryType, Rights};
use crossvm_kvm::{EmitFds, EventNotifier};

use crate::machine::{DONE, Exit, Machine, WINDOW, at, range, usable};
use crate::program::{Bytes, Program};

/// A machine with two event pages mapped at the start of the window.
fn machine() -> Machine {
    let mut machine = Machine::new();
    let mapping = Mapping { size: FrameSize::KIB_4, rights: Rights::Read, memory_type: MemoryType::WriteBack };
    for page in [WINDOW, WINDOW + 0x1000] {
        machine.reserve(range(page, 0x1000)).unwrap();
        let events = machine.create_event_page(FrameSize::KIB_4).unwrap();
        machine.map(at(page), std::slice::from_ref(events.frame()), mapping).unwrap();
    }
    machine
}

fn store(address: u64, bytes: Bytes) -> Program {
    Program::new().store(address, bytes, 0x0102_0304_0506_0708).out(DONE, 0)
}

#[test]
fn an_emit_of_any_width_signals_without_an_exit() {
    if !usable("ioeventfd") {
        return;
    }
    for each_length in [false, true] {
        let mut machine = machine();
        let mut fds = EmitFds::new(std::sync::Arc::clone(&machine.vm));
        if each_length {
            fds = fds.with_each_length();
        }
        let peer = EventNotifier::new().unwrap();
        fds.sync([(at(WINDOW), &peer)]).unwrap();
        for bytes in Bytes::ALL {
            assert_eq!(machine.exits_of(&store(WINDOW, bytes)), [], "{bytes:?}, each length: {each_length}");
            assert_eq!(peer.take().unwrap(), 1, "{bytes:?}, each length: {each_length}");
        }
        // The other registers are exits as before, and so are the other page's.
        for address in [WINDOW + 4, WINDOW + 8, WINDOW + 0xff8, WINDOW + 0x1000] {
            let exits = machine.exits_of(&store(address, Bytes::Four));
            assert_eq!(exits, [Exit::Store(address, vec![8, 7, 6, 5])]);
        }
        assert_eq!(peer.take().unwrap(), 0);
        // Emits that nobody takes add up.
        let many = (0..5).fold(Program::new(), |program, _| program.store(WINDOW, Bytes::Four, 1));
        assert_eq!(machine.exits_of(&many.out(DONE, 0)), []);
        assert_eq!(peer.take().unwrap(), 5);
    }
}

#[test]
fn ioeventfds_follow_the_registers() {
    if !usable("ioeventfd") {
        return;
    }
    let mut machine = machine();
    let mut fds = EmitFds::new(std::sync::Arc::clone(&machine.vm));
    let (one, other) = (EventNotifier::new().unwrap(), EventNotifier::new().unwrap());
    let taken = |machine: &mut Machine, page: u64| {
        let exits = machine.exits_of(&store(page, Bytes::Four)).len();
        (exits, one.take().unwrap(), other.take().unwrap())
    };
    fds.sync([(at(WINDOW), &one), (at(WINDOW + 0x1000), &other)]).unwrap();
    assert_eq!((taken(&mut machine, WINDOW), taken(&mut machine, WINDOW + 0x1000)), ((0, 1, 0), (0, 0, 1)));
    // They change places.
    fds.sync([(at(WINDOW + 0x1000), &one), (at(WINDOW), &other)]).unwrap();
    assert_eq!((taken(&mut machine, WINDOW), taken(&mut machine, WINDOW + 0x1000)), ((0, 0, 1), (0, 1, 0)));
    // Without a change, nothing is done.
    fds.sync([(at(WINDOW + 0x1000), &one), (at(WINDOW), &other)]).unwrap();
    assert_eq!(fds.len(), 2);
    fds.sync([(at(WINDOW), &one)]).unwrap();
    assert_eq!((taken(&mut machine, WINDOW), taken(&mut machine, WINDOW + 0x1000)), ((0, 1, 0), (1, 0, 0)));
    drop(fds);
    assert_eq!(taken(&mut machine, WINDOW), (1, 0, 0));
}

#[test]
fn what_kvm_refuses_is_reported_and_tried_again() {
    if !usable("ioeventfd") {
        return;
    }
    let mut machine = machine();
    let mut fds = EmitFds::new(std::sync::Arc::clone(&machine.vm));
    let mut foreign = EmitFds::new(std::sync::Arc::clone(&machine.vm));
    let (one, other) = (EventNotifier::new().unwrap(), EventNotifier::new().unwrap());
    foreign.sync([(at(WINDOW), &other)]).unwrap();
    let wanted = [(at(WINDOW), &one), (at(WINDOW + 0x1000), &one)];
    let errors = fds.sync(wanted).unwrap_err();
    assert_eq!((errors.errors().len(), errors.errors()[0].errno()), (1, libc::EEXIST), "{errors}");
    assert_eq!(machine.exits_of(&store(WINDOW + 0x1000, Bytes::Four)), [], "the rest is done");
    foreign.sync([]).unwrap();
    fds.sync(wanted).unwrap();
    assert_eq!(machine.exits_of(&store(WINDOW, Bytes::Four)), []);
    assert_eq!((one.take().unwrap(), other.take().unwrap()), (2, 0));
}
