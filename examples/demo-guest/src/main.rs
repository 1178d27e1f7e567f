//! What runs in the guests of the demo: it uses the VM's connections, checks all that comes back, and reports on the console.
//!
//! ```text
//!                  vm0                              vm1
//!   devices        all connections are there        the same; nobody holds two of them yet
//!   reverse        lines to a native component
//!   bulk           64 MiB, in chunks       ──────▶  received
//!   ping           event, INTx             ◀─────▶  event
//!   late           5 events each           ──────▶  the drivers come, the kernel is interrupted, each event counts
//!   ping-msix      event, MSI-X            ◀─────▶  event
//!   count          many events at once     ◀─────▶  many events at once
//!   send, net,     the crossvm command     ◀─────▶  the crossvm command      see [`tools`]
//!   latency
//!                                                   reboots
//!   resume         event, INTx and MSI-X   ◀─────▶  event
//! ```
//!
//! Each finding is one line, `DEMO check=NAME vm=NAME ok=1 key=value ...`; the last line is `DEMO done vm=NAME`, or
//! `DEMO fail vm=NAME check=NAME reason=WORDS`. The kernel command line knows:
//!
//! | parameter | what it says |
//! | --- | --- |
//! | `crossvm.vm=NAME` | which VM this is |
//! | `demo.check=PLAN` | to check the connections one after another instead, whatever they are: see [`check`] |
//! | `demo.survive=first\|second` | to send beats for ever, and to tell what becomes of the peer: see [`survive`] |
//! | `demo.events=NUMBER` | how many events each side sends on each connection of the check `count` |
//! | `demo.rounds=NUMBER` | how many round trips the check `ping` makes; `ping-msix` makes half of them, the checks after the reboot a tenth |
//! | `demo.tools=full\|brief\|off` | how much goes through the `crossvm` command's channels |
//! | `demo.timeout=SECONDS` | how long to wait without progress |
//! | `demo.reboot-timeout=SECONDS` | how long to wait for a peer that reboots |
//! | `demo.sabotage=corrupt\|die\|mute\|forget\|leave` | to make a mistake on purpose, to show that it is noticed |
//!
//! Exit status: 0 after `DEMO done`, 1 after `DEMO fail`, 2 where the VM shall reboot; anything else is a crash.
#![cfg(target_os = "linux")]
#![deny(unsafe_code)]

mod bulk;
mod check;
mod chunk;
mod count;
mod devices;
mod dmesg;
mod driver;
mod events;
mod interrupts;
mod late;
mod link;
mod lspci;
mod ping;
mod random;
mod report;
mod reverse;
mod session;
mod settings;
mod survive;
mod talk;
mod tools;

use std::process::ExitCode;

use crossvm_guest::System;

use crate::report::{Failure, Report};
use crate::settings::{Settings, Task};

/// What the VM does when its part is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum After {
    /// It switches itself off.
    PowerOff,
    /// It starts again.
    Reboot,
    /// It switches itself off though it should start again: a mistake on purpose.
    Vanish,
}

fn main() -> ExitCode {
    let settings = match Settings::of_this_kernel() {
        Ok(settings) => settings,
        Err(reason) => {
            Report::new("unknown").fail(&Failure::new("settings", reason));
            return ExitCode::FAILURE;
        }
    };
    let report = Report::new(&settings.vm);
    match run(&settings, &report) {
        Ok(After::PowerOff | After::Vanish) => ExitCode::SUCCESS,
        Ok(After::Reboot) => ExitCode::from(2),
        Err(failure) => {
            report.fail(&failure);
            ExitCode::FAILURE
        }
    }
}

fn run(settings: &Settings, report: &Report) -> Result<After, Failure> {
    report.ready(&settings::kernel_release(), settings::uptime(), settings::cpus());
    let system = System::default();
    let after = match &settings.task {
        Task::Demo(role) => talk::play(*role, &system, settings, report)?,
        Task::Check(plan) => check::run(plan, &system, settings, report)?,
        Task::Survive(half) => match survive::run(*half, &system, report)? {},
    };
    if after == After::PowerOff {
        lspci::show(report)?;
        report.done();
    }
    Ok(after)
}
