//! What is told of the `crossvm` command, and the same with one thing wrong.

use std::time::Duration;

use super::*;
use crate::launch::console::Line;

/// What both guests say of one driver's connections. `{0}` is what is behind the names of the checks, `{1}` and `{2}` are digests.
const SAID: &str = "\
[vm0] DEMO check=send{0} vm=vm0 ok=1 side=send bytes=16777216 sha256={1} ms=2100 us=2000000 rate=8388608 messages=300 doorbells=40 sleeps=7
[vm1] DEMO check=send{0} vm=vm1 ok=1 side=receive bytes=16777216 sha256={1} ms=2300 us=1900000 rate=8830113 messages=300 doorbells=50 sleeps=9
[vm0] DEMO check=net-ping{0} vm=vm0 ok=1 sent=20 received=20 min_us=402 mean_us=611 max_us=1900
[vm0] DEMO check=net-tcp{0} vm=vm0 ok=1 side=send bytes=4194304 sha256={2} us=4000000
[vm1] DEMO check=net-tcp{0} vm=vm1 ok=1 side=receive bytes=4194304 sha256={2} us=4100000
[vm0] DEMO check=latency{0} vm=vm0 ok=1 side=ping sent=1000 received=1000 size=64 min=90000 mean=130000 p50=120000 p90=150000 p99=300000 p999=900000 max=2000000 doorbells=990 sleeps=980
[vm1] DEMO check=latency{0} vm=vm1 ok=1 side=pong answered=1000 doorbells=991 sleeps=979
";

fn said() -> String {
    let of = |suffix: &str| SAID.replace("{0}", suffix).replace("{1}", &"a1".repeat(32)).replace("{2}", &"b2".repeat(32));
    of("") + &of("-msix")
}

fn transcript(text: &str) -> Transcript {
    let mut transcript = Transcript::default();
    for line in text.lines() {
        transcript.add(&Line::parse(Duration::ZERO, line));
    }
    transcript
}

/// The checks that fail, and why the first does.
fn failed(text: &str) -> (Vec<String>, String) {
    let failed: Vec<_> = checks(&transcript(text), Tools::Brief).into_iter().filter(|check| !check.ok).collect();
    let why = failed.first().map_or_else(String::new, |check| check.detail.clone());
    (failed.into_iter().map(|check| check.name).collect(), why)
}

#[test]
fn all_that_was_tried_is_verified_and_its_rates_are_told() {
    let transcript = transcript(&said());
    let checks = checks(&transcript, Tools::Brief);
    let names: Vec<_> = checks.iter().map(|check| check.name.as_str()).collect();
    assert_eq!(names[..4], ["send", "net-ping", "net-tcp", "latency"]);
    assert_eq!(names[4..], ["send-msix", "net-ping-msix", "net-tcp-msix", "latency-msix"]);
    assert!(checks.iter().all(|check| check.ok), "{checks:?}");
    let rates = rates(&transcript, Tools::Brief);
    let shown = rates_table(&rates).to_string();
    for words in [
        "uio_pci_generic (INTx)",
        "crossvm (MSI-X)",
        "16 MiB in 2.0 s: 8.0 MiB/s",
        "90, 16",
        "median 120.0 µs",
        "402 to 1900 µs",
        "1.0 MiB/s",
    ] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    let json = serde_json::to_value(&rates).unwrap();
    assert_eq!((&json[1]["driver"], &json[1]["send"]["connection"]), (&"crossvm".into(), &"bulk-msix".into()));
    assert_eq!((&json[0]["send"]["bytes_per_second"], &json[0]["net_tcp"]["bytes_per_second"]), (&8_388_608.into(), &1_048_576.into()));
    assert_eq!((&json[0]["ping"]["nanoseconds"]["p99"], &json[0]["ping"]["doorbells"]), (&300_000.into(), &1981.into()));
}

#[test]
fn what_is_off_is_neither_wanted_nor_told() {
    let silent = transcript("");
    assert!(checks(&silent, Tools::Off).is_empty() && rates(&silent, Tools::Off).is_empty());
    assert_eq!((bytes(&silent, Tools::Off, "bulk"), events(&silent, Tools::Off, "ping")), (0, [0; 2]));
}

#[test]
fn each_missing_line_fails_its_check() {
    let good = said();
    for line in good.lines() {
        let name = line.split("check=").nth(1).and_then(|rest| rest.split(' ').next()).unwrap();
        let text: String = good.lines().filter(|other| *other != line).map(|line| format!("{line}\n")).collect();
        assert_eq!(failed(&text).0, [name], "without {line}");
    }
}

#[test]
fn each_wrong_word_fails_its_check() {
    let (a, b) = ("a1".repeat(32), "b2".repeat(32));
    for (at, from, to, culprit, told) in [
        ("side=receive bytes=16777216", a.as_str(), "c3".repeat(32).as_str(), "send", "SHA-256 differs"),
        ("side=send bytes=16777216", "bytes=16777216", "bytes=16777215", "send", "16777215 bytes sent"),
        ("side=receive bytes=16777216", a.as_str(), "a1", "send", "no SHA-256"),
        ("side=send bytes=16777216", "us=2000000", "us=soon", "send", "no rate"),
        ("side=receive bytes=4194304", b.as_str(), a.as_str(), "net-tcp", "SHA-256 differs"),
        ("side=receive bytes=4194304", "bytes=4194304", "bytes=0", "net-tcp", "0 received"),
        ("check=net-ping ", "received=20", "received=19", "net-ping", "19 answered"),
        ("check=net-ping ", "max_us=1900", "max_us=", "net-ping", "no times"),
        ("check=latency vm=vm0", "received=1000", "received=999", "latency", "999 received"),
        ("check=latency vm=vm1", "answered=1000", "answered=1001", "latency", "1001 answered"),
        ("check=latency vm=vm0", "p99=300000", "p98=300000", "latency", "no times"),
        ("check=latency vm=vm1", "side=pong", "side=ping", "latency", "did not take the side"),
    ] {
        let good = said();
        let line = good.lines().find(|line| line.contains(at)).unwrap();
        let (names, why) = failed(&good.replacen(line, &line.replacen(from, to, 1), 1));
        assert_eq!(names, [culprit], "{from} became {to}");
        assert!(why.contains(told), "{from} became {to}: {why}");
    }
}

#[test]
fn a_guest_that_gave_up_is_the_reason() {
    let good = said();
    let line = good.lines().find(|line| line.contains("check=net-tcp vm=vm1")).unwrap();
    let gave_up = good.replace(line, "[vm1] DEMO fail vm=vm1 check=net-tcp reason=`busybox_nc`_has_not_ended_in_300_s");
    let (names, why) = failed(&gave_up);
    assert_eq!((names, why.as_str()), (vec!["net-tcp".to_owned()], "vm1: `busybox nc` has not ended in 300 s"));
}

#[test]
fn bytes_and_events_are_those_of_the_connection() {
    let transcript = transcript(&said());
    assert_eq!(["bulk", "bulk-msix", "ping"].map(|name| bytes(&transcript, Tools::Brief, name)), [20 << 20, 20 << 20, 0]);
    assert_eq!(events(&transcript, Tools::Brief, "ping"), [990 + MEETINGS, 991 + MEETINGS]);
    assert_eq!(events(&transcript, Tools::Brief, "bulk"), [0; 2]);
}
