use crossvm_guest::Observation;

use super::super::channel::{End, Presence, State};
use super::*;

fn connection(pending: u64, interrupts: u64) -> Connection {
    Connection {
        address: "0000:00:01.0".parse().ok(),
        name: Some("bulk".to_owned()),
        driver: Some("uio_pci_generic".to_owned()),
        line_interrupts: None,
        line_is_own: true,
        counters: Ok(Observation {
            name: "bulk".to_owned(),
            pending,
            dropped: Some(0),
            events: None,
            interrupts: Some(interrupts),
            spurious: None,
        }),
        channel: None,
    }
}

fn channel(a: u32, b: u32) -> Observed {
    let end = |written| End { state: Presence::Open, protocol: Some("file".to_owned()), asleep: None, generation: 1, written };
    Observed { state: State::Connected, a: end(a), b: end(b) }
}

const TWO_SECONDS: Duration = Duration::from_secs(2);

#[test]
fn rates_are_per_second_of_the_interval() {
    let (mut before, mut now) = (connection(0, 10), connection(0, 14));
    if let (Ok(before), Ok(now)) = (&mut before.counters, &mut now.counters) {
        (before.events, now.events) = (Some(100), Some(120));
    }
    before.channel = Some(channel(1000, 7));
    now.channel = Some(channel(5000, 7));
    let row = Row::new(&now, Some(&before), TWO_SECONDS);
    assert_eq!((row.events_per_second, row.events_per_second_at_least), (Some(10.0), None));
    assert_eq!((row.interrupts_per_second, row.channel), (Some(2.0), Some(channel(5000, 7))));
    assert_eq!((row.bytes_a_to_b_per_second, row.bytes_b_to_a_per_second), (Some(2000.0), Some(0.0)));
}

#[test]
fn the_stock_driver_gives_a_lower_bound_of_the_events() {
    let at_least = |before: (u64, u64), now: (u64, u64)| {
        let (before, now) = (connection(before.0, before.1), connection(now.0, now.1));
        let row = Row::new(&now, Some(&before), TWO_SECONDS);
        assert_eq!(row.events_per_second, None);
        row.events_per_second_at_least
    };
    assert_eq!(at_least((0, 10), (0, 14)), Some(2.0), "each interrupt stands for one");
    assert_eq!(at_least((1, 10), (9, 11)), Some(4.0), "and what waits has come");
    assert_eq!(at_least((9, 10), (0, 10)), Some(0.0), "what was taken says nothing");
}

#[test]
fn nothing_is_known_of_counters_that_began_anew() {
    let row = Row::new(&connection(0, 3), Some(&connection(0, 10)), TWO_SECONDS);
    assert_eq!((row.interrupts, row.interrupts_per_second), (Some(3), None));
    assert_eq!(Row::new(&connection(0, 3), None, TWO_SECONDS).interrupts_per_second, None);
    assert_eq!(Row::new(&connection(0, 3), Some(&connection(0, 1)), Duration::ZERO).interrupts_per_second, None, "no time has passed");
}

#[test]
fn another_driver_or_function_is_another_connection() {
    let sample =
        |connection: Connection| Sample { at: std::time::Instant::now(), time: SystemTime::UNIX_EPOCH, connections: vec![connection] };
    let (before, now) = (sample(connection(0, 1)), connection(0, 5));
    let rate = |now: &Connection| {
        let mut now = sample(now.clone());
        now.at = before.at + TWO_SECONDS;
        Report::between(&before, &now).connections[0].interrupts_per_second
    };
    assert_eq!(rate(&now), Some(2.0));
    assert_eq!(rate(&Connection { driver: Some("crossvm".to_owned()), ..now.clone() }), None);
    assert_eq!(rate(&Connection { address: "0000:00:02.0".parse().ok(), ..now }), None);
}

#[test]
fn a_line_of_its_own_counts_for_a_driver_that_does_not() {
    let row = |line_is_own| {
        let with = |line_interrupts| {
            let mut connection = connection(0, 0);
            (connection.line_interrupts, connection.line_is_own) = (Some(line_interrupts), line_is_own);
            connection.counters.as_mut().unwrap().interrupts = None;
            connection
        };
        Row::new(&with(30), Some(&with(10)), TWO_SECONDS)
    };
    assert_eq!((row(true).interrupts_per_second, row(true).line_interrupts), (Some(10.0), Some(30)));
    assert_eq!((row(false).interrupts_per_second, row(false).line_interrupts), (None, Some(30)), "others may have raised it");
}
