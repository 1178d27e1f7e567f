//! Checks `send`, `net-ping`, `net-tcp` and `latency`, and the same with `-msix`: the `crossvm` command as a user runs it, on both VMs.
//!
//! ```text
//!              vm0                                              vm1
//!   send       crossvm send bulk FILE         ──────▶  crossvm recv bulk FILE     of random bytes; both hash the file themselves
//!              crossvm net bulk --side a      ◀─────▶  crossvm net bulk --side b
//!   net-ping     ping 10.77.0.2               ◀─────▶  (the kernel answers)
//!   net-tcp      nc 10.77.0.2 5000 <FILE      ──────▶    nc -l -p 5000 >FILE
//!   latency    crossvm ping ping              ◀─────▶  crossvm pong ping
//! ```
//!
//! First by the stock driver, on `bulk` and `ping`; then by ours, on `bulk-msix` and `ping-msix`. Between two steps the sides [meet] on the
//! connection that the step did not use, and the doorbells that its programs have left are taken away.

mod file;
mod meet;
mod network;
mod output;
mod process;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crossvm_guest::System;

use crate::report::{Failure, Report};
use crate::settings::{Role, Settings, Tools};
use file::{Payload, digest_of};
use meet::Meeting;
use output::{Answered, Latency, Transfer};
use process::{Program, Running};

/// The connections of one driver, and the names of its checks.
#[derive(Debug, Clone, Copy)]
struct Set {
    bulk: &'static str,
    ping: &'static str,
    send: &'static str,
    net: &'static str,
    net_ping: &'static str,
    net_tcp: &'static str,
    latency: &'static str,
}

const SETS: [Set; 2] = [
    Set { bulk: "bulk", ping: "ping", send: "send", net: "net", net_ping: "net-ping", net_tcp: "net-tcp", latency: "latency" },
    Set {
        bulk: "bulk-msix",
        ping: "ping-msix",
        send: "send-msix",
        net: "net-msix",
        net_ping: "net-ping-msix",
        net_tcp: "net-tcp-msix",
        latency: "latency-msix",
    },
];

/// Where files are: in memory.
const FOLDER: &str = "/tmp";
/// Length of a message of `crossvm ping`, in bytes.
const PING_SIZE: &str = "64";
/// How much longer than the peer's silence a whole program may take.
const WHOLE: u32 = 5;

/// What the steps need to know.
#[derive(Debug)]
struct Bench<'a> {
    crossvm: Program,
    /// busybox' `ping` and `nc`.
    ping: Program,
    nc: Program,
    folder: &'a Path,
    report: &'a Report,
    tools: Tools,
    /// How long the command waits for its peer without progress.
    silence: Duration,
}

/// Findings of a check.
type Findings = Vec<(&'static str, String)>;

/// Plays this VM's part.
pub(crate) fn check(role: Role, system: &System, settings: &Settings, report: &Report) -> Result<(), Failure> {
    if settings.tools == Tools::Off {
        return Ok(());
    }
    let bench = Bench {
        crossvm: Program::new("crossvm"),
        ping: Program::new("busybox").with("ping"),
        nc: Program::new("busybox").with("nc"),
        folder: Path::new(FOLDER),
        report,
        tools: settings.tools,
        silence: settings.timeout,
    };
    for set in SETS {
        let meeting = |own: &'static str, other: &'static str| Meeting::new(system, role, other, own, bench.whole());
        let (on_ping, on_bulk) = (meeting(set.bulk, set.ping), meeting(set.ping, set.bulk));
        let fail = |check: &'static str| move |reason: String| Failure::new(check, reason);
        match role {
            Role::Vm0 => bench.send(set, || on_ping.meet()),
            Role::Vm1 => bench.receive(set, || on_ping.meet()),
        }
        .and_then(|()| on_ping.part())
        .map_err(fail(set.send))?;
        match role {
            Role::Vm0 => network::first(&bench, set, &on_ping)?,
            Role::Vm1 => network::second(&bench, set, &on_ping)?,
        }
        on_ping.part().map_err(fail(set.net))?;
        match role {
            Role::Vm0 => bench.ping(set),
            Role::Vm1 => bench.pong(set),
        }
        .and_then(|()| on_bulk.part())
        .map_err(fail(set.latency))?;
    }
    Ok(())
}

impl Bench<'_> {
    /// How long a program may take in all.
    fn whole(&self) -> Duration {
        self.silence.saturating_mul(WHOLE)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// A channel verb of the command on `connection`, which shall report as JSON.
    fn verb(&self, verb: &str, connection: &str) -> Result<Running, String> {
        self.verb_with(verb, connection, &[])
    }

    fn verb_with(&self, verb: &str, connection: &str, more: &[&str]) -> Result<Running, String> {
        let timeout = self.silence.as_secs().to_string();
        self.crossvm.start([&[verb, connection], more, &["--json", "--timeout", &timeout]].concat())
    }

    /// Sends a file of random bytes, once the peer is `ready` too: the file takes a while.
    fn send(&self, set: Set, ready: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
        let payload = Payload::random(self.path("sent"), self.tools.file_bytes())?;
        ready()?;
        let begin = Instant::now();
        let told = self.verb_with("send", set.bulk, &[payload.shown()?])?.wait(self.whole())?;
        let took = begin.elapsed();
        let transfer = Transfer::read(&told, set.bulk, "send", payload.bytes)?;
        self.report.pass(set.send, &transfer.findings("send", &payload.digest, took)?);
        Ok(())
    }

    /// Receives it, and looks into the file.
    fn receive(&self, set: Set, ready: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
        let place = Payload::to_come(self.path("received"));
        ready()?;
        let begin = Instant::now();
        let told = self.verb_with("recv", set.bulk, &[place.shown()?])?.wait(self.whole())?;
        let took = begin.elapsed();
        let (bytes, digest) = digest_of(&place.path)?;
        let transfer = Transfer::read(&told, set.bulk, "recv", bytes)?;
        self.report.pass(set.send, &transfer.findings("receive", &digest, took)?);
        Ok(())
    }

    /// Measures round trips.
    fn ping(&self, set: Set) -> Result<(), String> {
        let count = self.tools.pings();
        let told = self.verb_with("ping", set.ping, &["--count", &count.to_string(), "--size", PING_SIZE])?.wait(self.whole())?;
        self.report.pass(set.latency, &Latency::read(&told, set.ping, count)?.findings());
        Ok(())
    }

    /// Answers them.
    fn pong(&self, set: Set) -> Result<(), String> {
        let told = self.verb("pong", set.ping)?.wait(self.whole())?;
        self.report.pass(set.latency, &Answered::read(&told, set.ping, self.tools.pings())?.findings());
        Ok(())
    }
}

#[cfg(test)]
#[path = "tools/tests.rs"]
mod tests;
