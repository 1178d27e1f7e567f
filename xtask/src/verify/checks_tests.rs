//! The verifier on a run as it should be, and on the same run with one thing wrong.

use std::time::Duration;

use crossvm_manifest::manifest::{Manifest, Source};

use super::*;
use crate::launch::Ended;
use crate::launch::console::Line;

const GOOD: &str = include_str!("fixtures/good.log");

/// The system of the recorded run: every kind of connection, in two VMs.
fn system() -> System {
    let source = Source::new("good.toml", include_str!("fixtures/good.toml"));
    crate::manifest::wiring(&Manifest::parse(&source).unwrap())
}

fn report(log: &str, ended: Ended) -> Report {
    let mut transcript = Transcript::default();
    for line in log.lines() {
        transcript.add(&Line::parse(Duration::ZERO, line));
    }
    let run = Run {
        ended,
        took: Duration::from_secs(9),
        place: None,
        kernel: "6.1.0-56-cloud-arm64".to_owned(),
        shutdown: false,
        log: "verify.log".to_owned(),
    };
    verify(&system(), &transcript, &run, Interrupts::Gic(crate::launch::Gic::V3))
}

/// What fails on the good run with `from` replaced by `to`, and the reasons.
fn failures(from: &str, to: &str) -> (Vec<String>, String) {
    assert!(GOOD.contains(from), "the recorded run has no `{from}`");
    verdict(&GOOD.replacen(from, to, 1))
}

/// What fails on the good run without the first line that contains all of `words`.
fn without(words: &[&str]) -> (Vec<String>, String) {
    let place = GOOD.lines().position(|line| words.iter().all(|word| line.contains(word)));
    let place = place.unwrap_or_else(|| panic!("the recorded run has no line with {words:?}"));
    verdict(&GOOD.lines().enumerate().filter(|(number, _)| *number != place).map(|(_, line)| format!("{line}\n")).collect::<String>())
}

fn verdict(log: &str) -> (Vec<String>, String) {
    let report = report(log, Ended::PoweredOff);
    assert_eq!(report.ok, report.reasons.is_empty());
    let checks = report.checks.iter().filter(|check| !check.ok).map(|check| check.name.clone());
    let links = report.links.iter().filter(|link| !link.ok).map(|link| link.name.clone());
    (checks.chain(links).collect(), report.reasons.join("; "))
}

#[test]
fn a_good_run_passes_and_tells_all_it_has_seen() {
    let report = report(GOOD, Ended::PoweredOff);
    assert_eq!(report.reasons, [""; 0]);
    assert!(report.ok && report.checks.len() == 11 && report.links.len() == 6);
    let [both, one_way, bells, echo, crc, feed] = report.links.as_slice() else { panic!("six connections") };
    assert_eq!((both.bytes_verified, one_way.bytes_verified), (2 * (12 << 10), (1 << 20) + 4096));
    assert!(both.detail.contains("24 KiB both ways, CRC-32 equal"), "{}", both.detail);
    assert!(one_way.detail.contains("stores to read-only memory had no effect"), "{}", one_way.detail);
    assert!(bells.detail.contains("events, exact") && bells.bytes_verified == 0);
    assert!(echo.bytes_verified > 0 && crc.bytes_verified == 3 << 20 && feed.bytes_verified == 3 * (64 << 10));
    let shown = report.show();
    assert!(shown.contains("17 of 17 checks passed") && shown.contains("verify.log") && !shown.contains("FAILED"), "{shown}");
}

#[test]
fn each_missing_line_fails_its_check() {
    for (words, expected) in [
        (&["record=start"][..], vec!["hypervisor"]),
        (&["record=end"], vec!["hypervisor"]),
        (&["DEMO ready vm=right"], vec!["boot-right", "console-right"]),
        (&["check=devices vm=left"], vec!["devices-left"]),
        (&["DEMO device vm=left", "name=feed"], vec!["devices-left"]),
        (&["DEMO link vm=left", "name=both-ways"], vec!["both-ways"]),
        (&["DEMO link vm=right", "name=one-way"], vec!["one-way"]),
        (&["DEMO link vm=left", "name=feed"], vec!["feed"]),
        (&["record=vm-stop vm=right"], vec!["power-off-right"]),
        (&["record=connection vm=left name=bells"], vec!["bells"]),
        (&["record=component", "connection=crc"], vec!["crc"]),
    ] {
        assert_eq!(without(words).0, expected, "{words:?}");
    }
}

#[test]
fn one_wrong_value_fails_its_connection() {
    let line = |vm: &str, name: &str| {
        let start = format!("DEMO link vm={vm} ok=1 name={name} ");
        GOOD.lines().find(|line| line.contains(&start)).unwrap_or_else(|| panic!("the recorded run has no line of {name} in {vm}"))
    };
    let value = |line: &str, key: &str| {
        let start = line.find(&format!(" {key}=")).unwrap_or_else(|| panic!("no {key} in {line}")) + 1;
        line[start..].split(' ').next().unwrap().to_owned()
    };
    for (vm, name, key, wrong, why) in [
        ("right", "both-ways", "sums", "sums=00000000+00000000", "checksums differ"),
        ("left", "both-ways", "bytes", "bytes=12288", "bytes went through"),
        ("left", "both-ways", "sizes", "sizes=16384", "instead of 12288"),
        ("left", "one-way", "rights", "rights=rw+rw", "its rights are rw+rw"),
        ("left", "one-way", "refused", "refused=0", "did not try to store"),
        ("left", "both-ways", "interrupts", "interrupts=0", "never interrupted"),
        ("right", "bells", "emitted", "emitted=1", "the hypervisor counted"),
        ("left", "crc", "bytes", "bytes=4096", "should be at least 1048576"),
        ("left", "feed", "bytes", "bytes=0", "should be at least 65536"),
        ("right", "both-ways", "ok", "ok=0", "reported nothing"),
    ] {
        let good = line(vm, name);
        let bad = good.replacen(&value(good, key), wrong, 1);
        assert_ne!(good, bad);
        let (failed, reasons) = failures(good, &bad);
        assert_eq!(failed, [name], "{wrong}: {reasons}");
        assert!(reasons.contains(why), "{wrong}: {reasons}");
    }
}

#[test]
fn an_event_that_the_hypervisor_lost_fails_its_connection() {
    let record = GOOD.lines().find(|line| line.contains("record=connection vm=left name=both-ways")).unwrap();
    let received = record.split(' ').find(|word| word.starts_with("received=")).unwrap();
    let (failed, why) = failures(record, &record.replace(received, "received=1"));
    assert_eq!(failed, ["both-ways"]);
    assert!(why.contains("events lost"), "{why}");
    let (failed, _) = failures(record, &record.replace("dropped=0", "dropped=1"));
    assert_eq!(failed, ["both-ways"]);
}

#[test]
fn a_guest_with_other_connections_or_drivers_or_cpus_fails() {
    assert_eq!(failures("device vm=left name=both-ways", "device vm=left name=both").0, ["devices-left"]);
    let device = GOOD.lines().find(|line| line.contains("DEMO device vm=left name=feed")).unwrap();
    let (failed, why) = failures(device, &device.replace("driver=uio_pci_generic", "driver=crossvm"));
    assert_eq!(failed, ["devices-left"]);
    assert!(why.contains("it should see"), "{why}");
    let (failed, why) = failures(" cpus=2", " cpus=1");
    assert_eq!(failed, ["boot-right"]);
    assert!(why.contains("1 of 2 CPUs"), "{why}");
}

#[test]
fn a_guest_that_fails_gives_the_reason() {
    let (failed, why) = failures("DEMO done vm=left", "DEMO fail vm=left check=link reason=feed:_no_data_of_event_1_within_60_s");
    assert!(failed.is_empty(), "all of its connections were reported before");
    assert_eq!(why, "left gave up at `link`: feed: no data of event 1 within 60 s");
    let line = GOOD.lines().find(|line| line.contains("DEMO link vm=left ok=1 name=feed")).unwrap();
    let (failed, why) = failures(line, "[left] DEMO fail vm=left check=link reason=feed:_no_data_of_event_1_within_60_s");
    assert_eq!(failed, ["feed"]);
    assert!(why.contains("left: link failed: feed: no data of event 1 within 60 s"), "{why}");
}

#[test]
fn a_run_that_does_not_end_well_fails() {
    let report = report(GOOD, Ended::TimedOut(Duration::from_secs(400)));
    assert_eq!(report.reasons, ["hypervisor: the machine was still running after 400 s"]);
    assert!(report.show().starts_with("FAILED:\n  - hypervisor: "));
}

#[test]
fn an_empty_console_passes_nothing() {
    let report = report("", Ended::PoweredOff);
    assert!(report.checks.iter().all(|check| !check.ok) && report.links.iter().all(|link| !link.ok));
}
