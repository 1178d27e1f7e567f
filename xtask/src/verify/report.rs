//! The result of a verification, for people and, as JSON, for programs.

use comfy_table::{Cell, Table};
use serde::Serialize;

use crate::tables::table;
use crate::trial::report::{self, Check, GuestReport, Machine};

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
    pub(crate) checks: Vec<Check>,
    pub(crate) guests: Vec<GuestReport>,
    pub(crate) links: Vec<LinkReport>,
    /// The console of the run.
    pub(crate) log: String,
}

/// One connection.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct LinkReport {
    pub(crate) name: String,
    pub(crate) ok: bool,
    /// What was seen, or why the check failed.
    pub(crate) detail: String,
    /// Both ends, with the rights of each to each dataport.
    pub(crate) ends: [LinkEnd; 2],
    /// Sizes of the dataports in bytes.
    pub(crate) sizes: Vec<u64>,
    /// Bytes that one end wrote and the other found equal.
    pub(crate) bytes_verified: u64,
}

/// One end of a connection.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct LinkEnd {
    pub(crate) peer: String,
    /// For each dataport, as `rw` or `r-`.
    pub(crate) rights: Vec<String>,
    /// The driver and how it is interrupted; none for a component.
    pub(crate) driver: Option<String>,
    /// Events that the other end has received from it, by the hypervisor's count.
    pub(crate) events_sent: u64,
}

impl Report {
    /// The report for a person: the reasons of a failure first, then what was verified.
    pub(crate) fn show(&self) -> String {
        let passed = self.checks.iter().filter(|check| check.ok).count() + self.links.iter().filter(|link| link.ok).count();
        let tables = [report::checks_table(&self.checks), report::guests_table(&self.guests), self.links_table()];
        let tables: String = tables.iter().map(|table| format!("{table}\n")).collect();
        format!(
            "{}{tables}{passed} of {} checks passed in {:.1} s on {}. Console: {}\n",
            report::failure(&self.reasons),
            self.checks.len() + self.links.len(),
            self.seconds,
            self.machine,
            self.log
        )
    }

    fn links_table(&self) -> Table {
        let mut table = table(&["connection", "", "ends", "dataports", "events", "bytes verified", "what was seen"]);
        for link in &self.links {
            let [a, b] = &link.ends;
            let dataports = link.sizes.iter().enumerate().map(|(place, size)| {
                let rights = |end: &LinkEnd| end.rights.get(place).cloned().unwrap_or_default();
                format!("{} {}|{}", bytes(*size), rights(a), rights(b))
            });
            let driver = |end: &LinkEnd| end.driver.as_ref().map_or_else(|| end.peer.clone(), |driver| format!("{}: {driver}", end.peer));
            table.add_row(vec![
                Cell::new(&link.name),
                report::mark(link.ok),
                Cell::new(format!("{}\n{}", driver(a), driver(b))),
                Cell::new(dataports.collect::<Vec<_>>().join("\n")),
                Cell::new(format!("{}\n{}", a.events_sent, b.events_sent)),
                Cell::new(bytes(link.bytes_verified)),
                Cell::new(&link.detail),
            ]);
        }
        table
    }
}

/// A size as people write it, where it is a whole number of a unit.
pub(super) fn bytes(size: u64) -> String {
    match size {
        0 => "0".to_owned(),
        _ if size.is_multiple_of(1 << 20) => format!("{} MiB", size >> 20),
        _ if size.is_multiple_of(1 << 10) => format!("{} KiB", size >> 10),
        _ => format!("{size}"),
    }
}
