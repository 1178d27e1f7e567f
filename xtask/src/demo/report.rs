//! The result of a run, for people and, as JSON, for programs.

use comfy_table::Table;
use serde::Serialize;

use super::tools::{self, Rates};
use crate::tables::table;
use crate::trial::report::{self, Check, GuestReport, Machine};
use crate::trial::transcript::Exits;

/// What a run has shown.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Report {
    /// All checks passed.
    pub(crate) ok: bool,
    /// Why not, one sentence for each failed check.
    pub(crate) reasons: Vec<String>,
    /// Wall time of the run, from the emulator's start to its end.
    pub(crate) seconds: f64,
    #[serde(flatten)]
    pub(crate) machine: Machine,
    /// The mistake that was made on purpose, if any.
    pub(crate) sabotage: Option<String>,
    pub(crate) checks: Vec<Check>,
    pub(crate) guests: Vec<GuestReport>,
    pub(crate) connections: Vec<ConnectionReport>,
    /// What the `crossvm` command has reached, by either driver.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) tools: Vec<Rates>,
    /// What traffic costs in exits to user space, where the hypervisor tells them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) exits: Vec<Cost>,
    /// The console of the run.
    pub(crate) log: String,
}

/// What the traffic on one connection has cost.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Cost {
    pub(crate) connection: String,
    /// What `units` counts: `ping round trip` or `MiB`.
    pub(crate) unit: String,
    pub(crate) units: u64,
    /// Of both ends together.
    pub(crate) exits: Exits,
    pub(crate) exits_per_unit: f64,
    /// Of them, those for emits.
    pub(crate) emit_exits_per_unit: f64,
}

/// One connection.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ConnectionReport {
    pub(crate) name: String,
    pub(crate) driver: String,
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
    /// Exits to user space that the device has caused, where the hypervisor tells them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) exits: Option<Exits>,
}

impl Report {
    /// The check called `name`, if it was made.
    pub(crate) fn check(&self, name: &str) -> Option<&Check> {
        self.checks.iter().find(|check| check.name == name)
    }

    /// Whether check `name` was made and passed.
    pub(crate) fn passed(&self, name: &str) -> bool {
        self.check(name).is_some_and(|check| check.ok)
    }

    /// The report for a person: the reasons of a failure first, then what was verified.
    pub(crate) fn show(&self) -> String {
        let passed = self.checks.iter().filter(|check| check.ok).count();
        let mut tables = vec![
            report::checks_table(&self.checks),
            report::guests_table(&self.guests),
            report::interrupts_table(&self.guests),
            self.connections_table(),
        ];
        if !self.tools.is_empty() {
            tables.push(tools::rates_table(&self.tools));
        }
        if !self.exits.is_empty() {
            tables.push(self.exits_table());
        }
        let tables: String = tables.iter().map(|table| format!("{table}\n")).collect();
        format!(
            "{}{tables}{passed} of {} checks passed in {:.1} s on {}. Console: {}\n",
            report::failure(&self.reasons),
            self.checks.len(),
            self.seconds,
            self.machine,
            self.log
        )
    }

    fn exits_table(&self) -> Table {
        let mut table =
            table(&["connection", "exits to user space", "for emits", "for taking events", "for configuration space", "others", "per"]);
        for cost in &self.exits {
            table.add_row(vec![
                cost.connection.clone(),
                cost.exits.sum().to_string(),
                cost.exits.emit.to_string(),
                cost.exits.count.to_string(),
                cost.exits.config.to_string(),
                cost.exits.other.to_string(),
                format!("{:.2} per {} ({})", cost.exits_per_unit, cost.unit, cost.units),
            ]);
        }
        table
    }

    fn connections_table(&self) -> Table {
        let mut table = table(&["connection", "driver", "end", "events sent", "events received", "bytes verified"]);
        let number = |number: Option<u64>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
        for connection in &self.connections {
            for (place, end) in connection.ends.iter().enumerate() {
                let first = |text: String| if place == 0 { text } else { String::new() };
                table.add_row(vec![
                    first(connection.name.clone()),
                    first(connection.driver.clone()),
                    end.peer.clone(),
                    number(end.events_sent),
                    number(end.events_received),
                    first(connection.bytes_verified.to_string()),
                ]);
            }
        }
        table
    }
}
