//! `cargo xtask verify`: whether a system's connections do what they should, tried from end to end by guests of ours.

mod checks;
mod plan;
mod report;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::Args;
use crossvm_manifest::Profile;

pub(crate) use report::Report;

use crate::launch::{Gic, Hypervisor, kvm};
use crate::manifest::{self, Platform};
use crate::output;
use crate::setup::{self, Existing, Ready};
use crate::trial::{self, Flags, Show, Trial};
use crate::workspace::Workspace;

/// How long a run may take, in seconds, on a machine that has much else to do. On KVM an emulated machine may run the guests' machines.
const fn usual_timeout(on: Platform) -> u64 {
    match on {
        Platform::El2 | Platform::Sel4 => 400,
        Platform::Kvm | Platform::KvmArm64 => 900,
    }
}

/// Boot the VMs of a manifest with a guest of ours in each, and verify every connection from end to end.
///
/// The wiring is the manifest's: names, memory, vCPUs, connections, components. Kernels and command lines are ours: each guest writes
/// the whole of each dataport, the other end reads it, events go both ways, and stores that a guest has no right to must have no effect.
/// The exit status is 0 only if all of it was so.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The manifest
    #[arg(value_name = "MANIFEST")]
    manifest: PathBuf,

    #[command(flatten)]
    flags: Flags,

    /// Who composes the VMs
    #[arg(long, value_enum, value_name = "PLATFORM", default_value = "el2")]
    on: Platform,

    /// Version of the machine's interrupt controller, and of that which the guests see; else the manifest's choice
    #[arg(long, value_enum, value_name = "VERSION")]
    gic: Option<Gic>,

    #[command(flatten)]
    kvm: kvm::Flags,

    /// Give up after this time: 400 without it, 900 on KVM
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<u64>,
}

/// One such run.
#[derive(Debug, Clone)]
pub(crate) struct Play {
    pub(crate) manifest: PathBuf,
    pub(crate) on: Platform,
    /// `None`: the manifest's choice.
    pub(crate) gic: Option<Gic>,
    pub(crate) kvm: kvm::Flags,
    pub(crate) show: Show,
    pub(crate) timeout: Duration,
}

impl Play {
    /// A run as the tests make it.
    pub(crate) fn for_test(manifest: PathBuf, on: Platform, gic: Option<Gic>) -> Self {
        let kvm = kvm::Flags::default();
        Self { manifest, on, gic, kvm, show: Show::Progress, timeout: Duration::from_secs(usual_timeout(on)) }
    }
}

/// Verifies a manifest as the flags say.
pub(crate) fn verify(workspace: &Workspace, arguments: &Arguments) -> Result<()> {
    let Arguments { manifest, flags, on, gic, kvm, timeout } = arguments;
    let on = on.for_architecture(kvm.arch)?;
    let ready = setup::setup(workspace, Existing::Keep, on.architecture())?;
    let timeout = Duration::from_secs(timeout.unwrap_or(usual_timeout(on)));
    let play = Play { manifest: manifest.clone(), on, gic: *gic, kvm: *kvm, show: flags.show(), timeout };
    let report = self::play(workspace, &ready, &play)?;
    if let Some(path) = &flags.report {
        trial::report::write(&report, path)?;
    }
    output::line(format!("\n{}", report.show()));
    if !report.ok {
        let first = report.reasons.first().map_or("for no reason", String::as_str);
        bail!("the verification failed: {first} (all reasons are above the table). Console: {}", report.log);
    }
    Ok(())
}

/// Runs the manifest's system with guests of ours and verifies it.
pub(crate) fn play(workspace: &Workspace, ready: &Ready, play: &Play) -> Result<Report> {
    let manifest = manifest::load(&play.manifest, play.on, play.gic)?;
    let hypervisor = Hypervisor::of(play.on, manifest::kvm(play.kvm, play.on, &manifest))?;
    let interrupts = hypervisor.interrupts(manifest::gic(play.gic, play.on, &manifest))?;
    let system = manifest::wiring(&manifest);
    if let Some(vm) = system.vms.iter().find(|vm| vm.device.profile == Profile::Reference) {
        bail!(
            "VM `{}` has connections of the reference profile, which do not tell what there is to verify; only those of the extended do",
            vm.name
        );
    }
    let initramfs = trial::initramfs(workspace, ready)?;
    let mut staged = system.clone();
    let console = ready.kernel.architecture.console();
    for vm in &mut staged.vms {
        vm.kernel.clone_from(&ready.kernel.image);
        vm.initrd = Some(initramfs.clone());
        // A kernel that panics resets at once, so that the hypervisor learns of it.
        // A VM may have to wait until its peer is done with others.
        let plan = plan::of(&system, &vm.name)?;
        let line = format!("console={console} panic=-1 crossvm.vm={} demo.timeout=180 demo.check={plan}", vm.name);
        vm.command_line = interrupts.command_line(&line);
    }
    let trial = Trial {
        name: format!(
            "verify-{}{}{}-{}",
            play.manifest.file_stem().unwrap_or_default().to_string_lossy(),
            play.on.mark(),
            play.kvm.mark(),
            interrupts.mark()
        ),
        what: format!(
            "running {} guests with {} connections under {} on {interrupts}",
            system.vms.len(),
            system.connections.len(),
            hypervisor.name()
        ),
        hypervisor,
        system: staged,
        interrupts,
        show: play.show,
        timeout: play.timeout,
    };
    let (transcript, run) = trial::run(workspace, ready, &trial)?;
    Ok(checks::verify(&system, &transcript, &run, interrupts))
}
