//! Checks `count` and `count-msix`: many events at once in both directions, each of which counts.
//!
//! Nobody waits for an answer: each side emits in bursts as fast as it can, takes what has come in between, and sleeps until an interrupt
//! when it has emitted all of its own. The counts must add up to exactly what the other side has emitted.

use std::thread;
use std::time::{Duration, Instant};

use crossvm_guest::{EventCount, System};

use crate::events::{Events, Spins, Taken};
use crate::link::{Link, Turns};
use crate::report::{Failure, Report};
use crate::settings::{Role, Settings};

/// How many events are emitted between two looks.
const BURST: u32 = 128;
/// How long to wait for an event too many.
const QUIET: Duration = Duration::from_millis(50);
/// Where the sides tell each other that both have counted.
const SIGNAL: &str = "bulk";

/// What both sides do on one connection.
#[derive(Debug, Clone, Copy)]
struct Count {
    check: &'static str,
    connection: &'static str,
}

const COUNTS: [Count; 2] = [Count { check: "count", connection: "ping" }, Count { check: "count-msix", connection: "ping-msix" }];

/// Emits and counts on both connections, and waits until the other side has done so.
pub(crate) fn count(system: &System, settings: &Settings, report: &Report, role: Role) -> Result<(), Failure> {
    for count in COUNTS {
        run(count, system, settings, report).map_err(|reason| Failure::new(count.check, reason))?;
    }
    together(system, settings, role).map_err(|reason| Failure::new("count", reason))
}

fn run(count: Count, system: &System, settings: &Settings, report: &Report) -> Result<(), String> {
    let connection = system.endpoint(count.connection).map_err(|error| error.to_string())?;
    let mut events = Events::open(&connection)?;
    let begin = Instant::now();
    let took = exchange(&mut events, settings.events, settings.timeout)?;
    let time = begin.elapsed();
    thread::sleep(QUIET);
    let more = events.take()?;
    if more != 0 {
        return Err(format!("{more} events more than the {} of the other side", settings.events));
    }
    let findings = [
        ("sent", settings.events.to_string()),
        ("received", took.received.to_string()),
        ("takes", took.takes.to_string()),
        ("slept", took.slept.to_string()),
        ("ms", time.as_millis().to_string()),
    ];
    report.pass(count.check, &findings);
    Ok(())
}

/// Emits, and takes events without waiting or with.
trait Flow {
    fn emit(&mut self, events: u32) -> Result<(), String>;
    fn take(&mut self) -> Result<u64, String>;
    fn wait(&mut self, timeout: Duration) -> Result<Option<Taken>, String>;
}

impl Flow for Events<'_> {
    fn emit(&mut self, events: u32) -> Result<(), String> {
        Self::emit(self, EventCount::new(events))
    }
    fn take(&mut self) -> Result<u64, String> {
        Self::take(self)
    }
    fn wait(&mut self, timeout: Duration) -> Result<Option<Taken>, String> {
        Self::wait(self, timeout, Spins::NONE)
    }
}

/// What one side has taken.
#[derive(Debug, Default, PartialEq, Eq)]
struct Took {
    received: u64,
    /// How often it took events: fewer than events, since many came at once.
    takes: u64,
    slept: u64,
}

/// Emits `events` events and takes as many.
fn exchange(flow: &mut impl Flow, events: u32, timeout: Duration) -> Result<Took, String> {
    let expected = u64::from(events);
    let mut took = Took::default();
    let mut left = events;
    while left > 0 {
        let burst = left.min(BURST);
        flow.emit(burst)?;
        left -= burst;
        let taken = flow.take()?;
        took.received += taken;
        took.takes += u64::from(taken > 0);
    }
    while took.received < expected {
        let missing = expected - took.received;
        let taken = flow.wait(timeout)?.ok_or_else(|| format!("{missing} of {expected} events are missing"))?;
        took.received += taken.events;
        took.takes += 1;
        took.slept += u64::from(taken.slept);
    }
    if took.received > expected { Err(format!("{} events instead of {expected}", took.received)) } else { Ok(took) }
}

/// Waits until both sides are here: what comes next may use the same connections.
fn together(system: &System, settings: &Settings, role: Role) -> Result<(), String> {
    let connection = system.endpoint(SIGNAL).map_err(|error| error.to_string())?;
    let mut link = Link::new(&connection, settings.timeout)?;
    let what = || "word that the other side has counted".to_owned();
    match role {
        Role::Vm0 => {
            link.emit()?;
            link.event(Spins::NONE, what)
        }
        Role::Vm1 => {
            link.event(Spins::NONE, what)?;
            link.emit()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    /// One end of two counters.
    struct Counters {
        own: Arc<AtomicU64>,
        peer: Arc<AtomicU64>,
        /// Emits that get lost.
        lost: u64,
    }

    fn counters() -> [Counters; 2] {
        let [a, b] = [(); 2].map(|()| Arc::new(AtomicU64::new(0)));
        [Counters { own: a.clone(), peer: b.clone(), lost: 0 }, Counters { own: b, peer: a, lost: 0 }]
    }

    impl Flow for Counters {
        fn emit(&mut self, events: u32) -> Result<(), String> {
            let lost = std::mem::take(&mut self.lost);
            self.peer.fetch_add(u64::from(events) - lost, Ordering::Relaxed);
            Ok(())
        }
        fn take(&mut self) -> Result<u64, String> {
            Ok(self.own.swap(0, Ordering::Relaxed))
        }
        fn wait(&mut self, timeout: Duration) -> Result<Option<Taken>, String> {
            let begin = Instant::now();
            loop {
                match self.take()? {
                    0 if begin.elapsed() > timeout => return Ok(None),
                    0 => thread::yield_now(),
                    events => return Ok(Some(Taken { events, slept: true })),
                }
            }
        }
    }

    fn both(mut sides: [Counters; 2], timeout: Duration) -> Vec<Result<Took, String>> {
        thread::scope(|scope| {
            let sides = sides.each_mut().map(|side| scope.spawn(move || exchange(side, 100_000, timeout)));
            sides.map(|side| side.join().unwrap()).into()
        })
    }

    #[test]
    fn all_events_of_both_sides_count() {
        for took in both(counters(), Duration::from_secs(60)) {
            assert_eq!(took.unwrap().received, 100_000);
        }
    }

    #[test]
    fn one_lost_event_shows() {
        let [a, b] = counters();
        let took = both([a, Counters { lost: 1, ..b }], Duration::from_millis(300));
        assert_eq!(took[0], Err("1 of 100000 events are missing".to_owned()));
        assert!(took[1].is_ok());
    }
}
