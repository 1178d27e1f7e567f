//! From what the console says to what it proves. Pure: the same system and the same lines give the same report.

use crossvm_manifest::{ComponentKind, Rights};

use super::plan::{self, Driver, Who};
use super::report::{LinkEnd, LinkReport, Report, bytes};
use crate::launch::Interrupts;
use crate::system::{ConnectionSpec, System};
use crate::trial::Run;
use crate::trial::fields::Fields;
use crate::trial::findings::{self, Finding};
use crate::trial::lspci::{self, Expected};
use crate::trial::pc;
use crate::trial::report::{self, Check, Machine};
use crate::trial::transcript::{Counts, Guest, POWER_OFF, Transcript};

/// Makes every check.
pub(super) fn verify(system: &System, transcript: &Transcript, run: &Run, interrupts: Interrupts) -> Report {
    let mut checks = vec![Check::new("hypervisor", findings::hypervisor(transcript, run))];
    for vm in &system.vms {
        let (name, guest) = (&vm.name, transcript.guest(&vm.name));
        checks.push(Check::new(format!("boot-{name}"), findings::boot(&guest, &run.kernel, vm.vcpus)));
        checks.push(Check::new(format!("devices-{name}"), devices(system, name, &guest)));
        checks.push(Check::new(format!("bars-{name}"), findings::bars(&guest.first(), interrupts.into())));
        if let Interrupts::Pc { noapic, .. } = interrupts {
            checks.push(Check::new(format!("machine-{name}"), pc::found(&guest, noapic)));
            checks.push(Check::new(format!("lspci-{name}"), lspci::check(&guest.last(), &shown(system, name))));
        }
        checks.push(Check::new(format!("console-{name}"), findings::console(&guest)));
        checks.push(Check::new(format!("power-off-{name}"), findings::power_off(&guest)));
    }
    let links: Vec<_> = system.connections.iter().map(|connection| link(system, connection, transcript)).collect();
    let mut all = checks.clone();
    all.extend(links.iter().map(|link| Check { name: link.name.clone(), ok: link.ok, detail: link.detail.clone() }));
    let reasons = findings::reasons(transcript, &all);
    Report {
        ok: reasons.is_empty(),
        reasons,
        seconds: run.took.as_secs_f64(),
        machine: Machine::of(interrupts, run),
        guests: report::guests(transcript, system.vms.iter().map(|vm| vm.name.as_str())),
        checks,
        links,
        log: run.log.clone(),
    }
}

/// How `lspci` must show the connections of VM `name`.
fn shown<'a>(system: &'a System, name: &str) -> Vec<Expected<'a>> {
    let expected =
        |seat: plan::Seat<'a>| Expected { name: &seat.connection.name, driver: seat.driver.name(), msix: seat.driver == Driver::CrossVm };
    plan::seats(system, name).into_iter().map(expected).collect()
}

/// The guest sees all of its connections, each with its driver.
fn devices(system: &System, name: &str, guest: &Guest) -> Finding {
    let life = guest.first();
    life.passed.get("devices").ok_or_else(|| nothing(name, guest))?;
    let mut found: Vec<_> = life.devices.iter().map(|device| (device.name.as_str(), device.driver.as_str())).collect();
    found.sort_unstable();
    let seats = plan::seats(system, name);
    let expected: Vec<_> = seats.iter().map(|seat| (seat.connection.name.as_str(), seat.driver.name())).collect();
    if found != expected {
        let show = |all: &[(&str, &str)]| all.iter().map(|(name, driver)| format!("{name} ({driver})")).collect::<Vec<_>>().join(", ");
        return Err(format!("the guest sees {}; it should see {}", show(&found), show(&expected)));
    }
    let own = expected.iter().filter(|(_, driver)| *driver == Driver::CrossVm.name()).count();
    Ok(format!("all {} found: {} on stock uio_pci_generic, {own} on our driver", expected.len(), expected.len() - own))
}

fn link(system: &System, connection: &ConnectionSpec, transcript: &Transcript) -> LinkReport {
    let finding = check_link(system, connection, transcript);
    let (bytes_verified, finding) = match finding {
        Ok((bytes, detail)) => (bytes, Ok(detail)),
        Err(reason) => (0, Err(reason)),
    };
    let Check { name, ok, detail } = Check::new(&connection.name, finding);
    let end = |place: usize| {
        let peer = &connection.ends[place].peer;
        let fields = found(connection, peer, transcript);
        let driver = fields.as_ref().map(|fields| format!("{} ({})", word(fields, "driver"), word(fields, "interrupt")));
        LinkEnd {
            peer: peer.clone(),
            rights: connection.dataports.iter().map(|dataport| rights(dataport.rights[place]).to_owned()).collect(),
            driver,
            events_sent: counts(system, connection, place, transcript).map_or(0, |counts| counts.emitted),
        }
    };
    let sizes = connection.dataports.iter().map(|dataport| dataport.size).collect();
    LinkReport { name, ok, detail, ends: [end(0), end(1)], sizes, bytes_verified }
}

/// Bytes that were verified, and what was seen.
fn check_link(system: &System, connection: &ConnectionSpec, transcript: &Transcript) -> Result<(u64, String), String> {
    let vms: Vec<_> = (0..2).filter(|end| plan::who(system, &connection.ends[*end].peer) == Some(Who::Vm)).collect();
    let mut ends = Vec::new();
    for end in &vms {
        let peer = &connection.ends[*end].peer;
        let guest = transcript.guest(peer);
        let fields = found(connection, peer, transcript).ok_or_else(|| nothing(peer, &guest))?;
        check_end(connection, *end, &fields).map_err(|reason| format!("{peer}: {reason}"))?;
        ends.push(fields);
    }
    let events = check_events(system, connection, transcript, &vms, &ends)?;
    let (bytes, shown) = match ends.as_slice() {
        [a, b] => between_vms(connection, a, b)?,
        [guest] => with_component(system, connection, &vms, guest)?,
        _ => return Err("neither end is a VM".to_owned()),
    };
    let refused: u64 = ends.iter().map(|fields| fields.number("refused").unwrap_or(0)).sum();
    let mut detail = shown;
    if refused > 0 {
        detail.push_str(&format!("; {} to read-only memory had no effect", count(refused, "store")));
    }
    let behind: u64 = ends.iter().map(|fields| fields.number("behind").unwrap_or(0)).sum();
    if behind > 0 {
        detail.push_str(&format!("; zero behind the end at {}", count(behind, "place")));
    }
    detail.push_str(&format!("; {events} events, exact"));
    Ok((bytes, detail))
}

/// What one guest says about its end is what the manifest says.
fn check_end(connection: &ConnectionSpec, end: usize, fields: &Fields) -> Result<(), String> {
    let expected: Vec<_> = connection.dataports.iter().map(|dataport| dataport.size.to_string()).collect();
    let found = word(fields, "sizes");
    if found != expected.join("+") {
        return Err(format!("its dataports have {found} bytes instead of {}", expected.join("+")));
    }
    let expected: Vec<_> = connection.dataports.iter().map(|dataport| rights(dataport.rights[end])).collect();
    let found = word(fields, "rights");
    if found != expected.join("+") {
        return Err(format!("its rights are {found} instead of {}", expected.join("+")));
    }
    if fields.number("interrupts").unwrap_or(0) == 0 {
        return Err("it was never interrupted".to_owned());
    }
    let driver = word(fields, "driver");
    let interrupt = if driver == Driver::CrossVm.name() { "MSI-X" } else { "INTx" };
    if word(fields, "interrupt") != interrupt {
        return Err(format!("{driver} is interrupted by {} instead of {interrupt}", word(fields, "interrupt")));
    }
    Ok(())
}

/// A number of things.
fn count(number: u64, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}

/// What each end emitted the other received: by the guests' counts and by the hypervisor's. Returns how many there were in all.
fn check_events(
    system: &System,
    connection: &ConnectionSpec,
    transcript: &Transcript,
    vms: &[usize],
    ends: &[Fields],
) -> Result<u64, String> {
    let of = |end: usize| {
        counts(system, connection, end, transcript)
            .ok_or_else(|| format!("the hypervisor gave no count of {}'s events", connection.ends[end].peer))
    };
    let (a, b) = (of(0)?, of(1)?);
    if (a.emitted, b.emitted) != (b.received, a.received) || a.dropped + b.dropped != 0 {
        return Err(format!("events lost by the hypervisor's counts: {a:?} and {b:?}"));
    }
    if a.emitted == 0 || b.emitted == 0 {
        return Err("no event went one way".to_owned());
    }
    for (end, fields) in vms.iter().zip(ends) {
        let counts = of(*end)?;
        let told = [fields.number("emitted"), fields.number("received")];
        if told != [Some(counts.emitted), Some(counts.received)] {
            let peer = &connection.ends[*end].peer;
            return Err(format!("{peer} emitted and received {told:?}, the hypervisor counted {} and {}", counts.emitted, counts.received));
        }
    }
    Ok(a.emitted + b.emitted)
}

/// The whole of each dataport went from each end that may write it to the other.
fn between_vms(connection: &ConnectionSpec, a: &Fields, b: &Fields) -> Result<(u64, String), String> {
    let (mut size, mut transfers, mut written) = (0, 0, [0, 0]);
    for dataport in &connection.dataports {
        for (written, _) in written.iter_mut().zip(dataport.rights).filter(|(_, rights)| *rights == Rights::ReadWrite) {
            *written += 1;
            transfers += 1;
            size += dataport.size;
        }
    }
    let sums = |fields: &Fields| word(fields, "sums").split('+').filter(|sum| !sum.is_empty()).map(str::to_owned).collect::<Vec<_>>();
    let (ours, theirs) = (sums(a), sums(b));
    if ours.len() != transfers || ours != theirs {
        return Err(format!("checksums differ: {} and {}; there should be {transfers}", ours.join("+"), theirs.join("+")));
    }
    let moved = [a.number("bytes"), b.number("bytes")];
    if moved != [Some(size); 2] {
        return Err(format!("{moved:?} bytes went through; there should be {size}"));
    }
    for (end, fields) in [a, b].into_iter().enumerate() {
        let read_only = connection.dataports.iter().any(|dataport| dataport.rights[end] == Rights::Read);
        if read_only != (fields.number("refused").unwrap_or(0) > 0) {
            return Err(format!("{} did not try to store where it may only read", connection.ends[end].peer));
        }
    }
    let all = connection.dataports.len();
    let shown = match written {
        [0, 0] => return Ok((0, "no memory, events alone".to_owned())),
        [a, b] if a == all && b == all => "both ways",
        [_, 0] | [0, _] => "one way",
        _ => "each way that is allowed",
    };
    Ok((size, format!("{} {shown}, CRC-32 equal", bytes(size))))
}

fn with_component(system: &System, connection: &ConnectionSpec, vms: &[usize], guest: &Fields) -> Result<(u64, String), String> {
    let component = vms.first().map_or(0, |end| 1 - end);
    let size = guest.number("bytes").unwrap_or(0);
    let whole = connection.dataports.first().map_or(0, |dataport| dataport.size);
    let shown = match plan::who(system, &connection.ends[component].peer) {
        Some(Who::Component(ComponentKind::Reverse)) if size > 0 => format!("{size} bytes came back reversed"),
        Some(Who::Component(ComponentKind::Digest)) if size >= whole && size > 0 => format!("CRC-32 of {} right", bytes(size)),
        Some(Who::Component(ComponentKind::Source)) if size >= whole && size > 0 => format!("{} as they should be", bytes(size)),
        _ => return Err(format!("{size} bytes were verified; there should be at least {whole}")),
    };
    Ok((size, shown))
}

/// What VM `peer` has found out about a connection. Its place in the VM's list must be that of the manifest.
fn found(connection: &ConnectionSpec, peer: &str, transcript: &Transcript) -> Option<Fields> {
    let life = transcript.guest(peer).first();
    life.links.into_iter().find(|fields| fields.get("name") == Some(&connection.name) && fields.get("ok") == Some("1"))
}

/// Why a guest says nothing about a connection.
fn nothing(name: &str, guest: &Guest) -> String {
    match (guest.first().failed.first(), guest.stop.as_deref()) {
        (Some(failed), _) => format!("{name}: {} failed: {}", failed.check, failed.reason),
        (None, Some(reason)) if reason != POWER_OFF => format!("{name} reported nothing: it stopped by {reason}"),
        _ => format!("{name} reported nothing"),
    }
}

/// The hypervisor's counts of one end.
fn counts(system: &System, connection: &ConnectionSpec, end: usize, transcript: &Transcript) -> Option<Counts> {
    let peer = &connection.ends.get(end)?.peer;
    match plan::who(system, peer)? {
        Who::Vm => transcript.guest(peer).counts.get(&connection.name).copied(),
        Who::Component(_) => transcript.components.get(&(peer.clone(), connection.name.clone())).copied(),
    }
}

/// A value of a line; guests print nothing as a dash.
fn word(fields: &Fields, key: &str) -> String {
    fields.get(key).filter(|value| *value != "-").unwrap_or_default().to_owned()
}

/// As a guest prints them.
const fn rights(rights: Rights) -> &'static str {
    match rights {
        Rights::Read => "r-",
        Rights::ReadWrite => "rw",
    }
}

#[cfg(test)]
#[path = "checks_tests.rs"]
mod tests;
