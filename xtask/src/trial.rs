//! A system under the hypervisor whose console is gathered: what `demo` and `verify` have in common.

pub(crate) mod complaints;
pub(crate) mod fields;
pub(crate) mod findings;
pub(crate) mod lspci;
pub(crate) mod pc;
pub(crate) mod report;
pub(crate) mod transcript;

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::Args;

use crate::launch::console::Line;
use crate::launch::{Ended, Hypervisor, Input, Interrupts, Job, Order, Output, Patience, Verdict, kvm};
use crate::modules::{self, Warnings};
use crate::output;
use crate::setup::Ready;
use crate::system::System;
use crate::workspace::Workspace;
use crate::{guest, programs, progress};
use transcript::{Outlook, Transcript};

/// How long the others may go on when a run can no longer succeed: their findings help to understand it.
const GRACE: Duration = Duration::from_secs(30);

/// How often something is run where each time an emulated machine ends under it. No program in a sound one can do that.
const ATTEMPTS: usize = 3;

/// What all such runs let a user choose.
#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// Write a report as JSON to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,

    /// Also show QEMU's command line, where everything is in memory, and when each line was written
    #[arg(long, short)]
    verbose: bool,

    /// Do not show the consoles
    #[arg(long, short, conflicts_with = "verbose")]
    quiet: bool,
}

impl Flags {
    /// How much the user wants to see.
    pub(crate) fn show(&self) -> Show {
        match (self.quiet, self.verbose) {
            (true, _) => Show::Progress,
            (_, true) => Show::Everything,
            _ => Show::Consoles,
        }
    }
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

/// What is to be run.
#[derive(Debug)]
pub(crate) struct Trial {
    /// For the names of its files.
    pub(crate) name: String,
    /// What it is, for whoever waits.
    pub(crate) what: String,
    pub(crate) hypervisor: Hypervisor,
    pub(crate) system: System,
    pub(crate) interrupts: Interrupts,
    pub(crate) show: Show,
    pub(crate) timeout: Duration,
}

/// How a run went.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    pub(crate) ended: Ended,
    pub(crate) took: Duration,
    /// Where it ran and why there, where that was a choice.
    pub(crate) place: Option<String>,
    /// The kernel release that the guests' package has.
    pub(crate) kernel: String,
    /// Path of the console's log.
    pub(crate) log: String,
}

/// The initial RAM disk with the guests' programs, made of what is there now.
pub(crate) fn initramfs(workspace: &Workspace, ready: &Ready) -> Result<PathBuf> {
    let architecture = ready.kernel.architecture;
    let path = workspace.output()?.join(format!("initramfs-{}.cpio", architecture.debian()));
    let programs = programs::build_guest(workspace, &ready.toolchain, architecture)?;
    let module = modules::build(workspace, &ready.kernel, Warnings::Shown)?;
    guest::write_initramfs(&ready.kernel.clone().with_module(module), &ready.userland, &programs, &path)?;
    Ok(path)
}

/// Runs a system to its end and gathers what its console says.
pub(crate) fn run(workspace: &Workspace, ready: &Ready, trial: &Trial) -> Result<(Transcript, Run)> {
    again(|| {
        let mut transcript = Transcript::default();
        let run = watch(workspace, ready, trial, |line| match transcript.add(line) {
            Outlook::Good => Verdict::GoOn,
            Outlook::Lost => Verdict::StopIn(GRACE),
        })?;
        Ok((transcript, run))
    })
}

/// Runs something, and again where an emulated machine has ended under it.
pub(crate) fn again<T>(mut once: impl FnMut() -> Result<(T, Run)>) -> Result<(T, Run)> {
    for attempt in 1..ATTEMPTS {
        let (seen, run) = once()?;
        if !kvm::has_collapsed(&run.ended) {
            return Ok((seen, run));
        }
        let kept = format!("{}.collapsed-{attempt}", run.log);
        // It is for a person who wants to know more: without it the run goes on.
        let kept = if fs::copy(&run.log, &kept).is_ok() { kept } else { "nowhere".to_owned() };
        output::line(format!("AGAIN: the emulated machine itself ended, after {:.0} s; its console: {kept}", run.took.as_secs_f64()));
    }
    once()
}

/// Runs a system to its end. Each line of its console goes to `each`, which says whether to go on.
pub(crate) fn watch(workspace: &Workspace, ready: &Ready, trial: &Trial, mut each: impl FnMut(&Line) -> Verdict) -> Result<Run> {
    let log = workspace.output()?.join(format!("{}.log", trial.name));
    let order = Order {
        system: &trial.system,
        interrupts: trial.interrupts,
        cpu: None,
        extra: Vec::new(),
        input: Input::Nothing,
        output: Output::Lines,
        log: &log,
        program: None,
    };
    let job = trial.hypervisor.prepare(workspace, ready, order)?;
    let place = job.place().map(ToString::to_string);
    if let Some(place) = &place {
        output::line(place);
    }
    if trial.show == Show::Everything {
        if let Job::Arm(machine) = &job {
            for blob in &machine.layout.blobs {
                output::line(format!("{:#012x} {:>9} bytes  {}", blob.image.address, blob.image.size, blob.path.display()));
            }
        }
        output::line(job.describe());
    }
    let started = Instant::now();
    let names: Vec<_> = trial.system.vms.iter().map(|vm| vm.name.clone()).collect();
    let mut watch = |line: Line| {
        show(&line, trial.show, &names);
        each(&line)
    };
    let patience = Patience::Limit(trial.timeout);
    let ended = if trial.show == Show::Progress {
        progress::step(&trial.what, |_| job.run(patience, watch))?
    } else {
        job.run(patience, &mut watch)?
    };
    if ended == Ended::Interrupted {
        bail!("interrupted; the console so far is in {}", log.display());
    }
    Ok(Run { ended, took: started.elapsed(), place, kernel: ready.kernel.release.clone(), log: log.display().to_string() })
}

fn show(line: &Line, show: Show, names: &[String]) {
    match show {
        Show::Progress => {}
        Show::Consoles => output::line(line.shown(names)),
        Show::Everything => output::line(format!("{:8.3} {}", line.at.as_secs_f64(), line.shown(names))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_emulated_machine_has_ended_is_run_again_and_nothing_else_is() {
        let run = |ended: Ended| {
            let mut ends = [ended.clone(), ended.clone(), ended].into_iter();
            let mut count = 0;
            let (_, run) = again(|| {
                count += 1;
                let ended = ends.next().unwrap();
                Ok(((), Run { ended, took: Duration::ZERO, place: None, kernel: String::new(), log: "/nowhere/x".to_owned() }))
            })
            .unwrap();
            (count, run.ended)
        };
        let collapsed = Ended::Failed("the emulated machine ended before kvm-vmm did: crossvm-l1: begin".to_owned());
        assert_eq!(run(collapsed.clone()), (ATTEMPTS, collapsed));
        for other in [Ended::PoweredOff, Ended::Failed("kvm-vmm ended with status 1: x".to_owned()), Ended::TimedOut(Duration::ZERO)] {
            assert_eq!(run(other.clone()), (1, other));
        }
    }
}
