//! A root task on a kernel in a machine, and what its console must show.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::Args;
use serde::Serialize;

use super::kernel::{self, Variant};
use super::machine::{Boot, Machine};
use crate::architecture::Architecture;
use crate::cache::Cache;
use crate::launch::Ended;
use crate::launch::console::{Line, Source};
use crate::progress::{self, seconds};
use crate::setup;
use crate::toolchain::{Target, Toolchain, Verb};
use crate::trial::fields::Fields;
use crate::trial::findings::Finding;
use crate::trial::report::{self, Check};
use crate::workspace::Workspace;
use crate::{interrupt, output, process, programs};

/// The package with the root tasks.
const TASKS: &str = "sel4-vmm";

/// How long a run may take, on a machine that has much else to do.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(300);

/// Why a check was not made.
const NOT_REACHED: &str = "the root task has not come so far";

/// What all trials let a user choose.
#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// Write a report as JSON to this file
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,

    /// Give up after this time
    #[arg(long, value_name = "SECONDS", default_value_t = TIMEOUT.as_secs())]
    pub(super) timeout: u64,

    /// Show the console while the machine runs
    #[arg(long, short)]
    pub(super) verbose: bool,
}

impl Flags {
    /// When to give up.
    pub(crate) const fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout)
    }
}

/// A check that a root task must print: a line `check=NAME` with its numbers, and what they must be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Expected {
    pub(crate) name: &'static str,
    pub(crate) verify: fn(&Fields) -> Finding,
}

/// The number that a root task has printed under this name.
pub(crate) fn number(fields: &Fields, key: &str) -> Result<u64, String> {
    fields.number(key).ok_or_else(|| format!("no number `{key}` was printed"))
}

/// These numbers are what they must be.
pub(crate) fn equal(fields: &Fields, expected: &[(&str, u64)]) -> Finding {
    for (key, expected) in expected {
        let found = number(fields, key)?;
        if found != *expected {
            return Err(format!("{key} is {found}, not {expected}"));
        }
    }
    Ok(String::new())
}

/// What is tried.
#[derive(Debug)]
pub(crate) struct Trial {
    /// The root task's program, and the name of its log.
    pub(crate) task: &'static str,
    pub(crate) variant: Variant,
    pub(crate) machine: Machine,
    pub(crate) expected: &'static [Expected],
    /// What the console as a whole must show.
    pub(crate) transcript: Option<fn(&[Line]) -> Check>,
    /// A mistake that the root task makes on purpose.
    pub(crate) sabotage: Option<&'static str>,
}

/// What a trial has shown.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Report {
    /// All checks passed.
    pub(crate) ok: bool,
    /// Why not, one sentence for each failed check.
    pub(crate) reasons: Vec<String>,
    pub(crate) task: String,
    pub(crate) machine: String,
    pub(crate) kernel: String,
    /// Wall time from the emulator's start to its end.
    pub(crate) seconds: f64,
    /// The mistake that was made on purpose, if any.
    pub(crate) sabotage: Option<String>,
    pub(crate) checks: Vec<Check>,
    /// The console of the run.
    pub(crate) log: String,
}

impl Trial {
    /// Runs the trial as the flags say, and shows its report.
    pub(crate) fn play(&self, workspace: &Workspace, flags: &Flags) -> Result<()> {
        self.run(workspace, flags.timeout(), flags.verbose)?.deliver(flags)
    }

    /// Builds what the trial needs, runs it and verifies it.
    pub(crate) fn run(&self, workspace: &Workspace, timeout: Duration, verbose: bool) -> Result<Report> {
        self.machine.prepare()?;
        let prefix = kernel::prefix(self.variant)?;
        let task = self.build(workspace, &prefix)?;
        let name = self.sabotage.map_or_else(|| self.task.to_owned(), |sabotage| format!("{}-{sabotage}", self.task));
        let log = workspace.output()?.join(format!("{name}.log"));
        let boot = Boot { prefix: &prefix, task: &task, log: &log, timeout };
        let mut lines = Vec::new();
        let started = Instant::now();
        let ended = progress::step(&format!("running {name} on seL4 {} in {}", kernel::VERSION, self.machine.name()), |step| {
            self.machine.run(&boot, |line| {
                if verbose {
                    output::line(line.shown(&[]));
                }
                if line.source == Source::Vmm {
                    if let Some(check) = Fields::parse(&line.text).get("check") {
                        step.detail(check);
                    }
                    lines.push(line.clone());
                }
            })
        })?;
        if ended == Ended::Interrupted || interrupt::requested() {
            bail!("interrupted; the console so far is in {}", log.display());
        }
        let checks = self.verify(&lines, &ended);
        // Of what was never reached, the reason is told once.
        let told = |check: &&Check| !check.ok && (check.detail != NOT_REACHED || checks.first().is_none_or(|first| first.ok));
        let reasons: Vec<_> = checks.iter().filter(told).map(|check| format!("{}: {}", check.name, check.detail)).collect();
        Ok(Report {
            ok: reasons.is_empty(),
            reasons,
            task: self.task.to_owned(),
            machine: self.machine.name().to_owned(),
            kernel: format!("seL4 {} {}", kernel::VERSION, self.variant.name()),
            seconds: started.elapsed().as_secs_f64(),
            sabotage: self.sabotage.map(str::to_owned),
            checks,
            log: log.display().to_string(),
        })
    }

    /// Builds the programs that the root task starts, and the root task with them in it.
    fn build(&self, workspace: &Workspace, prefix: &std::path::Path) -> Result<PathBuf> {
        let toolchain = toolchain(workspace)?;
        let threads = programs::build_sel4_threads(workspace, &toolchain)?;
        let mut task = toolchain.cargo(workspace, Verb::Build, Target::X86)?;
        task.args(["--release", "--package", TASKS, "--bin", self.task]);
        task.env("SEL4_PREFIX", prefix).env("SEL4_GUEST", threads.guest).env("SEL4_PEER", threads.peer);
        task.env("SEL4_SABOTAGE", self.sabotage.unwrap_or_default());
        if self.variant == Variant::Vtx {
            task.env("SEL4_VM_GUEST", programs::build_sel4_vm_guest(workspace, &toolchain)?);
        }
        process::run_shown(&mut task)?;
        Ok(toolchain.programs(workspace, Target::X86).join(self.task))
    }

    fn verify(&self, lines: &[Line], ended: &Ended) -> Vec<Check> {
        let fields: Vec<_> = lines.iter().map(|line| Fields::parse(&line.text)).collect();
        let record = |name: &str| fields.iter().find(|fields| fields.get("record") == Some(name));
        let mut checks = vec![Check::new("root-task", finished(record("end"), lines, ended))];
        for expected in self.expected {
            let mut found = fields.iter().filter(|fields| fields.get("check") == Some(expected.name));
            let finding = match (found.next(), found.next()) {
                (Some(fields), None) => (expected.verify)(fields),
                (Some(_), Some(_)) => Err("the root task has printed it more than once".to_owned()),
                (None, _) => Err(NOT_REACHED.to_owned()),
            };
            checks.push(Check::new(expected.name, finding));
        }
        checks.extend(self.transcript.map(|transcript| transcript(lines)));
        checks
    }
}

/// The root task came to its end.
fn finished(end: Option<&Fields>, lines: &[Line], ended: &Ended) -> Finding {
    if let Some(panic) = lines.iter().find(|line| line.text.starts_with("panic:")) {
        return Err(panic.text.clone());
    }
    match (ended, end.and_then(|end| end.get("reason"))) {
        (Ended::TimedOut(after) | Ended::Mute(after), _) => Err(format!("still running after {}", seconds(*after))),
        (Ended::Failed(why), _) => Err(why.clone()),
        (_, Some("done")) => Ok("came to its end".to_owned()),
        (_, Some(reason)) => Err(format!("ended early: {reason}")),
        (_, None) => Err("the machine ended without the root task's last line".to_owned()),
    }
}

/// The toolchain for bare metal, made ready where it is not.
fn toolchain(workspace: &Workspace) -> Result<Toolchain> {
    match Toolchain::find(&Cache::find()?)? {
        Some(toolchain) => Ok(toolchain),
        None => Ok(setup::setup(workspace, setup::Existing::Keep, Architecture::Arm64)?.toolchain),
    }
}

impl Report {
    /// Adds a check that was not the root task's.
    pub(crate) fn add(&mut self, name: &str, finding: Finding) {
        let check = Check::new(name, finding);
        if !check.ok {
            self.ok = false;
            self.reasons.push(format!("{}: {}", check.name, check.detail));
        }
        self.checks.push(check);
    }

    /// Writes and shows the report as the flags say. A failed trial is an error.
    pub(crate) fn deliver(&self, flags: &Flags) -> Result<()> {
        if let Some(path) = &flags.report {
            report::write(self, path)?;
        }
        output::line(format!("\n{}", self.show()));
        if self.ok { Ok(()) } else { bail!("{}. Console: {}", self.reasons.join("; "), self.log) }
    }

    /// The check of this name.
    pub(crate) fn check(&self, name: &str) -> Option<&Check> {
        self.checks.iter().find(|check| check.name == name)
    }

    /// The report for a person: the reasons of a failure first, then what was verified.
    pub(crate) fn show(&self) -> String {
        let passed = self.checks.iter().filter(|check| check.ok).count();
        format!(
            "{}{}\n{passed} of {} checks passed in {:.1} s on {} in {}. Console: {}\n",
            report::failure(&self.reasons),
            report::checks_table(&self.checks),
            self.checks.len(),
            self.seconds,
            self.kernel,
            self.machine,
            self.log
        )
    }
}
