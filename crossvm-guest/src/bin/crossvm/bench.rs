//! `bench`: how much goes through a channel, and how fast.

use std::time::{Duration, Instant};

use clap::Args;
use crossvm_guest::System;
use crossvm_guest::channel::Side;
use indicatif::{HumanBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use crate::failure::{Failure, Status};
use crate::latency::{Latencies, Letters, Summary, time};
use crate::options::Run;
use crate::output::{Column, Format, NONE, print, print_json_line, table};
use crate::ping::{no_answer, trip};
use crate::runs::{self, Begin, Done, Mode};
use crate::session::{Cost, PING, Where};
use crate::stop::Stop;
use crate::talk::{Ended, Talk};
use crate::values;

/// Measure the channel to `crossvm pong` at the other end: messages and bytes per second in one direction, and how long an answer takes.
///
/// Messages go in batches: the other end is told of, and woken for, some at once. Doorbells are those of both ends.
#[derive(Debug, Args)]
pub(crate) struct Bench {
    #[command(flatten)]
    place: Where,
    /// Length of the messages in bytes, several with commas. Those that are too long for the connection are left out.
    #[arg(long = "size", value_name = "N", value_delimiter = ',', default_value = "8,64,4096,65536", value_parser = values::message_size)]
    sizes: Vec<usize>,
    /// How long each of the two measurements of each length takes.
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = values::interval)]
    seconds: Duration,
    #[command(flatten)]
    format: Format,
}

/// The other end is told after so many messages.
const BATCH: usize = 64;
/// Or after so many bytes.
const BATCH_BYTES: usize = 16 << 10;

/// What came of it, as JSON shows it.
#[derive(Debug, Serialize)]
struct Report<'a> {
    connection: &'a str,
    /// Length of the longest message that goes through, in bytes.
    max_message: usize,
    sizes: Vec<Row>,
    doorbells: u64,
    sleeps: u64,
}

/// What was measured with messages of one length.
#[derive(Debug, Serialize)]
struct Row {
    size: usize,
    #[serde(flatten)]
    rate: Rate,
    #[serde(flatten)]
    trips: Trips,
}

/// In one direction.
#[derive(Debug, Clone, Copy, Serialize)]
struct Rate {
    messages: u64,
    messages_per_second: f64,
    bytes_per_second: f64,
    doorbells_per_message: f64,
}

/// There and back.
#[derive(Debug, Clone, Copy, Serialize)]
struct Trips {
    round_trips: u64,
    doorbells_per_round_trip: f64,
    nanoseconds: Option<Summary>,
}

impl Run for Bench {
    fn run(self, system: &System) -> Result<(), Failure> {
        let Self { place, sizes, seconds, format } = self;
        let stop = Stop::new()?;
        let endpoint = place.endpoint(system)?;
        let mut talk = Talk::open(&place, &stop, &endpoint, Side::A, PING)?;
        let mut rows = Vec::new();
        let latencies = Latencies::new()?;
        let connected = talk.connect();
        let max_message = talk.max_message();
        let ended = connected.and_then(|()| measure(&mut talk, &sizes, seconds, latencies, &mut rows));
        let failure = match ended {
            Ok(()) if rows.is_empty() => {
                Some(Failure::Other(Status::Failed, format!("'{}': a message has {max_message} bytes at most", place.name)))
            }
            Ok(()) => None,
            Err(Ended::Asked) if rows.is_empty() => Some(no_answer(&place)),
            Err(ended) => talk.failure(ended),
        };
        let Cost { doorbells, sleeps, .. } = Cost::of(&talk.statistics());
        drop(talk);
        let report = Report { connection: &place.name, max_message, sizes: rows, doorbells, sleeps };
        let shown = if format.json { print_json_line(&report) } else { print(&text(&report, &sizes)) };
        failure.map_or(shown, Err)
    }
}

/// Measures with each of `sizes` that fits, and adds to `rows` what is complete.
fn measure(
    talk: &mut Talk<'_, '_>,
    sizes: &[usize],
    seconds: Duration,
    mut latencies: Latencies,
    rows: &mut Vec<Row>,
) -> Result<(), Ended> {
    let sizes: Vec<_> = sizes.iter().copied().filter(|size| *size <= talk.max_message()).collect();
    let bar = ProgressBar::with_draw_target(Some((sizes.len() as u64).saturating_mul(2)), ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {msg}") {
        bar.set_style(style);
    }
    let mut one = |size| {
        bar.set_message(format!("{size} bytes, one way"));
        let rate = rate(talk, size, seconds)?;
        bar.inc(1);
        bar.set_message(format!("{size} bytes, there and back"));
        let trips = trips(talk, size, seconds, &mut latencies)?;
        bar.inc(1);
        rows.push(Row { size, rate, trips });
        Ok(())
    };
    let outcome = sizes.into_iter().try_for_each(&mut one);
    bar.finish_and_clear();
    outcome
}

/// Sends as much as goes through in this time. The clock stops when the other end has had all of it.
fn rate(talk: &mut Talk<'_, '_>, size: usize, seconds: Duration) -> Result<Rate, Ended> {
    let batch = (BATCH_BYTES / size.max(1)).clamp(1, BATCH);
    let before = talk.statistics();
    let mut run = runs::Run::begin(talk, Begin { mode: Mode::Sink, size })?;
    let begin = Instant::now();
    while begin.elapsed() < seconds {
        for _ in 0..batch {
            run.push(talk)?;
        }
        talk.flush()?;
    }
    let messages = run.sent();
    let peer = run.end(talk)?;
    let time = begin.elapsed().as_secs_f64().max(1e-9);
    let own = Done::of(messages, &before, &talk.statistics());
    #[expect(clippy::cast_precision_loss, reason = "a rate is approximate")]
    let (count, length) = (messages as f64, size as f64);
    Ok(Rate {
        messages,
        messages_per_second: count / time,
        bytes_per_second: count * length / time,
        doorbells_per_message: doorbells_per(messages, own, peer),
    })
}

/// Sends messages there and back in this time, one after the other.
fn trips(talk: &mut Talk<'_, '_>, size: usize, seconds: Duration, latencies: &mut Latencies) -> Result<Trips, Ended> {
    latencies.clear();
    let before = talk.statistics();
    let mut run = runs::Run::begin(talk, Begin { mode: Mode::Echo, size })?;
    let begin = Instant::now();
    while trip(talk, &mut run, latencies)?.saturating_duration_since(begin) < seconds {}
    let messages = run.sent();
    let peer = run.end(talk)?;
    let own = Done::of(messages, &before, &talk.statistics());
    Ok(Trips { round_trips: messages, doorbells_per_round_trip: doorbells_per(messages, own, peer), nanoseconds: latencies.summary() })
}

/// Doorbells of both ends for each of `messages`.
fn doorbells_per(messages: u64, own: Done, peer: Done) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a rate is approximate")]
    let (doorbells, messages) = (own.doorbells.saturating_add(peer.doorbells) as f64, messages.max(1) as f64);
    doorbells / messages
}

const HEAD: [(&str, Column); 7] = [
    ("BYTES", Column::Number),
    ("MESSAGES/S", Column::Number),
    ("RATE", Column::Number),
    ("DOORBELLS/MESSAGE", Column::Number),
    ("ROUND TRIP P50", Column::Number),
    ("P99", Column::Number),
    ("DOORBELLS/TRIP", Column::Number),
];

fn text(report: &Report<'_>, sizes: &[usize]) -> String {
    let letters = Letters::of_output();
    let rows = report.sizes.iter().map(|Row { size, rate, trips }| {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate is positive, and far below 2^64")]
        let bytes = HumanBytes(rate.bytes_per_second as u64);
        let quantile = |which: fn(&Summary) -> u64| {
            trips.nanoseconds.as_ref().map_or_else(|| NONE.to_owned(), |summary| time(which(summary), letters))
        };
        [
            size.to_string(),
            format!("{:.0}", rate.messages_per_second),
            format!("{bytes}/s"),
            format!("{:.4}", rate.doorbells_per_message),
            quantile(|summary| summary.p50),
            quantile(|summary| summary.p99),
            format!("{:.2}", trips.doorbells_per_round_trip),
        ]
    });
    let mut lines = table(HEAD, rows);
    let most = report.max_message;
    // Without a peer nothing is too long yet.
    let too_long = sizes.iter().filter(|size| most != 0 && **size > most);
    lines.extend(too_long.map(|size| format!("{size} bytes are left out: a message has {most} at most")));
    lines.into_iter().map(|line| line + "\n").collect()
}
