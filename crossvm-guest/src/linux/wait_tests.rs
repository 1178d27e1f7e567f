//! The wait protocol against a model of device, kernel and peer, with an event at every possible moment.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use proptest::prelude::*;

use super::*;

/// When the device raises its interrupt.
#[derive(Debug, Clone, Copy)]
enum Trigger {
    /// As long as COUNT is not zero: crossvm's devices.
    Level,
    /// When an event comes while the line is enabled; an event that comes while it is not is never signalled.
    NewEvent,
}

/// Device and kernel: COUNT, INTX_DISABLE and the interrupts that the UIO device has to report. Before each step of the waiter
/// the peer may emit.
#[derive(Debug)]
struct Machine {
    trigger: Trigger,
    count: u32,
    disabled: bool,
    reported: bool,
    /// How many events come before each step from now on; none after the last.
    schedule: VecDeque<u32>,
    steps: usize,
}

impl Machine {
    /// Right after boot INTx is enabled; a driver that was used before leaves it disabled.
    fn new(trigger: Trigger, disabled: bool, schedule: impl Into<VecDeque<u32>>) -> Rc<RefCell<Self>> {
        Rc::new(RefCell::new(Self { trigger, count: 0, disabled, reported: false, schedule: schedule.into(), steps: 0 }))
    }

    fn step(&mut self) {
        self.steps += 1;
        assert!(self.steps < 10_000, "the waiter does not come to an end");
        for _ in 0..self.schedule.pop_front().unwrap_or(0) {
            self.emit();
        }
        self.settle();
    }

    fn emit(&mut self) {
        self.count += 1;
        if matches!(self.trigger, Trigger::NewEvent) && !self.disabled {
            self.interrupt();
        }
    }

    fn settle(&mut self) {
        if matches!(self.trigger, Trigger::Level) && !self.disabled && self.count != 0 {
            self.interrupt();
        }
    }

    /// What uio_pci_generic's handler does.
    fn interrupt(&mut self) {
        self.disabled = true;
        self.reported = true;
    }
}

struct Device(Rc<RefCell<Machine>>);

impl Counter for Device {
    fn take(&self, limit: EventCount) -> Option<EventCount> {
        let mut machine = self.0.borrow_mut();
        machine.step();
        let read = machine.count.min(limit.get());
        if read == 0 {
            return None;
        }
        // An event may come between reading COUNT and writing ACK.
        machine.step();
        machine.count -= read;
        Some(EventCount::new(read))
    }
}

struct Line(Rc<RefCell<Machine>>);

impl InterruptLine for Line {
    fn enable(&mut self) -> Result<(), Error> {
        let mut machine = self.0.borrow_mut();
        machine.step();
        machine.disabled = false;
        machine.settle();
        Ok(())
    }

    fn acknowledge(&mut self) -> Result<(), Error> {
        let mut machine = self.0.borrow_mut();
        machine.step();
        machine.reported = false;
        Ok(())
    }

    fn sleep(&mut self, timeout: Option<Duration>) -> Result<Wake, Error> {
        let mut machine = self.0.borrow_mut();
        machine.step();
        while !machine.reported && !machine.schedule.is_empty() {
            machine.step();
        }
        if machine.reported {
            machine.reported = false;
            return Ok(Wake::Interrupt);
        }
        assert!(timeout.is_some(), "asleep for ever, COUNT = {}", machine.count);
        Ok(Wake::TimedOut)
    }
}

fn wait(machine: &Rc<RefCell<Machine>>, patience: Patience) -> Option<Taken> {
    wait_for(&Device(machine.clone()), &mut Line(machine.clone()), patience).unwrap()
}

#[test]
fn one_event_at_any_step_wakes_the_waiter() {
    for trigger in [Trigger::Level, Trigger::NewEvent] {
        for disabled in [false, true] {
            for before in 0..12 {
                let mut schedule = vec![0; before];
                schedule.push(1);
                let machine = Machine::new(trigger, disabled, schedule);
                // No timeout: a lost wake-up is an assertion in `sleep`.
                let taken = wait(&machine, Patience::default()).expect("an event");
                assert_eq!(taken.events, EventCount::ONE, "{trigger:?}, after {before} steps");
                assert_eq!(machine.borrow().count, 0);
            }
        }
    }
}

#[test]
fn the_second_take_is_needed() {
    // The same protocol without it sleeps through an event that comes while the line is being enabled: the model can tell.
    let machine = Machine::new(Trigger::NewEvent, true, [0, 1]);
    let (device, mut line) = (Device(machine.clone()), Line(machine.clone()));
    assert_eq!(Counter::take(&device, EventCount::MAX), None);
    line.enable().unwrap();
    assert_eq!(line.sleep(Some(Duration::ZERO)).unwrap(), Wake::TimedOut);
    assert_eq!(machine.borrow().count, 1);
}

/// An event loop, which sleeps elsewhere, until nothing more will come: how many events it took, and how often.
fn event_loop(machine: &Rc<RefCell<Machine>>, limit: EventCount) -> Vec<EventCount> {
    let (device, mut line) = (Device(machine.clone()), Line(machine.clone()));
    let mut taken = Vec::new();
    loop {
        match prepare(&device, &mut line, limit).unwrap() {
            Prepared::Ready(events) => taken.push(events),
            Prepared::Armed => {
                // The loop's own poll: it returns when the descriptor is readable, and does not read it.
                while !machine.borrow().reported {
                    if machine.borrow().schedule.is_empty() {
                        assert_eq!(machine.borrow().count, 0, "asleep for ever");
                        return taken;
                    }
                    machine.borrow_mut().step();
                }
                taken.extend(take(&device, &mut line, limit).unwrap());
            }
        }
    }
}

#[test]
fn one_event_at_any_step_wakes_an_event_loop() {
    for trigger in [Trigger::Level, Trigger::NewEvent] {
        for disabled in [false, true] {
            for before in 0..20 {
                // Alone, and behind another: its wake-up must not be what saves that one.
                for first in [0, 1] {
                    let mut schedule = vec![first];
                    schedule.resize(before + 1, 0);
                    schedule.push(1);
                    let taken = event_loop(&Machine::new(trigger, disabled, schedule), EventCount::MAX);
                    let sum: u32 = taken.iter().map(|events| events.get()).sum();
                    assert_eq!(sum, first + 1, "{trigger:?}, after {before} steps");
                }
            }
        }
    }
}

#[test]
fn taking_without_an_interrupt_is_no_harm_and_an_interrupt_without_an_event_is_told() {
    let machine = Machine::new(Trigger::Level, false, []);
    let (device, mut line) = (Device(machine.clone()), Line(machine.clone()));
    assert_eq!(take(&device, &mut line, EventCount::MAX).unwrap(), None);
    assert_eq!(prepare(&device, &mut line, EventCount::MAX).unwrap(), Prepared::Armed);
    // The line is shared with another function.
    machine.borrow_mut().interrupt();
    assert_eq!(take(&device, &mut line, EventCount::MAX).unwrap(), None);
    assert!(!machine.borrow().reported && machine.borrow().disabled);
    assert_eq!(prepare(&device, &mut line, EventCount::MAX).unwrap(), Prepared::Armed);
    assert!(!machine.borrow().disabled);
}

#[test]
fn nothing_comes_and_the_time_is_over() {
    let machine = Machine::new(Trigger::Level, false, []);
    assert_eq!(wait(&machine, Patience::default().timeout(Duration::from_millis(1))), None);
}

#[test]
fn an_event_in_the_last_moment_counts() {
    // Steps: take, enable, take, sleep (times out, the event comes too late for it), take.
    let machine = Machine::new(Trigger::NewEvent, true, [0, 0, 0, 0]);
    let device = Device(machine.clone());
    struct Late(Line);
    impl InterruptLine for Late {
        fn enable(&mut self) -> Result<(), Error> {
            self.0.enable()
        }
        fn acknowledge(&mut self) -> Result<(), Error> {
            self.0.acknowledge()
        }
        fn sleep(&mut self, timeout: Option<Duration>) -> Result<Wake, Error> {
            let wake = self.0.sleep(timeout)?;
            self.0.0.borrow_mut().count += 1;
            Ok(wake)
        }
    }
    let taken = wait_for(&device, &mut Late(Line(machine)), Patience::default().timeout(Duration::ZERO)).unwrap();
    assert_eq!(taken.map(|taken| taken.events), Some(EventCount::ONE));
}

#[test]
fn interrupts_without_events_do_not_keep_the_waiter_beyond_its_time() {
    struct Storm;
    impl InterruptLine for Storm {
        fn enable(&mut self) -> Result<(), Error> {
            Ok(())
        }
        fn acknowledge(&mut self) -> Result<(), Error> {
            Ok(())
        }
        fn sleep(&mut self, _: Option<Duration>) -> Result<Wake, Error> {
            Ok(Wake::Interrupt)
        }
    }
    let machine = Machine::new(Trigger::Level, true, []);
    machine.borrow_mut().steps = 0;
    struct Never;
    impl Counter for Never {
        fn take(&self, _: EventCount) -> Option<EventCount> {
            None
        }
    }
    let begin = Instant::now();
    assert_eq!(wait_for(&Never, &mut Storm, Patience::default().timeout(Duration::from_millis(20))).unwrap(), None);
    assert!(begin.elapsed() < Duration::from_secs(10));
}

#[test]
fn spinning_finds_an_event_without_a_sleep() {
    let mut schedule = vec![0; 5];
    schedule.push(3);
    let machine = Machine::new(Trigger::Level, false, schedule);
    let taken = wait(&machine, Patience::default().spins(10)).unwrap();
    assert_eq!(taken, Taken { events: EventCount::new(3), sleeps: 0 });
}

#[test]
fn a_limit_leaves_the_rest_waiting() {
    let machine = Machine::new(Trigger::Level, false, [5]);
    assert_eq!(wait(&machine, Patience::default().limit(EventCount::new(2))).unwrap().events, EventCount::new(2));
    assert_eq!(machine.borrow().count, 3);
    assert_eq!(wait(&machine, Patience::default()).unwrap().events, EventCount::new(3));
}

proptest! {
    #[test]
    fn every_event_is_taken_once(
        schedule in prop::collection::vec(0_u32..3, 0..60),
        level in any::<bool>(),
        disabled in any::<bool>(),
        spins in 0_u32..4,
        limit in 1_u32..4,
    ) {
        let sent: u32 = schedule.iter().sum();
        let trigger = if level { Trigger::Level } else { Trigger::NewEvent };
        let machine = Machine::new(trigger, disabled, schedule);
        let patience = Patience::default().spins(spins).limit(EventCount::new(limit)).timeout(Duration::from_secs(3600));
        let mut taken = 0;
        while let Some(some) = wait(&machine, patience) {
            prop_assert!(some.events != EventCount::ZERO && some.events.get() <= limit);
            taken += some.events.get();
        }
        prop_assert_eq!(taken, sent);
        prop_assert_eq!(machine.borrow().count, 0);
    }

    #[test]
    fn an_event_loop_takes_every_event_once(
        schedule in prop::collection::vec(0_u32..3, 0..60),
        level in any::<bool>(),
        disabled in any::<bool>(),
        limit in 1_u32..4,
    ) {
        let sent: u32 = schedule.iter().sum();
        let trigger = if level { Trigger::Level } else { Trigger::NewEvent };
        let machine = Machine::new(trigger, disabled, schedule);
        let taken = event_loop(&machine, EventCount::new(limit));
        prop_assert!(taken.iter().all(|events| *events != EventCount::ZERO && events.get() <= limit));
        prop_assert_eq!(taken.iter().map(|events| events.get()).sum::<u32>(), sent);
    }
}
