//! A guest that obeys, on the testkit's fakes with a peer that answers.

#[path = "../../../crossvm-guest/tests/machine/mod.rs"]
mod machine;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::sync::atomic::Ordering::Relaxed;

use crossvm_core::{BarWidth, Config, EventId, InterruptMode, Rights};
use crossvm_guest::Words;
use crossvm_guest::bare::{PhysicalMemory, PhysicalRange};
use machine::{Machine, Plan};
use sel4_guest::{Command, Error, MAX_RESULTS, Mailbox, Platform, Random, Report, obey, peer};

const WINDOW: [u32; 3] = [1, 0x1400_0000, 0x0100_0000];

/// A guest's platform whose VMM is a script.
struct Script {
    machine: Machine,
    mailbox: Mailbox,
    commands: RefCell<VecDeque<(Command, Vec<u32>)>>,
    outcomes: RefCell<Vec<Result<[u32; MAX_RESULTS], u32>>>,
    /// Added to each answer: a peer that is wrong.
    error: Cell<u32>,
    jumps: RefCell<Vec<u32>>,
}

impl Script {
    fn new(connections: usize) -> Self {
        let dataports = vec![(8 << 10, BarWidth::Bits32, Rights::ReadWrite), (4 << 10, BarWidth::Bits32, Rights::Read)];
        let plan = Plan { dataports, mode: InterruptMode::OwnLine };
        Self {
            machine: Machine::new(Config::default(), &vec![plan; connections]),
            mailbox: Mailbox::new(),
            commands: RefCell::default(),
            outcomes: RefCell::default(),
            error: Cell::default(),
            jumps: RefCell::default(),
        }
    }

    /// Has the guest do this, and tells what came of each.
    fn run(&self, commands: &[(Command, &[u32])]) -> Vec<Result<[u32; MAX_RESULTS], u32>> {
        self.commands.replace(commands.iter().map(|(command, arguments)| (*command, arguments.to_vec())).collect());
        self.outcomes.take();
        obey(self, &self.mailbox);
        self.outcomes.take()
    }

    /// The peer serves the events that wait for it.
    fn peer(&self) {
        let (events, shared) = {
            let inner = self.machine.0.borrow();
            (inner.peer.take(), inner.shared.clone())
        };
        for index in (0_u8..).take(shared.len()).filter(|index| events.contains(EventId::new(*index).unwrap())) {
            let dataport = &shared[usize::from(index)][0];
            let request = u32::from_le_bytes(dataport.load(0, 4).try_into().unwrap());
            dataport.store(4, &peer::answer(request).wrapping_add(self.error.get()).to_le_bytes());
            self.machine.signal(index);
        }
    }

    fn word(&self, address: u32) -> <Machine as PhysicalMemory>::Region {
        self.machine.region(PhysicalRange::new(address.into(), 4).unwrap()).unwrap()
    }
}

impl Platform for Script {
    type Access = Machine;
    type Memory = Machine;

    fn access(&self) -> Option<Machine> {
        Some(self.machine.clone())
    }

    fn memory(&self) -> Machine {
        self.machine.clone()
    }

    fn report(&self, report: Report) {
        assert_eq!(report, Report::Ready);
        self.outcomes.borrow_mut().extend(self.mailbox.outcome());
        let (command, arguments) = self.commands.borrow_mut().pop_front().unwrap_or((Command::Stop, Vec::new()));
        self.mailbox.put(command, &arguments);
    }

    fn wait(&self) {
        self.peer();
        assert!(self.machine.interrupted(), "the guest sleeps although nothing will wake it");
    }

    fn load(&self, address: u32) -> u32 {
        self.word(address).load(0).unwrap()
    }

    fn store(&self, address: u32, value: u32) {
        self.word(address).store(0, value).unwrap();
    }

    fn store_oddly(&self, _: u32, number: u32) -> bool {
        number == 0
    }

    fn jump(&self, address: u32) {
        self.jumps.borrow_mut().push(address);
    }

    fn disturb(&self, random: &mut Random) {
        random.draw();
    }
}

fn done<const N: usize>(outcome: &Result<[u32; MAX_RESULTS], u32>) -> [u32; N] {
    outcome.unwrap()[..N].try_into().unwrap()
}

#[test]
fn connections_are_found_and_described() {
    let script = Script::new(3);
    assert_eq!(done(&script.run(&[(Command::Enumerate, &[])])[0]), [3]);
    let before = script.mailbox.found()[2].events.load(Relaxed);
    assert_eq!(done(&script.run(&[(Command::Enumerate, &WINDOW)])[0]), [3]);
    let found = &script.mailbox.found()[2];
    assert_ne!(found.events.load(Relaxed), before);
    assert!(found.events.load(Relaxed) >= WINDOW[1]);
    assert_eq!((found.function.load(Relaxed), found.version.load(Relaxed), found.dataport_count.load(Relaxed)), (3 << 3, 1, 2));
    let dataports = found.dataports.each_ref().map(|dataport| (dataport.size.load(Relaxed), dataport.rights.load(Relaxed)));
    assert_eq!(dataports[..2], [(8 << 10, 3), (4 << 10, 1)]);
    let name: Vec<u8> = found.name.iter().flat_map(|word| word.load(Relaxed).to_le_bytes()).collect();
    assert_eq!(&name[..13], b"connection 2\0");
}

#[test]
fn round_trips_are_counted_and_wrong_answers_noticed() {
    let script = Script::new(4);
    let outcomes = script.run(&[(Command::Enumerate, &[]), (Command::RoundTrips, &[1, 100]), (Command::RoundTripsOnAll, &[50])]);
    assert_eq!(done(&outcomes[1]), [100, 0, 100, 100]);
    assert_eq!(done(&outcomes[2]), [50, 0, 200, 50], "one sleep serves the four");
    script.error.set(1);
    let outcomes = script.run(&[(Command::Enumerate, &[]), (Command::RoundTrips, &[0, 10])]);
    assert_eq!(done(&outcomes[1]), [10, 10, 10, 10]);
}

#[test]
fn events_are_emitted_taken_and_awaited() {
    let script = Script::new(2);
    for _ in 0..3 {
        script.machine.signal(1);
    }
    let outcomes = script.run(&[(Command::Enumerate, &[]), (Command::Take, &[1, 2]), (Command::Take, &[1, 5]), (Command::Take, &[0, 5])]);
    assert_eq!(done(&outcomes[1]), [2, 1]);
    assert_eq!(done(&outcomes[2]), [1, 0]);
    assert_eq!(done(&outcomes[3]), [0, 0]);
    let outcomes = script.run(&[(Command::Enumerate, &[]), (Command::Emit, &[0, 5]), (Command::Await, &[0, 1])]);
    assert_eq!(done(&outcomes[2]), [1, 1], "emits join on their way");
}

#[test]
fn stores_to_what_is_read_only_leave_it() {
    let script = Script::new(1);
    let outcomes = script.run(&[
        (Command::Enumerate, &[]),
        (Command::StoreEvents, &[0, 8, 0]),
        (Command::StoreDataport, &[0, 1, 16, 7]),
        (Command::StoreDataport, &[0, 0, 16, 7]),
        (Command::LoadDataport, &[0, 0, 16]),
        (Command::StoreDataport, &[0, 0, 8 << 10, 7]),
        (Command::StoreDataport, &[0, 2, 0, 7]),
    ]);
    let name = u32::from_le_bytes(*b"conn");
    assert_eq!(done(&outcomes[1]), [name, name]);
    assert_eq!(done(&outcomes[2]), [0, 0]);
    assert_eq!(done(&outcomes[3]), [0, 7]);
    assert_eq!(done(&outcomes[4]), [7]);
    assert_eq!(outcomes[5..], [Err(Error::Dataport as u32); 2]);
}

#[test]
fn what_is_not_there_is_an_error() {
    let script = Script::new(1);
    let outcomes = script.run(&[
        (Command::RoundTrips, &[0, 1]),
        (Command::Enumerate, &[1, 0x1400_0000, 0x1000]),
        (Command::Enumerate, &WINDOW),
        (Command::Take, &[1, 1]),
        (Command::Odd, &[0, 0]),
        (Command::Odd, &[0, 99]),
        (Command::Hostile, &[1, 10]),
        (Command::Take, &[0, 1]),
        (Command::Jump, &[0x1234]),
    ]);
    let (connection, window) = (Err(Error::Connection as u32), Err(Error::Window as u32));
    assert_eq!([outcomes[0], outcomes[1], outcomes[3], outcomes[7]], [connection, window, connection, connection]);
    assert_eq!([done(&outcomes[4]), done(&outcomes[5]), done(&outcomes[6])], [[1], [0], [10]]);
    assert_eq!(*script.jumps.borrow(), [0x1234]);
}

#[test]
fn more_connections_than_the_mailbox_holds_are_refused() {
    assert_eq!(Script::new(20).run(&[(Command::Enumerate, &[])]), [Err(Error::TooMany as u32)]);
}

#[test]
fn a_disabled_line_is_enabled_again() {
    let script = Script::new(1);
    script.run(&[(Command::Enumerate, &[]), (Command::SetInterrupt, &[0, 0])]);
    script.machine.signal(0);
    assert!(!script.machine.interrupted());
    script.run(&[(Command::Enumerate, &[]), (Command::SetInterrupt, &[0, 1])]);
    assert!(script.machine.interrupted());
}
