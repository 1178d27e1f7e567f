//! How a report is shown.

use std::fmt::Write;
use std::time::Duration;

use humantime::{format_duration, format_rfc3339_millis, format_rfc3339_seconds};
use indicatif::HumanBytes;

use super::channel::Observed;
use super::rates::{Report, Row};
use super::screen::Screen;
use crate::failure::Failure;
use crate::output::{Column, Format, NONE, or_none, print, print_json_line, table};

/// Where reports go, and how.
#[derive(Debug)]
pub(crate) enum View {
    /// To a terminal: a table that stands still. The interval, for its title, and the table as it is.
    Live { screen: Screen, interval: Duration, last: Vec<String> },
    /// To a file, to another program, or to a terminal that cannot do more: a line for each connection.
    Lines,
    /// For programs: one JSON object in a line.
    Json,
}

impl View {
    /// What standard output is good for.
    pub(crate) fn new(format: Format, interval: Duration) -> Result<Self, Failure> {
        match (format.json, Screen::open()) {
            (true, _) => Ok(Self::Json),
            (false, Some(screen)) => Ok(Self::Live { screen, interval, last: Vec::new() }),
            (false, None) => Ok(Self::Lines),
        }
    }

    /// Before the first interval is over there are no rates, but a person wants to see something.
    pub(crate) fn begin(&mut self, report: &Report) -> Result<(), Failure> {
        match self {
            Self::Live { screen, .. } => {
                screen.enter()?;
                self.show(report)
            }
            Self::Lines | Self::Json => Ok(()),
        }
    }

    /// Shows what happened in an interval.
    pub(crate) fn show(&mut self, report: &Report) -> Result<(), Failure> {
        match self {
            Self::Live { screen, interval, last } => {
                *last = frame(report, *interval);
                screen.draw(last)
            }
            Self::Lines => print(&lines(report)),
            Self::Json => print_json_line(report),
        }
    }

    /// Gives the terminal back, with what was shown last.
    pub(crate) fn end(self) -> Result<(), Failure> {
        match self {
            Self::Live { screen, last, .. } => {
                screen.leave()?;
                print(&last.into_iter().map(|line| line + "\n").collect::<String>())
            }
            Self::Lines | Self::Json => Ok(()),
        }
    }
}

const HEAD: [(&str, Column); 11] = [
    ("NAME", Column::Text),
    ("ADDRESS", Column::Text),
    ("DRIVER", Column::Text),
    ("EVENTS/S", Column::Number),
    ("PENDING", Column::Number),
    ("DROPPED", Column::Number),
    ("IRQS/S", Column::Number),
    ("CHANNEL", Column::Text),
    ("A→B/S", Column::Number),
    ("B→A/S", Column::Number),
    ("ASLEEP", Column::Text),
];

/// The lines of the table, with what is wrong below it.
fn frame(report: &Report, interval: Duration) -> Vec<String> {
    let time = format_rfc3339_seconds(report.ended);
    let title = format!("{time}  {} connections, every {}", report.connections.len(), format_duration(interval));
    let rows = report.connections.iter().map(|row| {
        let unknown = || NONE.to_owned();
        [
            row.name.clone().unwrap_or_else(|| "?".to_owned()),
            row.address.clone().unwrap_or_else(unknown),
            row.driver.clone().unwrap_or_else(unknown),
            events(row),
            or_none(row.pending),
            or_none(row.dropped),
            row.interrupts_per_second.map_or_else(unknown, rate),
            or_none(row.channel.as_ref()),
            row.bytes_a_to_b_per_second.map_or_else(unknown, bytes),
            row.bytes_b_to_a_per_second.map_or_else(unknown, bytes),
            or_none(row.channel.as_ref().and_then(Observed::sleepers)),
        ]
    });
    let mut lines = vec![title, String::new()];
    lines.extend(table(HEAD, rows));
    for row in &report.connections {
        if let Some(error) = &row.error {
            let who = row.address.as_ref().or(row.name.as_ref()).map_or("?", String::as_str);
            // Most reasons name the function already.
            lines.push(if error.starts_with(who) { error.clone() } else { format!("{who}: {error}") });
        }
    }
    lines
}

/// A line for each connection: a timestamp, the name, and pairs of what is known.
fn lines(report: &Report) -> String {
    let time = format_rfc3339_millis(report.ended);
    let mut text = String::new();
    for row in &report.connections {
        let name = row.name.as_ref().or(row.address.as_ref()).map_or("?", String::as_str);
        // Writing to a string does not fail.
        let _ = write!(text, "{time} {name}");
        if let Some(error) = &row.error {
            let _ = writeln!(text, " error: {error}");
            continue;
        }
        let known = [
            ("events/s=", row.events_per_second.map(rate)),
            ("events/s>=", row.events_per_second_at_least.map(rate)),
            ("pending=", row.pending.map(|pending| pending.to_string())),
            ("dropped=", row.dropped.map(|dropped| dropped.to_string())),
            ("irqs/s=", row.interrupts_per_second.map(rate)),
            ("channel=", row.channel.as_ref().map(ToString::to_string)),
            ("a-to-b-bytes/s=", row.bytes_a_to_b_per_second.map(rate)),
            ("b-to-a-bytes/s=", row.bytes_b_to_a_per_second.map(rate)),
            ("asleep=", row.channel.as_ref().and_then(Observed::sleepers).map(str::to_owned)),
        ];
        for (title, value) in known {
            if let Some(value) = value {
                let _ = write!(text, " {title}{value}");
            }
        }
        text.push('\n');
    }
    text
}

/// Events per second in a cell: exactly, as a lower bound, or not at all.
fn events(row: &Row) -> String {
    let at_least = || row.events_per_second_at_least.map(|events| format!(">={}", rate(events)));
    row.events_per_second.map(rate).or_else(at_least).unwrap_or_else(|| NONE.to_owned())
}

/// With a decimal where there are few.
fn rate(rate: f64) -> String {
    match rate {
        0.0 => "0".to_owned(),
        few if few < 10.0 => format!("{few:.1}"),
        many => format!("{many:.0}"),
    }
}

/// Bytes for a person.
fn bytes(rate: f64) -> String {
    // Rates are made of 32 bits, so they fit.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate is not negative, and `as` saturates")]
    let whole = rate as u64;
    HumanBytes(whole).to_string()
}

#[cfg(test)]
#[path = "view_tests.rs"]
mod tests;
