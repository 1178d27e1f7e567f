//! `monitor`: what happens on the connections, without taking part in it.
//!
//! ```text
//!  sample: a look at all connections ──▶ rates: two looks make a report ──▶ view: a table that is redrawn (screen),
//!    │                                                                            lines with a timestamp, or JSON
//!    └─ channel: a look at the header of the channel in dataport 0
//! ```

mod channel;
mod rates;
mod sample;
mod screen;
mod view;

use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use clap::Args;
use crossvm_guest::{Error, System};

use crate::failure::Failure;
use crate::options::Run;
use crate::output::Format;
use crate::stop::{Stop, Wake};
use crate::values;

use rates::Report;
use sample::Sample;
use view::View;

/// Watch the connections: events and bytes per second, and the peers. Nothing is taken from whoever uses them. Ctrl-C ends it.
///
/// In a terminal the table is redrawn; elsewhere each interval gives a line for each connection; with --json, one JSON object.
///
/// Our own driver counts all events. The stock driver counts interrupts, of which each stands for at least one event, so with it
/// their number is shown as a lower bound, with `>=`.
#[derive(Debug, Args)]
pub(crate) struct Monitor {
    /// Which connections: all of them without it.
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// How long an interval is.
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = values::interval)]
    interval: Duration,
    /// End after so many intervals.
    #[arg(long, value_name = "N")]
    count: Option<NonZeroU64>,
    #[command(flatten)]
    format: Format,
}

impl Run for Monitor {
    fn run(self, system: &System) -> Result<(), Failure> {
        // Later they may come and go, but a name that nobody has now is most likely misspelt.
        for name in &self.names {
            system.observe(name)?;
        }
        let mut before = Sample::take(system, &self.names)?;
        if before.is_empty() && !self.format.json {
            return Err(Error::NoConnections.into());
        }
        let stop = Stop::new()?;
        let mut view = View::new(self.format, self.interval)?;
        view.begin(&Report::first(&before))?;
        let mut next = Instant::now();
        let mut shown = 0_u64;
        while self.count.is_none_or(|count| shown < count.get()) {
            // From the last beginning, not from the end of the work, or they would drift. What was missed is not made up for.
            next = next.checked_add(self.interval).map_or_else(Instant::now, |next| next.max(Instant::now()));
            if stop.sleep_until(next) == Wake::Stop {
                break;
            }
            let now = Sample::take(system, &self.names)?;
            view.show(&Report::between(&before, &now))?;
            before = now;
            shown = shown.saturating_add(1);
        }
        view.end()
    }
}
