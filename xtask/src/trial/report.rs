//! The parts of a report that all runs have, for people and, as JSON, for programs.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use anyhow::{Context as _, Result};
use comfy_table::{Cell, Table};
use serde::Serialize;

use super::Run;
use super::findings::Finding;
use super::transcript::{Guest, Life, Transcript};
use crate::launch::Interrupts;
use crate::tables::{bad, good, table};

/// One thing that was verified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Check {
    pub(crate) name: String,
    pub(crate) ok: bool,
    /// What was seen, or why the check failed.
    pub(crate) detail: String,
}

impl Check {
    /// The check called `name` with what it has found.
    pub(crate) fn new(name: impl Into<String>, finding: Finding) -> Self {
        let (ok, detail) = match finding {
            Ok(detail) => (true, detail),
            Err(detail) => (false, detail),
        };
        Self { name: name.into(), ok, detail }
    }
}

/// What the guests ran on.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Machine {
    /// Version of Arm's interrupt controller.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) gic: Option<String>,
    /// The interrupt controller that the guests saw.
    pub(crate) interrupt_controller: String,
    /// Where it ran and why there, where that was a choice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) place: Option<String>,
}

impl Machine {
    /// That of `run`.
    pub(crate) fn of(interrupts: Interrupts, run: &Run) -> Self {
        let gic = interrupts.gic().map(|gic| gic.to_string());
        Self { gic, interrupt_controller: interrupts.to_string(), place: run.place.clone() }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.interrupt_controller)?;
        self.place.as_ref().map_or(Ok(()), |place| write!(f, ", {place}"))
    }
}

/// One guest.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct GuestReport {
    pub(crate) name: String,
    /// Release of its kernel, as it says itself.
    pub(crate) kernel: Option<String>,
    /// CPUs that its kernel has brought up.
    pub(crate) cpus: Option<u64>,
    /// From the kernel's first moment to user space, by the guest's clock, for each time that it booted.
    pub(crate) boot_seconds: Vec<f64>,
    /// Exits by kind, over its whole life.
    pub(crate) exits: BTreeMap<String, u64>,
    /// Why it stopped.
    pub(crate) stopped: Option<String>,
    /// How its kernel moved the BARs.
    pub(crate) bar_moves: Vec<BarMove>,
    /// What the kernel counts in `/proc/interrupts`, at the end of each of its lives.
    pub(crate) interrupts: Vec<InterruptReport>,
}

/// One move of a BAR.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct BarMove {
    /// Bus, device and function.
    pub(crate) function: String,
    pub(crate) bar: u64,
    pub(crate) from: u64,
    pub(crate) to: u64,
}

/// A connection's line of `/proc/interrupts`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct InterruptReport {
    pub(crate) connection: String,
    pub(crate) driver: String,
    /// INTx or MSI-X.
    pub(crate) kind: String,
    /// The kernel's number.
    pub(crate) irq: u64,
    pub(crate) count: u64,
    /// Controller, its number, trigger, handlers.
    pub(crate) source: String,
}

/// What is known about the guests called `names`.
pub(crate) fn guests<'a>(transcript: &Transcript, names: impl Iterator<Item = &'a str>) -> Vec<GuestReport> {
    let one = |name: &str| {
        let Guest { lives, exits, stop, .. } = transcript.guest(name);
        let ready = lives.iter().filter_map(|life| life.ready.as_ref());
        let last = ready.clone().next_back();
        let every = |of: fn(&Life) -> Vec<BarMove>| lives.iter().flat_map(of).collect();
        GuestReport {
            name: name.to_owned(),
            kernel: last.map(|ready| ready.kernel.clone()),
            cpus: last.and_then(|ready| ready.cpus),
            boot_seconds: ready.map(|ready| ready.uptime.as_secs_f64()).collect(),
            exits: exits.clone(),
            stopped: stop.clone(),
            bar_moves: every(|life| life.bar_moves.clone()),
            interrupts: lives.iter().flat_map(|life| life.interrupts.clone()).collect(),
        }
    };
    names.map(one).collect()
}

/// Writes a report as JSON.
pub(crate) fn write(report: &impl Serialize, path: &Path) -> Result<()> {
    let mut text = serde_json::to_string_pretty(report)?;
    text.push('\n');
    std::fs::write(path, text).with_context(|| format!("cannot write the report {}", path.display()))
}

/// The reasons of a failure, as lines; nothing where there is none.
pub(crate) fn failure(reasons: &[String]) -> String {
    if reasons.is_empty() {
        return String::new();
    }
    let lines: String = reasons.iter().map(|reason| format!("  - {reason}\n")).collect();
    format!("FAILED:\n{lines}\n")
}

/// What was verified.
pub(crate) fn checks_table(checks: &[Check]) -> Table {
    let mut table = table(&["check", "", "what was seen"]);
    for check in checks {
        table.add_row(vec![Cell::new(&check.name), mark(check.ok), Cell::new(&check.detail)]);
    }
    table
}

/// The sign of success or failure.
pub(crate) fn mark(ok: bool) -> Cell {
    if ok { good("ok") } else { bad("FAILED") }
}

/// The guests.
pub(crate) fn guests_table(guests: &[GuestReport]) -> Table {
    let mut table = table(&["guest", "kernel", "vCPUs", "boot", "exits"]);
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    for guest in guests {
        let total: u64 = guest.exits.values().sum();
        let kinds = guest.exits.iter().filter(|(_, count)| **count > 0).map(|(kind, count)| format!("{kind} {count}"));
        let boots: Vec<_> = guest.boot_seconds.iter().map(|seconds| format!("{seconds:.1} s")).collect();
        table.add_row(vec![
            guest.name.clone(),
            or_dash(guest.kernel.clone()),
            or_dash(guest.cpus.map(|cpus| cpus.to_string())),
            or_dash((!boots.is_empty()).then(|| boots.join(", again "))),
            format!("{total}: {}", kinds.collect::<Vec<_>>().join(", ")),
        ]);
    }
    table
}

/// The lines of `/proc/interrupts` that belong to connections.
pub(crate) fn interrupts_table(guests: &[GuestReport]) -> Table {
    let mut table = table(&["guest", "connection", "driver", "interrupt", "count", "line of /proc/interrupts"]);
    for guest in guests {
        for line in &guest.interrupts {
            table.add_row(vec![
                guest.name.clone(),
                line.connection.clone(),
                line.driver.clone(),
                line.kind.clone(),
                line.count.to_string(),
                format!("{}: {}", line.irq, line.source),
            ]);
        }
    }
    table
}
