//! `crossvm send` and `recv` as two processes, between two guests made of fake sysfs trees.
#![cfg(target_os = "linux")]

mod common;

use std::fs;
use std::io::Write;
use std::process::{Child, Command, Output, Stdio};

use common::{Tree, wire::Wire};

fn start(guest: &Tree, arguments: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_crossvm"));
    command.arg("--sysfs").arg(guest.path().join("sys")).arg("--devices").arg(guest.path().join("dev")).args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn end(child: Child) -> Output {
    child.wait_with_output().unwrap()
}

fn json(output: &Output) -> serde_json::Value {
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Bytes that do not repeat soon.
fn data(length: usize) -> Vec<u8> {
    let mut state = 1_u32;
    std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_le_bytes()[3]
    })
    .take(length)
    .collect()
}

#[test]
fn a_file_arrives_as_it_is_and_both_ends_tell_its_checksum() {
    for size in [0, 1, 300_000] {
        let wire = Wire::new("bulk", 65536);
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        fs::write(&from, data(size)).unwrap();
        let recv = start(&wire.guests[1], &["recv", "bulk", to.to_str().unwrap(), "--json", "--timeout", "60"]);
        let sent = end(start(&wire.guests[0], &["send", "bulk", from.to_str().unwrap(), "--json", "--timeout", "60"]));
        let (sent, received) = (json(&sent), json(&end(recv)));
        assert_eq!(fs::read(&to).unwrap(), data(size));
        assert_eq!((&sent["bytes"], &sent["sha256"]), (&received["bytes"], &received["sha256"]));
        assert_eq!(sent["bytes"], size);
        assert_eq!((&sent["role"], &received["role"]), (&"send".into(), &"recv".into()));
    }
}

#[test]
fn a_stream_goes_from_standard_input_to_standard_output() {
    let wire = Wire::new("bulk", 4096);
    let recv = start(&wire.guests[1], &["recv", "bulk", "--timeout", "60"]);
    let mut send = start(&wire.guests[0], &["send", "bulk", "--quiet", "--timeout", "60"]);
    let mut input = send.stdin.take().unwrap();
    for _ in 0..3 {
        input.write_all(b"a line\n").unwrap();
    }
    drop(input);
    let (sent, received) = (end(send), end(recv));
    assert!(sent.status.success() && sent.stderr.is_empty() && sent.stdout.is_empty(), "{sent:?}");
    assert_eq!(String::from_utf8(received.stdout).unwrap(), "a line\n".repeat(3));
    assert!(String::from_utf8_lossy(&received.stderr).contains("SHA-256"));
}

#[test]
fn a_peer_that_is_killed_in_the_middle_is_noticed_and_its_successor_is_too() {
    let wire = Wire::new("bulk", 65536);
    let mut recv = start(&wire.guests[1], &["recv", "bulk", "/dev/null", "--timeout", "60"]);
    let mut first = start(&wire.guests[0], &["send", "bulk", "--timeout", "60"]);
    first.stdin.as_ref().unwrap().write_all(&data(100_000)).unwrap();
    // The receiver gets the beginning, and then nothing: the second sender is another peer.
    first.kill().unwrap();
    first.wait().unwrap();
    let mut second = start(&wire.guests[0], &["send", "bulk", "--timeout", "60"]);
    drop(second.stdin.take());
    let status = recv.wait().unwrap();
    assert!(matches!(status.code(), Some(0 | 4)), "noticed, or the first had not yet connected: {status}");
    let _ = second.kill();
    second.wait().unwrap();
}

#[test]
fn nobody_at_the_other_end_is_a_timeout_that_says_what_to_do() {
    let wire = Wire::new("bulk", 4096);
    let output = end(start(&wire.guests[0], &["send", "bulk", "--timeout", "0.1"]));
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("start the command that goes with this one"), "{output:?}");
}

#[test]
fn a_full_disk_ends_the_transfer_on_both_ends() {
    let wire = Wire::new("bulk", 65536);
    let recv = start(&wire.guests[1], &["recv", "bulk", "/dev/full", "--timeout", "60"]);
    let mut send = start(&wire.guests[0], &["send", "bulk", "--timeout", "60"]);
    let _ = send.stdin.take().unwrap().write_all(&data(300_000));
    let (sent, received) = (end(send), end(recv));
    assert_eq!((sent.status.code(), received.status.code()), (Some(4), Some(1)), "{sent:?} {received:?}");
    assert!(String::from_utf8_lossy(&received.stderr).contains("/dev/full"));
}
