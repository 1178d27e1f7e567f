use std::time::SystemTime;

use super::super::channel::{Asleep, End, Presence, State};
use super::*;

fn end(asleep: Option<Asleep>) -> End {
    End { state: Presence::Open, protocol: Some("file".to_owned()), asleep, generation: 1, written: 0 }
}

fn row() -> Row {
    Row {
        name: Some("bulk".to_owned()),
        address: Some("0000:00:01.0".to_owned()),
        driver: Some("crossvm".to_owned()),
        pending: Some(3),
        dropped: None,
        events: Some(100),
        events_per_second: Some(12345.6),
        events_per_second_at_least: None,
        interrupts: Some(50),
        interrupts_per_second: Some(2.0),
        line_interrupts: None,
        spurious: None,
        channel: Some(Observed { state: State::Connected, a: end(None), b: end(Some(Asleep::Message)) }),
        bytes_a_to_b_per_second: Some(1536.0),
        bytes_b_to_a_per_second: None,
        error: None,
    }
}

fn report(connections: Vec<Row>) -> Report {
    Report { time: 0.0, seconds: 1.0, connections, ended: SystemTime::UNIX_EPOCH }
}

fn unreadable() -> Row {
    Row { name: None, error: Some("run as root".to_owned()), events_per_second: None, ..row() }
}

#[test]
fn the_table_has_a_row_for_each_and_says_below_what_is_wrong() {
    let lines = frame(&report(vec![row(), unreadable()]), Duration::from_millis(500));
    assert_eq!(lines.first().unwrap(), "1970-01-01T00:00:00Z  2 connections, every 500ms");
    let cells = |line: &String| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>().join(" ");
    let lines: Vec<_> = lines.iter().map(cells).collect();
    assert_eq!(lines[3], "bulk 0000:00:01.0 crossvm 12346 3 - 2.0 connected 1.50 KiB - B");
    assert!(lines[4].starts_with("? 0000:00:01.0 crossvm - 3"), "{}", lines[4]);
    assert_eq!(lines[5..], ["0000:00:01.0: run as root"]);
    let named = Row { error: Some("0000:00:01.0 is odd".to_owned()), ..row() };
    assert_eq!(frame(&report(vec![named]), Duration::from_secs(1)).last().unwrap(), "0000:00:01.0 is odd");
}

#[test]
fn a_line_tells_what_is_known_and_nothing_else() {
    let bound = Row { events_per_second: None, events_per_second_at_least: Some(0.5), ..row() };
    let text = lines(&report(vec![row(), bound, unreadable()]));
    let lines: Vec<_> = text.lines().collect();
    let time = "1970-01-01T00:00:00.000Z";
    let rest = "pending=3 irqs/s=2.0 channel=connected a-to-b-bytes/s=1536 asleep=B";
    assert_eq!(lines[0], format!("{time} bulk events/s=12346 {rest}"));
    assert_eq!(lines[1], format!("{time} bulk events/s>=0.5 {rest}"));
    assert_eq!(lines[2], format!("{time} 0000:00:01.0 error: run as root"));
}
