//! From what the console says to what it proves. Pure: the same lines give the same report.

use super::Play;
use super::exits;
use super::report::{ConnectionReport, EndReport, Report};
use super::scenario::{BULK_BYTES, CONNECTIONS, COUNTS, DemoConnection, EARLY, Ends, Events, RALLIES, Rally, Rounds, Tools, VMS};
use super::tools;
use crate::launch::Interrupts;
use crate::progress::seconds;
use crate::trial::Run;
use crate::trial::fields::Fields;
use crate::trial::findings::{self, Finding, Moves, took};
use crate::trial::lspci::{self, Expected};
use crate::trial::pc;
use crate::trial::report::{self, Check, Machine};
use crate::trial::transcript::{Counts, Guest, Life, POWER_OFF, Transcript};

/// Makes every check.
pub(super) fn verify(transcript: &Transcript, run: &Run, play: Play, interrupts: Interrupts) -> Report {
    let mut checks = vec![Check::new("hypervisor", findings::hypervisor(transcript, run))];
    for name in VMS {
        let guest = transcript.guest(name);
        checks.push(Check::new(format!("boot-{name}"), findings::boot(&guest, &run.kernel, 1)));
        checks.push(Check::new(format!("devices-{name}"), devices(name, &guest)));
        checks.push(Check::new(format!("bars-{name}"), bars(&guest, interrupts.into())));
    }
    let [ping, ping_msix, resume, resume_msix] = RALLIES.map(|one| Check::new(one.name, rally(transcript, one, play.rounds)));
    checks.extend([Check::new("reverse", reverse(transcript)), Check::new("bulk", bulk(transcript)), ping]);
    checks.extend(["late", "late-msix"].map(|name| Check::new(name, late(transcript, name))));
    checks.push(ping_msix);
    checks.extend(COUNTS.map(|(name, _)| Check::new(name, count(transcript, name, play.events))));
    checks.extend(tools::checks(transcript, play.tools));
    checks.push(Check::new("reboot", reboot(transcript)));
    checks.extend([resume, resume_msix]);
    checks.push(Check::new("events", events(transcript, &play)));
    checks.push(Check::new("interrupts", interrupted(transcript, play.tools)));
    if let Interrupts::Pc { noapic, .. } = interrupts {
        for name in VMS {
            let guest = transcript.guest(name);
            checks.push(Check::new(format!("machine-{name}"), pc::found(&guest, noapic)));
            checks.push(Check::new(format!("lspci-{name}"), lspci::check(&guest.last(), &shown(name))));
        }
    }
    if play.on.is_kvm() {
        checks.push(Check::new("exits", exits::check(transcript)));
    }
    for name in VMS {
        let guest = transcript.guest(name);
        checks.push(Check::new(format!("console-{name}"), findings::console(&guest)));
        checks.push(Check::new(format!("power-off-{name}"), findings::power_off(&guest)));
    }
    let reasons = findings::reasons(transcript, &checks);
    Report {
        ok: reasons.is_empty(),
        reasons,
        seconds: run.took.as_secs_f64(),
        machine: Machine::of(interrupts, run),
        sabotage: play.sabotage.map(|sabotage| sabotage.to_string()),
        guests: report::guests(transcript, VMS.into_iter()),
        connections: CONNECTIONS.iter().map(|connection| connection_report(transcript, connection, &checks, play.tools)).collect(),
        tools: tools::rates(transcript, play.tools),
        exits: exits::report(transcript),
        checks,
        log: run.log.clone(),
    }
}

fn connection_report(transcript: &Transcript, connection: &DemoConnection, checks: &[Check], tools: Tools) -> ConnectionReport {
    let passed = checks.iter().any(|check| check.name == connection.name && check.ok);
    let life = transcript.guest(VMS[0]).first();
    let bytes = life.passed.get(connection.name).filter(|_| passed).and_then(|fields| fields.number("bytes")).unwrap_or(0);
    let end = |peer: &'static str| {
        let counts = counts(transcript, connection.ends, peer, connection.name);
        EndReport {
            peer: peer.to_owned(),
            events_sent: counts.map(|counts| counts.emitted),
            events_received: counts.map(|counts| counts.received),
            exits: counts.and_then(|counts| counts.exits),
        }
    };
    ConnectionReport {
        name: connection.name.to_owned(),
        driver: connection.driver.to_owned(),
        ends: connection.ends.peers().map(end).to_vec(),
        bytes_verified: bytes + tools::bytes(transcript, tools, connection.name),
    }
}

/// How `lspci` must show the connections of VM `name`.
fn shown(name: &str) -> Vec<Expected<'static>> {
    let expected = |connection: &'static DemoConnection| Expected {
        name: connection.name,
        driver: connection.driver,
        msix: connection.interrupt() == "MSI-X",
    };
    of_vm(name).map(expected).collect()
}

/// The connections of VM `name`.
fn of_vm(name: &str) -> impl Iterator<Item = &'static DemoConnection> {
    CONNECTIONS.iter().filter(move |connection| connection.ends.peers().contains(&name))
}

/// Each connection is there each time that the guest booted, and held by its driver; in vm1's first life some are left for later.
fn devices(name: &str, guest: &Guest) -> Finding {
    let late = |connection: &DemoConnection| name == VMS[1] && (connection.name.starts_with("late") || connection.interrupt() == "MSI-X");
    for (place, life) in guest.lives.iter().enumerate() {
        passed(name, guest, life, "devices")?;
        let found: Vec<_> = life.devices.iter().map(|device| device.name.as_str()).collect();
        let expected: Vec<_> = of_vm(name).map(|connection| connection.name).collect();
        if found != expected {
            return Err(format!("the guest sees the connections {}; it should see {}", found.join(", "), expected.join(", ")));
        }
        for (connection, device) in of_vm(name).zip(&life.devices) {
            let expected = if place == 0 && late(connection) { "-" } else { connection.driver };
            if device.driver != expected {
                return Err(format!("`{}` is held by {}; it should be {expected}", connection.name, device.driver));
            }
        }
    }
    let of = |interrupt: &str| {
        let mine = of_vm(name).filter(|connection| connection.interrupt() == interrupt);
        mine.map(|connection| connection.name).collect::<Vec<_>>().join(", ")
    };
    let [stock, own] = ["INTx", "MSI-X"].map(of);
    Ok(format!("{stock} on stock uio_pci_generic; {own} on our driver"))
}

/// Each time that the guest booted, its BARs were where the hypervisor had put them.
fn bars(guest: &Guest, moves: Moves) -> Finding {
    let all: Result<Vec<_>, _> = guest.lives.iter().map(|life| findings::bars(life, moves)).collect();
    Ok(all?.join("; again: "))
}

fn reverse(transcript: &Transcript) -> Finding {
    let guest = transcript.guest(VMS[0]);
    let fields = passed(VMS[0], &guest, &guest.first(), "reverse")?.clone();
    let lines = fields.number("lines").filter(|lines| *lines > 0).ok_or("no line was sent")?;
    let events = agreed(transcript, "reverse")?;
    if events != [lines, lines] {
        return Err(format!("{lines} lines, but the hypervisor counted {} events there and {} back", events[0], events[1]));
    }
    Ok(format!("{lines} lines came back reversed, an event each way for each"))
}

fn bulk(transcript: &Transcript) -> Finding {
    let [sent, received] = sides(transcript, 0, "bulk", ["send", "receive"])?;
    let bytes = [sent.number("bytes"), received.number("bytes")];
    if bytes != [Some(BULK_BYTES); 2] {
        let [sent, received] = bytes.map(|bytes| bytes.unwrap_or(0));
        return Err(format!("{sent} bytes sent and {received} received; there should be {BULK_BYTES}"));
    }
    let sum = |fields: &Fields| fields.get("sha256").filter(|sum| sum.len() == 64).map(str::to_owned);
    let (Some(one), Some(other)) = (sum(&sent), sum(&received)) else { return Err("a side printed no SHA-256".to_owned()) };
    if one != other {
        return Err(format!("SHA-256 differs: sent {one}, received {other}"));
    }
    let time = took(received.number("ms"));
    Ok(format!("{} MiB{time}, SHA-256 equal ({}…)", BULK_BYTES >> 20, one.get(..16).unwrap_or(&one)))
}

fn rally(transcript: &Transcript, rally: Rally, rounds: Rounds) -> Finding {
    let rounds = rally.rounds(rounds);
    let sides = sides(transcript, rally.life, rally.name, ["ping", "pong"])?;
    for (name, fields) in VMS.iter().zip(&sides) {
        let counted = [fields.number("sent"), fields.number("received")];
        if counted != [Some(rounds); 2] {
            let [sent, received] = counted.map(|count| count.unwrap_or(0));
            return Err(format!("{name} sent {sent} events and received {received}; there should be {rounds} each"));
        }
    }
    let slept = sides.each_ref().map(|fields| fields.number("slept").unwrap_or(0));
    let after = if rally.life == 0 { "" } else { " after the reboot" };
    let connection = CONNECTIONS.iter().find(|connection| connection.name == rally.connection);
    let interrupt = connection.map_or("", DemoConnection::interrupt);
    let time = took(sides[0].number("ms"));
    Ok(format!("{rounds} round trips{after}{time}, none lost; waits that slept for the {interrupt}: {} and {}", slept[0], slept[1]))
}

/// The events that came before the driver were not forgotten, and the kernel was interrupted for them.
fn late(transcript: &Transcript, name: &str) -> Finding {
    let [sent, found] = sides(transcript, 0, name, ["emit", "bind"])?;
    if [sent.number("emitted"), found.number("count")] != [Some(EARLY); 2] {
        let [sent, found] = [sent.number("emitted"), found.number("count")].map(|count| count.unwrap_or(0));
        return Err(format!("{sent} events were sent and {found} found; there should be {EARLY}"));
    }
    let connection = CONNECTIONS.iter().find(|connection| connection.name == name).ok_or("no such connection")?;
    let interrupts = found.number("interrupts").unwrap_or(0);
    if interrupts == 0 || found.get("interrupt") != Some(connection.interrupt()) {
        return Err(format!("{interrupts} interrupts by {}", found.get("interrupt").unwrap_or("nothing")));
    }
    let counts = agreed(transcript, name)?;
    if counts != [EARLY, 0] {
        return Err(format!("the hypervisor counted {} events there and {} back", counts[0], counts[1]));
    }
    let (driver, interrupt) = (connection.driver, connection.interrupt());
    Ok(format!("{EARLY} events before {driver} was there; it was interrupted ({interrupt}) and found all {EARLY}"))
}

/// Many events at once, in both directions: each counts.
fn count(transcript: &Transcript, name: &str, events: Events) -> Finding {
    let events = events.of_one_side();
    let mut shown = Vec::new();
    for vm in VMS {
        let guest = transcript.guest(vm);
        let fields = passed(vm, &guest, &guest.first(), name)?.clone();
        let counted = [fields.number("sent"), fields.number("received")];
        if counted != [Some(events); 2] {
            let [sent, received] = counted.map(|count| count.unwrap_or(0));
            return Err(format!("{vm} sent {sent} events and counted {received}; there should be {events} each"));
        }
        shown.push((fields.number("takes").unwrap_or(0), fields.number("ms").unwrap_or(0)));
    }
    let ms = shown.iter().map(|(_, ms)| *ms).max();
    let takes: Vec<_> = shown.iter().map(|(takes, _)| takes.to_string()).collect();
    Ok(format!("{events} + {events} events without answers{}, counts exact; taken at {} times", took(ms), takes.join(" and ")))
}

/// vm1 rebooted once, on purpose, and came back; vm0 lived on.
fn reboot(transcript: &Transcript) -> Finding {
    let [vm0, vm1] = VMS.map(|name| transcript.guest(name));
    if vm0.lives.len() != 1 {
        return Err(format!("vm0 restarted {} times; it should live on", vm0.lives.len() - 1));
    }
    let first = vm1.first();
    let Some(left) = first.left else {
        return Err(if vm1.lives.len() > 1 || vm1.stop.as_deref().is_some_and(|reason| reason != POWER_OFF) {
            "vm1 crashed: it restarted or stopped without having said so".to_owned()
        } else {
            explain("vm1", &vm1, &first, "it did not get as far as its reboot")
        });
    };
    match vm1.lives.as_slice() {
        [_, second] => {
            for (name, guest, life) in [("vm1", &vm1, second), ("vm0", &vm0, &vm0.first())] {
                let generation = passed(name, guest, life, "session-again")?.number("generation");
                if generation != Some(2) {
                    return Err(format!("{name} agreed on generation {generation:?} instead of 2"));
                }
            }
            let ready = second.ready.as_ref().ok_or("vm1's kernel did not reach user space again")?;
            let away = seconds(ready.at.saturating_sub(left));
            Ok(format!("vm1 rebooted and was in user space again after {away}; vm0 lived on; they agreed on generation 2"))
        }
        [_] => Err("vm1 did not come back: it was to reboot, and did not start again".to_owned()),
        lives => Err(format!("vm1 restarted {} times; it should do so once", lives.len() - 1)),
    }
}

/// What one end emitted the other received, on all connections together; nothing was dropped.
fn events(transcript: &Transcript, play: &Play) -> Finding {
    let mut total = 0;
    for connection in &CONNECTIONS {
        let name = connection.name;
        let counts = agreed(transcript, name)?;
        total += counts[0] + counts[1];
        if !COUNTS.iter().any(|(_, counted)| *counted == name) {
            continue;
        }
        let rallies: u64 = RALLIES.iter().filter(|rally| rally.connection == name).map(|rally| rally.rounds(play.rounds)).sum();
        // Each of vm1's calls is answered once.
        let calls = if name == "ping" { 2 } else { 0 };
        let own = rallies + play.events.of_one_side() + calls;
        let told = tools::events(transcript, play.tools, name);
        let expected = told.map(|told| own + told);
        let more = if play.tools == Tools::Off { 0 } else { tools::MANNERS };
        if !counts.iter().zip(expected).all(|(count, least)| (least..=least + more).contains(count)) {
            let [[there, back], [least, least_back]] = [counts, expected];
            let word = if more == 0 { String::new() } else { format!(", and at most {more} more") };
            return Err(format!(
                "the hypervisor counted {there} and {back} events on `{name}`; there should be {least} and {least_back}{word}"
            ));
        }
    }
    Ok(format!("{total} in all by the hypervisor's own counts: each was received by the other end, none dropped"))
}

/// Each connection has interrupted, as its driver should be.
fn interrupted(transcript: &Transcript, tools: Tools) -> Finding {
    let mut sums = [0, 0];
    for name in VMS {
        for (place, life) in transcript.guest(name).lives.iter().enumerate() {
            for connection in of_vm(name).filter(|connection| !(name == VMS[0] && connection.name.starts_with("late"))) {
                let line = life.interrupts.iter().find(|line| line.connection == connection.name);
                let line = line.ok_or_else(|| format!("{name} has no interrupt for `{}`", connection.name))?;
                if (line.driver.as_str(), line.kind.as_str()) != (connection.driver, connection.interrupt()) {
                    return Err(format!("{name}: `{}` interrupts {} by {}", connection.name, line.driver, line.kind));
                }
                // After the reboot the late ones have nothing to say, nor those of bulk data; without the command one of those never has.
                let idle = match connection.name {
                    "bulk" => place > 0,
                    "bulk-msix" => place > 0 || tools == Tools::Off,
                    name => name.starts_with("late"),
                };
                if line.count == 0 && !idle {
                    return Err(format!("{name}: `{}` never interrupted", connection.name));
                }
                sums[usize::from(line.kind == "MSI-X")] += line.count;
            }
        }
    }
    Ok(format!("{} by INTx (uio_pci_generic) and {} by MSI-X (crossvm), in both guests' /proc/interrupts", sums[0], sums[1]))
}

/// The findings of both VMs for `check`: vm1's in its life number `life`, each on the side it should be on.
pub(super) fn sides(transcript: &Transcript, life: usize, check: &str, names: [&str; 2]) -> Result<[Fields; 2], String> {
    let [vm0, vm1] = VMS.map(|name| transcript.guest(name));
    let second = vm1.lives.get(life).cloned();
    let side = |name: &str, guest: &Guest, life: &Life, side: &str| {
        let fields = passed(name, guest, life, check)?;
        if fields.get("side") == Some(side) { Ok(fields.clone()) } else { Err(format!("{name} did not take the side `{side}`")) }
    };
    let one = side(VMS[0], &vm0, &vm0.first(), names[0])?;
    let second = second.ok_or("vm1 has not rebooted")?;
    Ok([one, side(VMS[1], &vm1, &second, names[1])?])
}

/// The guest's findings of a check that passed; else the guest's own reason, or what happened to the guest.
pub(super) fn passed<'a>(name: &str, guest: &Guest, life: &'a Life, check: &str) -> Result<&'a Fields, String> {
    if let Some(failed) = life.failed.iter().find(|failed| failed.check == check) {
        return Err(format!("{name}: {}", failed.reason));
    }
    match life.passed.get(check) {
        Some(fields) if fields.get("ok") == Some("1") => Ok(fields),
        Some(_) => Err(format!("{name} reports the check without success")),
        None => Err(explain(name, guest, life, "reported nothing")),
    }
}

/// Why a guest has nothing to say on something.
fn explain(name: &str, guest: &Guest, life: &Life, nothing: &str) -> String {
    match (life.failed.first(), guest.stop.as_deref()) {
        (Some(failed), _) => format!("{name} did not get that far: {} failed: {}", failed.check, failed.reason),
        (None, Some(reason)) if reason != POWER_OFF => format!("{name} {nothing}: it stopped by {reason}"),
        _ => format!("{name} {nothing}"),
    }
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
        return Err(format!("the hypervisor dropped {} events of `{name}`", one.dropped + other.dropped));
    }
    Ok([one.emitted, other.emitted])
}

pub(super) fn counts(transcript: &Transcript, ends: Ends, peer: &str, connection: &str) -> Option<Counts> {
    match ends {
        Ends::VmAndComponent { component, .. } if component == peer => {
            transcript.components.get(&(component.to_owned(), connection.to_owned())).copied()
        }
        _ => transcript.guest(peer).counts.get(connection).copied(),
    }
}

#[cfg(test)]
#[path = "verify_tests.rs"]
mod tests;
