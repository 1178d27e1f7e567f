//! Check `devices`: the connections are there, in order, and the kernel has no complaint about them.

use crossvm_guest::{Connection, Scope, System};

use crate::dmesg;
use crate::report::{Failure, Report};
use crate::settings::Settings;

const CHECK: &str = "devices";

/// Checks that this VM has the connections it must have, that a driver holds each, and that the kernel took them without a complaint.
pub(crate) fn check(system: &System, settings: &Settings, report: &Report) -> Result<(), Failure> {
    let fail = |reason: String| Failure::new(CHECK, reason);
    // They are bound already: binding again must do no harm.
    system.bind(Scope::Free).map_err(|error| fail(error.to_string()))?;
    let functions = system.functions().map_err(|error| fail(error.to_string()))?;
    let connections: Result<Vec<_>, _> = functions.iter().map(Connection::open).collect();
    let connections = connections.map_err(|error| fail(error.to_string()))?;
    let names: Vec<_> = connections.iter().map(Connection::name).collect();
    for expected in settings.role.connections() {
        if !names.contains(expected) {
            return Err(fail(format!("no connection {expected}, there are: {}", names.join(","))));
        }
    }
    let mut bars = Vec::new();
    for connection in &connections {
        // Taking hold of the events proves that the driver is bound and its device file is there.
        connection.waiter().map_err(|error| fail(error.to_string()))?;
        let found = connection.function().bars().map_err(|error| fail(error.to_string()))?;
        bars.extend(found.iter().map(|bar| format!("{}:{}:{:#x}:{}", connection.name(), bar.index(), bar.address(), bar.size())));
    }
    let log = dmesg::read().map_err(fail)?;
    if let Some(complaint) = dmesg::complaint(&log) {
        return Err(fail(format!("the kernel complains: {complaint}")));
    }
    report.pass(CHECK, &[("names", names.join(",")), ("bars", bars.join(",")), ("dmesg", "clean".to_owned())]);
    Ok(())
}
