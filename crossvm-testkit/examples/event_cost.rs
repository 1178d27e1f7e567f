//! What an event costs, in instructions: with one connection in the VM, and with 64. One function for each operation, called [`TIMES`] times, for
//! callgrind to count. The interrupt controller does nothing: what is counted is `CrossVm` and `PciBus`.
//!
//! ```sh
//! cargo build --release -p crossvm-testkit --example event_cost
//! for connections in 1 64; do for operation in emit consume_by_line consume_by_message consume_exact acknowledge; do
//!     echo "$connections $operation"; valgrind --tool=callgrind --callgrind-out-file=/dev/null --toggle-collect="event_cost::$operation" \
//!         target/release/examples/event_cost $connections 2>&1 | grep Collected
//! done; done
//! ```

use std::convert::Infallible;
use std::hint::black_box;

use crossvm_core::device::Name;
use crossvm_core::{
    Bdf, Config, ConfigAccess, Connection, ConnectionId, CrossVm, ErrorType, Event, EventId, ExactId, GuestAccess, GuestAddr,
    InterruptController, InterruptMode, Irq, Level, Message, Parts, PciSpace, Width,
};
use crossvm_pci::{HostBridge, PciBus};
use crossvm_testkit::{Doorbell, FakeDataport, FakeIrqs, FakeMemory, FakeNotifier, RAM, WINDOW, range};

/// How often each operation is done.
const TIMES: u32 = 100;

/// Takes everything.
struct Nothing;

impl ErrorType for Nothing {
    type Error = Infallible;
}

impl InterruptController for Nothing {
    fn set_level(&mut self, irq: Irq, level: Level) -> Result<(), Infallible> {
        black_box((irq, level));
        Ok(())
    }

    fn deliver_msi(&mut self, requester: Bdf, message: Message) -> Result<(), Infallible> {
        black_box((requester, message));
        Ok(())
    }
}

type Vm = Parts<FakeMemory, PciBus<64>, FakeIrqs, Nothing>;
type Connections = CrossVm<Vm, FakeDataport, FakeNotifier, 64>;

/// A connection to look at.
struct Subject {
    id: ConnectionId,
    event: Event,
    registers: GuestAddr,
}

/// Stores of the guest to EMIT.
#[inline(never)]
fn emit(vm: &mut Vm, connections: &mut Connections, subject: &Subject) {
    for _ in 0..TIMES {
        let store = GuestAccess::Write { at: black_box(subject.registers), width: Width::U32, value: 1 };
        black_box(connections.handle(vm, store).is_ok());
    }
}

/// Stores of the guest to ACK.
#[inline(never)]
fn acknowledge(vm: &mut Vm, connections: &mut Connections, subject: &Subject) {
    let ack = subject.registers.checked_add(0x48).expect("inside the page");
    for _ in 0..TIMES {
        black_box(connections.handle(vm, GuestAccess::Write { at: black_box(ack), width: Width::U32, value: 1 }).is_ok());
    }
}

/// Events of the peer, to a guest that is interrupted by its line.
#[inline(never)]
fn consume_by_line(vm: &mut Vm, connections: &mut Connections, subject: &Subject) {
    // Something of its own, or the linker folds functions with equal bodies into one.
    black_box("line");
    events(vm, connections, subject);
}

/// The same by messages.
#[inline(never)]
fn consume_by_message(vm: &mut Vm, connections: &mut Connections, subject: &Subject) {
    black_box("message");
    events(vm, connections, subject);
}

/// The same by an exact id, which is looked up by binary search.
#[inline(never)]
fn consume_exact(vm: &mut Vm, connections: &mut Connections, subject: &Subject) {
    events(vm, connections, subject);
}

#[inline(always)]
fn events(vm: &mut Vm, connections: &mut Connections, subject: &Subject) {
    for _ in 0..TIMES {
        black_box(connections.consume_counted(vm, black_box(subject.event), 1).is_ok());
    }
}

/// A VM with `count` connections, the last of which is the one to look at.
fn installed(count: usize, event: impl Fn(u8) -> Event) -> (Vm, Connections, Subject) {
    let (memory, pci) = (FakeMemory::new([range(RAM)]), PciBus::new(HostBridge::default(), range(WINDOW)));
    let mut vm = Parts { memory, pci, irqs: FakeIrqs::new(32..64), interrupts: Nothing };
    let (mut connections, doorbell) = (Connections::new(Config::default()), Doorbell::default());
    let last = u8::try_from(count - 1).expect("at most 64");
    let each = (0..=last).map(|index| {
        let name = Name::new(&format!("connection {index}")).expect("ASCII");
        let notifier = doorbell.notifier(EventId::new(index).expect("below 64"));
        Connection::new(name).with_emit(notifier).with_event(event(index)).with_interrupt(InterruptMode::SharedLine)
    });
    let ids = connections.install(&mut vm, each).expect("there is room");
    let id = *ids.last().expect("one at least");
    let registers = connections.status(id).expect("installed").bars[0].mapped_at.expect("decoded");
    (vm, connections, Subject { id, event: event(last), registers })
}

/// The guest enables MSI-X.
fn enable_messages(vm: &mut Vm, connections: &mut Connections, id: ConnectionId) {
    let status = connections.status(id).expect("installed");
    let vector_control = status.bars[1].mapped_at.and_then(|table| table.checked_add(12)).expect("decoded");
    let unmask = GuestAccess::Write { at: vector_control, width: Width::U32, value: 0 };
    connections.handle(vm, unmask).expect("nothing fails");
    // Behind a vendor-specific capability without dataports, at 0x40.
    for (offset, value) in [(0x04, 0x0006), (0x56, 0x8000)] {
        let effect = vm.pci.write(status.bdf, ConfigAccess { offset, width: Width::U16 }, value).expect("a change");
        connections.apply(vm, effect).expect("nothing fails");
    }
}

fn main() {
    let count = std::env::args().nth(1).and_then(|count| count.parse().ok()).filter(|count| (1..=64).contains(count));
    let Some(count) = count else {
        eprintln!("usage: event_cost CONNECTIONS, from 1 to 64");
        std::process::exit(2);
    };
    let bit = |index| Event::Bit(EventId::new(index).expect("below 64"));
    let (mut vm, mut connections, subject) = installed(count, bit);
    emit(&mut vm, &mut connections, &subject);
    consume_by_line(&mut vm, &mut connections, &subject);
    acknowledge(&mut vm, &mut connections, &subject);
    enable_messages(&mut vm, &mut connections, subject.id);
    consume_by_message(&mut vm, &mut connections, &subject);
    assert_eq!(connections.status(subject.id).map(|status| (status.count, status.messages_sent)), Some((TIMES, u64::from(TIMES))));
    let (mut vm, mut connections, subject) = installed(count, |index| ExactId::new(u64::from(index) << 32).into());
    consume_exact(&mut vm, &mut connections, &subject);
}
