//! What runs the VMs of a system, and how it is started.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};

use super::console::Line;
use super::interrupts::Interrupts;
use super::kvm::{self, Kvm, Place};
use super::sel4::Installed;
use super::{Cpu, Ended, Gic, Input, Layout, Machine, Output, Patience, Verdict};
use crate::architecture::Architecture;
use crate::manifest::Platform;
use crate::programs;
use crate::run::DEFAULT_CPU;
use crate::setup::Ready;
use crate::system::System;
use crate::workspace::Workspace;

/// What runs the VMs.
#[derive(Debug, Clone)]
pub(crate) enum Hypervisor {
    /// `el2-vmm`.
    El2,
    /// The seL4 that the user has installed, with `sel4-vmm`.
    Sel4(Installed),
    /// `kvm-vmm`.
    Kvm(Kvm),
}

/// What is to be run.
#[derive(Debug)]
pub(crate) struct Order<'a> {
    pub(crate) system: &'a System,
    pub(crate) interrupts: Interrupts,
    /// The CPU model of an emulated machine.
    pub(crate) cpu: Option<String>,
    /// Further arguments for the emulator.
    pub(crate) extra: Vec<OsString>,
    pub(crate) input: Input,
    pub(crate) output: Output,
    /// Every byte of the console goes here; the run's other files lie beside it.
    pub(crate) log: &'a Path,
    /// This program instead of the hypervisor that would be built.
    pub(crate) program: Option<PathBuf>,
}

/// A run that can be started.
#[derive(Debug)]
pub(crate) enum Job {
    /// In QEMU's arm64 machine.
    Arm(Machine),
    /// On KVM.
    Kvm(kvm::Job),
}

impl Hypervisor {
    /// That of `platform`, as the user wants it.
    pub(crate) fn of(platform: Platform, flags: kvm::Flags) -> Result<Self> {
        if let Some(flag) = flags.given().filter(|_| !platform.is_kvm()) {
            bail!("{flag} is for `--on kvm` only");
        }
        match platform {
            Platform::El2 => Ok(Self::El2),
            Platform::Sel4 => Ok(Self::Sel4(Installed::from_environment()?)),
            Platform::Kvm | Platform::KvmArm64 => {
                let script = flags.apart.then_some(kvm::Script::Apart);
                Ok(Self::Kvm(Kvm { architecture: platform.architecture(), flags, script }))
            }
        }
    }

    /// Its name for people.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::El2 => "el2-vmm",
            Self::Sel4(_) => "sel4-vmm",
            Self::Kvm(_) => "kvm-vmm",
        }
    }

    /// What its guests run on.
    pub(crate) fn architecture(&self) -> Architecture {
        match self {
            Self::El2 | Self::Sel4(_) => Architecture::Arm64,
            Self::Kvm(kvm) => kvm.architecture,
        }
    }

    /// The guests' interrupt controller: what is wanted, or the usual one. A kernel of seL4 is built for one.
    pub(crate) fn interrupts(&self, wanted: Option<Gic>) -> Result<Interrupts> {
        match self {
            Self::El2 => Ok(Interrupts::Gic(wanted.unwrap_or_default())),
            Self::Sel4(kernel) => match wanted.filter(|wanted| *wanted != kernel.gic) {
                Some(wanted) => bail!("the seL4 in {} was built for a GICv{}, not for a GICv{wanted}", kernel.prefix.display(), kernel.gic),
                None => Ok(Interrupts::Gic(kernel.gic)),
            },
            Self::Kvm(kvm) => kvm.interrupts(wanted),
        }
    }

    /// Builds it and lays everything out that it runs.
    pub(crate) fn prepare(&self, workspace: &Workspace, ready: &Ready, order: Order<'_>) -> Result<Job> {
        let Order { system, interrupts, cpu, extra, input, output, log, program } = order;
        let topology = log.with_extension("topology");
        let (program, layout, usual) = match self {
            Self::El2 => {
                let layout = Layout::new(system, &topology)?;
                let program = program.map_or_else(|| programs::build_vmm(workspace, &ready.toolchain), Ok)?;
                (program, layout, DEFAULT_CPU)
            }
            Self::Sel4(kernel) => {
                let layout = Layout::behind(kernel.memory.end, system, &topology)?;
                let built = programs::build_sel4_arm(workspace, &ready.toolchain, &kernel.prefix)?;
                let task = program.unwrap_or(built.task);
                (built.loader, kernel.add_to(layout, &task)?, kernel.cpu.as_str())
            }
            Self::Kvm(kvm) => {
                if cpu.is_some() || !extra.is_empty() {
                    bail!("--cpu and --qemu-arg are for `--on el2` and `--on sel4`");
                }
                let order = kvm::Order { system, interrupts, input, output, log, program };
                return Ok(Job::Kvm(kvm.prepare(workspace, ready, order)?));
            }
        };
        let gic = interrupts.gic().unwrap_or_default();
        let cpu = Cpu(cpu.unwrap_or_else(|| usual.to_owned()));
        Ok(Job::Arm(Machine { hypervisor: program, layout, cpu, gic, extra, input, output, log: log.to_owned() }))
    }
}

impl Job {
    /// The command that starts it.
    pub(crate) fn describe(&self) -> String {
        let shown = |command: &Command| crate::process::describe(command);
        match self {
            Self::Arm(machine) => shown(&machine.command()),
            Self::Kvm(job) => shown(job.command()),
        }
    }

    /// Where it runs, where that was a choice.
    pub(crate) fn place(&self) -> Option<&Place> {
        match self {
            Self::Arm(_) => None,
            Self::Kvm(job) => Some(&job.place),
        }
    }

    /// Runs it to its end. Each line goes to `each`, which says whether to go on.
    pub(crate) fn run(&self, patience: Patience, each: impl FnMut(Line) -> Verdict) -> Result<Ended> {
        match self {
            Self::Arm(machine) => machine.run(patience, each),
            Self::Kvm(job) => job.run(patience, each),
        }
    }
}
