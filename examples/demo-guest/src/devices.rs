//! Check `devices`: the connections are there, in order, each with its driver, and the kernel has no complaint about them.

use crossvm_guest::{Endpoint, System};

use crate::dmesg;
use crate::driver::{self, Driver};
use crate::events::Events;
use crate::report::{Failure, Report};

const CHECK: &str = "devices";

/// Who shall hold a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Holder {
    /// This driver, from now on.
    Now(Driver),
    /// Nobody until [`driver::bind`].
    Later,
}

/// Gives each connection to the driver that `choose` names, and reports what there is. Returns the connections in the order of their
/// addresses.
pub(crate) fn set_up(system: &System, report: &Report, choose: impl Fn(&str) -> Result<Holder, String>) -> Result<Vec<Endpoint>, Failure> {
    let run = || -> Result<Vec<Endpoint>, String> {
        let connections = open(system)?;
        let mut holders = Vec::new();
        // Out of reach of all drivers first: what is loaded for one connection would take the others as well.
        for connection in &connections {
            driver::reserve(connection.address())?;
            holders.push((connection.address(), choose(connection.name())?));
        }
        for (address, holder) in holders.clone() {
            if let Holder::Now(driver) = holder {
                driver::bind(address, driver)?;
            }
        }
        // Opened anew: the functions have device files now.
        let connections = open(system)?;
        for (connection, (_, holder)) in connections.iter().zip(&holders) {
            match holder {
                // Taking hold of the events proves that the device file is there.
                Holder::Now(_) => drop(Events::open(connection)?),
                Holder::Later => {
                    if let Some(name) = driver::bound(connection.address()) {
                        return Err(format!("{name} holds {}, which nobody should", connection.name()));
                    }
                }
            }
        }
        findings(&connections, report)?;
        Ok(connections)
    };
    run().map_err(|reason| Failure::new(CHECK, reason))
}

/// All connections of this VM, in the order of their addresses.
pub(crate) fn open(system: &System) -> Result<Vec<Endpoint>, String> {
    let functions = system.functions().map_err(|error| error.to_string())?;
    functions.iter().map(|function| Endpoint::open(function).map_err(|error| error.to_string())).collect()
}

fn findings(connections: &[Endpoint], report: &Report) -> Result<(), String> {
    let log = dmesg::read()?;
    if let Some(complaint) = dmesg::complaint(&log) {
        return Err(format!("the kernel complains: {complaint}"));
    }
    for connection in connections {
        let bars = connection.function().bars().map_err(|error| error.to_string())?;
        let bars: Vec<_> = bars.iter().map(|bar| format!("{}:{:#x}:{}", bar.index(), bar.address(), bar.size())).collect();
        let findings = [
            ("name", connection.name().to_owned()),
            ("address", connection.address().to_string()),
            ("driver", driver::bound(connection.address()).unwrap_or_else(|| "-".to_owned())),
            ("bars", bars.join("+")),
        ];
        report.device(&findings);
    }
    report.pass(CHECK, &[("connections", connections.len().to_string()), ("dmesg", "clean".to_owned())]);
    Ok(())
}
