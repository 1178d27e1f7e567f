//! `cargo xtask demo`: two unmodified Debian kernels side by side under a VMM of ours, connected by crossvm.

mod exits;
mod report;
mod scenario;
mod tools;
mod verify;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, bail};
use clap::Args;
use crossvm_manifest::manifest::{Debian, Initrd, Kernel, Manifest};

pub(crate) use report::Report;
pub(crate) use scenario::{Events, Rounds, Sabotage, Tools};

use crate::architecture::Architecture;
use crate::launch::{Gic, Hypervisor, kvm};
use crate::manifest::{self, Platform};
use crate::output;
use crate::setup::{self, Existing, Ready};
use crate::trial::{self, Flags, Show, Trial};
use crate::workspace::Workspace;

/// How long a run may take, in seconds, on a machine that has much else to do. On KVM an emulated machine may run the guests' machines.
pub(crate) const fn usual_timeout(on: Platform, tools: Tools) -> u64 {
    let without = match on {
        Platform::El2 | Platform::Sel4 => 300,
        Platform::Kvm => 600,
        // The emulated processor takes longer from one exception level to another.
        Platform::KvmArm64 => 1200,
    };
    without
        + match tools {
            Tools::Full => 600,
            Tools::Brief => 300,
            Tools::Off => 0,
        }
}

/// How many round trips guests make on it. What is known to go wrong with a mistake is known of the usual number.
pub(crate) fn usual_rounds(on: Platform, sabotage: Option<Sabotage>) -> Rounds {
    if on.is_kvm() && sabotage.is_none() { Rounds::FEW } else { Rounds::default() }
}

/// How much guests do with the `crossvm` command on it: everything where an exit costs little, nothing where the run is to fail.
pub(crate) fn usual_tools(on: Platform, sabotage: Option<Sabotage>) -> Tools {
    match (on, sabotage) {
        (_, Some(_)) => Tools::Off,
        (Platform::El2, None) => Tools::Full,
        (Platform::Sel4 | Platform::Kvm | Platform::KvmArm64, None) => Tools::Brief,
    }
}

/// Boot two Debian kernels under a VMM of crossvm and verify that they talk through it.
///
/// The guests' consoles come out as they are written, then a table of what was verified. The exit status is 0 only if all of it
/// was.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    flags: Flags,

    /// Who composes the VMs
    #[arg(long, value_enum, value_name = "PLATFORM", default_value = "el2")]
    on: Platform,

    /// Version of the machine's interrupt controller, and of that which the guests see
    #[arg(long, value_enum, value_name = "VERSION")]
    gic: Option<Gic>,

    #[command(flatten)]
    kvm: kvm::Flags,

    /// How many events the guests send each other as fast as they can, in all: a multiple of 4
    #[arg(long, value_name = "NUMBER", default_value_t)]
    events: Events,

    /// How many round trips they make by INTx, a multiple of 1000: 10000 without it, 2000 on KVM; half of them by MSI-X
    #[arg(long, value_name = "NUMBER")]
    rounds: Option<Rounds>,

    /// How much they do with the `crossvm` command's channels: full without it, brief on KVM and seL4, off where the run is to fail
    #[arg(long, value_enum, value_name = "HOW-MUCH")]
    tools: Option<Tools>,

    /// Make a mistake on purpose; the run must then fail
    #[arg(long, value_enum, value_name = "MISTAKE")]
    sabotage: Option<Sabotage>,

    /// Give up after this time: 300 without it, 600 on KVM, 1200 on KVM for arm64; 300 more with `--tools brief`, 600 more with `full`
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<u64>,
}

/// One run of the demonstration.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Play {
    pub(crate) on: Platform,
    /// `None`: the platform's choice.
    pub(crate) gic: Option<Gic>,
    pub(crate) kvm: kvm::Flags,
    pub(crate) events: Events,
    pub(crate) rounds: Rounds,
    pub(crate) tools: Tools,
    pub(crate) sabotage: Option<Sabotage>,
    pub(crate) show: Show,
    pub(crate) timeout: Duration,
}

impl Default for Play {
    /// A run as the tests make it.
    fn default() -> Self {
        Self {
            on: Platform::El2,
            gic: None,
            kvm: kvm::Flags::default(),
            events: Events::default(),
            rounds: Rounds::default(),
            tools: Tools::default(),
            sabotage: None,
            show: Show::Progress,
            timeout: Duration::from_secs(usual_timeout(Platform::El2, Tools::default())),
        }
    }
}

/// Plays the demonstration as the flags say.
pub(crate) fn demo(workspace: &Workspace, arguments: &Arguments) -> Result<()> {
    let Arguments { flags, on, gic, kvm, events, rounds, tools, sabotage, timeout } = arguments;
    let on = on.for_architecture(kvm.arch)?;
    let tools = tools.unwrap_or(usual_tools(on, *sabotage));
    let timeout = Duration::from_secs(timeout.unwrap_or(usual_timeout(on, tools)));
    let play = Play {
        on,
        gic: *gic,
        kvm: *kvm,
        events: *events,
        rounds: rounds.unwrap_or(usual_rounds(on, *sabotage)),
        tools,
        sabotage: *sabotage,
        show: flags.show(),
        timeout,
    };
    verified(workspace, play, flags.report.as_deref())
}

/// What `cargo xtask run` lets a user choose of the demonstration.
#[derive(Debug)]
pub(crate) struct Chosen {
    pub(crate) on: Platform,
    pub(crate) gic: Option<Gic>,
    pub(crate) kvm: kvm::Flags,
    /// In seconds.
    pub(crate) timeout: Option<u64>,
    pub(crate) report: Option<PathBuf>,
}

/// Plays the demonstration that a manifest describes: see [`is_described_by`].
pub(crate) fn run(workspace: &Workspace, chosen: &Chosen) -> Result<()> {
    let tools = usual_tools(chosen.on, None);
    let timeout = Duration::from_secs(chosen.timeout.unwrap_or(usual_timeout(chosen.on, tools)));
    let play = Play {
        on: chosen.on,
        gic: chosen.gic,
        kvm: chosen.kvm,
        rounds: usual_rounds(chosen.on, None),
        tools,
        show: Show::Consoles,
        timeout,
        ..Play::default()
    };
    verified(workspace, play, chosen.report.as_deref())
}

/// Whether a manifest describes the demonstration: its wiring, its kernels and its command lines, word by word. Then what its guests say can be
/// verified.
pub(crate) fn is_described_by(manifest: &Manifest) -> bool {
    let ours = |vm: &crossvm_manifest::manifest::Vm| vm.kernel == Kernel::Debian(Debian::Linux6_1) && vm.initrd == Some(Initrd::Demo);
    let mut wiring = manifest::wiring(manifest);
    // It is written for Arm's console; elsewhere the demonstration takes another.
    let mut played = scenario::system(Path::new(""), Path::new(""), Architecture::Arm64.console(), &Play::default());
    for vm in wiring.vms.iter_mut().chain(&mut played.vms) {
        vm.initrd = None;
    }
    wiring == played && manifest.vms.iter().all(ours)
}

fn verified(workspace: &Workspace, play: Play, report_to: Option<&Path>) -> Result<()> {
    let ready = setup::setup(workspace, Existing::Keep, play.on.architecture())?;
    let report = self::play(workspace, &ready, play)?;
    if let Some(path) = report_to {
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
    let hypervisor = Hypervisor::of(play.on, play.kvm)?;
    let interrupts = hypervisor.interrupts(play.gic)?;
    let initramfs = trial::initramfs(workspace, ready)?;
    let mut name = format!("demo{}{}-{}", play.on.mark(), play.kvm.mark(), interrupts.mark());
    if let Some(sabotage) = play.sabotage {
        name.push_str(&format!("-{sabotage}"));
    }
    let console = ready.kernel.architecture.console();
    let mut system = scenario::system(&ready.kernel.image, &initramfs, console, &play);
    for vm in &mut system.vms {
        vm.command_line = interrupts.command_line(&vm.command_line);
    }
    let trial = Trial {
        name,
        what: format!("running two Debian kernels under {} on {interrupts}", hypervisor.name()),
        hypervisor,
        system,
        interrupts,
        show: play.show,
        timeout: play.timeout,
    };
    let (transcript, run) = trial::run(workspace, ready, &trial)?;
    Ok(verify::verify(&transcript, &run, play, interrupts))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(name: &str, change: impl Fn(String) -> String) -> bool {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/manifests").join(name);
        let folder = tempfile::tempdir().unwrap();
        let copy = folder.path().join(name);
        std::fs::write(&copy, change(std::fs::read_to_string(path).unwrap())).unwrap();
        is_described_by(&manifest::load(&copy, Platform::El2, None).unwrap())
    }

    #[test]
    fn the_manifest_of_the_demonstration_is_known_by_what_it_says() {
        assert!(described("demo.toml", |text| text));
        for (from, to) in [
            ("demo.events=10000", "demo.events=1"),
            ("demo.events=10000", "demo.events=10000 demo.tools=brief"),
            ("768 MiB", "256 MiB"),
            ("4 KiB", "8 KiB"),
            ("[\"vm0\", \"mirror\"]", "[\"vm1\", \"mirror\"]"),
            ("6.1", "6.12"),
        ] {
            assert!(!described("demo.toml", |text| text.replacen(from, to, 1)), "{from} became {to}");
        }
        assert!(!described("two-guests.toml", |text| text));
    }
}
