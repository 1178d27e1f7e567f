//! `crossvm ping`, `pong` and `bench` as processes, between two guests made of fake sysfs trees.
#![cfg(target_os = "linux")]

mod common;
#[path = "common/command.rs"]
mod runner;

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::process::{Child, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use common::Tree;
use common::wire::Wire;
use crossvm_guest::channel::{Config, Protocol, Side, spec};
use crossvm_guest::{DataportIndex, GuestChannel};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

const NAME: &str = "ping";
const PATIENCE: Duration = Duration::from_secs(60);

fn start(guest: &Tree, arguments: &[&str]) -> Child {
    let mut command = runner::command(guest, arguments);
    command.args([NAME, "--timeout", "60"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn end(child: Child) -> Output {
    child.wait_with_output().unwrap()
}

fn json(output: &Output, status: i32) -> Value {
    assert_eq!(output.status.code(), Some(status), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap()
}

fn complaint(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn interrupt(child: &Child) {
    kill_process(Pid::from_child(child), Signal::INT).unwrap();
}

/// The channel's word at `offset`, as the memory has it.
fn word(wire: &Wire, side: Side, offset: u32) -> u32 {
    let path = wire.guests[0].path().join("sys/bus/pci/devices/0000:00:01.0/resource1_wc");
    let offset = offset + if side == Side::A { 0 } else { spec::SIDE };
    let mut bytes = [0; 4];
    File::open(path).unwrap().read_exact_at(&mut bytes, offset.into()).unwrap();
    u32::from_le_bytes(bytes)
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < PATIENCE, "{what}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Waits until the end A has sent a lot, more than any run of this file that ends by itself before it, and B has answered.
fn wait_for_answers(wire: &Wire) {
    wait_until("no answers", || [Side::A, Side::B].iter().all(|side| word(wire, *side, spec::OF_TAIL) > 5000));
}

/// Plays the end `side` in this process, against the command.
fn fake(wire: &Wire, side: Side, play: impl FnOnce(&mut GuestChannel<'_>)) {
    let guest = &wire.guests[usize::from(side == Side::B)];
    let endpoint = guest.system().endpoint(NAME).unwrap();
    let config = Config::new(side).protocol(Protocol::named(*b"ping"));
    let mut channel = GuestChannel::open(&endpoint, DataportIndex::FIRST, config).unwrap().timeout(Some(PATIENCE));
    channel.connect().unwrap();
    play(&mut channel);
}

#[test]
fn every_message_is_answered_and_the_percentiles_are_in_order() {
    for (dataport, size) in [(65536, "8"), (65536, "1000"), (65536, "8192"), (4096, "64")] {
        let wire = Wire::new(NAME, dataport);
        let pong = start(&wire.guests[1], &["pong", "--json"]);
        let pinged = json(&end(start(&wire.guests[0], &["ping", "--json", "--count", "300", "--size", size])), 0);
        let ponged = json(&end(pong), 0);
        assert_eq!(pinged["connection"], NAME);
        assert_eq!([&pinged["sent"], &pinged["received"], &pinged["lost"]].map(number), [300, 300, 0]);
        assert_eq!(pinged["size"].to_string(), size);
        let times = ["min", "p50", "p90", "p99", "p999", "max"].map(|key| number(&pinged["nanoseconds"][key]));
        assert!(times.is_sorted() && times[0] > 0, "{pinged}");
        let mean = number(&pinged["nanoseconds"]["mean"]);
        assert!((times[0]..=times[5]).contains(&mean), "{pinged}");
        assert_eq!((&ponged["connection"], number(&ponged["answered"]), number(&ponged["peers"])), (&NAME.into(), 300, 1));
        for report in [&pinged, &ponged] {
            assert!(report["doorbells"].is_u64() && report["sleeps"].is_u64(), "{report}");
        }
    }
}

#[test]
fn a_file_gets_a_summary_and_a_histogram_in_ascii() {
    let wire = Wire::new(NAME, 65536);
    let pong = start(&wire.guests[1], &["pong"]);
    let output = end(start(&wire.guests[0], &["ping", "--count", "50"]));
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.is_ascii() && text.starts_with("50 messages of 64 bytes sent, 50 answers received, 0 lost;"), "{text}");
    for title in ["MIN", "MEAN", "P50", "P99.9", "MAX"] {
        assert!(text.contains(title), "{text}");
    }
    let bars: Vec<_> = text.lines().filter(|line| line.ends_with('%')).collect();
    let counts = bars.iter().map(|line| line.split_whitespace().rev().nth(2).unwrap().parse::<u64>().unwrap());
    assert_eq!(counts.sum::<u64>(), 50, "{text}");
    assert!(bars.iter().any(|line| line.contains("####")), "{text}");
    let ponged = String::from_utf8(end(pong).stdout).unwrap();
    assert!(ponged.starts_with("50 answered, 0 received, 1 peers, "), "{ponged}");
}

#[test]
fn pong_ends_after_the_count_and_ping_tells_what_it_has_got() {
    let wire = Wire::new(NAME, 65536);
    let pong = start(&wire.guests[1], &["pong", "--count", "20", "--json"]);
    let ping = end(start(&wire.guests[0], &["ping", "--count", "1000", "--json"]));
    assert_eq!(number(&json(&end(pong), 0)["answered"]), 20);
    let report = json(&ping, 4);
    assert_eq!(number(&report["received"]), 20);
    // Whether one more was on its way is the scheduler's to say.
    assert!((20..=21).contains(&number(&report["sent"])), "{report}");
    assert_eq!(number(&report["lost"]), number(&report["sent"]) - 20);
    assert!(complaint(&ping).contains("closed"), "{ping:?}");
}

#[test]
fn pong_that_keeps_on_serves_one_peer_after_the_other_and_those_that_come_after_one_that_was_killed() {
    let wire = Wire::new(NAME, 65536);
    let pong = start(&wire.guests[1], &["pong", "--keep", "--json"]);
    let ping = |count| json(&end(start(&wire.guests[0], &["ping", "--json", "--count", count])), 0);
    assert_eq!(number(&ping("10")["received"]), 10);
    let mut killed = start(&wire.guests[0], &["ping", "--count", "1000000000"]);
    wait_for_answers(&wire);
    killed.kill().unwrap();
    killed.wait().unwrap();
    assert_eq!(number(&ping("30")["received"]), 30);
    assert_eq!(number(&ping("40")["received"]), 40);
    interrupt(&pong);
    let report = json(&end(pong), 0);
    assert_eq!(number(&report["peers"]), 4, "{report}");
    assert!(number(&report["answered"]) > 80, "{report}");
}

#[test]
fn a_pong_that_is_killed_and_restarted_in_the_middle_ends_ping_with_what_it_has_got() {
    let wire = Wire::new(NAME, 65536);
    let mut pong = start(&wire.guests[1], &["pong"]);
    let ping = start(&wire.guests[0], &["ping", "--json", "--count", "1000000000"]);
    wait_for_answers(&wire);
    pong.kill().unwrap();
    pong.wait().unwrap();
    let second = start(&wire.guests[1], &["pong", "--keep", "--json"]);
    let ping = end(ping);
    let report = json(&ping, 4);
    assert!(number(&report["received"]) > 0 && number(&report["lost"]) <= 1, "{report}");
    assert!(complaint(&ping).contains("restarted"), "{ping:?}");
    let third = json(&end(start(&wire.guests[0], &["ping", "--json", "--count", "5"])), 0);
    assert_eq!(number(&third["received"]), 5);
    interrupt(&second);
    assert_eq!(number(&json(&end(second), 0)["answered"]), 5);
}

#[test]
fn ctrl_c_ends_ping_with_a_summary_whether_it_waits_or_not() {
    for interval in ["0", "0.001", "1000"] {
        let wire = Wire::new(NAME, 65536);
        let pong = start(&wire.guests[1], &["pong", "--json"]);
        let ping = start(&wire.guests[0], &["ping", "--json", "--count", "1000000000", "--interval", interval]);
        if interval != "1000" {
            wait_for_answers(&wire);
        }
        // What was read counts, whenever the signal comes.
        wait_until("the answer is not read", || word(&wire, Side::A, spec::OF_HEAD) > 0);
        interrupt(&ping);
        let output = end(ping);
        let report = json(&output, 0);
        assert!(number(&report["received"]) >= 1 && number(&report["lost"]) <= 1, "{report}");
        assert!(report["nanoseconds"]["p50"].is_u64(), "{report}");
        json(&end(pong), 0);
    }
}

#[test]
fn ctrl_c_ends_who_waits_for_a_peer() {
    for (guest, verb, side, status) in [(0, "ping", Side::A, 1), (0, "bench", Side::A, 1), (1, "pong", Side::B, 0)] {
        let wire = Wire::new(NAME, 65536);
        let child = start(&wire.guests[guest], &[verb, "--json"]);
        wait_until("it is not open", || word(&wire, side, spec::OF_STATE) == spec::OPEN);
        interrupt(&child);
        let output = end(child);
        let report = json(&output, status);
        assert_eq!(report["connection"], NAME);
        assert!(report["nanoseconds"].is_null(), "{report}");
        assert_eq!(word(&wire, side, spec::OF_STATE), spec::CLOSED, "the peer is told");
    }
}

#[test]
fn an_answer_that_is_not_what_was_sent_is_found() {
    type Change = fn(&mut Vec<u8>);
    let changes: [(Change, &str); 4] = [
        (|answer| answer[0] ^= 1, "the answer to message 3 is not what was sent"),
        (|answer| answer[63] ^= 128, "the answer to message 3 is not what was sent"),
        (|answer| answer.truncate(63), "the answer to message 3 has 63 bytes instead of 64"),
        (Vec::clear, "the answer to message 3 has 0 bytes instead of 64"),
    ];
    for (change, text) in changes {
        let wire = Wire::new(NAME, 65536);
        let ping = start(&wire.guests[0], &["ping", "--json"]);
        fake(&wire, Side::B, |channel| {
            let mut buffer = vec![0; channel.max_message()];
            channel.recv(&mut buffer).unwrap();
            for number in 0..4 {
                let length = channel.recv(&mut buffer).unwrap();
                let mut answer = buffer[..length].to_vec();
                if number == 3 {
                    change(&mut answer);
                }
                channel.send(&answer).unwrap();
            }
            // It closes when it has seen enough.
            assert!(channel.recv(&mut buffer).is_err());
        });
        let ping = end(ping);
        let report = json(&ping, 4);
        assert_eq!([&report["sent"], &report["received"], &report["lost"]].map(number), [4, 3, 1]);
        assert!(complaint(&ping).contains(text), "{ping:?}");
    }
}

#[test]
fn bench_does_not_believe_an_end_that_is_none_or_has_another_count() {
    let done = |messages: u64| [b"done\0\0\0\0", &messages.to_le_bytes(), &[0; 16][..]].concat();
    for (answer, text) in [(b"done".to_vec(), "does not end as it should"), (done(u64::MAX), "has received 18446744073709551615")] {
        let wire = Wire::new(NAME, 65536);
        let bench = start(&wire.guests[0], &["bench", "--json", "--seconds", "0.01"]);
        fake(&wire, Side::B, |channel| {
            let mut buffer = vec![0; channel.max_message()];
            while channel.recv(&mut buffer).unwrap() != 0 {}
            channel.send(&answer).unwrap();
            assert!(channel.recv(&mut buffer).is_err());
        });
        let bench = end(bench);
        assert_eq!(json(&bench, 4)["sizes"].as_array().unwrap().len(), 0);
        assert!(complaint(&bench).contains(text), "{bench:?}");
    }
}

#[test]
fn pong_refuses_what_is_no_run_and_goes_on_where_it_keeps_on() {
    let begin = |word: &[u8; 8], size: u64| [&word[..], &size.to_le_bytes()].concat();
    let echo = || begin(b"echo\0\0\0\0", 16);
    let message = |number: u64, length: usize| [&number.to_le_bytes()[..], &vec![7; length - 8]].concat();
    let cases: [(Vec<Vec<u8>>, &str); 6] = [
        (vec![vec![]], "begins in an unknown way"),
        (vec![b"nonsense".to_vec()], "begins in an unknown way"),
        (vec![begin(b"echo\0\0\0\0", 7)], "begins in an unknown way"),
        (vec![echo(), message(0, 17)], "message 0 of a run of 16 bytes is another one"),
        (vec![echo(), message(1, 16)], "message 0 of a run of 16 bytes is another one"),
        (vec![begin(b"sink\0\0\0\0", 16), message(0, 16), message(0, 16)], "message 1 of a run of 16 bytes is another one"),
    ];
    for (messages, text) in cases {
        let wire = Wire::new(NAME, 65536);
        let play = |channel: &mut GuestChannel<'_>| {
            let mut buffer = vec![0; channel.max_message()];
            for message in &messages {
                channel.send(message).unwrap();
            }
            while channel.recv(&mut buffer).is_ok() {}
        };
        let pong = start(&wire.guests[1], &["pong", "--json"]);
        fake(&wire, Side::A, play);
        let pong = end(pong);
        json(&pong, 4);
        assert!(complaint(&pong).contains(text), "{pong:?}");

        let pong = start(&wire.guests[1], &["pong", "--keep", "--json"]);
        for _ in 0..2 {
            fake(&wire, Side::A, play);
        }
        assert_eq!(number(&json(&end(start(&wire.guests[0], &["ping", "--json", "--count", "5"])), 0)["received"]), 5);
        interrupt(&pong);
        let pong = end(pong);
        assert_eq!(complaint(&pong).matches(text).count(), 1, "told once: {pong:?}");
        json(&pong, 0);
    }
}

#[test]
fn bench_measures_each_size_that_fits() {
    for (dataport, sizes) in [(1 << 20, &[8, 64, 4096, 65536][..]), (65536, &[8, 64, 4096])] {
        let wire = Wire::new(NAME, dataport);
        let pong = start(&wire.guests[1], &["pong", "--json"]);
        let report = json(&end(start(&wire.guests[0], &["bench", "--json", "--seconds", "0.05"])), 0);
        let ponged = json(&end(pong), 0);
        let rows = report["sizes"].as_array().unwrap();
        assert_eq!(rows.iter().map(|row| number(&row["size"])).collect::<Vec<_>>(), sizes);
        assert!(number(&report["max_message"]) < dataport / 2);
        for row in rows {
            let [rate, bytes, doorbells, trip_doorbells] =
                ["messages_per_second", "bytes_per_second", "doorbells_per_message", "doorbells_per_round_trip"]
                    .map(|key| row[key].as_f64().unwrap());
            assert!(rate > 0.0 && doorbells >= 0.0 && trip_doorbells >= 0.0, "{row}");
            assert!((bytes / rate / row["size"].as_f64().unwrap() - 1.0).abs() < 1e-6, "{row}");
            assert!(number(&row["nanoseconds"]["p50"]) <= number(&row["nanoseconds"]["p99"]), "{row}");
        }
        let sum = |key| rows.iter().map(|row| number(&row[key])).sum::<u64>();
        assert_eq!((sum("messages"), sum("round_trips")), (number(&ponged["received"]), number(&ponged["answered"])));
    }
}

#[test]
fn bench_shows_a_table_and_what_it_has_left_out() {
    let wire = Wire::new(NAME, 65536);
    let pong = start(&wire.guests[1], &["pong", "--keep"]);
    let output = end(start(&wire.guests[0], &["bench", "--seconds", "0.01", "--size", "8,100,99999"]));
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let first: Vec<_> = text.lines().map(|line| line.split_whitespace().next().unwrap()).collect();
    assert_eq!(first, ["BYTES", "8", "100", "99999"], "{text}");
    assert!(text.lines().next_back().unwrap().contains("are left out"), "{text}");
    let none = end(start(&wire.guests[0], &["bench", "--seconds", "0.01", "--size", "99999", "--json"]));
    json(&none, 1);
    interrupt(&pong);
    assert!(end(pong).status.success());
}

#[test]
fn ctrl_c_ends_bench_with_the_rows_that_are_complete() {
    let wire = Wire::new(NAME, 65536);
    let pong = start(&wire.guests[1], &["pong", "--json"]);
    let bench = start(&wire.guests[0], &["bench", "--json", "--seconds", "1000"]);
    wait_until("nothing comes", || word(&wire, Side::A, spec::OF_TAIL) > 100_000);
    interrupt(&bench);
    let bench = end(bench);
    assert_eq!(json(&bench, 1)["sizes"].as_array().unwrap().len(), 0);
    assert!(number(&json(&end(pong), 0)["received"]) > 0);
}

#[test]
fn what_does_not_fit_or_does_not_go_together_is_said() {
    let wire = Wire::new(NAME, 65536);
    let mut pong = start(&wire.guests[1], &["pong"]);
    let output = end(start(&wire.guests[0], &["ping", "--size", "99999"]));
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(complaint(&output).contains("bytes at most"), "{output:?}");
    // Whether it has seen one that leaves as soon as it has come is the scheduler's to say.
    pong.kill().unwrap();
    pong.wait().unwrap();

    // Who finds out first closes, and the other goes on waiting for one that it can talk to.
    let mut ends = [(0, "send"), (1, "pong")].map(|(guest, verb)| Some(start(&wire.guests[guest], &[verb])));
    let mut found = None;
    wait_until("nobody finds out", || {
        found = ends.iter_mut().find_map(|end| end.take_if(|end| end.try_wait().unwrap().is_some()));
        found.is_some()
    });
    let found = end(found.unwrap());
    assert_eq!(found.status.code(), Some(4), "{found:?}");
    assert!(["`crossvm ping, bench or pong`", "`crossvm send or recv`"].iter().any(|name| complaint(&found).contains(name)), "{found:?}");
    for mut other in ends.into_iter().flatten() {
        other.kill().unwrap();
        other.wait().unwrap();
    }

    for arguments in [&["ping", NAME, "--size", "7"][..], &["ping", NAME, "--count", "0"], &["bench", NAME, "--size", "8,7"]] {
        runner::fail(&wire.guests[0], arguments, 2);
    }
    let alone = Wire::new(NAME, 65536);
    for (guest, verb) in [(0, "ping"), (0, "bench"), (1, "pong")] {
        runner::fail(&alone.guests[guest], &[verb, NAME, "--timeout", "0.1"], 3);
    }
}
