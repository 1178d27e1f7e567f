//! `cargo xtask demo`: two unmodified Debian kernels side by side under the EL2 hypervisor, connected by crossvm.

mod complaints;
mod fields;
mod report;
mod scenario;
mod transcript;
mod verify;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::Args;

pub(crate) use report::Report;
pub(crate) use scenario::Sabotage;

use crate::launch::console::Line;
use crate::launch::{Cpu, Ended, Gic, Input, Layout, Machine, Output, Patience, Verdict};
use crate::output;
use crate::run::DEFAULT_CPU;
use crate::setup::{self, Existing, Ready};
use crate::workspace::Workspace;
use crate::{guest, process, programs, progress};
use transcript::{Outlook, Transcript};

/// How long a run may take, on a machine that has much else to do.
const DEFAULT_TIMEOUT: u64 = 180;
/// How long the others may go on when a run can no longer succeed: their findings help to understand it.
const GRACE: Duration = Duration::from_secs(30);

/// Boot two Debian kernels under the EL2 hypervisor and verify that they talk through crossvm.
///
/// The guests' consoles come out as they are written, then a table of what was verified. The exit status is 0 only if all of it
/// was.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Write a report as JSON to this file
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,

    /// Also show QEMU's command line, where everything is in memory, and when each line was written
    #[arg(long, short)]
    verbose: bool,

    /// Do not show the consoles
    #[arg(long, short, conflicts_with = "verbose")]
    quiet: bool,

    /// Make a mistake on purpose; the run must then fail
    #[arg(long, value_enum, value_name = "MISTAKE")]
    sabotage: Option<Sabotage>,

    /// Give up after this time
    #[arg(long, value_name = "SECONDS", default_value_t = DEFAULT_TIMEOUT)]
    timeout: u64,
}

/// How much of a run is shown while it goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Show {
    /// That it goes on.
    Progress,
    /// The consoles.
    Consoles,
    /// The consoles with times, and how the machine is started.
    Everything,
}

/// One run of the demonstration.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Play {
    pub(crate) sabotage: Option<Sabotage>,
    pub(crate) show: Show,
    pub(crate) timeout: Duration,
}

impl Play {
    /// A run as the tests make it.
    pub(crate) fn for_test(sabotage: Option<Sabotage>) -> Self {
        Self { sabotage, show: Show::Progress, timeout: Duration::from_secs(DEFAULT_TIMEOUT) }
    }
}

/// Plays the demonstration as the flags say.
pub(crate) fn demo(workspace: &Workspace, arguments: &Arguments) -> Result<()> {
    let ready = setup::setup(workspace, Existing::Keep)?;
    let show = match (arguments.quiet, arguments.verbose) {
        (true, _) => Show::Progress,
        (_, true) => Show::Everything,
        _ => Show::Consoles,
    };
    let report = play(workspace, &ready, Play { sabotage: arguments.sabotage, show, timeout: Duration::from_secs(arguments.timeout) })?;
    if let Some(path) = &arguments.report {
        report.write(path)?;
    }
    output::line(format!("\n{}", report.show()));
    if !report.ok {
        let first = report.reasons.first().map_or("for no reason", String::as_str);
        bail!("the demonstration failed: {first} (all reasons are above the table)");
    }
    Ok(())
}

/// Builds what the demonstration needs, runs it and verifies it.
pub(crate) fn play(workspace: &Workspace, ready: &Ready, play: Play) -> Result<Report> {
    let folder = workspace.output()?;
    let hypervisor = programs::build_vmm(workspace, &ready.toolchain)?;
    let initramfs = folder.join("initramfs.cpio");
    let programs = programs::build_guest(workspace, &ready.toolchain)?;
    guest::write_initramfs(&ready.kernel, &ready.busybox, &programs, &initramfs)?;
    let name = play.sabotage.map_or_else(|| "demo".to_owned(), |sabotage| format!("demo-{sabotage}"));
    let log = folder.join(format!("{name}.log"));
    let system = scenario::system(&ready.kernel.image, &initramfs, play.sabotage);
    let machine = Machine {
        hypervisor,
        layout: Layout::new(&system, &folder.join(format!("{name}.topology")))?,
        cpu: Cpu(DEFAULT_CPU.to_owned()),
        gic: Gic::default(),
        extra: Vec::new(),
        input: Input::Nothing,
        output: Output::Lines,
        log: log.clone(),
    };
    if play.show == Show::Everything {
        for blob in &machine.layout.blobs {
            output::line(format!("{:#012x} {:>9} bytes  {}", blob.image.address, blob.image.size, blob.path.display()));
        }
        output::line(process::describe(&machine.command()));
    }
    let mut transcript = Transcript::default();
    let started = Instant::now();
    let mut watch = |line: Line| {
        show(&line, play.show);
        match transcript.add(&line) {
            Outlook::Good => Verdict::GoOn,
            Outlook::Lost => Verdict::StopIn(GRACE),
        }
    };
    let patience = Patience::Limit(play.timeout);
    let ended = if play.show == Show::Progress {
        progress::step("running two Debian kernels under el2-vmm", |_| machine.run(patience, watch))?
    } else {
        machine.run(patience, &mut watch)?
    };
    if ended == Ended::Interrupted {
        bail!("interrupted; the console so far is in {}", log.display());
    }
    let run = verify::Run {
        ended,
        took: started.elapsed(),
        kernel: ready.kernel.release.clone(),
        sabotage: play.sabotage,
        log: log.display().to_string(),
    };
    Ok(verify::verify(&transcript, &run))
}

fn show(line: &Line, show: Show) {
    let names = scenario::VMS.map(str::to_owned);
    match show {
        Show::Progress => {}
        Show::Consoles => output::line(line.shown(&names)),
        Show::Everything => output::line(format!("{:8.3} {}", line.at.as_secs_f64(), line.shown(&names))),
    }
}
