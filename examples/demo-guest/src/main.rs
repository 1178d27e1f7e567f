//! What runs in the guests of the demo: it uses the VM's connections, checks all that comes back, and reports on the console.
//!
//! ```text
//!             vm0                                vm1
//!   devices   all connections are there          all connections are there
//!   reverse   lines to a native component
//!   bulk      64 MiB, in chunks         ──────▶  received
//!   ping      event                     ──────▶
//!                                       ◀──────  event
//! ```
//!
//! Each finding is one line, `DEMO check=NAME vm=NAME ok=1 key=value ...`; the last line is `DEMO done vm=NAME`, or
//! `DEMO fail vm=NAME check=NAME reason=WORDS`. The kernel command line says which VM this is (`crossvm.vm=vm0`), and may ask for a
//! mistake, to show that it is noticed (`demo.sabotage=corrupt|die|mute`), or change how long to wait without progress
//! (`demo.timeout=SECONDS`).
//!
//! Exit status: 0 after `DEMO done`, 1 after `DEMO fail`; anything else is a crash.
#![cfg(target_os = "linux")]
#![forbid(unsafe_code)]

mod bulk;
mod chunk;
mod devices;
mod dmesg;
mod link;
mod ping;
mod random;
mod report;
mod reverse;
mod settings;

use std::process::ExitCode;

use crossvm_guest::System;

use crate::report::{Failure, Report};
use crate::settings::{Role, Settings};

fn main() -> ExitCode {
    let settings = match Settings::of_this_kernel() {
        Ok(settings) => settings,
        Err(reason) => {
            Report::new("unknown").fail(&Failure::new("settings", reason));
            return ExitCode::FAILURE;
        }
    };
    let report = Report::new(settings.role.name());
    match run(&settings, &report) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            report.fail(&failure);
            ExitCode::FAILURE
        }
    }
}

fn run(settings: &Settings, report: &Report) -> Result<(), Failure> {
    report.ready(&settings::kernel_release(), settings::uptime());
    let system = System::default();
    devices::check(&system, settings, report)?;
    match settings.role {
        Role::Vm0 => {
            reverse::check(&system, settings, report)?;
            bulk::send(&system, settings, report)?;
            ping::ping(&system, settings, report)?;
        }
        Role::Vm1 => {
            bulk::receive(&system, settings, report)?;
            ping::pong(&system, settings, report)?;
        }
    }
    report.done();
    Ok(())
}
