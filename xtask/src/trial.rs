//! A system under the hypervisor whose console is gathered: what `demo` and `verify` have in common.

pub(crate) mod complaints;
pub(crate) mod fields;
pub(crate) mod findings;
pub(crate) mod lspci;
pub(crate) mod pc;
pub(crate) mod report;
pub(crate) mod transcript;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use clap::Args;

use crate::launch::console::{Line, Source};
use crate::launch::kvm::{self, Place};
use crate::launch::{Ended, Hypervisor, Input, Interrupts, Job, Order, Output, Patience, Verdict};
use crate::modules::{self, Warnings};
use crate::output;
use crate::progress::seconds;
use crate::setup::Ready;
use crate::system::System;
use crate::workspace::Workspace;
use crate::{guest, programs, progress};
use transcript::{Outlook, Transcript};

/// How long the others may go on when a run can no longer succeed: their findings help to understand it.
const GRACE: Duration = Duration::from_secs(30);
/// How long a run goes on that says nothing.
const REST: Duration = Duration::from_secs(1);

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
    /// An emulated processor has given a guest three faults at once: see [`again`].
    pub(crate) shutdown: bool,
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

/// How often a run is tried at most that an emulated processor has spoilt.
const TRIES: u32 = 3;

/// In an emulated PC on an idle machine, a guest's first line comes well within a minute of the start.
const FIRST_WORD: Duration = Duration::from_secs(180);

/// Makes a run, and makes it again where an emulated machine has ended under it, which no program in a sound one can do, or has not got as far as a guest's
/// first word, or where an emulated processor with SVM has ended a guest in the middle of nothing.
///
/// QEMU's SVM can inject an interrupt twice (see docs/kvm.md): the second may come at the first instruction of the first one's handler, where a kernel that was
/// entered from user mode is not ready for it. No guest of ours resets itself that way, so a run in which one did says nothing. It is told, its console is kept, and
/// one of three runs must go without. On a processor that is not emulated, a shutdown is a failure at once.
pub(crate) fn again<T>(mut attempt: impl FnMut() -> Result<(T, Run)>) -> Result<(T, Run)> {
    let mut tries = 1;
    loop {
        let (outcome, run) = attempt()?;
        let spoilt = match run.ended {
            _ if kvm::has_collapsed(&run.ended) => "the emulated machine itself has ended".to_owned(),
            Ended::Mute(after) => format!("no guest has said a word in {} of the emulated machine", seconds(after)),
            _ if run.shutdown => "the emulated processor has given a guest three faults at once".to_owned(),
            _ => return Ok((outcome, run)),
        };
        if tries == TRIES {
            return Ok((outcome, run));
        }
        let kept = format!("{}.shutdown-{tries}", run.log);
        std::fs::rename(&run.log, &kept).with_context(|| format!("cannot keep {}", run.log))?;
        tries += 1;
        output::note(format!("TRIED AGAIN ({tries} of {TRIES}): {spoilt}; the console is in {kept}"));
    }
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
    let emulated = job.place().is_some_and(Place::is_emulated_pc);
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
    let mut shutdown = false;
    let mut watch = |line: Line| {
        show(&line, trial.show, &names);
        let verdict = each(&line);
        shutdown |= emulated && is_shutdown(&line);
        if shutdown { Verdict::StopIn(REST) } else { verdict }
    };
    let patience = if emulated {
        Patience::FirstWord { word: FIRST_WORD.min(trial.timeout), limit: trial.timeout }
    } else {
        Patience::Limit(trial.timeout)
    };
    let ended = if trial.show == Show::Progress {
        progress::step(&trial.what, |_| job.run(patience, &mut watch))?
    } else {
        job.run(patience, &mut watch)?
    };
    if ended == Ended::Interrupted {
        bail!("interrupted; the console so far is in {}", log.display());
    }
    Ok(Run { ended, took: started.elapsed(), place, kernel: ready.kernel.release.clone(), shutdown, log: log.display().to_string() })
}

/// Whether the VMM tells of a guest that was reset by three faults at once, or stopped for that.
fn is_shutdown(line: &Line) -> bool {
    line.source == Source::Vmm && line.text.ends_with(": triple fault")
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
    fn a_run_that_an_emulated_processor_has_spoilt_is_made_again_but_not_for_ever() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("run.log");
        for (spoilt, expected) in [(0, 1), (1, 2), (2, 3), (3, 3), (9, 3)] {
            let mut made = 0;
            let (number, run) = again(|| {
                made += 1;
                std::fs::write(&log, "text").unwrap();
                let (ended, took) = (Ended::PoweredOff, Duration::ZERO);
                let log = log.display().to_string();
                Ok((made, Run { ended, took, place: None, kernel: String::new(), shutdown: made <= spoilt, log }))
            })
            .unwrap();
            assert_eq!((number, made, run.shutdown), (expected, expected, spoilt >= TRIES), "{spoilt} spoilt runs");
        }
        assert!(folder.path().join("run.log.shutdown-2").exists());
    }

    #[test]
    fn what_an_emulated_machine_has_ended_is_run_again_and_nothing_else_is() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("run.log").display().to_string();
        let tries = |ended: Ended| {
            let mut made = 0;
            let attempt = || {
                made += 1;
                std::fs::write(&log, "text").unwrap();
                let (ended, log) = (ended.clone(), log.clone());
                Ok(((), Run { ended, took: Duration::ZERO, place: None, kernel: String::new(), shutdown: false, log }))
            };
            again(attempt).unwrap();
            made
        };
        assert_eq!(tries(Ended::Failed("the emulated machine ended before kvm-vmm did: crossvm-l1: begin".to_owned())), TRIES);
        assert_eq!(tries(Ended::Mute(FIRST_WORD)), TRIES);
        for other in [Ended::PoweredOff, Ended::Failed("kvm-vmm ended with status 1: x".to_owned()), Ended::TimedOut(Duration::ZERO)] {
            assert_eq!(tries(other), 1);
        }
    }

    #[test]
    fn three_faults_at_once_are_known_by_what_the_vmm_says() {
        let is_shutdown = |raw: &str| is_shutdown(&Line::parse(Duration::ZERO, raw));
        assert!(is_shutdown("[vmm] vm1: vCPU 0: triple fault"));
        assert!(!is_shutdown("[vm1] vm1: vCPU 0: triple fault") && !is_shutdown("[vmm] record=vm-reboot vm=vm1 cause=reset-register"));
    }
}
