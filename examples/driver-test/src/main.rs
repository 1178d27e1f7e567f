//! Tests the Linux driver of `guest/linux` from inside a guest.
//!
//! The VM has three connections, each to a native component of the VMM:
//!
//! | connection | dataports | the component answers each event with one, after |
//! | --- | --- | --- |
//! | `mirror` | 64 KiB | it has written the line at the start, reversed, to the middle |
//! | `sum` | 12 KiB; 4 KiB, read-only for the VM | it has written the CRC-32 of the first to the second |
//! | `feed` | 8 KiB, read-only for the VM | it has filled it with words that tell the number of the event |
//!
//! Each finding is one line, `DRIVER check=NAME ok=1 key=value ...`; the last line is `DRIVER done`, or `DRIVER fail check=NAME
//! reason=WORDS`. The argument says what the connections are: `msix` or `intx`, extended ones whose events must come that way while the driver
//! may choose; `reference`, those of the reference profile. After all checks of extended connections the driver is loaded again with `msix=0`,
//! and what depends on it is checked once more.
//!
//! Exit status: 0 after `DRIVER done`, 1 after `DRIVER fail`; anything else is a crash.
#![cfg(target_os = "linux")]

mod calls;
mod crowd;
mod early;
mod events;
mod identity;
mod kernel;
mod maps;
mod removal;
mod report;

use std::process::ExitCode;
use std::time::Duration;

use crossvm_guest::{Interrupt, Node, System};

use crate::identity::Expected;
use crate::kernel::Messages;
use crate::report::{Failure, Report};

/// How long to wait for what must come.
const LONG: Duration = Duration::from_secs(60);
/// How long to wait for what must not come.
const SHORT: Duration = Duration::from_millis(200);

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let result = match (arguments.next().as_deref(), arguments.next()) {
        (Some(removal::TOUCH), Some(node)) => return removal::touch(&node),
        (Some("msix"), None) => extended(Interrupt::Msix),
        (Some("intx"), None) => extended(Interrupt::Intx),
        (Some("reference"), None) => reference(),
        _ => Err(Failure::new("usage", "the argument is msix, intx or reference")),
    };
    match result {
        Ok(()) => {
            report::done();
            ExitCode::SUCCESS
        }
        Err(failure) => {
            report::fail(&failure);
            ExitCode::FAILURE
        }
    }
}

fn extended(expected: Interrupt) -> Result<(), Failure> {
    let before = Messages::now().map_err(|error| Failure::new("dmesg", error))?;
    let system = System::default();
    kernel::load("").map_err(|error| Failure::new("load", error))?;
    identity::check(&system, Expected::extended(expected), "identity")?;
    calls::check(&system)?;
    events::check(&system, "events")?;
    maps::check(&system)?;
    removal::check(&system)?;
    crowd::check(&system)?;
    early::check(&system, "", "early")?;

    kernel::unload().map_err(|error| Failure::new("unload", error))?;
    kernel::load("msix=0").map_err(|error| Failure::new("load", error))?;
    identity::check(&system, Expected::extended(Interrupt::Intx), "identity-intx")?;
    events::check(&system, "events-intx")?;
    early::check(&system, "msix=0", "early-intx")?;

    end(&before)
}

fn reference() -> Result<(), Failure> {
    let before = Messages::now().map_err(|error| Failure::new("dmesg", error))?;
    let system = System::default();
    kernel::load("").map_err(|error| Failure::new("load", error))?;
    identity::check(&system, Expected::reference(), "identity-reference")?;
    events::check_without_ack(&system, "events-reference")?;
    early::check(&system, "", "early-reference")?;
    end(&before)
}

fn end(before: &Messages) -> Result<(), Failure> {
    kernel::unload().map_err(|error| Failure::new("unload", error))?;
    before.no_complaint_since().map_err(|error| Failure::new("dmesg", error))?;
    Report::new("dmesg").pass();
    Ok(())
}

/// Opens a connection through the driver under test.
fn open(system: &System, name: &str) -> Result<Node, String> {
    let functions = system.functions().map_err(|error| error.to_string())?;
    let nodes = functions.iter().filter(|function| function.node().is_some()).map(Node::open);
    for node in nodes {
        let node = node.map_err(|error| error.to_string())?;
        if node.name() == name {
            return Ok(node);
        }
    }
    Err(format!("the driver holds no connection {name}"))
}
