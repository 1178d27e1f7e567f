//! `emit` and `wait`.

use std::io::Write;
use std::time::{Duration, Instant};

use crossvm_guest::{EventCount, Patience, System};

use crate::failure::Failure;

/// Signals the peer `count` times.
pub(crate) fn emit(system: &System, name: &str, count: EventCount) -> Result<(), Failure> {
    Ok(system.endpoint(name)?.emit(count)?)
}

/// Takes exactly `count` events, or without a count all that wait and at least one, and prints how many were taken.
pub(crate) fn wait(system: &System, name: &str, timeout: Option<Duration>, count: Option<EventCount>) -> Result<(), Failure> {
    let connection = system.endpoint(name)?;
    let mut waiter = connection.waiter()?;
    let begin = Instant::now();
    let wanted = count.unwrap_or(EventCount::ONE).get();
    let mut taken = 0_u32;
    while taken < wanted {
        let limit = count.map_or(EventCount::MAX, |_| EventCount::new(wanted.saturating_sub(taken)));
        let mut patience = Patience::default().limit(limit);
        if let Some(timeout) = timeout {
            patience = patience.timeout(timeout.saturating_sub(begin.elapsed()));
        }
        match waiter.wait(patience)? {
            Some(some) => taken = taken.saturating_add(some.events.get()),
            None => break,
        }
    }
    writeln!(std::io::stdout(), "{taken}").map_err(|error| Failure::Stream("standard output", error))?;
    match timeout {
        Some(timeout) if taken < wanted => {
            let seconds = timeout.as_secs_f64();
            Err(Failure::TimedOut(format!("{taken} of {wanted} events of '{name}' came within {seconds} s")))
        }
        _ => Ok(()),
    }
}
