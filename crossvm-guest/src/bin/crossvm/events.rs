//! `emit` and `wait`.

use std::time::{Duration, Instant};

use clap::Args;
use crossvm_guest::{EventCount, Patience, System};
use serde::Serialize;

use crate::failure::{Failure, Status};
use crate::options::Run;
use crate::output::{Format, print, print_json_line};
use crate::values;

/// Signal the peer of a connection.
#[derive(Debug, Args)]
pub(crate) struct Emit {
    /// The connection.
    name: String,
    /// How many times. Where the peer does not take them as fast as they come, it may see fewer events, but at least one.
    #[arg(long, value_name = "N", default_value = "1", value_parser = values::count)]
    count: EventCount,
}

/// Wait for events of a connection, take them, and print how many were taken. Exit status 3 where they did not come in time.
#[derive(Debug, Args)]
pub(crate) struct Wait {
    /// The connection.
    name: String,
    /// Give up after so many seconds (0.5 will do); for ever without it.
    #[arg(long, value_name = "SECONDS", value_parser = values::seconds)]
    timeout: Option<Duration>,
    /// Take exactly N events, and let more of them wait. Without it: take all that wait, at least one. A device that cannot take
    /// some of them (reference profile) gives all, and so does our own driver.
    #[arg(long, value_name = "N", value_parser = values::count)]
    count: Option<EventCount>,
    #[command(flatten)]
    format: Format,
}

/// What came of waiting, as JSON shows it.
#[derive(Debug, Serialize)]
struct Taken<'a> {
    connection: &'a str,
    events: u32,
    timed_out: bool,
}

impl Run for Emit {
    /// Signals the peer `count` times.
    fn run(self, system: &System) -> Result<(), Failure> {
        Ok(system.endpoint(&self.name)?.emit(self.count)?)
    }
}

impl Run for Wait {
    /// Takes exactly `count` events, or without a count all that wait and at least one, and prints how many were taken.
    fn run(self, system: &System) -> Result<(), Failure> {
        let Self { name, timeout, count, format } = self;
        let connection = system.endpoint(&name)?;
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
        let timed_out = taken < wanted;
        match format.json {
            true => print_json_line(&Taken { connection: connection.name(), events: taken, timed_out })?,
            false => print(&format!("{taken}\n"))?,
        }
        match timeout {
            Some(timeout) if timed_out => {
                let seconds = timeout.as_secs_f64();
                let what = format!("{taken} of {wanted} events of '{name}' came within {seconds} s");
                Err(Failure::Other(Status::TimedOut, what))
            }
            _ => Ok(()),
        }
    }
}
