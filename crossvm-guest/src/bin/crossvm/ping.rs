//! `ping`: how long a message takes to the other end and back.

use std::time::{Duration, Instant};

use clap::Args;
use console::Term;
use crossvm_guest::System;
use crossvm_guest::channel::Side;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use crate::failure::{Failure, Status};
use crate::histogram;
use crate::latency::{Latencies, Letters, Summary, time};
use crate::options::Run;
use crate::output::{Column, Format, print, print_json_line, table};
use crate::runs::{self, Begin, Mode};
use crate::session::{Cost, PING, Where};
use crate::stop::{Stop, Wake};
use crate::talk::{Ended, Talk};
use crate::values;

/// Send messages to `crossvm pong` at the other end, check that they come back, and show how long that takes. Ctrl-C ends it sooner.
#[derive(Debug, Args)]
pub(crate) struct Ping {
    #[command(flatten)]
    place: Where,
    /// How many messages, one after the other.
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..))]
    count: u64,
    /// Length of each in bytes, at least 8.
    #[arg(long, value_name = "N", default_value = "64", value_parser = values::message_size)]
    size: usize,
    /// Send one so often; without it, the next follows the answer at once.
    #[arg(long, value_name = "SECONDS", default_value = "0", value_parser = values::seconds)]
    interval: Duration,
    #[command(flatten)]
    format: Format,
}

/// What came of it, as JSON shows it.
#[derive(Debug, Serialize)]
struct Report<'a> {
    connection: &'a str,
    sent: u64,
    received: u64,
    lost: u64,
    size: usize,
    nanoseconds: Option<Summary>,
    doorbells: u64,
    sleeps: u64,
}

/// The progress bar is set so often: what it costs shall not be seen in the times.
const REDRAW: Duration = Duration::from_millis(200);

impl Run for Ping {
    fn run(self, system: &System) -> Result<(), Failure> {
        let stop = Stop::new()?;
        let endpoint = self.place.endpoint(system)?;
        let mut talk = Talk::open(&self.place, &stop, &endpoint, Side::A, PING)?;
        let mut latencies = Latencies::new()?;
        let mut sent = 0;
        let ended = talk.connect().and_then(|()| self.trips(&mut talk, &stop, &mut latencies, &mut sent));
        let failure = match ended {
            Ok(()) => None,
            Err(Ended::Asked) if latencies.len() == 0 => Some(no_answer(&self.place)),
            Err(ended) => talk.failure(ended),
        };
        let Cost { doorbells, sleeps, .. } = Cost::of(&talk.statistics());
        // The other end needs not wait until this is read.
        drop(talk);
        let received = latencies.len();
        let report = Report {
            connection: &self.place.name,
            sent,
            received,
            lost: sent.saturating_sub(received),
            size: self.size,
            nanoseconds: latencies.summary(),
            doorbells,
            sleeps,
        };
        let shown = if self.format.json { print_json_line(&report) } else { print(&text(&report, &latencies)) };
        failure.map_or(shown, Err)
    }
}

/// What to say where the command was told to end before anything was measured.
pub(crate) fn no_answer(place: &Where) -> Failure {
    Failure::Other(Status::Failed, format!("'{}': ended before there was an answer", place.name))
}

impl Ping {
    fn trips(&self, talk: &mut Talk<'_, '_>, stop: &Stop, latencies: &mut Latencies, sent: &mut u64) -> Result<(), Ended> {
        check_size(talk, self.size)?;
        let bar = ProgressBar::with_draw_target(Some(self.count), ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template("{bar:40} {percent:>3} %  {pos} of {len}  {eta} left") {
            bar.set_style(style);
        }
        let mut run = runs::Run::begin(talk, Begin { mode: Mode::Echo, size: self.size })?;
        let (mut next, mut redraw) = (Instant::now(), Instant::now());
        let outcome = loop {
            if *sent >= self.count {
                break Ok(());
            }
            if !self.interval.is_zero() && stop.sleep_until(next) == Wake::Stop {
                break Err(Ended::Asked);
            }
            next = next.checked_add(self.interval).unwrap_or(next);
            let tripped = trip(talk, &mut run, latencies);
            *sent = run.sent();
            match tripped {
                Ok(now) if now >= redraw => {
                    bar.set_position(*sent);
                    redraw = now.checked_add(REDRAW).unwrap_or(now);
                }
                Ok(_) => {}
                Err(ended) => break Err(ended),
            }
        };
        bar.finish_and_clear();
        outcome
    }
}

/// Whether messages of `size` bytes go through the channel.
fn check_size(talk: &Talk<'_, '_>, size: usize) -> Result<(), Ended> {
    match talk.max_message() {
        most if size <= most => Ok(()),
        most => Err(Ended::Channel(crossvm_guest::ChannelError::TooLong { most })),
    }
}

/// Sends a message, records how long it took until its answer was there, and looks whether that is right. Gives the time when it came.
pub(crate) fn trip(talk: &mut Talk<'_, '_>, run: &mut runs::Run, latencies: &mut Latencies) -> Result<Instant, Ended> {
    run.prepare();
    let begin = Instant::now();
    let answer = run.ask(talk)?;
    let end = Instant::now();
    run.check(answer)?;
    latencies.record(end.saturating_duration_since(begin));
    Ok(end)
}

fn text(report: &Report<'_>, latencies: &Latencies) -> String {
    let letters = Letters::of_output();
    let Report { sent, received, lost, size, doorbells, sleeps, .. } = report;
    let mut lines = vec![format!(
        "{sent} messages of {size} bytes sent, {received} answers received, {lost} lost; {doorbells} doorbells, {sleeps} sleeps"
    )];
    if let Some(Summary { min, mean, p50, p90, p99, p999, max }) = report.nanoseconds {
        let head = ["MIN", "MEAN", "P50", "P90", "P99", "P99.9", "MAX"].map(|title| (title, Column::Number));
        lines.push(String::new());
        lines.extend(table(head, [[min, mean, p50, p90, p99, p999, max].map(|nanoseconds| time(nanoseconds, letters))]));
        lines.push(String::new());
        let (_, width) = Term::stdout().size();
        lines.extend(histogram::draw(latencies.each(), width.into(), letters));
    }
    lines.into_iter().map(|line| line + "\n").collect()
}
