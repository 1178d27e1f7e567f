//! The verifier on a recorded run, and on the same run with one thing wrong.

use std::time::Duration;

use super::super::transcript::Transcript;
use super::*;
use crate::launch::console::Line;

const GOOD: &str = include_str!("fixtures/good.log");

fn run() -> Run {
    Run {
        ended: Ended::PoweredOff,
        took: Duration::from_secs(15),
        kernel: "6.1.0-56-cloud-arm64".to_owned(),
        sabotage: None,
        log: "demo.log".to_owned(),
    }
}

fn report(log: &str, run: &Run) -> Report {
    let mut transcript = Transcript::default();
    for line in log.lines() {
        transcript.add(&Line::parse(Duration::ZERO, line));
    }
    verify(&transcript, run)
}

/// The checks that fail on the good run with `from` replaced by `to`, and the reasons.
fn failures(from: &str, to: &str) -> (Vec<String>, String) {
    assert!(GOOD.contains(from), "the recorded run has no `{from}`");
    let report = report(&GOOD.replace(from, to), &run());
    assert_eq!(report.ok, report.reasons.is_empty());
    let failed = report.checks.iter().filter(|check| !check.ok).map(|check| check.name.clone()).collect();
    (failed, report.reasons.join("; "))
}

/// The good run without the lines that contain `text`.
fn without(text: &str) -> (Vec<String>, String) {
    assert!(GOOD.contains(text), "the recorded run has no `{text}`");
    let log: String = GOOD.lines().filter(|line| !line.contains(text)).map(|line| format!("{line}\n")).collect();
    let report = report(&log, &run());
    let failed = report.checks.iter().filter(|check| !check.ok).map(|check| check.name.clone()).collect();
    (failed, report.reasons.join("; "))
}

#[test]
fn a_good_run_passes_and_tells_all_it_has_seen() {
    let report = report(GOOD, &run());
    assert_eq!(report.reasons, [""; 0]);
    assert!(report.ok && report.checks.len() == 14);
    let [vm0, vm1] = report.guests.as_slice() else { panic!("two guests") };
    assert_eq!((vm0.kernel.as_deref(), vm0.boot_seconds), (Some("6.1.0-56-cloud-arm64"), Some(2.54)));
    assert_eq!((vm0.exits["data-abort"], vm1.stopped.as_deref(), vm1.bar_moves.len()), (74_960, Some("power-off"), 4));
    let names: Vec<_> = report.connections.iter().map(|connection| (connection.name.as_str(), connection.bytes_verified)).collect();
    assert_eq!(names, [("reverse", 2616), ("bulk", 67_108_864), ("ping", 0)]);
    let mirror = &report.connections[0].ends[1];
    assert_eq!((mirror.peer.as_str(), mirror.events_sent, mirror.events_received), ("mirror", Some(16), Some(16)));
    assert_eq!(report.connections[2].ends[0].events_received, Some(10_000));
}

#[test]
fn each_missing_line_fails_its_check() {
    for (text, expected) in [
        ("record=start", vec!["hypervisor"]),
        ("record=end", vec!["hypervisor"]),
        ("DEMO ready vm=vm1", vec!["boot-vm1", "console-vm1"]),
        ("check=devices vm=vm0", vec!["devices-vm0", "bars-vm0"]),
        ("check=reverse", vec!["reverse"]),
        ("side=send", vec!["bulk"]),
        ("side=receive", vec!["bulk"]),
        ("side=ping", vec!["ping"]),
        ("side=pong", vec!["ping"]),
        ("record=vm-stop vm=vm0", vec!["power-off-vm0"]),
        ("record=connection vm=vm1 name=ping", vec!["ping"]),
        ("record=component", vec!["reverse"]),
        ("record=bar-moved vm=vm0", vec!["bars-vm0"]),
    ] {
        assert_eq!(without(text).0, expected, "{text}");
    }
}

#[test]
fn another_kernel_than_the_package_fails() {
    let (failed, why) = failures("vm=vm1 kernel=6.1.0-56-cloud-arm64", "vm=vm1 kernel=6.6.6");
    assert_eq!(failed, ["boot-vm1"]);
    assert!(why.contains("runs kernel 6.6.6, the package has 6.1.0-56-cloud-arm64"), "{why}");
}

#[test]
fn a_corrupted_byte_fails_bulk_alone() {
    let (failed, why) = failures("side=receive bytes=67108864 sha256=59", "side=receive bytes=67108864 sha256=69");
    assert_eq!(failed, ["bulk"]);
    assert!(why.contains("SHA-256 differs"), "{why}");
    assert_eq!(report(&GOOD.replace("sha256=59", "sha256=69"), &run()).reasons, [""; 0], "equal sums on both sides are what counts");
}

#[test]
fn too_few_bytes_fail_bulk_even_with_equal_sums() {
    let (failed, why) = failures("bytes=67108864", "bytes=1048576");
    assert_eq!(failed, ["bulk"]);
    assert!(why.contains("1048576 bytes sent"), "{why}");
}

#[test]
fn a_lost_ping_fails_ping() {
    let (failed, why) = failures("side=ping sent=10000 received=10000", "side=ping sent=10000 received=9999");
    assert_eq!((failed, why.contains("received 9999")), (vec!["ping".to_owned()], true));
    let (failed, why) = failures("vm=vm1 name=ping emitted=10000 received=10000", "vm=vm1 name=ping emitted=10000 received=9999");
    assert_eq!((failed, why.contains("counted 10000 from vm0, and 9999 at vm1")), (vec!["ping".to_owned()], true));
    let (failed, why) = failures("name=ping emitted=10000 received=10000", "name=ping emitted=10001 received=10001");
    assert_eq!((failed, why.contains("counted 10001 events there")), (vec!["ping".to_owned()], true));
    let (failed, why) = failures("name=bulk emitted=129 received=129 dropped=0", "name=bulk emitted=129 received=129 dropped=1");
    assert_eq!((failed, why.contains("dropped 2 events")), (vec!["bulk".to_owned()], true));
}

#[test]
fn a_line_that_did_not_reach_the_component_fails_reverse() {
    let (failed, why) = failures("connection=reverse received=16 emitted=16", "connection=reverse received=15 emitted=16");
    assert_eq!((failed, why.contains("counted 16 from vm0, and 15 at mirror")), (vec!["reverse".to_owned()], true));
}

#[test]
fn a_bar_elsewhere_than_the_guest_sees_it_fails() {
    let (failed, why) = failures("reverse:1:0x10100000", "reverse:1:0x20000000");
    assert_eq!(failed, ["bars-vm0"]);
    assert!(why.contains("BAR 1 of `reverse` at 0x20000000"), "{why}");
}

#[test]
fn bars_that_never_moved_prove_nothing() {
    // vm1's BARs never had another address than the last.
    let still = |line: &str| match line.split_once("from=").zip(line.rsplit_once("to=")) {
        Some(((head, _), (_, to))) if head.contains("bar-moved vm=vm1") => format!("{head}from={to} to={to}\n"),
        _ => format!("{line}\n"),
    };
    let still: String = GOOD.lines().map(still).collect();
    let report = report(&still, &run());
    assert_eq!(report.reasons, ["bars-vm1: Linux moved no BAR, so nothing shows that memory follows"]);
}

#[test]
fn a_complaint_fails_the_console_check() {
    let line = "[vm1] [    0.000000] random: crng init done";
    let complaint = "[vm1] [    0.4] pci 0000:00:01.0: BAR 1: no space for [mem size 0x00100000 pref]";
    let (failed, why) = failures(line, complaint);
    assert_eq!(failed, ["console-vm1"]);
    assert!(why.contains("no space for"), "{why}");
}

#[test]
fn a_crash_in_the_middle_is_told_as_such() {
    let log: String = GOOD.lines().take_while(|line| !line.contains("check=bulk")).map(|line| format!("{line}\n")).collect();
    let crash = "[vm1] [  5.0] Kernel panic - not syncing: sysrq triggered crash\n[vmm] record=vm-stop vm=vm1 reason=reset ms=5000\n\
        [vm0] DEMO fail vm=vm0 check=bulk reason=no_receipt_of_chunk_60\n[vmm] record=vm-stop vm=vm0 reason=power-off ms=25000\n\
        [vmm] record=end reason=all-vms-stopped\n";
    let report = report(&(log + crash), &run());
    assert!(!report.ok && !report.passed("power-off-vm1") && !report.passed("console-vm1"));
    assert!(
        report.passed("power-off-vm0") && report.passed("reverse") == report.reasons.iter().all(|reason| !reason.starts_with("reverse"))
    );
    assert!(report.reasons.iter().any(|reason| reason == "bulk: vm0: no receipt of chunk 60"), "{:?}", report.reasons);
    assert!(
        report.reasons.iter().any(|reason| reason == "ping: vm0 did not get that far: bulk failed: no receipt of chunk 60"),
        "{:?}",
        report.reasons
    );
}

#[test]
fn a_run_that_does_not_end_well_fails() {
    for (ended, expected) in [
        (Ended::TimedOut(Duration::from_secs(180)), "still running after 180 s"),
        (Ended::Failed("qemu-system-aarch64 ended with exit status: 1: no such file".to_owned()), "no such file"),
        (Ended::Interrupted, "interrupted"),
        (Ended::Stopped, "was stopped"),
    ] {
        let report = report(GOOD, &Run { ended, ..run() });
        assert!(!report.ok && report.reasons.len() == 1 && report.reasons[0].contains(expected), "{:?}", report.reasons);
    }
}

#[test]
fn a_panic_of_the_hypervisor_is_the_reason() {
    let (failed, why) = failures("record=end reason=all-vms-stopped", "record=panic message=out_of_memory");
    assert_eq!(failed, ["hypervisor"]);
    assert!(why.contains("out_of_memory"), "{why}");
}

#[test]
fn an_empty_console_passes_nothing() {
    let report = report("", &run());
    assert!(report.checks.iter().all(|check| !check.ok));
}

#[test]
fn a_guest_cannot_speak_for_the_hypervisor_or_another_guest() {
    let forged = GOOD.replace("[vmm] record=vm-stop vm=vm0 reason=power-off", "[vm1] record=vm-stop vm=vm0 reason=power-off");
    assert!(!report(&forged, &run()).passed("power-off-vm0"));
    let forged = GOOD.replace("[vm0] DEMO check=reverse", "[vm1] DEMO check=reverse");
    assert!(!report(&forged, &run()).passed("reverse"));
}

#[test]
fn the_table_names_every_check_and_puts_reasons_first() {
    let shown = report(&GOOD.replace("check=reverse vm=vm0 ok=1", "check=reverse vm=vm0 ok=0"), &run()).show();
    assert!(shown.starts_with("FAILED:\n  - reverse: vm0 reports the check without success\n"), "{shown}");
    assert!(shown.contains("13 of 14 checks passed") && shown.contains("bars-vm1") && shown.contains("demo.log"), "{shown}");
}

#[test]
fn the_report_is_json_with_all_parts() {
    let json = serde_json::to_value(report(GOOD, &run())).unwrap();
    assert_eq!(json["ok"], true);
    assert_eq!(json["guests"][1]["exits"]["irq"], 11_445);
    assert_eq!(json["connections"][1]["bytes_verified"], 67_108_864);
    assert_eq!(json["connections"][2]["ends"][1]["events_sent"], 10_000);
}
