//! The demo: what each of its two VMs does, in order.

use crossvm_guest::{DataportIndex, Endpoint, System};

use crate::devices::{self, Holder};
use crate::driver::Driver;
use crate::link::Link;
use crate::report::{Failure, Report};
use crate::session::{self, Generation, Past};
use crate::settings::{Role, Sabotage, Settings};
use crate::{After, bulk, count, driver, late, ping, reverse, tools};

/// Where the two agree on vm1's generation.
const SESSION: &str = "ping";
/// vm1 before and after its reboot.
const FIRST: Generation = Generation(1);
const SECOND: Generation = Generation(2);

/// Plays the part of this VM.
pub(crate) fn play(role: Role, system: &System, settings: &Settings, report: &Report) -> Result<After, Failure> {
    match role {
        Role::Vm0 => vm0(system, settings, report),
        Role::Vm1 => vm1(system, settings, report),
    }
}

fn vm0(system: &System, settings: &Settings, report: &Report) -> Result<After, Failure> {
    set_up(Role::Vm0, system, report, Late::Now)?;
    reverse::check(system, settings, report)?;
    answer(system, settings, report, FIRST)?;
    bulk::send(system, settings, report)?;
    ping::INTX.ping(system, settings, report)?;
    late::emit(system, settings, report)?;
    ping::MSIX.ping(system, settings, report)?;
    count::count(system, settings, report, Role::Vm0)?;
    tools::check(Role::Vm0, system, settings, report)?;
    answer(system, settings, report, SECOND)?;
    ping::RESUME_INTX.ping(system, settings, report)?;
    ping::RESUME_MSIX.ping(system, settings, report)?;
    interrupts(system, report)?;
    Ok(After::PowerOff)
}

fn vm1(system: &System, settings: &Settings, report: &Report) -> Result<After, Failure> {
    match past(system).map_err(reboot_failure)? {
        Past::Nothing => {
            set_up(Role::Vm1, system, report, Late::Later)?;
            call(system, settings, report, FIRST)?;
            bulk::receive(system, settings, report)?;
            ping::INTX.pong(system, settings, report)?;
            late::bind(system, settings, report)?;
            bind_others(system)?;
            ping::MSIX.pong(system, settings, report)?;
            count::count(system, settings, report, Role::Vm1)?;
            tools::check(Role::Vm1, system, settings, report)?;
            interrupts(system, report)?;
            leave(system, report)?;
            Ok(if settings.sabotage == Some(Sabotage::Leave) { After::Vanish } else { After::Reboot })
        }
        Past::Left(FIRST) => {
            set_up(Role::Vm1, system, report, Late::Now)?;
            call(system, settings, report, SECOND)?;
            ping::RESUME_INTX.pong(system, settings, report)?;
            ping::RESUME_MSIX.pong(system, settings, report)?;
            interrupts(system, report)?;
            Ok(After::PowerOff)
        }
        Past::Left(Generation(generation)) => Err(reboot_failure(format!("this VM has restarted after generation {generation} too"))),
        Past::Crashed(Generation(generation)) => Err(reboot_failure(format!("this VM crashed in its generation {generation}"))),
    }
}

/// Whether the connections that get their driver late have it already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Late {
    Now,
    Later,
}

fn set_up(role: Role, system: &System, report: &Report, late: Late) -> Result<(), Failure> {
    let expected = role.connections();
    let connections = devices::set_up(system, report, |name| {
        let expected = expected.iter().find(|expected| expected.name == name);
        let expected = expected.ok_or_else(|| format!("there should be no connection {name}"))?;
        // Our driver is loaded late where connections wait for it: then those that need it come with it.
        let waits = name.starts_with("late") || expected.driver == Driver::CrossVm;
        Ok(if late == Late::Later && waits { Holder::Later } else { Holder::Now(expected.driver) })
    })?;
    let names: Vec<_> = connections.iter().map(Endpoint::name).collect();
    if names.iter().ne(expected.iter().map(|expected| &expected.name)) {
        return Err(Failure::new("devices", format!("not the expected connections, but: {}", names.join(","))));
    }
    Ok(())
}

/// Gives the connections that waited for our driver to it, now that it is there. The peer may have emitted already: that is early, too.
fn bind_others(system: &System) -> Result<(), Failure> {
    let run = || {
        for expected in Role::Vm1.connections() {
            let connection = system.endpoint(expected.name).map_err(|error| error.to_string())?;
            driver::bind(connection.address(), expected.driver)?;
        }
        Ok(())
    };
    run().map_err(|reason: String| Failure::new("devices", reason))
}

fn reboot_failure(reason: impl Into<String>) -> Failure {
    Failure::new("reboot", reason.into())
}

/// What this VM finds of its predecessor. Needs no driver.
fn past(system: &System) -> Result<Past, String> {
    let connection = system.endpoint(SESSION).map_err(|error| error.to_string())?;
    session::past(&connection.dataport(DataportIndex::FIRST).map_err(|error| error.to_string())?)
}

fn call(system: &System, settings: &Settings, report: &Report, generation: Generation) -> Result<(), Failure> {
    let run = || {
        let connection = system.endpoint(SESSION).map_err(|error| error.to_string())?;
        let dataport = connection.dataport(DataportIndex::FIRST).map_err(|error| error.to_string())?;
        session::call(&dataport, &mut Link::new(&connection, settings.timeout)?, generation)
    };
    run().map_err(reboot_failure)?;
    agreed(report, generation);
    Ok(())
}

fn answer(system: &System, settings: &Settings, report: &Report, generation: Generation) -> Result<(), Failure> {
    let run = || {
        let connection = system.endpoint(SESSION).map_err(|error| error.to_string())?;
        let dataport = connection.dataport(DataportIndex::FIRST).map_err(|error| error.to_string())?;
        let mut link = Link::new(&connection, settings.reboot_timeout)?;
        session::answer(&dataport, &mut link, generation)
    };
    run().map_err(reboot_failure)?;
    agreed(report, generation);
    Ok(())
}

fn agreed(report: &Report, Generation(generation): Generation) {
    report.pass(if generation == 1 { "session" } else { "session-again" }, &[("generation", generation.to_string())]);
}

fn leave(system: &System, report: &Report) -> Result<(), Failure> {
    let run = || {
        let connection = system.endpoint(SESSION).map_err(|error| error.to_string())?;
        session::leave(&connection.dataport(DataportIndex::FIRST).map_err(|error| error.to_string())?, FIRST)
    };
    run().map_err(reboot_failure)?;
    report.leave(FIRST);
    Ok(())
}

/// Reports how often each connection has interrupted this kernel.
fn interrupts(system: &System, report: &Report) -> Result<(), Failure> {
    report.interrupts(system).map_err(|reason| Failure::new("interrupts", reason))
}
