//! Two lines between two VMMs that sample when they like, over pins that fail and lines that are slow: no signal is lost.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use crossvm_core::hal::{Handshake, HandshakeNotifier, HandshakeSource};
use crossvm_core::{Config, Connection, CrossVm, EventId, EventSet, GuestAccess, GuestAddr, Level, Notifier, Outcome, Width, device::Name};
use crossvm_testkit::{FakeDataport, FakeVm, fake_vm};
use embedded_hal::digital::{ErrorKind, ErrorType, InputPin, OutputPin};
use proptest::prelude::*;

/// What the next use of a pin does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Fault {
    #[default]
    None,
    /// It fails, and the level stays.
    Before,
    /// It fails, but the level has changed.
    After,
}

/// A line whose levels arrive later, in order. Each carries how much the driver had written to memory before it: the receiver may see that much
/// once the level has arrived, and need not see more. No memory is weaker than that behind a fence.
#[derive(Debug, Default)]
struct Line {
    arrived: (bool, u64),
    on_its_way: VecDeque<(bool, u64)>,
    fault: Fault,
}

impl Line {
    fn arrive(&mut self) {
        if let Some(level) = self.on_its_way.pop_front() {
            self.arrived = level;
        }
    }

    fn settle(&mut self) {
        while !self.on_its_way.is_empty() {
            self.arrive();
        }
    }
}

/// One end of a line, with the memory of whoever drives it.
#[derive(Debug, Clone, Default)]
struct End {
    line: Rc<RefCell<Line>>,
    written: Rc<Cell<u64>>,
}

impl ErrorType for End {
    type Error = ErrorKind;
}

impl End {
    fn drive(&self, level: bool) -> Result<(), ErrorKind> {
        let mut line = self.line.borrow_mut();
        let fault = std::mem::take(&mut line.fault);
        if fault != Fault::Before {
            line.on_its_way.push_back((level, self.written.get()));
        }
        if fault == Fault::None { Ok(()) } else { Err(ErrorKind::Other) }
    }
}

impl OutputPin for End {
    fn set_low(&mut self) -> Result<(), ErrorKind> {
        self.drive(false)
    }

    fn set_high(&mut self) -> Result<(), ErrorKind> {
        self.drive(true)
    }
}

/// The end that samples.
#[derive(Debug, Clone)]
struct Sampled(End);

impl ErrorType for Sampled {
    type Error = ErrorKind;
}

impl InputPin for Sampled {
    fn is_high(&mut self) -> Result<bool, ErrorKind> {
        let mut line = self.0.line.borrow_mut();
        if std::mem::take(&mut line.fault) == Fault::None { Ok(line.arrived.0) } else { Err(ErrorKind::Other) }
    }

    fn is_low(&mut self) -> Result<bool, ErrorKind> {
        self.is_high().map(|high| !high)
    }
}

type Doorbell = HandshakeNotifier<End, Sampled>;
type Source = HandshakeSource<Sampled, End>;

/// Both ends.
struct Board {
    request: End,
    acknowledge: End,
    doorbell: Doorbell,
    source: Source,
    /// The source has not been polled since it was made.
    fresh: bool,
    /// How much of the sender's memory was to be seen when an event was consumed last.
    served: u64,
}

fn event() -> EventId {
    EventId::new(7).unwrap()
}

impl Board {
    fn new() -> Self {
        let (request, acknowledge) = (End::default(), End::default());
        let doorbell = HandshakeNotifier::new(request.clone(), Sampled(acknowledge.clone()));
        let source = HandshakeSource::new(Sampled(request.clone()), acknowledge.clone(), event());
        Self { request, acknowledge, doorbell, source, fresh: true, served: 0 }
    }

    /// The guest of the sender writes to a dataport and emits. The number of the write, if the emit counts as delivered.
    fn notify(&mut self) -> Option<u64> {
        self.request.written.set(self.request.written.get() + 1);
        self.doorbell.notify().ok().map(|()| self.request.written.get())
    }

    fn poll_source(&mut self) {
        if std::mem::take(&mut self.fresh) {
            self.settle();
        }
        if self.source.poll().is_ok_and(|events| events == EventSet::of(event())) {
            self.served = self.request.line.borrow().arrived.1;
        }
    }

    /// The receiver's pin falls back to low, and its program begins anew. That takes longer than a level takes to arrive.
    fn restart_receiver(&mut self) {
        let _ = self.acknowledge.drive(false);
        self.source = HandshakeSource::new(Sampled(self.request.clone()), self.acknowledge.clone(), event());
        self.fresh = true;
    }

    fn settle(&mut self) {
        self.request.line.borrow_mut().settle();
        self.acknowledge.line.borrow_mut().settle();
    }
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Notify,
    PollDoorbell,
    PollSource,
    RequestArrives,
    AcknowledgeArrives,
    RequestFails(Fault),
    AcknowledgeFails(Fault),
    RestartReceiver,
}

fn step() -> impl Strategy<Value = Step> {
    let fault = prop_oneof![Just(Fault::Before), Just(Fault::After)];
    prop_oneof![
        4 => Just(Step::Notify),
        4 => Just(Step::PollDoorbell),
        4 => Just(Step::PollSource),
        4 => Just(Step::RequestArrives),
        4 => Just(Step::AcknowledgeArrives),
        2 => fault.clone().prop_map(Step::RequestFails),
        2 => fault.prop_map(Step::AcknowledgeFails),
        1 => Just(Step::RestartReceiver),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    /// Clauses 1, 2 and 4 of `Notifier`.
    #[test]
    fn clause_1_whatever_was_signalled_is_served_with_what_was_written_before(steps in prop::collection::vec(step(), 0..24)) {
        let mut board = Board::new();
        let mut delivered = 0;
        for step in steps {
            match step {
                Step::Notify => delivered = board.notify().unwrap_or(delivered),
                Step::PollDoorbell => { let _ = board.doorbell.poll(); }
                Step::PollSource => board.poll_source(),
                Step::RequestArrives => board.request.line.borrow_mut().arrive(),
                Step::AcknowledgeArrives => board.acknowledge.line.borrow_mut().arrive(),
                Step::RequestFails(fault) => board.request.line.borrow_mut().fault = fault,
                Step::AcknowledgeFails(fault) => board.acknowledge.line.borrow_mut().fault = fault,
                Step::RestartReceiver => board.restart_receiver(),
            }
        }
        board.request.line.borrow_mut().fault = Fault::None;
        board.acknowledge.line.borrow_mut().fault = Fault::None;
        // Both go on: a few rounds, and all is quiet.
        for _ in 0..4 {
            board.settle();
            board.poll_source();
            board.settle();
            let _ = board.doorbell.poll();
        }
        prop_assert!(board.served >= delivered, "emit {delivered} was delivered, but the last one served is {}", board.served);
        prop_assert_eq!(board.doorbell.poll(), Ok(Handshake::Idle));
        prop_assert_eq!(board.source.poll(), Ok(EventSet::EMPTY));
    }
}

#[test]
fn signals_that_are_answered_one_by_one_arrive_one_by_one() {
    let mut board = Board::new();
    board.poll_source();
    // The first one may come twice.
    board.notify().unwrap();
    for _ in 0..3 {
        board.settle();
        board.poll_source();
        board.settle();
        board.doorbell.poll().unwrap();
    }
    for _ in 0..100 {
        board.notify().unwrap();
        board.settle();
        assert_eq!(board.source.poll(), Ok(EventSet::of(event())));
        assert_eq!(board.source.poll(), Ok(EventSet::EMPTY));
        board.settle();
        assert_eq!(board.doorbell.poll(), Ok(Handshake::Idle));
    }
}

fn emit(at: GuestAddr) -> GuestAccess {
    GuestAccess::Write { at, width: Width::U8, value: 1 }
}

#[test]
fn an_emit_of_one_guest_interrupts_the_other_over_two_lines() {
    let mut board = Board::new();
    let name = Name::new("camera").unwrap();
    let (mut sender, mut receiver) = (fake_vm(), fake_vm());
    let mut emitting: CrossVm<FakeVm, FakeDataport, &Doorbell, 1> = CrossVm::new(Config::default());
    let mut consuming: CrossVm<FakeVm, FakeDataport, &Doorbell, 1> = CrossVm::new(Config::default());
    let near = emitting.install(&mut sender, [Connection::new(name).with_emit(&board.doorbell)]).unwrap()[0];
    let far = consuming.install(&mut receiver, [Connection::new(name).with_event(event())]).unwrap()[0];
    let line = consuming.status(far).unwrap().irq.unwrap();
    let emit = emit(emitting.status(near).unwrap().bars[0].mapped_at.unwrap());

    // The acknowledgement cannot be sampled: the emit counts as dropped.
    board.acknowledge.line.borrow_mut().fault = Fault::Before;
    assert!(emitting.handle(&mut sender, emit).is_err());
    assert_eq!(emitting.status(near).unwrap().dropped, 1);

    assert_eq!(emitting.handle(&mut sender, emit).unwrap(), Outcome::Emitted(near));
    board.request.line.borrow_mut().settle();
    let events = board.source.poll().unwrap();
    assert_eq!(consuming.consume(&mut receiver, events).unwrap(), EventSet::EMPTY);
    assert_eq!(receiver.interrupts.level(line), Level::High);
    assert_eq!(consuming.status(far).unwrap().count, 1);
}
