//! Manifests as our commands use them: read, checked against the platform, and turned into a system of files.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;
use crossvm_manifest::manifest::{Debian, Diagnostics, GicVersion, Initrd, Kernel, Limits, Manifest, Objection, Place, Source, Style, Vm};
use crossvm_manifest::{MAX_VCPUS, MAX_VMS};

use crate::architecture::Architecture;
use crate::guest::{self, Series};
use crate::launch::{Gic, Irqchip, kvm};
use crate::setup::{self, Ready};
use crate::system::{ComponentSpec, ConnectionSpec, EndSpec, System, VmSpec};
use crate::workspace::Workspace;
use crate::{output, programs};

/// What composes the VMs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Platform {
    /// Our bare-metal hypervisor at EL2, in QEMU's arm64 machine `virt`
    El2,
    /// seL4 with our VM monitor as its root task, in the same machine; SEL4_PREFIX names the kernel
    Sel4,
    /// KVM with our VMM, on x86-64 (or as --arch says): this machine's /dev/kvm where it runs kernels, else one in an emulated machine
    Kvm,
    /// The same on arm64: `--on kvm --arch arm64`.
    #[value(skip)]
    KvmArm64,
}

impl Platform {
    /// What tells its runs from those of `el2`, in names of files.
    pub(crate) const fn mark(self) -> &'static str {
        match self {
            Self::El2 => "",
            Self::Sel4 => "-sel4",
            Self::Kvm => "-kvm",
            Self::KvmArm64 => "-kvm-arm64",
        }
    }

    /// What its guests run on.
    pub(crate) const fn architecture(self) -> Architecture {
        match self {
            Self::El2 | Self::Sel4 | Self::KvmArm64 => Architecture::Arm64,
            Self::Kvm => Architecture::Amd64,
        }
    }

    /// Whether it is KVM, of whatever architecture.
    pub(crate) const fn is_kvm(self) -> bool {
        matches!(self, Self::Kvm | Self::KvmArm64)
    }

    /// The platform for guests of `architecture`, where the user names one.
    pub(crate) fn for_architecture(self, architecture: Option<Architecture>) -> Result<Self> {
        match (self, architecture) {
            (platform, None) => Ok(platform),
            (Self::Kvm | Self::KvmArm64, Some(Architecture::Amd64)) => Ok(Self::Kvm),
            (Self::Kvm | Self::KvmArm64, Some(Architecture::Arm64)) => Ok(Self::KvmArm64),
            (Self::El2 | Self::Sel4, Some(_)) => bail!("--arch is for `--on kvm` only"),
        }
    }

    /// What it can give to the VMs of a manifest.
    fn limits(self, gic: Gic) -> Limits {
        // A GICv2 tells eight CPUs apart; beyond that it is the hypervisor's tables. On seL4, all vCPUs share one CPU; on KVM, each is a thread.
        let (platform, vcpus) = match (self, gic) {
            (Self::El2, Gic::V2) => ("el2 with GICv2", 8),
            (Self::El2, Gic::V3) => ("el2", 16),
            (Self::Sel4, _) => ("sel4", 16),
            (Self::Kvm | Self::KvmArm64, _) => ("kvm", MAX_VMS * usize::from(MAX_VCPUS)),
        };
        Limits {
            platform: platform.to_owned(),
            vcpus,
            // The emulated machine has 64 GiB, of which the hypervisor, the images and the room between them take some.
            memory: 63 << 30,
            low_window: match self {
                Self::El2 | Self::Sel4 | Self::KvmArm64 => 0x1000_0000..0x3eff_0000,
                Self::Kvm => 0xc000_0000..0xe000_0000,
            },
        }
    }
}

/// The version of the interrupt controller: what the user says, else what the manifest says for the platform.
pub(crate) fn gic(said: Option<Gic>, platform: Platform, manifest: &Manifest) -> Option<Gic> {
    let own = manifest.platforms.el2.gic.map(|gic| match gic {
        GicVersion::V2 => Gic::V2,
        GicVersion::V3 => Gic::V3,
    });
    said.or(own.filter(|_| platform == Platform::El2))
}

/// What the user says of a run on KVM, and where that is nothing, what the manifest says.
pub(crate) fn kvm(said: kvm::Flags, platform: Platform, manifest: &Manifest) -> kvm::Flags {
    let own = manifest.platforms.kvm.irqchip.map(Irqchip::from);
    kvm::Flags { irqchip: said.irqchip.or(own.filter(|_| platform == Platform::Kvm)), ..said }
}

/// Reads a manifest and checks it, also against what the platform can give.
pub(crate) fn read(path: &Path, platform: Platform, said: Option<Gic>) -> Result<Result<Manifest, Diagnostics>> {
    let source = Source::read(path).with_context(|| format!("cannot read the manifest {}", path.display()))?;
    Ok(Manifest::parse(&source).and_then(|manifest| {
        let gic = gic(said, platform, &manifest);
        manifest.check_limits(&source, &platform.limits(gic.unwrap_or_default()))?;
        manifest.check_objections(&source, kernels(&manifest, platform.architecture()))?;
        Ok(manifest)
    }))
}

/// The kernels that the hypervisor would not know how to start.
fn kernels(manifest: &Manifest, architecture: Architecture) -> Vec<Objection> {
    let other = |(vm, machine): (usize, &Vm)| {
        let Kernel::File(path) = &machine.kernel else { return None };
        let mut head = Vec::new();
        // That the file is there has been checked; what cannot be read has no head.
        let _ = fs::File::open(path).and_then(|file| file.take(guest::HEAD).read_to_end(&mut head));
        let (label, help) = match architecture {
            Architecture::Arm64 => against_arm64(&head)?,
            Architecture::Amd64 => against_amd64(&head)?,
        };
        let what = match architecture {
            Architecture::Arm64 => "arm64 Image",
            Architecture::Amd64 => "kernel for x86-64",
        };
        let message = format!("`{}` is no {what}", path.display());
        Some(Objection { place: Place::Kernel { vm }, message, label: label.to_owned(), help: help.to_owned() })
    };
    manifest.vms.iter().enumerate().filter_map(other).collect()
}

/// What is wrong with the kernel that begins so, on arm64, and what helps.
fn against_arm64(head: &[u8]) -> Option<(&'static str, &'static str)> {
    match head {
        head if guest::is_arm64_image(head) => None,
        head if guest::is_amd64_kernel(head) => {
            Some(("this is a kernel for x86-64", "take an arm64 Image, or run it on x86-64: `--on kvm`"))
        }
        [0x1f, 0x8b, ..] => Some(("this is compressed by gzip", "unpack it: `gzip -dc FILE > Image`")),
        [0x7f, b'E', b'L', b'F', ..] => {
            Some(("this is an ELF file", "take `arch/arm64/boot/Image` of the kernel's build, or `objcopy -O binary`"))
        }
        _ => Some((
            "this has not the head of one",
            "take `arch/arm64/boot/Image` of the kernel's build; of a distribution's `vmlinuz`, what is packed in it",
        )),
    }
}

/// The same on x86-64.
fn against_amd64(head: &[u8]) -> Option<(&'static str, &'static str)> {
    match head {
        head if guest::is_amd64_kernel(head) => None,
        head if guest::is_arm64_image(head) => Some(("this is an arm64 Image", "take a bzImage, or run it on Arm: `--on el2`")),
        [0x1f, 0x8b, ..] => Some(("this is compressed by gzip", "take `arch/x86/boot/bzImage` of the kernel's build: it unpacks itself")),
        [0x7f, b'E', b'L', b'F', ..] => {
            Some(("this is an ELF file for another processor", "take `arch/x86/boot/bzImage` of the kernel's build, or its `vmlinux`"))
        }
        _ => Some((
            "this has neither the head of a bzImage nor of an ELF file",
            "take `arch/x86/boot/bzImage` of the kernel's build, its `vmlinux`, or a distribution's `vmlinuz`",
        )),
    }
}

/// The manifest, or what is wrong with it on standard error.
pub(crate) fn load(path: &Path, platform: Platform, said: Option<Gic>) -> Result<Manifest> {
    match read(path, platform, said)? {
        Ok(manifest) => Ok(manifest),
        Err(diagnostics) => {
            show(&diagnostics);
            bail!("{} cannot be run", path.display());
        }
    }
}

/// Shows what is wrong on standard error, in colours where that is a terminal that has them.
pub(crate) fn show(diagnostics: &Diagnostics) {
    let style = if console::colors_enabled_stderr() { Style::Coloured } else { Style::Plain };
    output::note(format!("{}\n", diagnostics.render(style)));
}

/// The system that a manifest describes, without files: its VMs have no kernels yet.
pub(crate) fn wiring(manifest: &Manifest) -> System {
    let vms = manifest.vms.iter().map(|vm| VmSpec {
        memory: vm.memory,
        vcpus: vm.vcpus,
        device: vm.device,
        on_reboot: vm.on_reboot,
        ..VmSpec::new(&vm.name, PathBuf::new(), vm.command_line.clone())
    });
    let components = manifest.components.iter().map(|component| ComponentSpec { name: component.name.clone(), kind: component.kind });
    let connections = manifest.connections.iter().map(|connection| ConnectionSpec {
        name: connection.name.clone(),
        dataports: connection.dataports.clone(),
        ends: connection.ends.clone().map(|end| EndSpec { peer: end.peer, interrupt: end.interrupt }),
    });
    System { vms: vms.collect(), components: components.collect(), connections: connections.collect() }
}

/// The system that a manifest describes. Kernels of Debian are fetched, and the demonstration's initial RAM disks made, where it names them.
pub(crate) fn compose(workspace: &Workspace, ready: &Ready, manifest: &Manifest) -> Result<System> {
    let mut disks = Disks { workspace, ready, programs: None, made: Vec::new() };
    let mut system = wiring(manifest);
    for (vm, staged) in manifest.vms.iter().zip(&mut system.vms) {
        staged.kernel = match &vm.kernel {
            Kernel::File(path) => path.clone(),
            Kernel::Debian(series) => kernel(ready, *series)?.image,
            other => bail!("VM `{}`: this build knows no kernel {other:?}", vm.name),
        };
        staged.initrd = match (&vm.initrd, &vm.kernel) {
            (None, _) => None,
            (Some(Initrd::File(path)), _) => Some(path.clone()),
            (Some(Initrd::Demo), Kernel::Debian(series)) => Some(disks.of(*series)?),
            (Some(other), _) => bail!("VM `{}`: this build knows no initial RAM disk {other:?} for its kernel", vm.name),
        };
    }
    Ok(system)
}

const fn series(series: Debian) -> Option<Series> {
    match series {
        Debian::Linux6_1 => Some(Series::V6_1),
        Debian::Linux6_12 => Some(Series::V6_12),
        _ => None,
    }
}

fn kernel(ready: &Ready, wanted: Debian) -> Result<guest::Kernel> {
    match series(wanted) {
        Some(Series::V6_1) => Ok(ready.kernel.clone()),
        Some(series) => setup::kernel(series, ready.kernel.architecture),
        None => bail!("this build fetches no kernel {} of Debian", wanted.name()),
    }
}

/// The demonstration's initial RAM disks, each made when the first VM asks for it.
struct Disks<'a> {
    workspace: &'a Workspace,
    ready: &'a Ready,
    programs: Option<guest::initramfs::Programs>,
    made: Vec<(Debian, PathBuf)>,
}

impl Disks<'_> {
    fn of(&mut self, series: Debian) -> Result<PathBuf> {
        if let Some((_, path)) = self.made.iter().find(|(made, _)| *made == series) {
            return Ok(path.clone());
        }
        let architecture = self.ready.kernel.architecture;
        let programs = match self.programs.take() {
            Some(programs) => programs,
            None => programs::build_guest(self.workspace, &self.ready.toolchain, architecture)?,
        };
        let path = self.workspace.output()?.join(format!("initramfs-{}-{}.cpio", series.name(), architecture.debian()));
        guest::write_initramfs(&kernel(self.ready, series)?, &self.ready.userland, self.programs.insert(programs), &path)?;
        self.made.push((series, path.clone()));
        Ok(path)
    }
}

#[cfg(test)]
mod tests {
    use crossvm_manifest::{ComponentKind, Dataport, Device, EventBar, Image, Interrupt, Peer, Profile, Reboot, Rights, Width};

    use super::*;

    const TEXT: &str = "[vm.a]\nkernel = { debian = \"6.1\" }\nvcpus = 8\n[vm.b]\nkernel = { debian = \"6.1\" }\n";

    fn written(text: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.toml");
        std::fs::write(&path, text).unwrap();
        (folder, path)
    }

    #[test]
    fn a_gicv2_serves_eight_cpus() {
        let (_folder, path) = written(TEXT);
        assert!(read(&path, Platform::El2, None).unwrap().is_ok());
        let told = read(&path, Platform::El2, Some(Gic::V2)).unwrap().unwrap_err().to_string();
        assert!(told.contains("the VMs have 9 vCPUs in all, el2 with GICv2 runs 8"), "{told}");
        let (_folder, path) = written(&format!("{TEXT}[platform.el2]\ngic = 2\n"));
        assert!(read(&path, Platform::El2, None).unwrap().is_err());
        assert!(read(&path, Platform::El2, Some(Gic::V3)).unwrap().is_ok(), "the user has the last word");
    }

    #[test]
    fn who_emulates_the_interrupt_controllers_is_the_user_s_choice_before_the_manifest_s() {
        let (_folder, path) = written(&format!("{TEXT}[platform.kvm]\nirqchip = \"split\"\n"));
        let manifest = load(&path, Platform::Kvm, None).unwrap();
        let said = kvm::Flags { irqchip: Some(Irqchip::Kernel), ..kvm::Flags::default() };
        let irqchip = |said, platform| kvm(said, platform, &manifest).irqchip;
        assert_eq!(irqchip(kvm::Flags::default(), Platform::Kvm), Some(Irqchip::Split));
        assert_eq!(irqchip(said, Platform::Kvm), Some(Irqchip::Kernel));
        assert_eq!(irqchip(kvm::Flags::default(), Platform::El2), None);
    }

    #[test]
    fn every_example_has_a_topology() {
        let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/manifests");
        let mut tried = 0;
        for file in fs::read_dir(examples).unwrap() {
            for gic in [Gic::V2, Gic::V3] {
                let manifest = load(&file.as_ref().unwrap().path(), Platform::El2, Some(gic)).unwrap();
                let topology = wiring(&manifest).topology(|_| Ok(Image { address: 0x4200_0000, size: 1 })).unwrap();
                assert_eq!((topology.vms.len(), topology.connections.len()), (manifest.vms.len(), manifest.connections.len()));
                tried += 1;
            }
        }
        assert!(tried >= 6);
    }

    #[test]
    fn everything_of_a_manifest_reaches_the_topology() {
        let text = r#"
            [vm.a]
            kernel = { debian = "6.1" }
            memory = "64 MiB"
            vcpus = 3
            on-reboot = "stop"
            profile = "reference"
            event-bar = "64 KiB"
            command-line = "quiet"
            [component.sum]
            kind = "digest"
            [[connection]]
            name = "crc"
            between = ["sum", "a"]
            dataports = [{ size = "12 KiB", rights = { sum = "r" } }, { size = "4 KiB", width = 64 }]
            interrupt = "shared"
        "#;
        let (_folder, path) = written(text);
        let system = wiring(&load(&path, Platform::El2, None).unwrap());
        let topology = system.topology(|_| Ok(Image { address: 0x4200_0000, size: 1 })).unwrap();
        let vm = &topology.vms[0];
        assert_eq!((vm.name.as_str(), vm.memory, vm.vcpus, vm.on_reboot), ("a", 64 << 20, 3, Reboot::Stop));
        assert_eq!((vm.device, vm.command_line.as_str()), (Device { profile: Profile::Reference, event_bar: EventBar::Kib64 }, "quiet"));
        assert_eq!(topology.components[0].kind, ComponentKind::Digest);
        let connection = &topology.connections[0];
        let dataport = |size, rights, width| Dataport { size, rights, width };
        let first = dataport(12 << 10, [Rights::Read, Rights::ReadWrite], Width::Bits32);
        assert_eq!(connection.dataports, [first, dataport(4 << 10, [Rights::ReadWrite; 2], Width::Bits64)]);
        assert_eq!(connection.ends.map(|end| end.peer), [Peer::Component(0), Peer::Vm(0)]);
        assert_eq!(connection.ends[1].interrupt, Interrupt::Shared);
    }

    #[test]
    fn a_kernel_that_cannot_be_started_is_told_by_its_line() {
        let (folder, path) = written("[vm.a]\nkernel = \"Image\"\n");
        let told_on = |platform, head: &[u8]| {
            let mut image = head.to_vec();
            image.resize(1024, 0);
            std::fs::write(folder.path().join("Image"), image).unwrap();
            read(&path, platform, None).unwrap().map(|_| ()).map_err(|told| told.to_string())
        };
        let told = |head: &[u8]| told_on(Platform::El2, head);
        assert!(told(b"\x1f\x8b").unwrap_err().contains("m.toml:2:10") && told(b"\x1f\x8b").unwrap_err().contains("gzip -dc"));
        assert!(told(b"\x7fELF").unwrap_err().contains("ELF file"));
        assert!(told(b"MZ").unwrap_err().contains("is no arm64 Image"));
        let mut good = [0; 64];
        good[0x38..0x3c].copy_from_slice(b"ARM\x64");
        assert_eq!(told(&good), Ok(()));
        assert!(told_on(Platform::Kvm, &good).unwrap_err().contains("this is an arm64 Image"));
        assert!(told_on(Platform::Kvm, b"\x1f\x8b").unwrap_err().contains("it unpacks itself"));
        assert!(told_on(Platform::Kvm, b"\x7fELF\x01").unwrap_err().contains("another processor"));
        assert!(told_on(Platform::Kvm, b"MZ").unwrap_err().contains("is no kernel for x86-64"));
        let mut bzimage = vec![0; 0x202];
        bzimage.extend(b"HdrS");
        assert_eq!(told_on(Platform::Kvm, &bzimage), Ok(()));
        assert!(told(&bzimage).unwrap_err().contains("a kernel for x86-64"));
    }

    #[test]
    fn a_manifest_that_is_not_there_is_told() {
        let error = format!("{:#}", load(Path::new("/nowhere.toml"), Platform::El2, None).unwrap_err());
        assert!(error.starts_with("cannot read the manifest /nowhere.toml: "), "{error}");
        let (_folder, path) = written("x = 1");
        assert!(load(&path, Platform::El2, None).unwrap_err().to_string().ends_with("m.toml cannot be run"));
    }
}
