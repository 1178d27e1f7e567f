//! What happened between two looks.

use std::time::{Duration, SystemTime};

use serde::Serialize;

use super::channel::Observed;
use super::sample::{Connection, Sample};

/// What happened on all connections in one interval. A rate is `None` where it is not known.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// When the interval ended: seconds since 1970.
    pub(crate) time: f64,
    /// How long it was; zero for the first look.
    pub(crate) seconds: f64,
    pub(crate) connections: Vec<Row>,
    #[serde(skip)]
    pub(crate) ended: SystemTime,
}

/// What happened on one connection.
#[derive(Debug, Serialize, PartialEq)]
pub(crate) struct Row {
    pub(crate) name: Option<String>,
    pub(crate) address: Option<String>,
    pub(crate) driver: Option<String>,
    /// Events that nobody has taken yet.
    pub(crate) pending: Option<u64>,
    /// Emits that were not delivered, of all time.
    pub(crate) dropped: Option<u64>,
    /// Events of all time.
    pub(crate) events: Option<u64>,
    pub(crate) events_per_second: Option<f64>,
    /// The same where the driver does not count them.
    pub(crate) events_per_second_at_least: Option<f64>,
    /// Interrupts of this function, of all time.
    pub(crate) interrupts: Option<u64>,
    pub(crate) interrupts_per_second: Option<f64>,
    /// Interrupts of the line, which others may share, of all time.
    pub(crate) line_interrupts: Option<u64>,
    /// Interrupts without an event, of all time.
    pub(crate) spurious: Option<u64>,
    /// The channel in dataport 0.
    pub(crate) channel: Option<Observed>,
    /// From its end A to its end B, what stands in front of each message included.
    pub(crate) bytes_a_to_b_per_second: Option<f64>,
    pub(crate) bytes_b_to_a_per_second: Option<f64>,
    /// Why nothing is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
}

impl Report {
    /// Before the first interval is over.
    pub(crate) fn first(now: &Sample) -> Self {
        Self::new(now, Duration::ZERO, |connection| Row::new(connection, None, Duration::ZERO))
    }

    /// What happened from `before` to `now`.
    pub(crate) fn between(before: &Sample, now: &Sample) -> Self {
        let elapsed = now.at.saturating_duration_since(before.at);
        Self::new(now, elapsed, |connection| {
            // Another driver has counters of its own, which say nothing together with those before.
            let same = |other: &&Connection| other.address == connection.address && other.driver == connection.driver;
            Row::new(connection, before.connections.iter().find(same), elapsed)
        })
    }

    fn new(now: &Sample, elapsed: Duration, row: impl FnMut(&Connection) -> Row) -> Self {
        let time = now.time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self {
            time: time.as_secs_f64(),
            seconds: elapsed.as_secs_f64(),
            connections: now.connections.iter().map(row).collect(),
            ended: now.time,
        }
    }
}

impl Row {
    fn new(now: &Connection, before: Option<&Connection>, elapsed: Duration) -> Self {
        let counter = |counter: fn(&Connection) -> Option<u64>| {
            let (now, before) = (counter(now), before.and_then(counter));
            Counter { now, before, elapsed }
        };
        let events = counter(|connection| connection.counters.as_ref().ok()?.events);
        let pending = counter(|connection| Some(connection.counters.as_ref().ok()?.pending));
        let interrupts = counter(interrupts);
        let channels = now.channel.as_ref().zip(before.and_then(|before| before.channel.as_ref()));
        let bytes = channels.and_then(|(now, before)| now.since(before));
        let [a_to_b, b_to_a] = bytes.map_or([None; 2], |bytes| bytes.map(|grown| per_second(grown, elapsed)));
        let counters = now.counters.as_ref().ok();
        // Events that wait now and did not before have come, and so has at least one with each interrupt.
        let at_least = || match (pending.rate(), interrupts.rate()) {
            (Some(pending), Some(interrupts)) => Some(pending.max(interrupts)),
            (pending, interrupts) => pending.or(interrupts),
        };
        Self {
            name: now.name.clone(),
            address: now.address.map(|address| address.to_string()),
            driver: now.driver.clone(),
            pending: pending.now,
            dropped: counters.and_then(|counters| counters.dropped),
            events: events.now,
            events_per_second: events.rate(),
            events_per_second_at_least: if events.now.is_some() { None } else { at_least() },
            interrupts: interrupts.now,
            interrupts_per_second: interrupts.rate(),
            line_interrupts: now.line_interrupts,
            spurious: counters.and_then(|counters| counters.spurious),
            channel: now.channel.clone(),
            bytes_a_to_b_per_second: a_to_b,
            bytes_b_to_a_per_second: b_to_a,
            error: now.counters.as_ref().err().cloned(),
        }
    }
}

/// Interrupts of this function: as its driver counts them, or as its line does where it has one of its own.
fn interrupts(connection: &Connection) -> Option<u64> {
    let counted = connection.counters.as_ref().ok().and_then(|counters| counters.interrupts);
    counted.or(connection.line_interrupts.filter(|_| connection.line_is_own))
}

/// Two values of a counter, and the time between them.
#[derive(Debug, Clone, Copy)]
struct Counter {
    now: Option<u64>,
    before: Option<u64>,
    elapsed: Duration,
}

impl Counter {
    /// How fast it grew. `None` where it is less than before: it began anew, or it is one that can go down.
    fn rate(self) -> Option<f64> {
        let grown = self.now?.checked_sub(self.before?)?;
        // Beyond 2^32 in one interval, less than the whole is told.
        per_second(u32::try_from(grown).unwrap_or(u32::MAX), self.elapsed)
    }
}

fn per_second(grown: u32, elapsed: Duration) -> Option<f64> {
    let seconds = elapsed.as_secs_f64();
    (seconds > 0.0).then(|| f64::from(grown) / seconds)
}

#[cfg(test)]
#[path = "rates_tests.rs"]
mod tests;
