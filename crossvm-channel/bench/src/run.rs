//! The whole run.

use std::cell::Cell;
use std::time::Duration;

use anyhow::{Context as _, Result};
use indicatif::{ProgressBar, ProgressStyle};

use crate::asleep::{bare_round_trips, busy, crossbeam_round_trips, round_trips};
use crate::contenders::{CONTENDERS, Contender, Kind, Pace, SIZES};
use crate::instructions;
use crate::measure::Measure;
use crate::memory::MEMORY;
use crate::report::{BusyRow, Machine, Report, Row, Target, Way};
use crate::rounds::{Plan, Times, measure};

/// How often an end that is busy looks before it sleeps.
const SPINS: u32 = 1000;

/// Measures everything.
pub(crate) fn run(plan: Plan, realtime: bool, with_instructions: bool) -> Result<Report> {
    let progress = Progress::new();
    let mut report = Report {
        machine: Machine::here(realtime),
        memory: MEMORY,
        rounds: plan.rounds,
        ways: CONTENDERS.iter().map(|contender| Way { contender: contender.name, way: contender.way }).collect(),
        throughput: Vec::new(),
        round_trips: Vec::new(),
        sleeping_round_trips: Vec::new(),
        busy: Vec::new(),
        instructions: Vec::new(),
        targets: Vec::new(),
    };
    let everyone: Vec<&Contender> = CONTENDERS.iter().collect();
    let answering: Vec<&Contender> = CONTENDERS.iter().filter(|contender| contender.answers()).collect();
    for size in SIZES {
        let times = compare(plan, &everyone, Measure::TwoThreads, size, &progress)?;
        report.throughput.extend(rows(&everyone, size, &times));
        report.targets.extend(targets(&everyone, size, &times)?);
        let times = compare(plan, &answering, Measure::RoundTrip, size, &progress)?;
        report.round_trips.extend(rows(&answering, size, &times));
        report.sleeping_round_trips.extend(asleep(plan, size, &progress)?);
        report.busy.extend(both_busy(plan, size, &progress)?);
    }
    let most = report.busy.iter().filter(|row| row.spins == SPINS).map(|row| row.doorbells_per_message).fold(0.0, f64::max);
    let what = format!("doorbells per message, both ends busy and looking {SPINS} times before a sleep, the worst of all lengths");
    report.targets.push(Target::below(what, 0.01, most));
    if with_instructions {
        progress.at("counting instructions");
        report.instructions = instructions::count(|| progress.advance())?;
    }
    progress.0.finish_and_clear();
    Ok(report)
}

fn compare(plan: Plan, contenders: &[&Contender], what: Measure, size: usize, progress: &Progress) -> Result<Vec<Times>> {
    let name = if what == Measure::RoundTrip { "round trips" } else { "messages" };
    progress.at(&format!("{name} of {size} bytes"));
    let runs: Vec<_> = contenders.iter().map(|contender| move |count| contender.run(what, size, count)).collect();
    let all: Vec<&dyn Fn(u64) -> Result<Duration>> = runs.iter().map(|run| run as _).collect();
    measure(plan, &all, || progress.advance())
}

fn rows<'a>(contenders: &'a [&Contender], size: usize, times: &'a [Times]) -> impl Iterator<Item = Row> + 'a {
    let limit = times.first();
    contenders.iter().zip(times).filter_map(move |(contender, times)| Some(Row::new(contender.name, size, times, limit?)))
}

/// What is to be shown of the messages of `size` bytes.
fn targets(contenders: &[&Contender], size: usize, times: &[Times]) -> Result<Vec<Target>> {
    let of = |name: &str| contenders.iter().zip(times).find(|(contender, _)| contender.name == name).map(|(_, times)| times);
    let speed =
        |own: &str, other: &str| -> Result<f64> { Ok(of(own).context("not measured")?.speed_beside(of(other).context("not measured")?)) };
    let fastest = |pace| -> Result<&str> {
        let others = contenders.iter().zip(times).filter(|(contender, _)| contender.kind == Kind::Other && contender.pace == pace);
        let first = others.min_by(|(_, a), (_, b)| a.median().total_cmp(&b.median()));
        Ok(first.context("nobody else was measured")?.0.name)
    };
    let mut targets = Vec::new();
    match size {
        64 => {
            for (own, pace) in [("crossvm", Pace::Single), ("crossvm polling", Pace::Single), ("crossvm batch", Pace::Batch)] {
                let other = fastest(pace)?;
                let paced = if pace == Pace::Batch { "in batches" } else { "message by message" };
                targets.push(Target::at_least(format!("64 B, {paced}: {own} beside the fastest other, {other}"), 1.0, speed(own, other)?));
            }
        }
        // Not beside one thread's memcpy: its lines stay in one processor's caches, and those of any message between two do not.
        65536 => {
            let what = "64 KiB: crossvm beside memcpy between two threads, as every message's lines move from one processor to another";
            targets.push(Target::at_least(what.to_owned(), 0.8, speed("crossvm", "memcpy")?));
        }
        _ => {}
    }
    Ok(targets)
}

fn asleep(plan: Plan, size: usize, progress: &Progress) -> Result<Vec<Row>> {
    progress.at(&format!("round trips of {size} bytes between sleepers"));
    let names = ["two eventfds, no message", "crossvm, eventfd", "crossbeam vec, blocking: it spins first"];
    let ours = |count| round_trips(size, count);
    let crossbeam = |count| crossbeam_round_trips(size, count);
    let times = measure(plan, &[&bare_round_trips, &ours, &crossbeam], || progress.advance())?;
    let limit = times.first().context("nothing was measured")?;
    Ok(names.into_iter().zip(&times).map(|(name, times)| Row::new(name, size, times, limit)).collect())
}

fn both_busy(plan: Plan, size: usize, progress: &Progress) -> Result<Vec<BusyRow>> {
    progress.at(&format!("messages of {size} bytes with doorbells"));
    let mut rows = Vec::new();
    for (spins, batch) in [(0, false), (0, true), (SPINS, false), (SPINS, true)] {
        let (messages, doorbells, sleeps) = (Cell::new(0), Cell::new(0), Cell::new(0));
        let once = |count| -> Result<Duration> {
            let busy = busy(spins, batch, size, count)?;
            messages.set(messages.get() + count);
            doorbells.set(doorbells.get() + busy.doorbells);
            sleeps.set(sleeps.get() + busy.sleeps);
            Ok(busy.took)
        };
        let times = measure(plan, &[&once], || progress.advance())?;
        let per_message = |count: &Cell<u64>| count.get() as f64 / messages.get() as f64;
        rows.push(BusyRow {
            size,
            spins,
            batch,
            nanoseconds: times.first().map_or(0.0, Times::median),
            doorbells_per_message: per_message(&doorbells),
            sleeps_per_message: per_message(&sleeps),
        });
    }
    Ok(rows)
}

/// What is measured at the moment; nothing where nobody looks.
struct Progress(ProgressBar);

impl Progress {
    fn new() -> Self {
        let bar = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("  {spinner} {msg} [{elapsed}]") {
            bar.set_style(style);
        }
        Self(bar)
    }

    fn at(&self, what: &str) {
        self.0.set_message(what.to_owned());
        if self.0.is_hidden() {
            eprintln!("  .. {what}");
        }
    }

    /// Between two runs: no thread of ours disturbs a measurement.
    fn advance(&self) {
        self.0.tick();
    }
}
