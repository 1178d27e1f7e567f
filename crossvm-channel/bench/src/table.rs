//! The report for people.

use comfy_table::{Cell, CellAlignment, Color, ContentArrangement, Table, presets};

use crate::contenders::SIZES;
use crate::report::{Report, Row};

fn table<T: Into<comfy_table::Row>>(head: T) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Dynamic).set_header(head);
    if !console::user_attended() {
        table.set_width(160);
    }
    table
}

fn right(text: String) -> Cell {
    Cell::new(text).set_alignment(CellAlignment::Right)
}

/// A length as people say it.
pub(crate) fn length(size: usize) -> String {
    if size < 1024 { format!("{size} B") } else { format!("{} KiB", size / 1024) }
}

/// A time as people say it.
fn time(nanoseconds: f64) -> String {
    match nanoseconds {
        short if short < 100.0 => format!("{short:.1} ns"),
        middle if middle < 10_000.0 => format!("{middle:.0} ns"),
        long => format!("{:.1} µs", long / 1000.0),
    }
}

/// A rate as people say it.
fn rate(per_second: f64) -> String {
    if per_second >= 1e6 { format!("{:.1} M/s", per_second / 1e6) } else { format!("{:.0} k/s", per_second / 1e3) }
}

/// One line for each contender, one column for each length.
fn compared(rows: &[Row], cell: impl Fn(&Row) -> String) -> Table {
    let mut table = table(std::iter::once(String::new()).chain(SIZES.map(length)));
    let mut names: Vec<&str> = Vec::new();
    for row in rows {
        if !names.contains(&row.contender) {
            names.push(row.contender);
        }
    }
    for name in names {
        let cells =
            SIZES.iter().map(|size| rows.iter().find(|row| row.contender == name && row.size == *size).map_or(String::new(), &cell));
        table.add_row(std::iter::once(Cell::new(name)).chain(cells.map(right)));
    }
    table
}

/// All of it.
pub(crate) fn all(report: &Report) -> String {
    let mut parts = Vec::new();
    let machine = &report.machine;
    let kind = if machine.virtual_machine { "a virtual machine" } else { "no virtual machine" };
    let first = if machine.realtime { ", measured threads before all others" } else { "" };
    let head = format!("{}, {} processors, {kind}, Linux {}{first}", machine.processor, machine.processors, machine.kernel);
    parts.push(format!("{head}; {} KiB of memory for both directions, {} rounds, medians", report.memory / 1024, report.rounds));
    let mut ways = table(["who", "how"]);
    for way in &report.ways {
        ways.add_row([way.contender, way.way]);
    }
    parts.push(ways.to_string());
    parts.push("Messages one way, two threads: rate, time for each, (speed beside memcpy, round by round)".to_owned());
    let throughput = |row: &Row| format!("{}  {} ({:.2})", rate(row.per_second), time(row.nanoseconds), row.of_limit);
    parts.push(compared(&report.throughput, throughput).to_string());
    let trip = |row: &Row| format!("{} ({:.2})", time(row.nanoseconds), row.of_limit);
    parts.push("Round trips, both ends spinning: time, (speed beside memcpy)".to_owned());
    parts.push(compared(&report.round_trips, trip).to_string());
    parts.push("Round trips, both ends asleep in between: time, (speed beside eventfds without messages)".to_owned());
    parts.push(compared(&report.sleeping_round_trips, trip).to_string());
    parts.push("crossvm with eventfds as doorbells, both ends busy".to_owned());
    let mut busy = table(["length", "looks before a sleep", "flush", "time", "doorbells per message", "sleeps per message"]);
    for row in &report.busy {
        let flush = if row.batch { "after 32" } else { "after each" };
        let rare = |count: f64| right(format!("{count:.4}"));
        let (time, doorbells, sleeps) = (right(time(row.nanoseconds)), rare(row.doorbells_per_message), rare(row.sleeps_per_message));
        busy.add_row([right(length(row.size)), right(row.spins.to_string()), Cell::new(flush), time, doorbells, sleeps]);
    }
    parts.push(busy.to_string());
    if !report.instructions.is_empty() {
        parts.push("Instructions to send and receive a message, in one thread".to_owned());
        let mut counts = table(["", "8 B", "64 B"]);
        for way in &report.ways {
            let of = |size| report.instructions.iter().find(|row| row.contender == way.contender && row.size == size);
            if let (Some(short), Some(long)) = (of(8), of(64)) {
                let cell = |count: f64| right(format!("{count:.0}"));
                counts.add_row([Cell::new(way.contender), cell(short.instructions), cell(long.instructions)]);
            }
        }
        parts.push(counts.to_string());
    }
    let mut targets = table(["target", "wanted", "measured", ""]);
    for target in &report.targets {
        let wanted = format!("{} {}", if target.at_least { "at least" } else { "below" }, target.wanted);
        let met = if target.met { Cell::new("met").fg(Color::Green) } else { Cell::new("MISSED").fg(Color::Red) };
        let measured = if target.at_least { format!("{:.2}", target.measured) } else { format!("{:.4}", target.measured) };
        targets.add_row([Cell::new(&target.what), right(wanted), right(measured), met]);
    }
    parts.push(targets.to_string());
    parts.join("\n")
}
