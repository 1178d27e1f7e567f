//! Checks `early`: events that came while no driver held the function.

use crossvm_guest::{Connection, Function, System};

use crate::report::{Failure, Report};
use crate::{LONG, events, kernel, open};

/// Events that come before the driver.
const EARLY: u32 = 5;
/// The connections that are tried: with more than one, several wait on a line that they may share.
const NAMES: [&str; 2] = ["mirror", "sum"];

/// Checks it, for a driver that is loaded with `parameters`.
pub(crate) fn check(system: &System, parameters: &str, check: &'static str) -> Result<(), Failure> {
    run(system, parameters, check).map_err(|reason| Failure::new(check, reason))
}

fn run(system: &System, parameters: &str, check: &'static str) -> Result<(), String> {
    for name in NAMES {
        let function = open(system, name)?.function().clone();
        let address = function.address();
        kernel::unbind(address)?;
        // Others may share the line, and nobody would lower it.
        let command = kernel::command(address)?;
        if !command.intx_disable() || command.bus_master() {
            return Err(format!("a function without a driver may interrupt: {command:?}"));
        }
        emit_without_driver(&find(system, &function)?)?;
        kernel::bind(address)?;
        let node = open(system, name)?;
        events::take(&node, EARLY)?;
        events::nothing_more(&node)?;
        // And it goes on.
        events::emit(&node, EARLY)?;
        events::take(&node, EARLY)?;
    }
    // Before the driver itself: when it takes the first function, others that share the line have events already.
    let functions = NAMES.map(|name| open(system, name).map(|node| node.function().clone()));
    let functions: Vec<_> = functions.into_iter().collect::<Result<_, _>>()?;
    kernel::unload()?;
    for function in &functions {
        emit_without_driver(&find(system, function)?)?;
    }
    kernel::load(parameters)?;
    for name in NAMES {
        let node = open(system, name)?;
        events::take(&node, EARLY)?;
        events::nothing_more(&node)?;
    }
    Report::new(check).with("events", EARLY).with("connections", NAMES.len()).pass();
    Ok(())
}

/// The function as sysfs shows it now.
fn find(system: &System, function: &Function) -> Result<Function, String> {
    let functions = system.functions().map_err(|error| error.to_string())?;
    functions.into_iter().find(|found| found.address() == function.address()).ok_or_else(|| "the function is gone".to_owned())
}

/// Makes the component answer, through the registers: its events wait in the device.
fn emit_without_driver(function: &Function) -> Result<(), String> {
    let connection = Connection::open(function).map_err(|error| error.to_string())?;
    let begin = std::time::Instant::now();
    (0..EARLY).for_each(|_| connection.emit());
    while connection.events().count().get() != EARLY {
        if begin.elapsed() > LONG {
            return Err(format!("COUNT is {} instead of {EARLY}", connection.events().count()));
        }
        std::thread::yield_now();
    }
    Ok(())
}
