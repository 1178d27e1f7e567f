//! Checks `late` and `late-msix`: events that come before there is a driver.
//!
//! vm0 emits on two connections that nobody holds in vm1, and says so on a third. Only then does vm1 bind the one to the stock driver and
//! load our driver for the other. The kernel must be interrupted, as though the events had come then, and each of them must count.

use crossvm_guest::{EventCount, System};

use crate::driver::{self, Driver};
use crate::events::{Events, Spins};
use crate::interrupts::{self, Kind};
use crate::link::{Link, Turns};
use crate::report::{Failure, Report};
use crate::settings::{Sabotage, Settings};

/// How many events come early on each of the connections.
const EARLY: u32 = 5;
/// Where vm0 says that they have been sent.
const SIGNAL: &str = "bulk";

/// A connection whose driver comes late.
#[derive(Debug, Clone, Copy)]
struct Late {
    /// Name of the check and of the connection.
    name: &'static str,
    driver: Driver,
    kind: Kind,
}

const LATE: [Late; 2] =
    [Late { name: "late", driver: Driver::Uio, kind: Kind::Intx }, Late { name: "late-msix", driver: Driver::CrossVm, kind: Kind::Msix }];

/// Emits the early events, and waits until vm1 has found them.
pub(crate) fn emit(system: &System, settings: &Settings, report: &Report) -> Result<(), Failure> {
    for late in LATE {
        let fail = |reason: String| Failure::new(late.name, reason);
        let connection = system.endpoint(late.name).map_err(|error| fail(error.to_string()))?;
        let mut events = Events::open(&connection).map_err(fail)?;
        let forgotten = u32::from(settings.sabotage == Some(Sabotage::Forget));
        events.emit(EventCount::new(EARLY - forgotten)).map_err(fail)?;
        report.pass(late.name, &[("side", "emit".to_owned()), ("emitted", EARLY.to_string())]);
    }
    signal(system, settings, |link| {
        link.emit()?;
        link.event(Spins::NONE, || "word that vm1's driver is there".to_owned())
    })
}

/// Waits until the events have been sent, binds the drivers, and looks for an interrupt and the events.
pub(crate) fn bind(system: &System, settings: &Settings, report: &Report) -> Result<(), Failure> {
    signal(system, settings, |link| link.event(Spins::NONE, || "word that the early events were sent".to_owned()))?;
    for late in LATE {
        find(late, system, settings, report).map_err(|reason| Failure::new(late.name, reason))?;
    }
    signal(system, settings, |link| link.emit())
}

fn find(late: Late, system: &System, settings: &Settings, report: &Report) -> Result<(), String> {
    let connection = system.endpoint(late.name).map_err(|error| error.to_string())?;
    let address = connection.address();
    if let Some(driver) = driver::bound(address) {
        return Err(format!("{driver} holds the connection already"));
    }
    driver::bind(address, late.driver)?;
    let (kind, line) = interrupts::wait_for_first(address, settings.timeout)?;
    if kind != late.kind {
        return Err(format!("{} interrupts by {} instead of {}", late.driver.name(), kind.name(), late.kind.name()));
    }
    // Opened anew: only now is there a device file.
    let connection = system.endpoint(late.name).map_err(|error| error.to_string())?;
    let found = Events::open(&connection)?.take()?;
    if found != u64::from(EARLY) {
        return Err(format!("{found} events instead of {EARLY} after the driver was bound"));
    }
    let findings = [
        ("side", "bind".to_owned()),
        ("count", found.to_string()),
        ("interrupt", kind.name().to_owned()),
        ("interrupts", line.count.to_string()),
        ("source", line.source),
    ];
    report.pass(late.name, &findings);
    Ok(())
}

/// One side's part of the talk about the early events.
fn signal(system: &System, settings: &Settings, talk: impl FnOnce(&mut Link<'_>) -> Result<(), String>) -> Result<(), Failure> {
    let run = || {
        let connection = system.endpoint(SIGNAL).map_err(|error| error.to_string())?;
        talk(&mut Link::new(&connection, settings.timeout)?)
    };
    run().map_err(|reason| Failure::new("late-signal", reason))
}
