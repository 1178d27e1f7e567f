//! `crossvm monitor` where standard output is no terminal, and in one.
#![cfg(target_os = "linux")]

mod common;
#[path = "common/command.rs"]
mod runner;

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Child, Stdio};

use common::{Stand, Tree, wire::Wire};
use crossvm_guest::spec;
use runner::{command, fail, run, succeed, two_connections};
use rustix::fs::OFlags;
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use serde_json::{Value, json};

fn reports(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A monitor with JSON that runs, and its lines.
fn start(tree: &Tree, arguments: &[&str]) -> (Child, impl Iterator<Item = Value>) {
    let mut command = command(tree, arguments);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    (child, lines.map(|line| serde_json::from_str(&line.unwrap()).unwrap()))
}

/// A terminal of 5 rows and 40 columns: the side of whoever looks at it, and that of the command.
fn terminal() -> (File, File) {
    let terminal = File::from(openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap());
    grantpt(&terminal).unwrap();
    unlockpt(&terminal).unwrap();
    tcsetwinsize(&terminal, Winsize { ws_row: 5, ws_col: 40, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
    let name = ptsname(&terminal, Vec::new()).unwrap();
    let noctty = i32::try_from(OFlags::NOCTTY.bits()).unwrap();
    let end = OpenOptions::new().read(true).write(true).custom_flags(noctty).open(name.to_str().unwrap()).unwrap();
    (terminal, end)
}

#[test]
fn each_interval_gives_a_json_object_with_all_connections() {
    let tree = two_connections();
    let reports = reports(&succeed(&tree, &["monitor", "--json", "--count", "2", "--interval", "0.01"]));
    assert_eq!(reports.len(), 2);
    for report in &reports {
        assert!(report["seconds"].as_f64().unwrap() > 0.0 && report["time"].as_f64().unwrap() > 0.0);
        let names: Vec<_> = report["connections"].as_array().unwrap().iter().map(|connection| &connection["name"]).collect();
        assert_eq!(names, [&json!("reverse"), &json!("ping")]);
        assert_eq!(report["connections"][0]["channel"], Value::Null, "there is no channel");
    }
}

#[test]
fn counters_of_our_own_driver_are_told_exactly_and_nothing_is_taken() {
    let tree = Tree::new();
    let device = tree.device("0000:00:03.0", &[4096]);
    let node = tree.node(&device, "own", &[], Stand::Fifo);
    // At once, as sysfs has it: a file that is being written is empty for a moment.
    let attribute = |file: &str, text: &str| {
        node.attribute("new", text);
        std::fs::rename(node.folder.join("new"), node.folder.join(file)).unwrap();
    };
    let counters = |events: &str, interrupts: &str| {
        attribute("events", events);
        attribute("interrupts", interrupts);
    };
    counters("100", "40");
    node.attribute("spurious", "1");
    // Nobody can read the node, and nobody has to.
    std::fs::remove_file(&node.device).unwrap();
    let (mut child, mut reports) = start(&tree, &["monitor", "--json", "--interval", "0.01"]);
    let connection = reports.next().unwrap()["connections"][0].clone();
    for (key, expected) in
        [("name", json!("own")), ("driver", json!("crossvm")), ("pending", json!(3)), ("dropped", json!(2)), ("events", json!(100))]
    {
        assert_eq!(connection[key], expected, "{key}");
    }
    assert_eq!((&connection["interrupts"], &connection["spurious"]), (&json!(40), &json!(1)));
    counters("130", "41");
    let changed = reports.find(|report| report["connections"][0]["events"] == 130 && report["connections"][0]["interrupts"] == 41);
    // Both may have been seen at once or in two intervals; the rate that belongs to the last is above zero in any case.
    let changed = changed.unwrap()["connections"][0].clone();
    let rates = ["events_per_second", "interrupts_per_second"].map(|key| changed[key].as_f64().unwrap());
    assert!(rates.iter().any(|rate| *rate > 0.0), "{changed}");
    assert_eq!(changed["events_per_second_at_least"], Value::Null);
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn the_stock_driver_gives_what_its_uio_device_has_counted() {
    let tree = Tree::new();
    let device = tree.connection("0000:00:01.0", "ping", &[]);
    let event = device.folder.join("uio").join(device.uio.file_name().unwrap()).join("event");
    std::fs::write(&event, "7\n").unwrap();
    device.poke_u32(spec::COUNT, 5);
    device.file("irq", b"46\n");
    tree.irq(46, 36, "70,7", "uio_pci_generic,other");
    let report = succeed(&tree, &["monitor", "ping", "--json", "--count", "1", "--interval", "0.01"]);
    let connection = reports(&report)[0]["connections"][0].clone();
    for (key, expected) in [
        ("pending", json!(5)),
        ("events", Value::Null),
        ("events_per_second", Value::Null),
        ("events_per_second_at_least", json!(0.0)),
        ("interrupts", json!(7)),
        ("line_interrupts", json!(77)),
    ] {
        assert_eq!(connection[key], expected, "{key}");
    }
    assert_eq!((device.peek_u32(spec::COUNT), device.peek_u32(spec::ACK)), (5, 0), "no event was taken");
}

#[test]
fn a_channel_is_watched_from_either_end_and_by_nobody_noticed() {
    let wire = Wire::new("bulk", 65536);
    let start_with = |guest: &Tree, arguments: &[&str]| {
        command(guest, arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let recv = start_with(&wire.guests[1], &["recv", "bulk", "/dev/null", "--json", "--timeout", "60"]);
    let watched: Vec<_> = wire.guests.iter().map(|guest| start(guest, &["monitor", "bulk", "--json", "--interval", "0.01"])).collect();
    let (mut monitors, mut reports): (Vec<_>, Vec<_>) = watched.into_iter().unzip();
    let mut until = |what: &str, there: &dyn Fn(&Value) -> bool| {
        for reports in &mut reports {
            assert!(reports.any(|report| there(&report["connections"][0])), "{what}");
        }
    };
    until("the receiver waits", &|connection| connection["channel"]["state"] == "awaited" && connection["channel"]["b"]["state"] == "open");

    let mut send = start_with(&wire.guests[0], &["send", "bulk", "--json", "--timeout", "60"]);
    let mut input = send.stdin.take().unwrap();
    until("both are there", &|connection| {
        connection["channel"]["state"] == "connected" && connection["channel"]["a"]["protocol"] == "file"
    });
    until("the receiver sleeps", &|connection| connection["channel"]["b"]["asleep"] == "message");
    // As long as it takes until both have seen it go by.
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let feeding = std::thread::spawn(move || {
        while stopped.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
            input.write_all(&[7; 10_000]).unwrap();
        }
    });
    until("data go from A to B", &|connection| connection["bytes_a_to_b_per_second"].as_f64().is_some_and(|rate| rate > 0.0));
    drop(stop);
    feeding.join().unwrap();
    until("both have closed", &|connection| connection["channel"]["state"] == "closed");
    for monitor in &mut monitors {
        monitor.kill().unwrap();
        monitor.wait().unwrap();
    }
    for output in [send, recv].map(|child| child.wait_with_output().unwrap()) {
        assert!(output.status.success(), "{output:?}");
    }
}

#[test]
fn connections_come_and_go_while_it_runs() {
    let tree = two_connections();
    let (mut child, mut reports) = start(&tree, &["monitor", "ping", "--json", "--interval", "0.01"]);
    let mut until = |what: &str, there: &dyn Fn(&Value) -> bool| {
        let seen = reports.find(|report| there(&report["connections"][0]));
        assert!(seen.is_some_and(|report| report["connections"].as_array().unwrap().len() == 1), "{what}");
    };
    until("it is there", &|connection| connection["address"] == "0000:00:02.0");
    let folder = tree.path().join("sys/bus/pci/devices/0000:00:02.0");
    std::fs::rename(&folder, tree.path().join("away")).unwrap();
    until("it is gone", &|connection| connection["name"] == "ping" && connection["error"].as_str().is_some_and(|e| e.contains("gone")));
    std::fs::rename(tree.path().join("away"), &folder).unwrap();
    until("it is back", &|connection| connection["address"] == "0000:00:02.0" && connection["error"].is_null());
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn without_a_terminal_each_connection_gets_a_line_with_a_timestamp() {
    let tree = two_connections();
    std::fs::write(tree.path().join("sys/bus/pci/devices/0000:00:01.0/resource"), "odd\n").unwrap();
    let text = succeed(&tree, &["monitor", "--count", "1", "--interval", "0.01"]);
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 2, "{text}");
    assert!(lines[0].contains(" 0000:00:01.0 error: 0000:00:01.0 is not used: "), "{text}");
    let (time, rest) = lines[1].split_once(' ').unwrap();
    assert!(time.starts_with("20") && time.ends_with('Z'), "{text}");
    assert_eq!(rest, "ping events/s>=0 pending=0 dropped=0");
    assert!(!text.contains('\x1b'), "{text}");
}

#[test]
fn a_terminal_shows_a_table_that_is_redrawn_and_gets_everything_back() {
    let tree = two_connections();
    let (terminal, end) = terminal();
    let mut command = command(&tree, &["monitor", "--interval", "0.01"]);
    let mut child = command.env("TERM", "xterm").stdin(end.try_clone().unwrap()).stdout(end).spawn().unwrap();
    // While it holds on to it, the terminal's end would never be seen.
    drop(command);

    let (mut shown, mut buffer, mut told) = (String::new(), [0; 4096], false);
    // A terminal whose other end is gone gives an error.
    while let Ok(length @ 1..) = (&terminal).read(&mut buffer) {
        shown += &String::from_utf8_lossy(&buffer[..length]);
        // Not before it has drawn more than once.
        if !told && shown.matches("\x1b[1;1H").count() > 2 {
            kill_process(Pid::from_child(&child), Signal::INT).unwrap();
            told = true;
        }
    }
    assert!(child.wait().unwrap().success(), "{shown}");
    let (live, rest) = shown.split_once("\x1b[?25h\x1b[?1049l").expect("the cursor and the screen come back");
    assert!(live.starts_with("\x1b[?1049h\x1b[?25l"), "{live:?}");
    assert!(!rest.contains('\x1b'), "{rest:?}");
    assert!(rest.contains("reverse  0000:00:01.0  uio_pci_generic") && rest.contains("ping     0000:00:02.0"), "the last table stays");
    // Five rows have room for four lines, the last of which says how many are missing.
    let frames: Vec<_> = live.split("\x1b[1;1H").skip(1).collect();
    for frame in frames {
        let lines: Vec<_> = frame.lines().map(|line| line.trim_start_matches("\r\x1b[2K")).collect();
        assert!(lines[2].starts_with("NAME") && lines[2].chars().count() == 40 && lines[2].ends_with('…'), "{frame:?}");
        assert_eq!(lines[3], "… 2 lines more", "{frame:?}");
        assert_eq!(lines[4], "\r\x1b[0J", "{frame:?}");
    }
}

#[test]
fn a_terminal_that_cannot_move_its_cursor_gets_lines() {
    let tree = two_connections();
    let (terminal, end) = terminal();
    let mut command = command(&tree, &["monitor", "--interval", "0.01", "--count", "1"]);
    let mut child = command.env("TERM", "dumb").stdout(end).spawn().unwrap();
    drop(command);
    let (mut shown, mut buffer) = (String::new(), [0; 4096]);
    while let Ok(length @ 1..) = (&terminal).read(&mut buffer) {
        shown += &String::from_utf8_lossy(&buffer[..length]);
    }
    assert!(child.wait().unwrap().success() && shown.lines().count() == 2 && !shown.contains('\x1b'), "{shown:?}");
}

#[test]
fn ctrl_c_ends_it_with_status_0() {
    let tree = two_connections();
    let (mut child, mut reports) = start(&tree, &["monitor", "--json", "--interval", "0.01"]);
    assert!(reports.next().is_some(), "it runs");
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    assert!(child.wait().unwrap().success());
}

#[test]
fn who_reads_no_further_ends_it_silently() {
    let tree = two_connections();
    let (child, reports) = start(&tree, &["monitor", "--json", "--interval", "0.01"]);
    drop(reports);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}

#[test]
fn misspelt_names_and_empty_machines_are_told_at_once() {
    assert!(fail(&two_connections(), &["monitor", "ping", "pong"], 1).contains("no connection is named 'pong'; there are: reverse, ping"));
    assert!(fail(&Tree::new(), &["monitor"], 1).contains("no connections"));
    let none = succeed(&Tree::new(), &["monitor", "--json", "--count", "1", "--interval", "0.01"]);
    assert_eq!(reports(&none)[0]["connections"], json!([]));
    for wrong in [["--interval", "0"], ["--interval", "-1"], ["--count", "0"], ["--count", "x"]] {
        assert_eq!(run(&two_connections(), &["monitor", wrong[0], wrong[1]]).status.code(), Some(2), "{wrong:?}");
    }
}
