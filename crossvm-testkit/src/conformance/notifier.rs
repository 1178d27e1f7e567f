//! The clauses of [`Notifier`], seen from where its signals arrive.

use std::sync::atomic::{AtomicU32, Ordering};

use crossvm_core::{EventId, EventSet, Notifier};

/// Notifiers under test that all signal one receiver, and the receiver.
pub trait Wires {
    /// The notifier.
    type Notifier: Notifier;
    /// The notifiers, each with the event that its signals arrive under: one at least, the more the better.
    fn notifiers(&self) -> &[(EventId, Self::Notifier)];
    /// The receiver looks once, and takes what has arrived.
    fn receive(&self) -> EventSet;
}

/// Every clause that one thread can see.
pub fn all<W: Wires>(make: impl Fn() -> W) {
    clause_1_each_signal_is_served(&make());
    clause_1_signals_beside_others_are_served(&make());
    clause_2_many_signals_may_coalesce(&make());
    clause_3_nobody_need_receive(&make());
}

/// Clause 4, for notifiers that signal from another thread.
pub fn between_threads<W: Wires + Sync>(make: impl Fn() -> W) {
    clause_4_what_was_written_before_is_visible(&make());
}

/// How often a receiver looks before the suite gives up: "at some later time".
const PATIENCE: usize = 1000;

/// Receives until all of `expected` have come.
fn served(wires: &impl Wires, expected: EventSet) -> bool {
    let mut seen = 0;
    for _ in 0..PATIENCE {
        seen |= wires.receive().word();
        if seen & expected.word() == expected.word() {
            return true;
        }
    }
    false
}

fn notify(wires: &impl Wires, index: usize) {
    assert!(wires.notifiers()[index].1.notify().is_ok(), "the suite wants a receiver that is there");
}

/// Clause 1.
pub fn clause_1_each_signal_is_served<W: Wires>(wires: &W) {
    for round in 0..100 {
        for index in 0..wires.notifiers().len() {
            notify(wires, index);
            let event = wires.notifiers()[index].0;
            assert!(served(wires, EventSet::of(event)), "clause 1: event {event}, round {round}");
        }
    }
}

/// Clause 1.
pub fn clause_1_signals_beside_others_are_served<W: Wires>(wires: &W) {
    let count = wires.notifiers().len().min(6);
    for subset in 1..1usize << count {
        let chosen = || (0..count).filter(|index| subset >> index & 1 != 0);
        // In order and against it, and some of them twice.
        chosen().chain(chosen().rev().step_by(2)).for_each(|index| notify(wires, index));
        let expected = chosen().map(|index| wires.notifiers()[index].0).collect();
        assert!(served(wires, expected), "clause 1: every event of {expected:?}");
    }
}

/// Clause 2.
pub fn clause_2_many_signals_may_coalesce<W: Wires>(wires: &W) {
    for many in [1, 2, 3, 100] {
        let event = EventSet::of(wires.notifiers()[0].0);
        (0..many).for_each(|_| notify(wires, 0));
        assert!(served(wires, event), "clause 2: one of {many} at least");
        notify(wires, 0);
        assert!(served(wires, event), "clause 2: and one behind {many} that were taken");
    }
}

/// Clause 3. What blocks, hangs.
pub fn clause_3_nobody_need_receive<W: Wires>(wires: &W) {
    let count = wires.notifiers().len();
    (0..100_000).for_each(|index| notify(wires, index % count));
    let expected = wires.notifiers().iter().map(|(event, _)| *event).collect();
    assert!(served(wires, expected), "clause 1: and none is forgotten");
}

/// Clause 4.
pub fn clause_4_what_was_written_before_is_visible<W: Wires + Sync>(wires: &W) {
    const ROUNDS: u32 = 10_000;
    let event = wires.notifiers()[0].0;
    let (written, answered) = (AtomicU32::new(0), AtomicU32::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 1..=ROUNDS {
                written.store(round, Ordering::Relaxed);
                notify(wires, 0);
                while answered.load(Ordering::Acquire) < round {
                    std::thread::yield_now();
                }
            }
        });
        for round in 1..=ROUNDS {
            while !wires.receive().contains(event) {
                std::thread::yield_now();
            }
            let seen = written.load(Ordering::Relaxed);
            answered.store(round, Ordering::Release);
            assert_eq!(seen, round, "clause 4");
        }
    });
}
