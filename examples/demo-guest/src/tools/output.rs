//! What programs say: the JSON of the `crossvm` command, and busybox' words.

use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::Findings;

/// The one object that a program has printed.
fn object<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_str(text).map_err(|error| format!("not the JSON that was asked for ({error}): {}", text.trim()))
}

/// The command has reported on the connection that it was started for.
fn same_connection(told: &str, connection: &str) -> Result<(), String> {
    if told == connection { Ok(()) } else { Err(format!("the command reports on `{told}` instead of `{connection}`")) }
}

/// A number of some unit without its fraction. Nothing that is reported is negative, or comes near the end of 64 bits.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped by `as`, and a report all the same")]
fn whole(number: f64) -> String {
    (number.round() as u64).to_string()
}

/// The report of `crossvm send` and `crossvm recv`.
#[derive(Debug, Deserialize)]
pub(super) struct Transfer {
    connection: String,
    role: String,
    bytes: u64,
    sha256: String,
    seconds: f64,
    bytes_per_second: f64,
    messages: u64,
    doorbells: u64,
    sleeps: u64,
}

impl Transfer {
    /// Reads the report of a transfer of `bytes` bytes.
    pub(super) fn read(text: &str, connection: &str, role: &str, bytes: u64) -> Result<Self, String> {
        let told: Self = object(text)?;
        same_connection(&told.connection, connection)?;
        if (told.role.as_str(), told.bytes) != (role, bytes) {
            return Err(format!("the command reports `{}` of {} bytes; it was `{role}` of {bytes}", told.role, told.bytes));
        }
        Ok(told)
    }

    /// What is reported of this side, which has hashed the file itself: the digests must agree.
    pub(super) fn findings(&self, side: &str, digest: &str, took: Duration) -> Result<Findings, String> {
        if self.sha256 != digest {
            return Err(format!("the command's SHA-256 is {}, the file's is {digest}", self.sha256));
        }
        Ok(vec![
            ("side", side.to_owned()),
            ("bytes", self.bytes.to_string()),
            ("sha256", digest.to_owned()),
            ("ms", took.as_millis().to_string()),
            ("us", whole(self.seconds * 1e6)),
            ("rate", whole(self.bytes_per_second)),
            ("messages", self.messages.to_string()),
            ("doorbells", self.doorbells.to_string()),
            ("sleeps", self.sleeps.to_string()),
        ])
    }
}

/// The report of `crossvm ping`.
#[derive(Debug, Deserialize)]
pub(super) struct Latency {
    connection: String,
    sent: u64,
    received: u64,
    size: u64,
    nanoseconds: Nanoseconds,
    doorbells: u64,
    sleeps: u64,
}

#[derive(Debug, Deserialize)]
struct Nanoseconds {
    min: f64,
    mean: f64,
    p50: f64,
    p90: f64,
    p99: f64,
    p999: f64,
    max: f64,
}

impl Latency {
    /// Reads the report of `count` round trips.
    pub(super) fn read(text: &str, connection: &str, count: u64) -> Result<Self, String> {
        let told: Self = object(text)?;
        same_connection(&told.connection, connection)?;
        if [told.sent, told.received] != [count; 2] {
            return Err(format!("{} pings were sent and {} answered; there should be {count}", told.sent, told.received));
        }
        Ok(told)
    }

    pub(super) fn findings(&self) -> Findings {
        let times = &self.nanoseconds;
        vec![
            ("side", "ping".to_owned()),
            ("sent", self.sent.to_string()),
            ("received", self.received.to_string()),
            ("size", self.size.to_string()),
            ("min", whole(times.min)),
            ("mean", whole(times.mean)),
            ("p50", whole(times.p50)),
            ("p90", whole(times.p90)),
            ("p99", whole(times.p99)),
            ("p999", whole(times.p999)),
            ("max", whole(times.max)),
            ("doorbells", self.doorbells.to_string()),
            ("sleeps", self.sleeps.to_string()),
        ]
    }
}

/// The report of `crossvm pong`.
#[derive(Debug, Deserialize)]
pub(super) struct Answered {
    connection: String,
    answered: u64,
    doorbells: u64,
    sleeps: u64,
}

impl Answered {
    /// Reads the report of `count` answers.
    pub(super) fn read(text: &str, connection: &str, count: u64) -> Result<Self, String> {
        let told: Self = object(text)?;
        same_connection(&told.connection, connection)?;
        if told.answered != count {
            return Err(format!("{} pings were answered; there should be {count}", told.answered));
        }
        Ok(told)
    }

    pub(super) fn findings(&self) -> Findings {
        vec![
            ("side", "pong".to_owned()),
            ("answered", self.answered.to_string()),
            ("doorbells", self.doorbells.to_string()),
            ("sleeps", self.sleeps.to_string()),
        ]
    }
}

/// The last lines of busybox' `ping`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Pinged {
    sent: u64,
    received: u64,
    /// Least, mean and most of the round trips, in milliseconds.
    times: [f64; 3],
}

impl Pinged {
    /// Reads `20 packets transmitted, 20 packets received, 0% packet loss` and `round-trip min/avg/max = 0.4/0.6/1.9 ms`.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let read = || {
            let counts = text.lines().find(|line| line.contains("packets transmitted"))?;
            let mut counts = counts.split(", ").map(|part| part.split(' ').next()?.parse().ok());
            let (sent, received) = (counts.next()??, counts.next()??);
            let times = text.lines().find_map(|line| line.strip_prefix("round-trip min/avg/max = ")?.strip_suffix(" ms"))?;
            let mut times = times.split('/').map(|time| time.parse().ok());
            Some(Self { sent, received, times: [times.next()??, times.next()??, times.next()??] })
        };
        read().ok_or_else(|| format!("ping says: {}", text.trim()))
    }

    /// All of `count` packets were answered.
    pub(super) fn findings(&self, count: u64) -> Result<Findings, String> {
        if [self.sent, self.received] != [count; 2] {
            return Err(format!("{} packets were sent and {} answered; there should be {count}", self.sent, self.received));
        }
        let [min, mean, max] = self.times.map(|milliseconds| whole(milliseconds * 1e3));
        let counts = [("sent", self.sent.to_string()), ("received", self.received.to_string())];
        Ok(counts.into_iter().chain([("min_us", min), ("mean_us", mean), ("max_us", max)]).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SENT: &str = r#"{"connection":"bulk","role":"send","bytes":5,"sha256":"abc","seconds":1.23,"bytes_per_second":4.06,
        "messages":2,"doorbells":1,"sleeps":0}"#;

    fn value<'a>(findings: &'a Findings, key: &str) -> &'a str {
        findings.iter().find(|(name, _)| *name == key).map_or("", |(_, value)| value)
    }

    #[test]
    fn a_transfer_is_what_was_asked_for() {
        let transfer = Transfer::read(SENT, "bulk", "send", 5).unwrap();
        let findings = transfer.findings("send", "abc", Duration::from_secs(2)).unwrap();
        assert_eq!(["us", "rate", "ms"].map(|key| value(&findings, key)), ["1230000", "4", "2000"]);
        assert!(transfer.findings("send", "abd", Duration::ZERO).unwrap_err().contains("the file's is abd"));
        for (connection, role, bytes) in [("bulk-msix", "send", 5), ("bulk", "recv", 5), ("bulk", "send", 6)] {
            assert!(Transfer::read(SENT, connection, role, bytes).is_err());
        }
        assert!(Transfer::read("{}", "bulk", "send", 5).unwrap_err().contains("not the JSON"));
    }

    #[test]
    fn every_ping_must_have_been_answered() {
        let text = r#"{"connection":"ping","sent":10,"received":10,"size":64,"nanoseconds":{"min":1,"mean":2.6,"p50":2,"p90":3,"p99":4,
            "p999":5,"max":6},"doorbells":7,"sleeps":8}"#;
        let findings = Latency::read(text, "ping", 10).unwrap().findings();
        assert_eq!((value(&findings, "mean"), value(&findings, "max")), ("3", "6"));
        assert!(Latency::read(text, "ping", 11).is_err());
        assert!(Latency::read(&text.replace(r#""received":10"#, r#""received":9"#), "ping", 10).unwrap_err().contains("9 answered"));
        let text = r#"{"connection":"ping","answered":10,"doorbells":7,"sleeps":8}"#;
        assert_eq!(value(&Answered::read(text, "ping", 10).unwrap().findings(), "answered"), "10");
        assert!(Answered::read(text, "ping", 9).is_err());
    }

    #[test]
    fn busybox_ping_is_understood() {
        let text = "PING 10.77.0.2 (10.77.0.2): 56 data bytes\n\n--- 10.77.0.2 ping statistics ---\n\
                    20 packets transmitted, 20 packets received, 0% packet loss\nround-trip min/avg/max = 0.402/0.611/1.900 ms\n";
        let findings = Pinged::read(text).unwrap().findings(20).unwrap();
        assert_eq!((value(&findings, "min_us"), value(&findings, "max_us")), ("402", "1900"));
        let lost = text.replace("20 packets received, 0%", "19 packets received, 5%");
        assert!(Pinged::read(&lost).unwrap().findings(20).unwrap_err().contains("19 answered"));
        let all = "20 packets transmitted, 0 packets received, 100% packet loss\n";
        assert!(Pinged::read(all).unwrap_err().contains("100% packet loss"));
    }
}
