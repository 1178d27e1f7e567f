//! The verifier on a recorded run, and on the same run with one thing wrong.

use std::time::Duration;

use super::*;
use crate::launch::console::Line;
use crate::launch::{Ended, Irqchip};
use crate::manifest::Platform;

const GOOD: &str = include_str!("fixtures/good.log");

fn run() -> Run {
    Run {
        ended: Ended::PoweredOff,
        took: Duration::from_secs(15),
        place: None,
        kernel: "6.1.0-57-cloud-arm64".to_owned(),
        shutdown: false,
        log: "demo.log".to_owned(),
    }
}

fn report(log: &str, run: &Run) -> Report {
    let mut transcript = Transcript::default();
    for line in log.lines() {
        transcript.add(&Line::parse(Duration::ZERO, line));
    }
    verify(&transcript, run, Play::default(), Interrupts::Gic(crate::launch::Gic::V3))
}

/// The checks that fail in `log`, and the reasons.
fn verdict(log: &str) -> (Vec<String>, String) {
    let report = report(log, &run());
    assert_eq!(report.ok, report.reasons.is_empty());
    let failed = report.checks.iter().filter(|check| !check.ok).map(|check| check.name.clone()).collect();
    (failed, report.reasons.join("; "))
}

/// The checks that fail on the good run with the first `from` replaced by `to`, and the reasons.
fn failures(from: &str, to: &str) -> (Vec<String>, String) {
    assert!(GOOD.contains(from), "the recorded run has no `{from}`");
    verdict(&GOOD.replacen(from, to, 1))
}

/// The good run without the lines that contain `text`.
fn without(text: &str) -> (Vec<String>, String) {
    assert!(GOOD.contains(text), "the recorded run has no `{text}`");
    verdict(&GOOD.lines().filter(|line| !line.contains(text)).map(|line| format!("{line}\n")).collect::<String>())
}

/// The first line of the good run that contains all of `words`.
fn line(words: &[&str]) -> &'static str {
    let found = GOOD.lines().find(|line| words.iter().all(|word| line.contains(word)));
    found.unwrap_or_else(|| panic!("the recorded run has no line with {words:?}"))
}

/// What fails where `key` has another value in the line with all of `words`.
fn changed(words: &[&str], key: &str, value: &str) -> (Vec<String>, String) {
    let good = line(words);
    let old = good.split(' ').find(|word| word.starts_with(&format!("{key}="))).unwrap_or_else(|| panic!("no {key} in {good}"));
    failures(good, &good.replacen(old, &format!("{key}={value}"), 1))
}

#[test]
fn a_good_run_passes_and_tells_all_it_has_seen() {
    let report = report(GOOD, &run());
    assert_eq!(report.reasons, [""; 0]);
    assert!(report.ok && report.checks.len() == 32);
    let [vm0, vm1] = report.guests.as_slice() else { panic!("two guests") };
    assert_eq!((vm0.kernel.as_deref(), vm0.boot_seconds.len()), (Some("6.1.0-57-cloud-arm64"), 1));
    assert_eq!((vm1.boot_seconds.len(), vm1.stopped.as_deref()), (2, Some("power-off")));
    assert!(vm0.exits["data-abort"] > 10_000 && !vm0.bar_moves.is_empty());
    let bytes: Vec<_> = report.connections.iter().map(|connection| (connection.name.as_str(), connection.bytes_verified)).collect();
    let rest = ["ping", "ping-msix", "late", "late-msix"].map(|name| (name, 0));
    assert_eq!(bytes, [&[("reverse", 2616), ("bulk", (64 + 256 + 64) << 20)][..], &rest, &[("bulk-msix", (256 + 64) << 20)]].concat());
    let mirror = &report.connections[0].ends[1];
    assert_eq!((mirror.peer.as_str(), mirror.events_sent, mirror.events_received), ("mirror", Some(16), Some(16)));
    // Round trips before and after the reboot, events without answers, and two calls; then the command's doorbells: pong has told of 2781, the two met five
    // times, and a channel was opened, met and closed.
    assert_eq!(report.connections[2].ends[0].events_received, Some(10_000 + 1000 + 10_000 + 2 + 2781 + 5 + 3));
    assert_eq!(report.connections[4].ends[1].events_received, Some(5));
    let kinds = |kind: &str| vm1.interrupts.iter().filter(|line| line.kind == kind && line.count > 0).count();
    assert!(kinds("INTx") >= 3 && kinds("MSI-X") >= 3, "{:?}", vm1.interrupts);
}

#[test]
fn each_missing_line_fails_its_check() {
    for (text, expected) in [
        ("record=start", vec!["hypervisor"]),
        ("record=end", vec!["hypervisor"]),
        ("DEMO ready vm=vm0", vec!["boot-vm0", "console-vm0"]),
        ("check=devices vm=vm0", vec!["devices-vm0"]),
        ("DEMO device vm=vm0", vec!["devices-vm0", "bars-vm0"]),
        ("check=reverse", vec!["reverse"]),
        ("check=bulk vm=vm0", vec!["bulk"]),
        ("check=bulk vm=vm1", vec!["bulk"]),
        ("check=ping vm=vm0", vec!["ping"]),
        ("check=ping vm=vm1", vec!["ping"]),
        ("check=ping-msix vm=vm1", vec!["ping-msix"]),
        ("check=late vm=vm1", vec!["late"]),
        ("check=late-msix vm=vm1", vec!["late-msix"]),
        ("check=count vm=vm0", vec!["count"]),
        ("check=count-msix vm=vm1", vec!["count-msix"]),
        ("check=send vm=vm1", vec!["send"]),
        ("check=net-ping vm=vm0", vec!["net-ping"]),
        ("check=net-tcp-msix vm=vm0", vec!["net-tcp-msix"]),
        ("check=latency-msix vm=vm1", vec!["latency-msix", "events"]),
        ("check=session-again vm=vm0", vec!["reboot"]),
        ("check=session-again vm=vm1", vec!["reboot"]),
        ("check=resume vm=vm0", vec!["resume"]),
        ("check=resume-msix vm=vm1", vec!["resume-msix"]),
        ("DEMO interrupt vm=vm1 connection=ping-msix", vec!["interrupts"]),
        ("record=vm-stop vm=vm0", vec!["power-off-vm0"]),
        ("record=connection vm=vm1 name=ping ", vec!["events"]),
        ("record=component", vec!["reverse", "events"]),
        ("record=bar-moved vm=vm0", vec!["bars-vm0"]),
    ] {
        assert_eq!(without(text).0, expected, "{text}");
    }
}

#[test]
fn a_reboot_that_nobody_announced_is_a_crash() {
    let (failed, why) = without("DEMO leave vm=vm1");
    assert_eq!(failed, ["reboot"]);
    assert!(why.contains("crashed"), "{why}");
}

#[test]
fn a_vm_that_does_not_come_back_or_comes_twice_fails() {
    let away: String = GOOD.lines().take_while(|line| !line.contains("record=vm-reboot")).map(|line| format!("{line}\n")).collect();
    let (failed, why) = verdict(&(away + "[vmm] record=vm-stop vm=vm1 reason=power-off ms=1\n"));
    assert!(failed.contains(&"reboot".to_owned()) && failed.contains(&"resume".to_owned()), "{failed:?}");
    assert!(why.contains("vm1 did not come back"), "{why}");
    let again = line(&["record=vm-stop vm=vm1"]);
    let (failed, why) = failures(again, &format!("[vmm] record=vm-reboot vm=vm1 boot=3 ms=1\n{again}"));
    assert!(failed.contains(&"reboot".to_owned()) && why.contains("restarted 2 times"), "{why}");
    let again = line(&["record=vm-stop vm=vm0"]);
    let (failed, why) = failures(again, &format!("[vmm] record=vm-reboot vm=vm0 boot=2 ms=1\n{again}"));
    assert!(failed.contains(&"reboot".to_owned()) && why.contains("vm0 restarted"), "{why}");
}

#[test]
fn the_sides_must_agree_on_the_second_generation() {
    let (failed, why) = changed(&["check=session-again vm=vm0"], "generation", "1");
    assert_eq!((failed, why.contains("instead of 2")), (vec!["reboot".to_owned()], true));
}

#[test]
fn a_forgotten_early_event_fails_late() {
    let (failed, why) = changed(&["check=late vm=vm1"], "count", "4");
    assert_eq!((failed, why.contains("5 events were sent and 4 found")), (vec!["late".to_owned()], true));
    let (failed, why) = changed(&["check=late-msix vm=vm1"], "interrupts", "0");
    assert_eq!((failed, why.contains("0 interrupts")), (vec!["late-msix".to_owned()], true));
    let (failed, _) = changed(&["check=late-msix vm=vm1"], "interrupt", "INTx");
    assert_eq!(failed, ["late-msix"]);
}

#[test]
fn an_event_that_does_not_count_fails_count() {
    let (failed, why) = changed(&["check=count vm=vm1"], "received", "9999");
    assert_eq!((failed, why.contains("counted 9999")), (vec!["count".to_owned()], true));
    let (failed, _) = changed(&["check=count-msix vm=vm0"], "sent", "10001");
    assert_eq!(failed, ["count-msix"]);
}

#[test]
fn another_interrupt_or_driver_than_expected_fails() {
    let words = ["DEMO interrupt vm=vm0", "connection=ping-msix"];
    assert_eq!(changed(&words, "kind", "INTx").0, ["interrupts"]);
    assert_eq!(changed(&words, "driver", "uio_pci_generic").0, ["interrupts"]);
    assert_eq!(changed(&words, "count", "0").0, ["interrupts"]);
    assert_eq!(changed(&["DEMO device vm=vm1", "name=bulk"], "driver", "crossvm").0, ["devices-vm1"]);
    assert_eq!(changed(&["DEMO device vm=vm1", "name=late "], "driver", "uio_pci_generic").0, ["devices-vm1"], "not yet");
}

#[test]
fn another_kernel_than_the_package_fails() {
    let (failed, why) = changed(&["DEMO ready vm=vm1"], "kernel", "6.6.6");
    assert_eq!(failed, ["boot-vm1"]);
    assert!(why.contains("runs kernel 6.6.6, the package has 6.1.0-57-cloud-arm64"), "{why}");
}

#[test]
fn a_corrupted_byte_fails_bulk_alone() {
    let other = "0".repeat(64);
    let (failed, why) = changed(&["check=bulk vm=vm1"], "sha256", &other);
    assert_eq!(failed, ["bulk"]);
    assert!(why.contains("SHA-256 differs"), "{why}");
}

#[test]
fn too_few_bytes_fail_bulk_even_with_equal_sums() {
    let (failed, why) = changed(&["check=bulk vm=vm0"], "bytes", "1048576");
    assert_eq!(failed, ["bulk"]);
    assert!(why.contains("1048576 bytes sent"), "{why}");
}

#[test]
fn a_lost_ping_fails_ping() {
    let (failed, why) = changed(&["check=ping vm=vm0"], "received", "9999");
    assert_eq!((failed, why.contains("received 9999")), (vec!["ping".to_owned()], true));
}

#[test]
fn events_that_the_hypervisor_did_not_deliver_fail() {
    let record = ["record=connection vm=vm1 name=ping "];
    let (failed, why) = changed(&record, "received", "5");
    assert_eq!((failed, why.contains("and 5 at vm1")), (vec!["events".to_owned()], true));
    let (failed, why) = changed(&record, "dropped", "1");
    assert_eq!((failed, why.contains("dropped 1 events of `ping`")), (vec!["events".to_owned()], true));
    // Both sides' counts agree, and are not what the guests have sent.
    let extra = GOOD.replace(line(&record), &line(&record).replace("emitted=23791", "emitted=23801"));
    let other = line(&["record=connection vm=vm0 name=ping "]);
    let (failed, why) = verdict(&extra.replace(other, &other.replace("received=23791", "received=23801")));
    assert_eq!((failed, why.contains("there should be 23798 and 23788, and at most 8 more")), (vec!["events".to_owned()], true));
}

#[test]
fn a_line_that_did_not_reach_the_component_fails_reverse() {
    let (failed, why) = changed(&["record=component"], "received", "15");
    assert_eq!((failed, why.contains("counted 16 from vm0, and 15 at mirror")), (vec!["reverse".to_owned(), "events".to_owned()], true));
}

#[test]
fn a_bar_elsewhere_than_the_guest_sees_it_fails() {
    let words = ["DEMO device vm=vm0", "name=reverse"];
    let (failed, why) = changed(&words, "bars", "1:0x20000000:65536");
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
    let (failed, why) = verdict(&GOOD.lines().map(still).collect::<String>());
    assert_eq!(failed, ["bars-vm1"]);
    assert!(why.contains("Linux moved no BAR"), "{why}");
}

#[test]
fn a_complaint_fails_the_console_check() {
    let complaint = "[vm1] [    0.4] pci 0000:00:01.0: BAR 1: no space for [mem size 0x00100000 pref]";
    let (failed, why) = verdict(&format!("{GOOD}{complaint}\n"));
    assert_eq!(failed, ["console-vm1"]);
    assert!(why.contains("no space for"), "{why}");
}

#[test]
fn a_crash_in_the_middle_is_told_as_such() {
    let log: String = GOOD.lines().take_while(|line| !line.contains("check=bulk")).map(|line| format!("{line}\n")).collect();
    let crash = "[vm1] [  5.0] Kernel panic - not syncing: sysrq triggered crash\n[vmm] record=vm-reboot vm=vm1 boot=2 ms=5000\n\
        [vm1] DEMO ready vm=vm1 kernel=6.1.0-57-cloud-arm64 uptime_ms=1000 cpus=1\n\
        [vm1] DEMO fail vm=vm1 check=reboot reason=this_VM_crashed_in_its_generation_1\n[vmm] record=vm-stop vm=vm1 reason=power-off ms=9000\n\
        [vm0] DEMO fail vm=vm0 check=bulk reason=no_receipt_of_chunk_60\n[vmm] record=vm-stop vm=vm0 reason=power-off ms=25000\n\
        [vmm] record=end reason=all-vms-stopped\n";
    let report = report(&(log + crash), &run());
    assert!(!report.ok && !report.passed("reboot") && !report.passed("console-vm1") && report.passed("power-off-vm0"));
    let told = |reason: &str| report.reasons.iter().any(|told| told == reason);
    assert!(told("reboot: vm1 crashed: it restarted or stopped without having said so"), "{:?}", report.reasons);
    assert!(told("bulk: vm0: no receipt of chunk 60"), "{:?}", report.reasons);
    assert!(told("ping: vm0 did not get that far: bulk failed: no receipt of chunk 60"), "{:?}", report.reasons);
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
    assert!(report.checks.iter().all(|check| !check.ok), "{:?}", report.checks);
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
    assert!(shown.contains("31 of 32 checks passed") && shown.contains("bars-vm1") && shown.contains("demo.log"), "{shown}");
    assert!(shown.contains("line of /proc/interrupts") && shown.contains("MSI-X"), "{shown}");
}

#[test]
fn the_report_is_json_with_all_parts() {
    let json = serde_json::to_value(report(GOOD, &run())).unwrap();
    assert_eq!((&json["ok"], &json["gic"]), (&true.into(), &"3".into()));
    assert!(json["guests"][1]["exits"]["irq"].as_u64().unwrap() > 1000);
    assert_eq!(json["guests"][1]["interrupts"][0]["driver"], "uio_pci_generic");
    assert_eq!(json["connections"][1]["bytes_verified"], 402_653_184);
    assert_eq!((&json["tools"][0]["interrupt"], &json["tools"][1]["send"]["bytes"]), (&"INTx".into(), &268_435_456.into()));
    assert_eq!(json["connections"][2]["ends"][1]["events_sent"], 23_791);
}

/// A recorded run of x86-64 guests on KVM, with interrupt controllers in the kernel.
const KVM: &str = include_str!("fixtures/kvm.log");

fn on_kvm(log: &str, noapic: bool) -> Report {
    let mut transcript = Transcript::default();
    for line in log.lines() {
        transcript.add(&Line::parse(Duration::ZERO, line));
    }
    let play = Play { on: Platform::Kvm, rounds: super::super::usual_rounds(Platform::Kvm, None), tools: Tools::Off, ..Play::default() };
    let place = Some("running on this machine, because of a test".to_owned());
    let run = Run { kernel: "6.1.0-57-cloud-amd64".to_owned(), place, ..run() };
    verify(&transcript, &run, play, Interrupts::Pc { irqchip: Irqchip::Kernel, noapic })
}

#[test]
fn a_good_run_on_kvm_passes_and_tells_what_emits_cost() {
    let report = on_kvm(KVM, false);
    assert!(report.ok, "{:?}", report.reasons);
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!((&json["gic"], &json["interrupt_controller"]), (&serde_json::Value::Null, &"the kernel's IOAPIC".into()));
    let costs: Vec<_> = report.exits.iter().map(|cost| (cost.connection.as_str(), cost.exits.emit)).collect();
    assert_eq!(costs, [("ping", 0), ("ping-msix", 0), ("bulk", 0)]);
    assert!(report.show().contains("running on this machine, because of a test"));
}

#[test]
fn what_is_wrong_on_kvm_fails_its_check() {
    for (from, to, noapic, culprit) in [
        ("exits_emit=0", "exits_emit=1", false, "exits"),
        ("ACPI: Using IOAPIC for interrupt routing", "ACPI: Using PIC for interrupt routing", false, "machine-vm0"),
        ("nothing", "nothing", true, "machine-vm0"),
        ("[size=64K]", "[size=4K]", false, "lspci-vm0"),
        ("PCI: Using ACPI for IRQ routing", "PCI: not using MMCONFIG", false, "console-vm0"),
    ] {
        let report = on_kvm(&KVM.replace(from, to), noapic);
        assert!(!report.ok && report.check(culprit).is_some_and(|check| !check.ok), "{from}: {:?}", report.reasons);
    }
}
