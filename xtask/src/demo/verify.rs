//! From what the console says to what it proves. Pure: the same lines give the same report.

use std::collections::BTreeSet;
use std::time::Duration;

use super::report::{Check, ConnectionReport, EndReport, GuestReport, Report};
use super::scenario::{BULK_BYTES, CONNECTIONS, Ends, PINGS, Sabotage, VMS};
use super::transcript::{Counts, Guest, POWER_OFF, Transcript};
use crate::launch::Ended;
use crate::progress::seconds;

/// What a check has seen, or why it failed.
type Finding = Result<String, String>;

/// What is known about a run beside its console.
#[derive(Debug, Clone)]
pub(super) struct Run {
    pub(super) ended: Ended,
    pub(super) took: Duration,
    /// The kernel release that the package has.
    pub(super) kernel: String,
    pub(super) sabotage: Option<Sabotage>,
    /// Path of the console's log.
    pub(super) log: String,
}

/// Makes every check.
pub(super) fn verify(transcript: &Transcript, run: &Run) -> Report {
    let mut checks = vec![check("hypervisor", hypervisor(transcript, run))];
    for name in VMS {
        let guest = transcript.guest(name);
        checks.push(check(&format!("boot-{name}"), boot(&guest, &run.kernel)));
        checks.push(check(&format!("devices-{name}"), devices(name, &guest)));
        checks.push(check(&format!("bars-{name}"), bars(&guest)));
    }
    checks.push(check("reverse", reverse(transcript)));
    checks.push(check("bulk", bulk(transcript)));
    checks.push(check("ping", ping(transcript)));
    for name in VMS {
        let guest = transcript.guest(name);
        checks.push(check(&format!("console-{name}"), console(&guest)));
        checks.push(check(&format!("power-off-{name}"), power_off(&guest)));
    }
    let bytes = |name: &str| {
        let passed = checks.iter().any(|check| check.name == name && check.ok);
        transcript.guest("vm0").passed.get(name).filter(|_| passed).and_then(|fields| fields.number("bytes")).unwrap_or(0)
    };
    let connections = CONNECTIONS.iter().map(|connection| ConnectionReport {
        name: connection.name.to_owned(),
        ends: connection.ends.peers().map(|peer| end_report(peer, counts(transcript, connection.ends, peer, connection.name))).to_vec(),
        bytes_verified: bytes(connection.name),
    });
    let connections = connections.collect();
    let reasons = reasons(&checks);
    Report {
        ok: reasons.is_empty(),
        reasons,
        seconds: run.took.as_secs_f64(),
        sabotage: run.sabotage.map(|sabotage| sabotage.to_string()),
        guests: VMS.iter().map(|name| guest_report(name, &transcript.guest(name))).collect(),
        checks,
        connections,
        log: run.log.clone(),
    }
}

/// Why the run failed, what explains the most first: a VM that crashed fails its connections too.
fn reasons(checks: &[Check]) -> Vec<String> {
    const CAUSES: [&str; 4] = ["hypervisor", "power-off-", "console-", "boot-"];
    let mut failed: Vec<_> = checks.iter().filter(|check| !check.ok).collect();
    failed.sort_by_key(|check| CAUSES.iter().position(|cause| check.name.starts_with(cause)).unwrap_or(CAUSES.len()));
    failed.iter().map(|check| format!("{}: {}", check.name, check.detail)).collect()
}

fn check(name: &str, finding: Finding) -> Check {
    let (ok, detail) = match finding {
        Ok(detail) => (true, detail),
        Err(detail) => (false, detail),
    };
    Check { name: name.to_owned(), ok, detail }
}

fn guest_report(name: &str, guest: &Guest) -> GuestReport {
    GuestReport {
        name: name.to_owned(),
        kernel: guest.ready.as_ref().map(|ready| ready.kernel.clone()),
        boot_seconds: guest.ready.as_ref().map(|ready| ready.uptime.as_secs_f64()),
        exits: guest.exits.clone(),
        stopped: guest.stop.clone(),
        bar_moves: guest.bar_moves.clone(),
    }
}

fn end_report(peer: &str, counts: Option<Counts>) -> EndReport {
    EndReport {
        peer: peer.to_owned(),
        events_sent: counts.map(|counts| counts.emitted),
        events_received: counts.map(|counts| counts.received),
    }
}

fn hypervisor(transcript: &Transcript, run: &Run) -> Finding {
    if let Some(panic) = &transcript.panic {
        return Err(format!("the hypervisor failed: {panic}"));
    }
    match &run.ended {
        Ended::Failed(why) => return Err(why.clone()),
        Ended::TimedOut(after) => return Err(format!("the machine was still running after {}", seconds(*after))),
        Ended::Interrupted => return Err("interrupted by the user".to_owned()),
        Ended::Stopped => return Err("the machine was still running after a failure and was stopped".to_owned()),
        Ended::PoweredOff => {}
    }
    if !transcript.started {
        return Err("the hypervisor did not announce itself".to_owned());
    }
    match transcript.end.as_deref() {
        Some("all-vms-stopped") => Ok(format!("ended by itself after {}", seconds(run.took))),
        Some(reason) => Err(format!("the hypervisor ended early: {reason}")),
        None => Err("the machine ended without the hypervisor's last record: it crashed".to_owned()),
    }
}

fn boot(guest: &Guest, expected: &str) -> Finding {
    let ready = guest.ready.as_ref().ok_or("the kernel did not reach user space")?;
    if ready.kernel != expected {
        return Err(format!("the guest runs kernel {}, the package has {expected}", ready.kernel));
    }
    Ok(format!("Linux {} in user space after {}", ready.kernel, seconds(ready.uptime)))
}

fn devices(name: &str, guest: &Guest) -> Finding {
    let fields = passed(name, guest, "devices")?;
    let found: Vec<_> = fields.get("names").unwrap_or_default().split(',').collect();
    let expected: Vec<_> =
        CONNECTIONS.iter().filter(|connection| connection.ends.peers().contains(&name)).map(|connection| connection.name).collect();
    if found != expected {
        return Err(format!("the guest sees the connections {}; it should see {}", found.join(", "), expected.join(", ")));
    }
    Ok(format!("{} on stock uio_pci_generic", found.join(", ")))
}

/// Linux has moved the BARs, and where the guest sees them is where the hypervisor has last put them.
fn bars(guest: &Guest) -> Finding {
    if guest.bars.is_empty() {
        return Err("the guest reports no BARs".to_owned());
    }
    let functions: BTreeSet<_> = guest.bar_moves.iter().map(|moved| (moved.function.as_str(), moved.bar)).collect();
    let mut placed = Vec::new();
    let mut moved = 0;
    for (function, bar) in functions {
        let mut moves = guest.bar_moves.iter().filter(|moved| moved.function == function && moved.bar == bar);
        let Some(first) = moves.next() else { continue };
        let last = moves.next_back().unwrap_or(first);
        moved += usize::from(first.from != last.to);
        placed.push((bar, last.to));
    }
    for bar in &guest.bars {
        let Some(place) = placed.iter().position(|place| *place == (bar.bar, bar.address)) else {
            let place = format!("the guest sees BAR {} of `{}` at {:#x}", bar.bar, bar.connection, bar.address);
            return Err(format!("{place}, where the hypervisor has not moved such a BAR last"));
        };
        placed.swap_remove(place);
    }
    if moved == 0 {
        return Err("Linux moved no BAR, so nothing shows that memory follows".to_owned());
    }
    Ok(format!("Linux moved {moved} of {}; all are where the guest sees them", guest.bars.len()))
}

fn reverse(transcript: &Transcript) -> Finding {
    let guest = transcript.guest("vm0");
    let fields = passed("vm0", &guest, "reverse")?;
    let lines = fields.number("lines").filter(|lines| *lines > 0).ok_or("no line was sent")?;
    let events = agreed(transcript, "reverse")?;
    if events != [lines, lines] {
        return Err(format!("{lines} lines, but the hypervisor counted {} events there and {} back", events[0], events[1]));
    }
    Ok(format!("{lines} lines came back reversed, an event each way for each"))
}

fn bulk(transcript: &Transcript) -> Finding {
    let [sender, receiver] = VMS.map(|name| transcript.guest(name));
    let sent = side(&sender, "vm0", "bulk", "send")?;
    let received = side(&receiver, "vm1", "bulk", "receive")?;
    let bytes = [sent.number("bytes"), received.number("bytes")];
    if bytes != [Some(BULK_BYTES); 2] {
        let [sent, received] = bytes.map(|bytes| bytes.unwrap_or(0));
        return Err(format!("{sent} bytes sent and {received} received; there should be {BULK_BYTES}"));
    }
    let sum = |fields: &super::fields::Fields| fields.get("sha256").filter(|sum| sum.len() == 64).map(str::to_owned);
    let (Some(one), Some(other)) = (sum(sent), sum(received)) else { return Err("a side printed no SHA-256".to_owned()) };
    if one != other {
        return Err(format!("SHA-256 differs: sent {one}, received {other}"));
    }
    let events = agreed(transcript, "bulk")?;
    let time = received.number("ms").map_or_else(String::new, |ms| format!(" in {}", seconds(Duration::from_millis(ms))));
    Ok(format!("{} MiB{time}, SHA-256 equal ({}…), {} + {} events", BULK_BYTES >> 20, one.get(..16).unwrap_or(&one), events[0], events[1]))
}

fn ping(transcript: &Transcript) -> Finding {
    let [one, other] = VMS.map(|name| transcript.guest(name));
    let sides = [side(&one, "vm0", "ping", "ping")?, side(&other, "vm1", "ping", "pong")?];
    for (name, fields) in VMS.iter().zip(sides) {
        let counted = [fields.number("sent"), fields.number("received")];
        if counted != [Some(PINGS); 2] {
            let [sent, received] = counted.map(|count| count.unwrap_or(0));
            return Err(format!("{name} sent {sent} events and received {received}; there should be {PINGS} each"));
        }
    }
    let events = agreed(transcript, "ping")?;
    if events != [PINGS; 2] {
        return Err(format!("the hypervisor counted {} events there and {} back; there should be {PINGS} each", events[0], events[1]));
    }
    let time = sides[0].number("ms").map_or_else(String::new, |ms| format!(" in {}", seconds(Duration::from_millis(ms))));
    let slept = sides.map(|fields| fields.number("slept").unwrap_or(0));
    Ok(format!("{PINGS} round trips{time}, none lost; waits that slept for the interrupt: {} and {}", slept[0], slept[1]))
}

fn console(guest: &Guest) -> Finding {
    match guest.complaints.as_slice() {
        [] if guest.ready.is_none() => Err("the guest's boot was not seen to its end".to_owned()),
        [] => Ok("no complaint about PCI, interrupts or memory".to_owned()),
        [first, rest @ ..] => Err(format!("the kernel complains ({} lines): {first}", rest.len() + 1)),
    }
}

fn power_off(guest: &Guest) -> Finding {
    match guest.stop.as_deref() {
        Some(POWER_OFF) => Ok("switched itself off".to_owned()),
        Some(reason) => Err(format!("the VM stopped by {reason}, not by switching itself off")),
        None => Err("the VM never stopped by itself".to_owned()),
    }
}

/// The guest's findings of a check that passed; else the guest's own reason, or what happened to the guest.
fn passed<'a>(name: &str, guest: &'a Guest, check: &str) -> Result<&'a super::fields::Fields, String> {
    if let Some(failed) = guest.failed.iter().find(|failed| failed.check == check) {
        return Err(format!("{name}: {}", failed.reason));
    }
    if let Some(fields) = guest.passed.get(check) {
        return match fields.get("ok") {
            Some("1") => Ok(fields),
            _ => Err(format!("{name} reports the check without success")),
        };
    }
    Err(match (guest.failed.first(), guest.stop.as_deref()) {
        (Some(failed), _) => format!("{name} did not get that far: {} failed: {}", failed.check, failed.reason),
        (None, Some(reason)) if reason != POWER_OFF => format!("{name} reported nothing: it stopped by {reason}"),
        _ => format!("{name} reported nothing"),
    })
}

fn side<'a>(guest: &'a Guest, name: &str, check: &str, side: &str) -> Result<&'a super::fields::Fields, String> {
    let fields = passed(name, guest, check)?;
    if fields.get("side") == Some(side) { Ok(fields) } else { Err(format!("{name} did not take the side `{side}`")) }
}

/// The hypervisor's counts of the events of connection `name`, there and back: what one end emitted, the other received.
fn agreed(transcript: &Transcript, name: &str) -> Result<[u64; 2], String> {
    let connection = CONNECTIONS.iter().find(|connection| connection.name == name).ok_or("no such connection")?;
    let [a, b] = connection.ends.peers();
    let of =
        |peer| counts(transcript, connection.ends, peer, name).ok_or_else(|| format!("the hypervisor gave no count of {peer}'s events"));
    let (one, other) = (of(a)?, of(b)?);
    for (from, to, sent, received) in [(a, b, one.emitted, other.received), (b, a, other.emitted, one.received)] {
        if sent != received {
            return Err(format!("events lost: the hypervisor counted {sent} from {from}, and {received} at {to}"));
        }
    }
    if one.dropped + other.dropped > 0 {
        return Err(format!("the hypervisor dropped {} events", one.dropped + other.dropped));
    }
    Ok([one.emitted, other.emitted])
}

fn counts(transcript: &Transcript, ends: Ends, peer: &str, connection: &str) -> Option<Counts> {
    match ends {
        Ends::VmAndComponent { component, .. } if component == peer => transcript.components.get(connection).copied(),
        _ => transcript.guest(peer).counts.get(connection).copied(),
    }
}

#[cfg(test)]
#[path = "verify_tests.rs"]
mod tests;
