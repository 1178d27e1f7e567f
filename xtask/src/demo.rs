//! `cargo xtask demo`: two unmodified Debian kernels side by side under the EL2 hypervisor, connected by crossvm.

mod report;
mod scenario;
mod verify;

use std::time::Duration;

use anyhow::{Result, bail};
use clap::Args;

pub(crate) use report::Report;
pub(crate) use scenario::{Events, Sabotage};

use crate::launch::Gic;
use crate::output;
use crate::setup::{self, Existing, Ready};
use crate::trial::{self, Flags, Show, Trial};
use crate::workspace::Workspace;

/// How long a run may take, on a machine that has much else to do.
const DEFAULT_TIMEOUT: u64 = 300;

/// Boot two Debian kernels under the EL2 hypervisor and verify that they talk through crossvm.
///
/// The guests' consoles come out as they are written, then a table of what was verified. The exit status is 0 only if all of it
/// was.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    flags: Flags,

    /// Version of the machine's interrupt controller, and of that which the guests see
    #[arg(long, value_enum, value_name = "VERSION", default_value_t)]
    gic: Gic,

    /// How many events the guests send each other as fast as they can, in all: a multiple of 4
    #[arg(long, value_name = "NUMBER", default_value_t)]
    events: Events,

    /// Make a mistake on purpose; the run must then fail
    #[arg(long, value_enum, value_name = "MISTAKE")]
    sabotage: Option<Sabotage>,

    /// Give up after this time
    #[arg(long, value_name = "SECONDS", default_value_t = DEFAULT_TIMEOUT)]
    timeout: u64,
}

/// One run of the demonstration.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Play {
    pub(crate) gic: Gic,
    pub(crate) events: Events,
    pub(crate) sabotage: Option<Sabotage>,
    pub(crate) show: Show,
    pub(crate) timeout: Duration,
}

impl Default for Play {
    /// A run as the tests make it.
    fn default() -> Self {
        Self {
            gic: Gic::default(),
            events: Events::default(),
            sabotage: None,
            show: Show::Progress,
            timeout: Duration::from_secs(DEFAULT_TIMEOUT),
        }
    }
}

/// Plays the demonstration as the flags say.
pub(crate) fn demo(workspace: &Workspace, arguments: &Arguments) -> Result<()> {
    let ready = setup::setup(workspace, Existing::Keep)?;
    let Arguments { flags, gic, events, sabotage, timeout } = arguments;
    let play = Play { gic: *gic, events: *events, sabotage: *sabotage, show: flags.show(), timeout: Duration::from_secs(*timeout) };
    let report = self::play(workspace, &ready, play)?;
    if let Some(path) = &flags.report {
        trial::report::write(&report, path)?;
    }
    output::line(format!("\n{}", report.show()));
    if !report.ok {
        let first = report.reasons.first().map_or("for no reason", String::as_str);
        bail!("the demonstration failed: {first} (all reasons are above the table). Console: {}", report.log);
    }
    Ok(())
}

/// Builds what the demonstration needs, runs it and verifies it.
pub(crate) fn play(workspace: &Workspace, ready: &Ready, play: Play) -> Result<Report> {
    let initramfs = trial::initramfs(workspace, ready)?;
    let mut name = format!("demo-gic{}", play.gic);
    if let Some(sabotage) = play.sabotage {
        name.push_str(&format!("-{sabotage}"));
    }
    let trial = Trial {
        name,
        what: format!("running two Debian kernels under el2-vmm on a GICv{}", play.gic),
        system: scenario::system(&ready.kernel.image, &initramfs, play.events, play.sabotage),
        gic: play.gic,
        show: play.show,
        timeout: play.timeout,
    };
    let (transcript, run) = trial::run(workspace, ready, &trial)?;
    Ok(verify::verify(&transcript, &run, play))
}
