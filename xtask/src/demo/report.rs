//! The result of a run, for people and, as JSON, for programs.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result};
use comfy_table::{Cell, Table};
use serde::Serialize;

use crate::tables::{bad, good, table};

/// What a run has shown.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Report {
    /// All checks passed.
    pub(crate) ok: bool,
    /// Why not, one sentence for each failed check.
    pub(crate) reasons: Vec<String>,
    /// Wall time of the run, from the emulator's start to its end.
    pub(crate) seconds: f64,
    /// The mistake that was made on purpose, if any.
    pub(crate) sabotage: Option<String>,
    pub(crate) checks: Vec<Check>,
    pub(crate) guests: Vec<GuestReport>,
    pub(crate) connections: Vec<ConnectionReport>,
    /// The console of the run.
    pub(crate) log: String,
}

/// One thing that was verified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Check {
    pub(crate) name: String,
    pub(crate) ok: bool,
    /// What was seen, or why the check failed.
    pub(crate) detail: String,
}

/// One guest.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct GuestReport {
    pub(crate) name: String,
    /// Release of its kernel, as it says itself.
    pub(crate) kernel: Option<String>,
    /// From the kernel's first moment to user space, by the guest's clock.
    pub(crate) boot_seconds: Option<f64>,
    /// Exits by kind, over its whole life.
    pub(crate) exits: BTreeMap<String, u64>,
    /// Why it stopped.
    pub(crate) stopped: Option<String>,
    /// How its kernel moved the BARs.
    pub(crate) bar_moves: Vec<BarMove>,
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

/// One connection.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ConnectionReport {
    pub(crate) name: String,
    pub(crate) ends: Vec<EndReport>,
    /// Bytes that went through the dataport and were found equal on the other side.
    pub(crate) bytes_verified: u64,
}

/// One end of a connection. Events are the hypervisor's counts.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct EndReport {
    pub(crate) peer: String,
    pub(crate) events_sent: Option<u64>,
    pub(crate) events_received: Option<u64>,
}

impl Report {
    /// Whether check `name` was made and passed.
    pub(crate) fn passed(&self, name: &str) -> bool {
        self.checks.iter().any(|check| check.name == name && check.ok)
    }

    /// Writes the report as JSON.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let mut text = serde_json::to_string_pretty(self)?;
        text.push('\n');
        std::fs::write(path, text).with_context(|| format!("cannot write the report {}", path.display()))
    }

    /// The report for a person: the reasons of a failure first, then what was verified.
    pub(crate) fn show(&self) -> String {
        let mut text = String::new();
        if !self.ok {
            text.push_str("FAILED:\n");
            for reason in &self.reasons {
                text.push_str(&format!("  - {reason}\n"));
            }
            text.push('\n');
        }
        text.push_str(&format!("{}\n{}\n{}\n", self.checks_table(), self.guests_table(), self.connections_table()));
        let passed = self.checks.iter().filter(|check| check.ok).count();
        text.push_str(&format!("{passed} of {} checks passed in {:.1} s. Console: {}\n", self.checks.len(), self.seconds, self.log));
        text
    }

    fn checks_table(&self) -> Table {
        let mut table = table(&["check", "", "what was seen"]);
        for check in &self.checks {
            let mark = if check.ok { good("ok") } else { bad("FAILED") };
            table.add_row(vec![Cell::new(&check.name), mark, Cell::new(&check.detail)]);
        }
        table
    }

    fn guests_table(&self) -> Table {
        let mut table = table(&["guest", "kernel", "boot", "exits"]);
        for guest in &self.guests {
            let total: u64 = guest.exits.values().sum();
            let kinds = guest.exits.iter().filter(|(_, count)| **count > 0).map(|(kind, count)| format!("{kind} {count}"));
            table.add_row(vec![
                guest.name.clone(),
                guest.kernel.clone().unwrap_or_else(|| "-".to_owned()),
                guest.boot_seconds.map_or_else(|| "-".to_owned(), |seconds| format!("{seconds:.1} s")),
                format!("{total}: {}", kinds.collect::<Vec<_>>().join(", ")),
            ]);
        }
        table
    }

    fn connections_table(&self) -> Table {
        let mut table = table(&["connection", "end", "events sent", "events received", "bytes verified"]);
        let number = |number: Option<u64>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
        for connection in &self.connections {
            for (place, end) in connection.ends.iter().enumerate() {
                let (name, bytes) = if place == 0 {
                    (connection.name.clone(), connection.bytes_verified.to_string())
                } else {
                    (String::new(), String::new())
                };
                table.add_row(vec![name, end.peer.clone(), number(end.events_sent), number(end.events_received), bytes]);
            }
        }
        table
    }
}
