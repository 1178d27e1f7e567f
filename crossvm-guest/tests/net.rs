//! `crossvm net` as two processes, each in a network of its own, with real network devices where this machine gives us any.
#![cfg(target_os = "linux")]

mod common;
#[path = "common/command.rs"]
mod runner;

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream, UdpSocket};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use common::{Tree, wire::Wire};
use runner::{command, fail};
use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{UnshareFlags, unshare_unsafe};

/// Gives this thread, and what it starts, a network with nothing in it.
fn network_of_its_own() -> Result<(), String> {
    // SAFETY: a network namespace changes nothing of the process's memory and descriptors.
    unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.map_err(|error| format!("no network namespaces: {error}"))?;
    let tun = OpenOptions::new().read(true).write(true).open("/dev/net/tun");
    tun.map(drop).map_err(|error| format!("no /dev/net/tun: {error}"))
}

/// Whether the machine lets us make networks; says so where it does not.
fn possible(test: &str) -> bool {
    match thread::spawn(network_of_its_own).join().unwrap() {
        Ok(()) => true,
        Err(why) => {
            eprintln!("SKIPPED {test}: {why}");
            false
        }
    }
}

/// Whether a packet to the other end would find a way. To bind to this end's address says nothing: a network without any address lets one bind to all.
fn is_up() -> bool {
    UdpSocket::bind("0.0.0.0:0").unwrap().connect("10.77.0.2:9").is_ok()
}

fn wait_until(there: impl Fn() -> bool) {
    while !there() {
        thread::sleep(Duration::from_millis(5));
    }
}

struct Running {
    child: Child,
    errors: BufReader<ChildStderr>,
}

fn start(guest: &Tree, arguments: &[&str]) -> Running {
    let mut child = command(guest, arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let errors = BufReader::new(child.stderr.take().unwrap());
    Running { child, errors }
}

impl Running {
    fn says(&mut self, what: &str) {
        let mut line = String::new();
        self.errors.read_line(&mut line).unwrap();
        assert!(line.contains(what), "{line:?} instead of {what}");
    }

    fn stop(mut self) -> serde_json::Value {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        let mut text = String::new();
        self.child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
        assert!(self.child.wait().unwrap().success());
        serde_json::from_str(&text).unwrap()
    }
}

#[test]
fn two_vms_talk_tcp_and_go_on_after_one_was_killed() {
    if !possible("two_vms_talk_tcp_and_go_on_after_one_was_killed") {
        return;
    }
    const LENGTH: usize = 3_000_000;
    let wire = Wire::new("net", 65536);
    let [first, second] = &wire.guests;
    let (listening, listener) = channel();
    let reports = thread::scope(|scope| {
        let server = scope.spawn(move || {
            network_of_its_own().unwrap();
            let mut net = start(first, &["net", "net", "--side", "a", "--address", "10.77.0.1/30", "--json"]);
            // The device is up before anybody is at the other end.
            wait_until(is_up);
            let listener = TcpListener::bind("10.77.0.1:7000").unwrap();
            listening.send(()).unwrap();
            net.says("xvm0 up, 10.77.0.1/30, MTU 8060: connected through 'net'");
            for _ in 0..2 {
                let (mut stream, _) = listener.accept().unwrap();
                let mut received = Vec::new();
                stream.read_to_end(&mut received).unwrap();
                stream.write_all(&received).unwrap();
                // The one who asks has all of it before the network is taken down.
                stream.shutdown(Shutdown::Write).unwrap();
            }
            net.says("restarted");
            net.says("connected again");
            net.says("has closed");
            net.stop()
        });
        let client = scope.spawn(move || {
            network_of_its_own().unwrap();
            listener.recv().unwrap();
            let arguments = ["net", "net", "--side", "b", "--device", "cable", "--address", "10.77.0.2/30", "--json"];
            let talk = |running: &mut Running, byte: u8| {
                running.says("cable up");
                let mut stream = TcpStream::connect("10.77.0.1:7000").unwrap();
                let mut other = stream.try_clone().unwrap();
                let sending = thread::spawn(move || {
                    other.write_all(&vec![byte; LENGTH]).unwrap();
                    other.shutdown(Shutdown::Write).unwrap();
                });
                let mut answer = Vec::new();
                stream.read_to_end(&mut answer).unwrap();
                sending.join().unwrap();
                assert!(answer.len() == LENGTH && answer.iter().all(|got| *got == byte));
            };
            let mut running = start(second, &arguments);
            talk(&mut running, 1);
            running.child.kill().unwrap();
            running.child.wait().unwrap();
            let mut running = start(second, &arguments);
            talk(&mut running, 2);
            running.stop()
        });
        [server.join().unwrap(), client.join().unwrap()]
    });
    for (report, (side, reconnects)) in reports.iter().zip([("a", 1), ("b", 0)]) {
        assert_eq!((&report["side"], &report["reconnects"]), (&side.into(), &reconnects.into()));
        for way in ["sent", "received"] {
            assert!(report[way]["bytes"].as_u64().unwrap() > LENGTH as u64, "{report}");
        }
    }
    assert_eq!((&reports[1]["device"], &reports[1]["address"]), (&"cable".into(), &"10.77.0.2/30".into()));
}

#[test]
fn a_device_that_is_taken_away_ends_it_and_a_name_that_is_taken_is_told() {
    if !possible("a_device_that_is_taken_away_ends_it_and_a_name_that_is_taken_is_told") {
        return;
    }
    thread::spawn(|| {
        network_of_its_own().unwrap();
        let wires = ["net", "other"].map(|name| Wire::new(name, 65536));
        let mut net = start(&wires[0].guests[0], &["net", "net", "--side", "a", "--address", "10.77.0.1/30", "--json"]);
        wait_until(is_up);
        let taken = fail(&wires[1].guests[0], &["net", "other", "--side", "a"], 1);
        assert!(taken.contains("another program has a device of this name"), "{taken}");
        let odd = fail(&wires[1].guests[0], &["net", "other", "--side", "a", "--device", "lo"], 1);
        assert!(odd.contains("no TUN device may have this name"), "{odd}");
        kill_process(Pid::from_child(&net.child), Signal::INT).unwrap();
        assert!(net.child.wait().unwrap().success());
        assert!(!is_up(), "it is gone with the command");

        let mut net = start(&wires[0].guests[0], &["net", "net", "--side", "a", "--address", "10.77.0.1/30"]);
        wait_until(is_up);
        match Command::new("ip").args(["link", "delete", "xvm0"]).status() {
            Ok(status) => assert!(status.success()),
            Err(error) => {
                eprintln!("SKIPPED deleting the device: no ip: {error}");
                net.child.kill().unwrap();
                net.child.wait().unwrap();
                return;
            }
        }
        let mut text = String::new();
        net.errors.read_to_string(&mut text).unwrap();
        assert_eq!(net.child.wait().unwrap().code(), Some(1), "{text}");
        assert!(text.contains("the network device xvm0 is gone"), "{text}");
    })
    .join()
    .unwrap();
}

#[test]
fn what_cannot_be_is_told_before_anything_is_made() {
    let wire = Wire::new("net", 4096);
    for (wrong, why) in [
        (["--address", "10.77.0.0/30"], "stands for all of the net"),
        (["--address", "10.77.0.1"], "give address and prefix"),
        (["--device", "a/b"], "give a name"),
        (["--mtu", "67"], "67"),
        (["--mtu", "761"], "760 bytes at most"),
        (["--side", "c"], "c"),
    ] {
        let side: &[&str] = if wrong[0] == "--side" { &[] } else { &["--side", "a"] };
        let arguments: Vec<_> = ["net", "net"].iter().chain(side).chain(&wrong).copied().collect();
        assert!(fail(&wire.guests[0], &arguments, 2).contains(why), "{wrong:?}");
    }
    assert!(fail(&wire.guests[0], &["net", "net", "--side", "a", "--address", "fd77::1/64"], 2).contains("IPv6 1280"));
}
