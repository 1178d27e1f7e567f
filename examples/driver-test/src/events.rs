//! Checks `events`: none is lost, none is invented, whoever emits and whoever reads.

use std::time::Instant;

use crossvm_guest::{EventCount, Node, Patience, System};

use crate::report::{Failure, Report};
use crate::{LONG, SHORT, kernel, open};

/// Events that are emitted one by one, each after the answer to the one before.
const SINGLY: u32 = 200;
/// Events that are emitted by one write.
const AT_ONCE: u32 = 10_000;
/// Events that each of two threads emits while another reads.
const TOGETHER: u32 = 2_000;

pub(crate) fn check(system: &System, check: &'static str) -> Result<(), Failure> {
    run(system, check).map_err(|reason| Failure::new(check, reason))
}

fn run(system: &System, check: &'static str) -> Result<(), String> {
    let node = open(system, "mirror")?;
    let before = Counters::read("mirror")?;
    let begin = Instant::now();
    for _ in 0..SINGLY {
        emit(&node, 1)?;
        take(&node, 1)?;
    }
    let took = begin.elapsed();

    emit(&node, AT_ONCE)?;
    take(&node, AT_ONCE)?;

    std::thread::scope(|scope| {
        let emitters = [(); 2].map(|()| scope.spawn(|| (0..TOGETHER).try_for_each(|_| emit(&node, 1))));
        take(&node, 2 * TOGETHER)?;
        emitters.into_iter().try_for_each(|emitter| emitter.join().map_err(|_| "an emitting thread panicked".to_owned())?)
    })?;
    nothing_more(&node)?;

    let all = SINGLY + AT_ONCE + 2 * TOGETHER;
    let after = Counters::read("mirror")?;
    let [events, served, seen] = [after.events - before.events, after.served - before.served, after.seen - before.seen];
    if events != u64::from(all) {
        return Err(format!("the driver says that {events} of {all} events came"));
    }
    // On a line of its own, or by message, the kernel counts the same as the driver; a shared line counts for others too.
    let shared = kernel::interrupts("crossvm-mirror")?.1.contains(',');
    if served == 0 || (!shared && served != seen) || seen < served {
        return Err(format!("the driver has served {served} interrupts, and the kernel has seen {seen}"));
    }
    Report::new(check).with("events", all).with("interrupts", seen).with("round-trip-us", took.as_micros() / u128::from(SINGLY)).pass();
    Ok(())
}

/// Without ACK what comes while COUNT is cleared is not counted, but wakes the reader all the same: one answer to each event is exact.
pub(crate) fn check_without_ack(system: &System, check: &'static str) -> Result<(), Failure> {
    let run = || {
        let node = open(system, "mirror")?;
        for _ in 0..SINGLY {
            emit(&node, 1)?;
            take(&node, 1)?;
        }
        emit(&node, AT_ONCE)?;
        let mut waiter = node.waiter().map_err(|error| error.to_string())?;
        let mut taken = 0;
        while let Some(some) = waiter.wait(Patience::default().timeout(SHORT)).map_err(|error| error.to_string())? {
            taken += some.events.get();
        }
        if (1..=AT_ONCE).contains(&taken) { Ok(taken) } else { Err(format!("{taken} events came after {AT_ONCE}")) }
    };
    let taken = run().map_err(|reason| Failure::new(check, reason))?;
    Report::new(check).with("singly", SINGLY).with("counted", format!("{taken}/{AT_ONCE}")).pass();
    Ok(())
}

/// What the driver and the kernel have counted.
#[derive(Debug)]
struct Counters {
    events: u64,
    /// Interrupts that the driver has served.
    served: u64,
    /// Interrupts that the kernel has seen.
    seen: u64,
}

impl Counters {
    fn read(name: &str) -> Result<Self, String> {
        Ok(Self {
            events: kernel::counter(name, "events")?,
            served: kernel::counter(name, "interrupts")? + kernel::counter(name, "spurious")?,
            seen: kernel::interrupts(&format!("crossvm-{name}"))?.0,
        })
    }
}

/// Signals the peer `count` times.
pub(crate) fn emit(node: &Node, count: u32) -> Result<(), String> {
    node.emit(EventCount::new(count)).map_err(|error| error.to_string())
}

/// Takes exactly `count` events.
pub(crate) fn take(node: &Node, count: u32) -> Result<(), String> {
    let mut waiter = node.waiter().map_err(|error| error.to_string())?;
    let mut taken = 0;
    while taken < count {
        match waiter.wait(Patience::default().timeout(LONG)).map_err(|error| error.to_string())? {
            Some(some) => taken += some.events.get(),
            None => return Err(format!("{taken} of {count} events came within {} s", LONG.as_secs())),
        }
    }
    if taken == count { Ok(()) } else { Err(format!("{taken} events came instead of {count}")) }
}

/// Fails if there is an event that nobody has emitted.
pub(crate) fn nothing_more(node: &Node) -> Result<(), String> {
    let mut waiter = node.waiter().map_err(|error| error.to_string())?;
    match waiter.wait(Patience::default().timeout(SHORT)).map_err(|error| error.to_string())? {
        None => Ok(()),
        Some(taken) => Err(format!("{} more events than were emitted", taken.events)),
    }
}
