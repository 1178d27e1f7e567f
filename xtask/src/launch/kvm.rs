//! `kvm-vmm`: as a child of ours where this machine's /dev/kvm runs kernels, else inside an emulated machine with a /dev/kvm of its own.
//!
//! ```text
//!   Place::Here                      Place::Nested
//!   xtask                            xtask
//!     └─ kvm-vmm run NAME.toml         └─ QEMU, emulating a processor with virtualization (L1)
//!          ├─ vm0                           └─ Debian's kernel, busybox, kvm-vmm run manifest.toml
//!          └─ vm1                                ├─ vm0 (L2)
//!                                                └─ vm1 (L2)
//! ```
//!
//! What depends on the architecture: the emulated machine in [`nested`], and the interrupt controllers that guests can have in
//! [`Kvm::interrupts`].

mod manifest;
mod nested;
mod place;
mod script;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::Args;

use super::Gic;
use super::child::{self, Ended, Output, Patience, Verdict};
use super::console::Line;
use super::interrupts::{Interrupts, Irqchip};
use super::qemu::Input;
use crate::architecture::Architecture;
use crate::programs;
use crate::setup::Ready;
use crate::system::System;
use crate::workspace::Workspace;
pub(crate) use place::{Place, Wish};
pub(crate) use script::Script;

/// How long tests may take, on a machine that has much else to do.
const TESTS: Duration = Duration::from_secs(600);

/// Whether an emulated machine has ended under what ran in it. No program can end a sound one: that is the emulator's or its kernel's fault.
pub(crate) fn has_collapsed(ended: &Ended) -> bool {
    matches!(ended, Ended::Failed(why) if why.starts_with(nested::COLLAPSED))
}

/// What a user chooses of a run on KVM.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Args)]
#[group(skip)]
pub(crate) struct Flags {
    /// On KVM: the guests' processor; x86-64 without it
    #[arg(long, value_enum, value_name = "ARCHITECTURE")]
    pub(crate) arch: Option<Architecture>,

    /// On KVM: who emulates the IOAPIC and the 8259; else the manifest's choice, else the kernel
    #[arg(long, value_enum, value_name = "WHO")]
    pub(crate) irqchip: Option<Irqchip>,

    /// On KVM: tell the guests' kernels not to use the IOAPIC, so that interrupt lines come through the 8259
    #[arg(long)]
    pub(crate) noapic: bool,

    /// On KVM: where kvm-vmm runs; `auto` asks this machine's /dev/kvm whether it runs kernels
    #[arg(long, value_enum, value_name = "WHERE", default_value_t)]
    pub(crate) l1: Wish,

    /// On KVM: each VM in a process of its own, connected through UNIX sockets. Nothing can be typed to them
    #[arg(long)]
    pub(crate) apart: bool,
}

impl Flags {
    /// The first that was given and means nothing elsewhere.
    pub(super) fn given(&self) -> Option<&'static str> {
        let flags =
            [(self.irqchip.is_some(), "--irqchip"), (self.noapic, "--noapic"), (self.l1 != Wish::Auto, "--l1"), (self.apart, "--apart")];
        flags.into_iter().find_map(|(given, name)| given.then_some(name))
    }

    /// Part of the names of a run's files.
    pub(crate) const fn mark(&self) -> &'static str {
        if self.apart { "-apart" } else { "" }
    }
}

/// The VMM on KVM, as the user wants it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kvm {
    pub(crate) architecture: Architecture,
    pub(crate) flags: Flags,
    /// What runs kvm-vmm, where it is not run once for all VMs.
    pub(crate) script: Option<Script>,
}

/// What a run is to be.
#[derive(Debug)]
pub(super) struct Order<'a> {
    pub(super) system: &'a System,
    pub(super) interrupts: Interrupts,
    pub(super) input: Input,
    pub(super) output: Output,
    /// Every byte of the console goes here; the run's other files lie beside it.
    pub(super) log: &'a Path,
    /// This program instead of one that is built.
    pub(super) program: Option<PathBuf>,
}

/// A run that can be started.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) place: Place,
    command: Command,
    input: Input,
    output: Output,
    log: PathBuf,
    /// What an emulated machine's own kernel says.
    inner: Option<PathBuf>,
}

impl Kvm {
    /// The guests' interrupt controller. Arm's has the version that the machine's has, which is the emulated one's or unknown.
    pub(super) fn interrupts(&self, gic: Option<Gic>) -> Result<Interrupts> {
        let Flags { irqchip, noapic, .. } = self.flags;
        match (self.architecture, gic) {
            (Architecture::Amd64, Some(_)) => bail!("--gic is for Arm's machines; a PC has --irqchip and --noapic"),
            (Architecture::Amd64, None) => Ok(Interrupts::Pc { irqchip: irqchip.unwrap_or_default(), noapic }),
            (Architecture::Arm64, _) if irqchip == Some(Irqchip::Split) || noapic => {
                bail!("--irqchip split and --noapic are for x86-64: on Arm the interrupt controller is the kernel's")
            }
            (Architecture::Arm64, gic) => Ok(Interrupts::Gic(gic.unwrap_or_default())),
        }
    }

    /// Builds kvm-vmm, finds out where it can run, and lays out what it runs there.
    pub(super) fn prepare(&self, workspace: &Workspace, ready: &Ready, order: Order<'_>) -> Result<Job> {
        let Order { system, interrupts, input, output, log, program } = order;
        let vmm = program.map_or_else(|| programs::build_kvm_vmm(workspace, &ready.toolchain, self.architecture), Ok)?;
        let place = Place::choose(self.flags.l1, self.architecture, &vmm);
        let arguments = arguments(interrupts);
        if self.script.is_some() && input == Input::Terminal {
            bail!("with --apart there are several processes, and nobody to type to: `cargo xtask demo` and `verify` need none");
        }
        let (command, inner) = match &place {
            Place::Here { .. } => {
                let path = log.with_extension("toml");
                let text = manifest::write(system, |file| file.to_owned())?;
                fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
                let command = match self.script {
                    Some(script) => script.command(&vmm, &path, log, system, &arguments)?,
                    None => {
                        let mut command = Command::new(&vmm);
                        command.arg("run").arg(&path).args(arguments);
                        command
                    }
                };
                (command, None)
            }
            Place::Nested { .. } => {
                let (architecture, script) = (self.architecture, self.script);
                let machine = nested::Machine { architecture, ready, vmm: &vmm, system, script, arguments, interrupts, input, log };
                let (command, inner) = machine.build()?;
                (command, Some(inner))
            }
        };
        Ok(Job { place, command, input, output, log: log.to_owned(), inner })
    }
}

/// What the lines have in them with which our guests report that a check has passed.
const CHECK: &str = "check=";

/// Flags of kvm-vmm.
fn arguments(interrupts: Interrupts) -> Vec<String> {
    let irqchip = match interrupts {
        Interrupts::Gic(_) => None,
        Interrupts::Pc { irqchip, .. } => Some(irqchip.name()),
    };
    ["--exits-at", CHECK].into_iter().chain(irqchip.map(|name| ["--irqchip", name]).into_iter().flatten()).map(str::to_owned).collect()
}

/// Runs the tests in `program` on the /dev/kvm of an emulated arm64 machine with this interrupt controller. What they say goes to `each`, line by line.
pub(crate) fn run_tests(workspace: &Workspace, ready: &Ready, program: &Path, gic: Gic, mut each: impl FnMut(&str)) -> Result<()> {
    let flags = Flags { l1: Wish::Nested, ..Flags::default() };
    let kvm = Kvm { architecture: Architecture::Arm64, flags, script: Some(Script::Tests) };
    let log = workspace.output()?.join(format!("kvm-tests-arm64-gic{gic}.log"));
    let (system, interrupts) = (System::default(), Interrupts::Gic(gic));
    let order =
        Order { system: &system, interrupts, input: Input::Nothing, output: Output::Lines, log: &log, program: Some(program.to_owned()) };
    let ended = kvm.prepare(workspace, ready, order)?.run(Patience::Limit(TESTS), |line| {
        each(&line.text);
        Verdict::GoOn
    })?;
    match ended {
        Ended::PoweredOff => Ok(()),
        Ended::Failed(_) => bail!("a test failed; what they said is in {}", log.display()),
        other => bail!("the tests came to no end: {other:?}; what they said is in {}", log.display()),
    }
}

impl Job {
    /// The command that starts it.
    pub(super) fn command(&self) -> &Command {
        &self.command
    }

    /// Runs it to its end. Each line goes to `each`, which says whether to go on.
    pub(super) fn run(&self, patience: Patience, each: impl FnMut(Line) -> Verdict) -> Result<Ended> {
        let mut command = Command::new(self.command.get_program());
        command.args(self.command.get_args());
        let input = if self.input == Input::Terminal { Stdio::inherit() } else { Stdio::null() };
        let ended = child::run(command, input, self.output, &self.log, patience, each)?;
        match &self.inner {
            // An emulator that ends in order says nothing about the program inside.
            Some(inner) if ended == Ended::PoweredOff => nested::verdict(inner),
            _ => Ok(ended),
        }
    }
}
