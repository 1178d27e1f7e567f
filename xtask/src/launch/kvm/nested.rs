//! An emulated machine (L1) that runs Debian's kernel with KVM, and kvm-vmm on it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use anyhow::{Context as _, Result};

use super::manifest;
use super::script::Script;
use crate::architecture::Architecture;
use crate::guest::{Archive, initramfs};
use crate::host::{self, Tool};
use crate::launch::qemu::{Input, escape};
use crate::launch::{Ended, Interrupts};
use crate::run::DEFAULT_CPU;
use crate::setup::Ready;
use crate::system::System;

/// The first process there.
const INIT: &str = include_str!("l1-init");
/// Marks of what it says.
const BEGIN: &str = "crossvm-l1: begin";
const END: &str = "crossvm-l1: end status=";
/// Memory for the machine's own kernel and programs, beside what the VMs and their files take.
const OWN_MEMORY: u64 = 512 << 20;
/// The emulated machine has so many CPUs for guests, as far as this one does and VMs use them.
const CPUS: [usize; 2] = [2, 8];
/// How the reason starts where the machine has ended by itself.
pub(super) const COLLAPSED: &str = "the emulated machine ended before kvm-vmm did";
/// How many of its last lines explain why the machine ended early.
const LAST_WORDS: usize = 5;

/// What is to be emulated, and run in there.
#[derive(Debug)]
pub(super) struct Machine<'a> {
    pub(super) architecture: Architecture,
    pub(super) ready: &'a Ready,
    pub(super) vmm: &'a Path,
    pub(super) system: &'a System,
    /// What runs kvm-vmm, where it is not run once.
    pub(super) script: Option<Script>,
    /// Flags of kvm-vmm.
    pub(super) arguments: Vec<String>,
    /// The controller that the machine must have for its guests to have it.
    pub(super) interrupts: Interrupts,
    pub(super) input: Input,
    pub(super) log: &'a Path,
}

/// How an architecture is emulated.
struct Emulator {
    tools: &'static [Tool],
    /// What starts it: a program, and its first arguments.
    command: (&'static str, &'static [&'static str]),
    /// The machine, its CPUs and what more it takes.
    flags: Vec<String>,
    /// What connects the second serial port with the chardev `own`.
    second_port: &'static [&'static str],
    /// Its two serial ports as the kernel calls them: kvm-vmm's, and the kernel's own.
    ports: [&'static str; 2],
    /// What the guests' kernels are told besides, in front of the rest.
    guests: &'static str,
    /// So many CPUs, the first ones, are the kernel's: no guest runs on them.
    apart: usize,
}

/// Parameters of the kernel, beside its console. A CPU that is emulated may be away for longer than a watchdog likes, or than the time in which a PC's kernel
/// expects ten ticks of its timer, to panic where they do not come.
const PARAMETERS: &str = "panic=-1 mitigations=off nowatchdog no_timer_check";

impl Emulator {
    fn of(architecture: Architecture, interrupts: Interrupts) -> Self {
        let flags = |flags: &[&str]| flags.iter().map(|flag| (*flag).to_owned()).collect();
        match architecture {
            Architecture::Amd64 => Self {
                // QEMU's SVM gives a guest an interrupt twice, the second time whatever its flags say, where the thread of the devices wakes a CPU's and
                // comes to say so only when that is in the guest already. With this policy, who is woken takes the host's CPU from nobody.
                tools: &[host::CHRT, host::QEMU_X86],
                command: (host::CHRT.program, &["--batch", "0", host::QEMU_X86.program]),
                // This processor has SVM. It does not intercept XSETBV, so L1's KVM would not see which states a guest saves with XSAVE, and
                // the guest's kernel would warn of sizes that do not add up.
                flags: flags(&["-M", "pc", "-accel", "tcg,thread=multi", "-cpu", "max,xsave=off"]),
                second_port: &["-serial", "chardev:own"],
                ports: ["ttyS0", "ttyS1"],
                guests: "",
                // QEMU (7.2 to 10.0 at least) has IGNNE# of all CPUs in the first one's flags: each FXRSTOR or FLDENV of any CPU changes
                // them, without a lock. Where the first is in VMRUN at that moment, the flag that the guest's addresses are nested gets
                // lost now and then, and the guest runs in the machine's own memory.
                apart: 1,
            },
            Architecture::Arm64 => {
                let machine = format!("virt,virtualization=on,gic-version={}", interrupts.gic().unwrap_or_default());
                Self {
                    tools: &[host::MACHINE],
                    command: (host::MACHINE.program, &[]),
                    flags: flags(&["-M", &machine, "-accel", "tcg,thread=multi", "-cpu", DEFAULT_CPU]),
                    // The board has one port of its own.
                    second_port: &["-device", "pci-serial,chardev=own"],
                    ports: ["ttyAMA0", "ttyS0"],
                    // Each character on the console is an exit, and most are the kernel's while it boots. What it complains of is shown all the same.
                    guests: "quiet nowatchdog ",
                    apart: 0,
                }
            }
        }
    }
}

impl Machine<'_> {
    /// Writes the machine's files; returns the command that starts it, and where its kernel's console will be.
    pub(super) fn build(&self) -> Result<(Command, PathBuf)> {
        let emulator = Emulator::of(self.architecture, self.interrupts);
        host::install_missing(emulator.tools)?;
        let disk = self.log.with_extension("l1.cpio");
        let own = self.log.with_extension("l1.log");
        // What an earlier run has said is not this one's.
        fs::write(&own, "").with_context(|| format!("cannot write {}", own.display()))?;
        let bytes = self.disk(&emulator)?;
        fs::write(&disk, &bytes).with_context(|| format!("cannot write {}", disk.display()))?;

        let (program, first) = emulator.command;
        let mut command = Command::new(program);
        command.args(first);
        command.args(&emulator.flags);
        command.args(["-smp", &(emulator.apart + self.cpus()).to_string(), "-m", &self.memory_mib(bytes.len())?.to_string()]);
        command.args(["-display", "none", "-nodefaults", "-no-reboot"]);
        match self.input {
            Input::Nothing => command.args(["-monitor", "none", "-serial", "stdio"]),
            // Ctrl-A belongs to kvm-vmm, so the emulator's own key is Ctrl-]: Ctrl-] x ends the machine.
            Input::Terminal => command.args(["-serial", "mon:stdio", "-echr", "29"]),
        };
        let mut file = OsString::from("file,id=own,path=");
        file.push(escape(&own));
        command.arg("-chardev").arg(file).args(emulator.second_port);
        command.arg("-kernel").arg(&self.ready.kernel.image).arg("-initrd").arg(&disk);
        command.args(["-append", &format!("console={} {PARAMETERS}", emulator.ports[1])]);
        Ok((command, own))
    }

    /// The machine's initial RAM disk.
    fn disk(&self, emulator: &Emulator) -> Result<Vec<u8>> {
        let mut archive = Archive::default();
        initramfs::shell(&mut archive, &self.ready.userland.busybox)?;
        let mut modules = Vec::new();
        for module in &self.ready.kernel.kvm_modules {
            let name = module.file_name().unwrap_or_default().to_string_lossy().into_owned();
            archive.file(&format!("lib/modules/{name}"), &initramfs::read(module)?);
            modules.push(name);
        }
        archive.program("init", INIT.as_bytes());
        archive.directory("vmm");
        archive.program("vmm/kvm-vmm", &initramfs::read(self.vmm)?);
        for (name, text) in [
            ("console", emulator.ports[0].to_owned()),
            ("own", emulator.ports[1].to_owned()),
            ("modules", modules.join(" ")),
            ("arguments", self.arguments.join(" ")),
        ] {
            archive.file(&format!("vmm/{name}"), format!("{text}\n").as_bytes());
        }
        if emulator.apart > 0 {
            archive.file("vmm/cpus", format!("{}-{}\n", emulator.apart, emulator.apart + self.cpus() - 1).as_bytes());
        }
        if let Some(script) = self.script {
            archive.file("vmm/script", script.text().as_bytes());
            archive.file("vmm/vms", format!("{}\n", Script::vms(self.system)).as_bytes());
        }
        // Files that VMs share are there once.
        let mut files: BTreeMap<PathBuf, String> = BTreeMap::new();
        let mut system = self.system.clone();
        system.vms.iter_mut().for_each(|vm| vm.command_line.insert_str(0, emulator.guests));
        let text = manifest::write(&system, |path| {
            let next = format!("file{}", files.len());
            PathBuf::from(files.entry(path.to_owned()).or_insert(next).as_str())
        })?;
        archive.file("vmm/manifest.toml", text.as_bytes());
        for (path, name) in &files {
            archive.file(&format!("vmm/{name}"), &initramfs::read(path)?);
        }
        Ok(archive.finish())
    }

    fn cpus(&self) -> usize {
        let [least, most] = CPUS;
        let vcpus: usize = self.system.vms.iter().map(|vm| usize::from(vm.vcpus)).sum();
        let here = thread::available_parallelism().map_or(least, usize::from);
        here.min(vcpus).clamp(least, most)
    }

    /// The VMs' memory, all dataports, and the disk twice: it is unpacked from where it was loaded.
    fn memory_mib(&self, disk: usize) -> Result<u64> {
        let vms = self.system.vms.iter().map(|vm| vm.memory);
        let dataports = self.system.connections.iter().flat_map(|connection| &connection.dataports).map(|dataport| dataport.size);
        let sum = vms.chain(dataports).fold(OWN_MEMORY, u64::saturating_add);
        let disk = u64::try_from(disk).context("the disk is too large")?;
        Ok(sum.saturating_add(disk.saturating_mul(2)).div_ceil(1 << 20))
    }
}

/// How kvm-vmm came to its end, out of what the machine's own console says.
pub(super) fn verdict(own: &Path) -> Result<Ended> {
    let text = fs::read(own).with_context(|| format!("cannot read {}", own.display()))?;
    let failed = |why: String| Ended::Failed(format!("{why}. The emulated machine's own console: {}", own.display()));
    Ok(match judge(&String::from_utf8_lossy(&text)) {
        Ok(()) => Ended::PoweredOff,
        Err(why) => failed(why),
    })
}

fn judge(text: &str) -> std::result::Result<(), String> {
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    let begin = lines.iter().position(|line| *line == BEGIN).map_or(0, |begin| begin + 1);
    let said = lines.iter().skip(begin).copied();
    let status = said.clone().find_map(|line| line.strip_prefix(END));
    // The kernel's own lines begin with their time.
    let words: Vec<&str> = said.filter(|line| !line.is_empty() && !line.starts_with(['[', '<']) && !line.starts_with(END)).collect();
    match status {
        Some("0") => Ok(()),
        Some(status) => Err(format!("kvm-vmm ended with status {status}: {}", words.join("; "))),
        None => {
            let last: Vec<_> = lines.iter().filter(|line| !line.is_empty()).copied().collect();
            let last = last.get(last.len().saturating_sub(LAST_WORDS)..).unwrap_or_default().join("; ");
            Err(format!("{COLLAPSED}: {last}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_inner_status_is_the_run_s() {
        let text =
            |end: &str| format!("[ 0.1] Linux\n{BEGIN}\r\n[ 1.0] kvm: Nested Virtualization enabled\r\nError: no kernel\r\n{end}\r\n");
        assert_eq!(judge(&text(&format!("{END}0"))), Ok(()));
        assert_eq!(judge(&text(&format!("{END}3"))).unwrap_err(), "kvm-vmm ended with status 3: Error: no kernel");
        let early = judge(&text("[ 5.0] Kernel panic")).unwrap_err();
        assert!(early.starts_with("the emulated machine ended before kvm-vmm did: ") && early.ends_with("Kernel panic"), "{early}");
        assert!(judge("").is_err());
    }

    #[test]
    fn the_script_says_what_is_read() {
        assert!(INIT.contains(&format!("echo '{BEGIN}'")) && INIT.contains(&format!("echo \"{END}$1\"")));
    }
}
