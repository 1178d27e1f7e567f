//! The steps of `cargo xtask test`, in the order in which they run: what is quick and finds most comes first.

use std::time::Duration;

use anyhow::{Result, bail};
use crossvm_manifest::Profile;

use crate::architecture::Architecture;
use crate::demo::{self, Events, Play, Sabotage, Tools};
use crate::guest::Series;
use crate::launch::{Gic, Installed, Irqchip, kvm};
use crate::manifest::Platform;
use crate::modules::{Warnings, trial::Trial};
use crate::output;
use crate::process::run_shown;
use crate::programs::{self, SEL4_ARM, SEL4_LOADER, SEL4_THREADS, SEL4_VM_GUEST, VMM};
use crate::sel4::vtx;
use crate::setup::{self, Existing, Ready};
use crate::toolchain::{Target, Toolchain, Verb};
use crate::workspace::Workspace;
use crate::{host, link, modules, sel4, trial, verify};

/// The crates that must build without an operating system.
const NO_STD: [&str; 9] = [
    "crossvm-core",
    "crossvm-pci",
    "crossvm-arm",
    "crossvm-x86",
    "crossvm-sel4",
    "crossvm-sel4-semantics",
    "crossvm-manifest",
    "crossvm-channel",
    "crossvm-guest",
];
/// Their features that need one, or an installed seL4 (`libsel4`).
const HOSTED: [&str; 8] = ["default", "drawing", "crossvm-manifest/microkit", "toml", "libsel4", "linux", "tokio", "command"];

/// The package, and its profile, that link only where no panic can be reached.
const PANIC_FREE: &str = "panic-free";

/// One step.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) name: &'static str,
    pub(super) what: &'static str,
    pub(super) run: fn(&mut Context<'_>) -> Result<()>,
}

pub(super) const STEPS: &[Step] = &[
    Step { name: "fmt", what: "the sources are formatted", run: fmt },
    Step { name: "clippy", what: "no lint on this machine's builds", run: clippy },
    Step { name: "tests", what: "unit, property and documentation tests", run: tests },
    Step { name: "docs", what: "the documentation builds without a warning", run: docs },
    Step { name: "setup", what: "everything for the steps below is there", run: setup },
    Step { name: "bare-metal", what: "every no_std crate builds for five machines without an operating system", run: bare_metal },
    Step { name: "panic-free", what: "no guest access can reach a panic: a program links only then", run: panic_free },
    Step {
        name: "bare-metal-clippy",
        what: "no lint on the builds of the hypervisor, of seL4's root tasks and of their guests for where they run",
        run: bare_metal_clippy,
    },
    Step {
        name: "sel4-smoke",
        what: "connections between guests that are threads, on the real seL4 5.0.0 in QEMU",
        run: |context| sel4(context, &sel4::smoke::trial(None)),
    },
    Step {
        name: "sel4-semantics",
        what: "the real seL4 5.0.0 answers as recorded, and so as the simulated one does",
        run: |context| sel4(context, &sel4::semantics::TRIAL),
    },
    Step { name: "sel4-smoke-sabotage", what: "the same notices each of six mistakes", run: sel4_sabotage },
    Step {
        name: "sel4-vtx",
        what: "a guest in a vCPU with VT-x on seL4 in Bochs, twice alike; and every mistake on purpose is noticed",
        run: sel4_vtx,
    },
    Step { name: "driver-amd64", what: "the Linux driver builds for x86-64 without a warning", run: driver_amd64 },
    Step {
        name: "driver",
        what: "the Linux driver passes its tests in Linux 6.1 on a GICv3",
        run: |context| driver(context, Series::V6_1, Gic::V3, Profile::Extended),
    },
    Step {
        name: "driver-6.12",
        what: "the same in Linux 6.12 on a GICv2",
        run: |context| driver(context, Series::V6_12, Gic::V2, Profile::Extended),
    },
    Step {
        name: "driver-reference",
        what: "the same with devices of the reference profile",
        run: |context| driver(context, Series::V6_1, Gic::V3, Profile::Reference),
    },
    Step {
        name: "three-guests",
        what: "three guests and three components with ten connections, each verified from end to end",
        run: |context| manifest(context, "three-guests", Platform::El2, Gic::V3),
    },
    Step {
        name: "three-guests-gicv2",
        what: "the same on a GICv2",
        run: |context| manifest(context, "three-guests", Platform::El2, Gic::V2),
    },
    Step {
        name: "many",
        what: "40 connections in one VM, each verified from end to end",
        run: |context| manifest(context, "many", Platform::El2, Gic::V3),
    },
    Step { name: "many-gicv2", what: "the same on a GICv2", run: |context| manifest(context, "many", Platform::El2, Gic::V2) },
    Step {
        name: "demo",
        what: "two Debian guests talk under el2-vmm, one reboots; a million events, each of which counts; files, pings and TCP by crossvm",
        run: |context| demo(context, Play { events: Events::MILLION, ..Play::default() }),
    },
    Step {
        name: "demo-gicv2",
        what: "the same on a GICv2, with fewer events and smaller files",
        run: |context| demo(context, Play { gic: Some(Gic::V2), tools: Tools::Brief, ..Play::default() }),
    },
    Step {
        name: "demo-corrupt-byte",
        what: "the demonstration notices a changed byte",
        run: |context| sabotage(context, Sabotage::CorruptByte),
    },
    Step {
        name: "demo-kill-guest",
        what: "the demonstration notices a crashed guest",
        run: |context| sabotage(context, Sabotage::KillGuest),
    },
    Step { name: "demo-mute-peer", what: "the demonstration notices a lost event", run: |context| sabotage(context, Sabotage::MutePeer) },
    Step {
        name: "demo-lose-early-event",
        what: "the demonstration notices an event that did not wait for its driver",
        run: |context| sabotage(context, Sabotage::LoseEarlyEvent),
    },
    Step {
        name: "demo-stay-away",
        what: "the demonstration notices a guest that does not come back",
        run: |context| sabotage(context, Sabotage::StayAway),
    },
    Step {
        name: "kvm-demo",
        what: "two Debian guests for x86-64 talk under kvm-vmm, one reboots: interrupt controllers in the kernel, lines through the IOAPIC",
        run: |context| kvm_demo(context, kvm::Flags::default(), Tools::Brief),
    },
    Step {
        name: "kvm-demo-split",
        what: "the same with the IOAPIC in kvm-vmm",
        run: |context| kvm_demo(context, kvm::Flags { irqchip: Some(Irqchip::Split), ..kvm::Flags::default() }, Tools::Off),
    },
    Step {
        name: "kvm-demo-noapic",
        what: "the same with the 8259 in kvm-vmm, and guests that use no IOAPIC",
        run: |context| kvm_demo(context, kvm::Flags { irqchip: Some(Irqchip::Split), noapic: true, ..kvm::Flags::default() }, Tools::Off),
    },
    Step {
        name: "kvm-tests-arm64",
        what: "crossvm-kvm's tests on arm64, in an emulated machine with a GICv3 and in one with a GICv2",
        run: kvm_tests_arm64,
    },
    Step {
        name: "kvm-demo-arm64",
        what: "two Debian guests for arm64 talk under kvm-vmm in an emulated machine with EL2 and a GICv3, one reboots",
        run: |context| kvm_demo(context, kvm::Flags { arch: Some(Architecture::Arm64), ..kvm::Flags::default() }, Tools::Brief),
    },
    Step {
        name: "kvm-arm64-gicv2",
        what: "such guests on a GICv2: three connections, each verified from end to end",
        run: |context| manifest(context, "two-guests", Platform::KvmArm64, Gic::V2),
    },
    Step { name: "demo-sel4", what: "the demonstration on the seL4 for arm64 that SEL4_PREFIX names", run: demo_sel4 },
    Step {
        name: "kvm-demo-apart",
        what: "two Debian guests for x86-64 talk, each under a kvm-vmm of its own, connected through a socket",
        run: kvm_demo_apart,
    },
    Step {
        name: "kvm-link",
        what: "two such guests: each VMM is killed once, the other guest lives and sees it, and their traffic resumes",
        run: kvm_link,
    },
];

/// What the steps share.
#[derive(Debug)]
pub(super) struct Context<'a> {
    workspace: &'a Workspace,
    /// For guests of each architecture that was asked for.
    ready: Vec<Ready>,
}

impl<'a> Context<'a> {
    /// Nothing is known yet.
    pub(super) fn new(workspace: &'a Workspace) -> Self {
        Self { workspace, ready: Vec::new() }
    }

    /// What setup has found or installed for arm64 guests; done once.
    fn ready(&mut self) -> Result<Ready> {
        self.ready_for(Architecture::Arm64)
    }

    /// The same for guests of `architecture`.
    fn ready_for(&mut self, architecture: Architecture) -> Result<Ready> {
        if let Some(ready) = self.ready.iter().find(|ready| ready.kernel.architecture == architecture) {
            return Ok(ready.clone());
        }
        let ready = setup::setup(self.workspace, Existing::Keep, architecture)?;
        self.ready.push(ready.clone());
        Ok(ready)
    }
}

fn fmt(context: &mut Context<'_>) -> Result<()> {
    run_shown(context.workspace.cargo().args(["fmt", "--all", "--check"]))
}

fn clippy(context: &mut Context<'_>) -> Result<()> {
    run_shown(context.workspace.cargo().args(["clippy", "--workspace", "--all-targets", "--all-features", "--", "-D", "warnings"]))
}

fn tests(context: &mut Context<'_>) -> Result<()> {
    // Without it a test would be left out.
    host::install_missing(&[host::IASL])?;
    run_shown(context.workspace.cargo().args(["test", "--workspace", "--all-features"]))
}

fn docs(context: &mut Context<'_>) -> Result<()> {
    let mut cargo = context.workspace.cargo();
    run_shown(cargo.args(["doc", "--workspace", "--all-features", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings"))
}

fn setup(context: &mut Context<'_>) -> Result<()> {
    let ready = context.ready()?;
    output::line(format!("{}; guests run {}", ready.toolchain, ready.kernel.package));
    Ok(())
}

fn bare_metal(context: &mut Context<'_>) -> Result<()> {
    let toolchain = context.ready()?.toolchain;
    let features: Vec<String> = context.workspace.features(&NO_STD, &HOSTED)?;
    for target in Target::BARE {
        // Alone, and with everything that they offer.
        for features in ["", &features.join(",")] {
            let mut cargo = toolchain.cargo(context.workspace, Verb::Build, target)?;
            cargo.args(["--release", "--no-default-features", "--features", features]);
            run_shown(cargo.args(NO_STD.iter().flat_map(|package| ["--package", package])))?;
        }
    }
    output::line(format!("{} with {}", NO_STD.join(", "), features.join(", ")));
    let guests = programs::build_sel4_threads(context.workspace, &toolchain)?;
    let vm_guest = programs::build_sel4_vm_guest(context.workspace, &toolchain)?;
    let built = [guests.guest, guests.peer, vm_guest].map(|path| path.display().to_string());
    output::line(built.join(", "));
    let packages = ["--release", "--package", VMM, "--package", SEL4_LOADER];
    run_shown(toolchain.cargo(context.workspace, Verb::Build, Target::BareMetal)?.args(packages))
}

/// The linker says `undefined symbol: a_guest_can_reach_a_panic` where one is left. That it would say so is tried as well.
fn panic_free(context: &mut Context<'_>) -> Result<()> {
    let toolchain = context.ready()?.toolchain;
    let build = |workspace| -> Result<_> {
        let mut cargo = toolchain.cargo(workspace, Verb::Build, Target::BareMetal)?;
        cargo.args(["--profile", PANIC_FREE, "--package", PANIC_FREE]);
        Ok(cargo)
    };
    run_shown(&mut build(context.workspace)?)?;
    let with_panic = build(context.workspace)?.args(["--features", "with-a-panic"]).output()?;
    let message = String::from_utf8_lossy(&with_panic.stderr);
    if with_panic.status.success() || !message.contains("a_guest_can_reach_a_panic") {
        bail!("`{PANIC_FREE}` with a panic in it must not link for want of `a_guest_can_reach_a_panic`, but: {message}");
    }
    output::line("links without a panic, and does not with one".to_owned());
    Ok(())
}

fn bare_metal_clippy(context: &mut Context<'_>) -> Result<()> {
    let toolchain: Toolchain = context.ready()?.toolchain;
    let mut cargo = toolchain.cargo(context.workspace, Verb::Clippy, Target::BareMetal)?;
    run_shown(cargo.args(["--release", "--package", VMM, "--package", SEL4_LOADER, "--", "-D", "warnings"]))?;
    let guests: [(_, &[&str]); 2] = [(Target::X86, &SEL4_THREADS), (Target::X86Paged, &SEL4_VM_GUEST)];
    for (target, programs) in guests {
        let mut cargo = toolchain.cargo(context.workspace, Verb::Clippy, target)?;
        run_shown(cargo.args(["--release", "--lib"]).args(programs).args(["--", "-D", "warnings"]))?;
    }
    // With VT-x there is most of it.
    let mut cargo = toolchain.cargo(context.workspace, Verb::Clippy, Target::X86)?;
    cargo.env("SEL4_PREFIX", sel4::prefix(sel4::Variant::Vtx)?);
    cargo.args(["--release", "--package", "sel4-vmm", "--lib", "--bin", "sel4-smoke", "--bin", "sel4-semantics", "--bin", "sel4-vtx"]);
    run_shown(cargo.args(["--", "-D", "warnings"]))?;
    match Installed::offered() {
        Ok(()) => {
            let mut cargo = toolchain.cargo(context.workspace, Verb::Clippy, Target::BareMetal)?;
            run_shown(cargo.args(["--release", "--package", "sel4-vmm", "--bin", SEL4_ARM, "--", "-D", "warnings"]))
        }
        Err(reason) => {
            output::line(format!("LEFT OUT: {SEL4_ARM}, as {reason}"));
            Ok(())
        }
    }
}

fn sel4(context: &mut Context<'_>, trial: &sel4::trial::Trial) -> Result<()> {
    let report = trial.run(context.workspace, sel4::trial::TIMEOUT, false)?;
    output::line(report.show());
    if report.ok { Ok(()) } else { bail!("{}. Console: {}", report.reasons.join("; "), report.log) }
}

/// Each run must fail, and where the mistake was made.
fn sel4_sabotage(context: &mut Context<'_>) -> Result<()> {
    for sabotage in sel4::smoke::Sabotage::ALL {
        let report = sel4::smoke::trial(Some(sabotage)).run(context.workspace, sel4::trial::TIMEOUT, false)?;
        let (culprit, reasons) = (sabotage.culprit(), report.reasons.join("; "));
        if report.check(culprit).is_none_or(|check| check.ok) {
            bail!("the run with {sabotage} passed `{culprit}`; it must fail there. Console: {}", report.log);
        }
        if !reasons.contains(sabotage.reason()) {
            bail!("{sabotage} must fail for `{}`, but: {reasons}. Console: {}", sabotage.reason(), report.log);
        }
        output::line(format!("{sabotage} failed as it must: {}", report.reasons.first().map_or("", String::as_str)));
    }
    Ok(())
}

fn driver_amd64(context: &mut Context<'_>) -> Result<()> {
    if cfg!(not(target_arch = "x86_64")) {
        output::line("left out: this machine is not x86-64");
        return Ok(());
    }
    for series in [Series::V6_1, Series::V6_12] {
        modules::build_for_amd64(context.workspace, series, Warnings::Errors)?;
    }
    Ok(())
}

fn driver(context: &mut Context<'_>, series: Series, gic: Gic, profile: Profile) -> Result<()> {
    let ready = context.ready()?;
    modules::trial::test(context.workspace, &ready, Trial { series, gic, profile, vcpus: 2 })
}

fn manifest(context: &mut Context<'_>, name: &str, on: Platform, gic: Gic) -> Result<()> {
    let ready = context.ready()?;
    let path = context.workspace.root().join(format!("examples/manifests/{name}.toml"));
    let report = verify::play(context.workspace, &ready, &verify::Play::for_test(path, on, Some(gic)))?;
    output::line(report.show());
    if report.ok { Ok(()) } else { bail!("{}. Console: {}", report.reasons.join("; "), report.log) }
}

fn demo(context: &mut Context<'_>, play: Play) -> Result<()> {
    let ready = context.ready_for(play.on.architecture())?;
    let report = demo::play(context.workspace, &ready, play)?;
    output::line(report.show());
    if report.ok { Ok(()) } else { bail!("{}. Console: {}", report.reasons.join("; "), report.log) }
}

/// On this machine's /dev/kvm where it runs kernels, else in an emulated machine: the output says which.
fn kvm_demo(context: &mut Context<'_>, kvm: kvm::Flags, tools: Tools) -> Result<()> {
    let on = Platform::Kvm.for_architecture(kvm.arch)?;
    let timeout = Duration::from_secs(demo::usual_timeout(on, tools));
    demo(context, Play { on, kvm, rounds: demo::usual_rounds(on, None), tools, timeout, ..Play::default() })
}

/// A guest in a vCPU on seL4, then what must fail.
fn sel4_vtx(context: &mut Context<'_>) -> Result<()> {
    let run = |sabotage| vtx::run(context.workspace, sel4::trial::TIMEOUT, false, sabotage);
    let report = run(None)?;
    output::line(report.show());
    if !report.ok {
        bail!("{}. Console: {}", report.reasons.join("; "), report.log);
    }
    for sabotage in vtx::Sabotage::ALL {
        let report = run(Some(sabotage))?;
        let noticed = report.check(vtx::CULPRIT).is_some_and(|check| !check.ok && check.detail.contains(sabotage.reason()));
        let hurt: Vec<&str> = vtx::UNTOUCHED.into_iter().filter(|name| !report.check(name).is_some_and(|check| check.ok)).collect();
        if !noticed || !hurt.is_empty() {
            let (name, reasons, log) = (sabotage.name(), report.reasons.join("; "), report.log);
            bail!("{name} must fail `{}` for `{}` alone, but: {reasons}. Console: {log}", vtx::CULPRIT, sabotage.reason());
        }
        output::line(format!("{} failed as it must", sabotage.name()));
    }
    Ok(())
}

/// There is no such kernel in a registry: without one of the user's, this is left out.
fn demo_sel4(context: &mut Context<'_>) -> Result<()> {
    if let Err(reason) = Installed::offered() {
        output::line(format!("LEFT OUT: {reason}. Nothing was tried of guests in vCPUs on seL4 for arm64."));
        return Ok(());
    }
    let tools = demo::usual_tools(Platform::Sel4, None);
    demo(context, Play { on: Platform::Sel4, tools, ..Play::default() })
}

/// What the host's version of the interrupt controller does not offer says so and is skipped: each version has its turn.
fn kvm_tests_arm64(context: &mut Context<'_>) -> Result<()> {
    let ready = context.ready()?;
    let program = programs::build_tests(context.workspace, &ready.toolchain, Architecture::Arm64, "crossvm-kvm", "kvm")?;
    for gic in [Gic::V3, Gic::V2] {
        output::line(format!("on a GICv{gic}:"));
        kvm::run_tests(context.workspace, &ready, &program, gic, |line| output::line(format!("  {line}")))?;
    }
    Ok(())
}

fn kvm_demo_apart(context: &mut Context<'_>) -> Result<()> {
    kvm_demo(context, kvm::Flags { apart: true, ..kvm::Flags::default() }, Tools::Off)
}

fn kvm_link(context: &mut Context<'_>) -> Result<()> {
    let ready = context.ready_for(Platform::Kvm.architecture())?;
    let timeout = Duration::from_secs(link::TIMEOUT);
    let report = link::play(context.workspace, &ready, kvm::Flags::default(), trial::Show::Progress, timeout)?;
    output::line(report.show());
    if report.ok { Ok(()) } else { bail!("{}. Console: {}", report.reasons.join("; "), report.log) }
}

/// The run must fail, and for the reason that was provoked.
fn sabotage(context: &mut Context<'_>, sabotage: Sabotage) -> Result<()> {
    let ready = context.ready()?;
    let report = demo::play(context.workspace, &ready, Play { sabotage: Some(sabotage), tools: Tools::Off, ..Play::default() })?;
    let culprit = sabotage.culprit();
    let log = &report.log;
    let Some(check) = report.check(culprit).filter(|check| !check.ok) else {
        bail!("the demonstration with {sabotage} passed `{culprit}`; it must fail there. Console: {log}");
    };
    if !check.detail.contains(sabotage.reason()) {
        bail!("{sabotage} must fail `{culprit}` for `{}`, but: {}. Console: {log}", sabotage.reason(), check.detail);
    }
    let hurt: Vec<&str> = sabotage.untouched().iter().copied().filter(|check| !report.passed(check)).collect();
    if !hurt.is_empty() {
        bail!("{sabotage} must not touch {}, but: {}. Console: {log}", hurt.join(", "), report.reasons.join("; "));
    }
    output::line(format!("failed as it must:\n  {}", report.reasons.join("\n  ")));
    Ok(())
}
