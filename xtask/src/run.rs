//! `cargo xtask run`: the user's own kernels, connected as a manifest or flags say.

mod flags;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::{ArgGroup, Args};

use crate::launch::{Ended, Gic, Hypervisor, Input, Order, Output, Patience, Verdict, kvm};
use crate::manifest::{self, Platform};
use crate::output;
use crate::progress::seconds;
use crate::setup::{self, Existing, Ready};
use crate::system::{ComponentSpec, ConnectionSpec, System, VmSpec};
use crate::workspace::Workspace;
use crate::{demo, guest, programs};

/// The CPU model that the emulated machine has unless the user wants another.
pub(crate) const DEFAULT_CPU: &str = "cortex-a72";

/// Boot your own kernels under a VMM of crossvm and connect them.
#[derive(Debug, Args)]
#[group(skip)]
#[command(group = ArgGroup::new("what").required(true), after_long_help = "\
What runs is described by a manifest (docs/manifest.md says what can be in it, `cargo xtask check` checks it without running it) or by
flags. A manifest of this repository:
  cargo xtask run examples/manifests/two-guests.toml

A manifest that describes the demonstration is played to its end and verified, as `cargo xtask demo` does, here on seL4:
  SEL4_PREFIX=/opt/sel4 cargo xtask run examples/manifests/demo.toml --on sel4

On KVM, guests are x86-64. Where this machine's /dev/kvm cannot run kernels, an emulated machine (L1) with one of its own runs the VMM:
  cargo xtask run examples/manifests/demo.toml --on kvm

A flag's value is a list KEY=VALUE,KEY=VALUE. A value with a comma goes into double quotes:
  --vm 'name=a,cmdline=\"console=ttyAMA0 isolcpus=1,2\"'

Two Debian guests with a shell each, connected through 1 MiB of shared memory, and a mirror for the first:
  cargo xtask run --on el2 --vm name=a --vm name=b --connect name=wire,a=a,b=b,size=1M \\
      --component mirror=reverse --connect name=echo,a=a,b=mirror,size=64K

The consoles of all VMs come out on this terminal, each line behind its VM's name. What you type goes to the VM with the
focus: the first at the start; Ctrl-A 0 gives it to the first, Ctrl-A 1 to the second, and so on. Ctrl-] x ends the machine.")]
pub(crate) struct Arguments {
    /// What to run, as a manifest in TOML
    #[arg(value_name = "MANIFEST", group = "what", conflicts_with_all = ["components", "connections"])]
    manifest: Option<PathBuf>,

    /// Who composes the VMs
    #[arg(long, value_enum, value_name = "PLATFORM", default_value = "el2")]
    on: Platform,

    // Help as text, not as documentation: the brackets would be links there.
    #[arg(
        long = "vm",
        value_name = "VM",
        group = "what",
        value_parser = flags::vm,
        help = "A VM: name=NAME[,kernel=IMAGE][,initrd=FILE][,memory=256M][,vcpus=1][,cmdline=\"TEXT\"]; may be repeated",
        long_help = "A VM: name=NAME[,kernel=IMAGE][,initrd=FILE][,memory=256M][,vcpus=1][,cmdline=\"TEXT\"]; may be repeated.\n\n\
            NAME starts with a letter, goes on with letters, digits, `_` and `-`, and is not `vmm`.\n\n\
            Without `kernel` it runs Debian's kernel, with a shell in our initial RAM disk where `initrd` is not given either."
    )]
    vms: Vec<flags::Vm>,

    /// A native component: NAME=KIND, where KIND is reverse, digest or source; may be repeated
    #[arg(long = "component", value_name = "COMPONENT", value_parser = flags::component)]
    components: Vec<ComponentSpec>,

    #[arg(
        long = "connect",
        value_name = "CONNECTION",
        value_parser = flags::connection,
        help = "A connection: name=NAME,a=PEER,b=PEER,size=1M[,a-rights=ro|rw][,b-rights=ro|rw]; may be repeated"
    )]
    connections: Vec<ConnectionSpec>,

    /// Version of the interrupt controller, of the emulated machine and of its guests; else the manifest's choice, else 3
    #[arg(long, value_enum, value_name = "VERSION")]
    gic: Option<Gic>,

    #[command(flatten)]
    kvm: kvm::Flags,

    /// CPU model of the emulated machine; else the manifest's choice, else cortex-a72
    #[arg(long, value_name = "MODEL")]
    cpu: Option<String>,

    /// End the machine after this time
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<u64>,

    /// One more argument for QEMU; may be repeated
    #[arg(long = "qemu-arg", value_name = "ARGUMENT", allow_hyphen_values = true)]
    qemu_arguments: Vec<OsString>,

    /// Run this ELF file instead of building the hypervisor
    #[arg(long, value_name = "FILE")]
    vmm: Option<PathBuf>,

    /// Write a report as JSON to this file, where the manifest is that of the demonstration
    #[arg(long, value_name = "FILE", requires = "manifest")]
    report: Option<PathBuf>,

    /// Prepare everything, print the command line that starts it and do not run it
    #[arg(long)]
    dry_run: bool,
}

impl Arguments {
    /// What of them is meant for the demonstration.
    fn demonstration(&self, on: Platform, kvm: kvm::Flags) -> demo::Chosen {
        let Self { gic, timeout, report, .. } = self;
        demo::Chosen { on, gic: *gic, kvm, timeout: *timeout, report: report.clone() }
    }
}

/// Runs what the manifest or the flags describe.
pub(crate) fn run(workspace: &Workspace, arguments: Arguments) -> Result<()> {
    // What is wrong with the manifest is told before anything is installed or built.
    let on = arguments.on.for_architecture(arguments.kvm.arch)?;
    let manifest = arguments.manifest.as_deref().map(|path| manifest::load(path, on, arguments.gic)).transpose()?;
    let flags = manifest.as_ref().map_or(arguments.kvm, |manifest| manifest::kvm(arguments.kvm, on, manifest));
    let hypervisor = Hypervisor::of(on, flags)?;
    let wanted = manifest.as_ref().map_or(arguments.gic, |manifest| manifest::gic(arguments.gic, on, manifest));
    let interrupts = hypervisor.interrupts(wanted)?;
    if manifest.as_ref().is_some_and(demo::is_described_by) {
        return demo::run(workspace, &arguments.demonstration(on, flags));
    }
    let ready = setup::setup(workspace, Existing::Keep, hypervisor.architecture())?;
    let mut system = match &manifest {
        Some(manifest) => manifest::compose(workspace, &ready, manifest)?,
        None => compose(workspace, &ready, &arguments)?,
    };
    for vm in &mut system.vms {
        vm.command_line = interrupts.command_line(&vm.command_line);
    }
    let cpu = arguments.cpu.or_else(|| manifest.filter(|_| on == Platform::El2)?.platforms.el2.cpu);
    let log = workspace.output()?.join("run.log");
    let order = Order {
        system: &system,
        interrupts,
        cpu,
        extra: arguments.qemu_arguments,
        input: Input::Terminal,
        output: Output::Terminal,
        log: &log,
        program: arguments.vmm,
    };
    let job = hypervisor.prepare(workspace, &ready, order)?;
    if arguments.dry_run {
        output::line(job.describe());
        return Ok(());
    }
    if let Some(place) = job.place() {
        output::note(place);
    }
    let patience = arguments.timeout.map_or(Patience::Endless, |limit| Patience::Limit(Duration::from_secs(limit)));
    let ended = job.run(patience, |_| Verdict::GoOn)?;
    match ended {
        Ended::PoweredOff | Ended::Stopped => {}
        Ended::Interrupted => output::note("\nended by the user"),
        Ended::TimedOut(after) | Ended::Mute(after) => {
            bail!("ended after {}, as --timeout says; the console is in {}", seconds(after), log.display())
        }
        Ended::Failed(why) => bail!("{why}"),
    }
    output::note(format!("The console is in {}", log.display()));
    Ok(())
}

fn compose(workspace: &Workspace, ready: &Ready, arguments: &Arguments) -> Result<System> {
    let architecture = ready.kernel.architecture;
    let initramfs = workspace.output()?.join(format!("initramfs-{}.cpio", architecture.debian()));
    if arguments.vms.iter().any(|vm| vm.kernel.is_none() && vm.initrd.is_none()) {
        let programs = programs::build_guest(workspace, &ready.toolchain, architecture)?;
        guest::write_initramfs(&ready.kernel, &ready.userland, &programs, &initramfs)?;
    }
    let vms = arguments.vms.iter().map(|vm| {
        let kernel = vm.kernel.clone().unwrap_or_else(|| ready.kernel.image.clone());
        let usual = || format!("console={} crossvm.vm={} demo.shell", architecture.console(), vm.name);
        let command_line = vm.command_line.clone().unwrap_or_else(usual);
        VmSpec {
            memory: vm.memory,
            vcpus: vm.vcpus,
            initrd: vm.initrd.clone().or_else(|| vm.kernel.is_none().then(|| initramfs.clone())),
            ..VmSpec::new(&vm.name, kernel, command_line)
        }
    });
    Ok(System { vms: vms.collect(), components: arguments.components.clone(), connections: arguments.connections.clone() })
}
