//! The machines that root tasks for x86-64 run in.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::host::{self, QEMU_X86 as QEMU, Tool};
use crate::launch::console::{Line, Splitter};
use crate::launch::{Ended, Output, Patience, Verdict, child};
use crate::process;

const BOCHS: Tool = Tool {
    program: "bochs",
    purpose: "emulates a processor with VT-x",
    // The front end that shows nothing, and what the machine starts with.
    packages: &["bochs", "bochs-term", "bochsbios", "vgabios"],
};
const GRUB: Tool = disc_tool("grub-mkrescue", &["grub-common", "grub-pc-bin"]);
const XORRISO: Tool = disc_tool("xorriso", &["xorriso"]);
const MTOOLS: Tool = disc_tool("mtools", &["mtools"]);

/// What the machines are, and what makes the discs that one of them starts.
pub(super) const TOOLS: [Tool; 5] = [QEMU, BOCHS, GRUB, XORRISO, MTOOLS];

const fn disc_tool(program: &'static str, packages: &'static [&'static str]) -> Tool {
    Tool { program, purpose: "makes discs that start seL4 in Bochs", packages }
}

/// GRUB's modules for PCs: Debian has them beside those of other firmware.
const GRUB_MODULES: &str = "/usr/lib/grub/i386-pc";

/// Memory of the machines in MiB.
const MEMORY: u32 = 256;
/// How long a machine may go on behind its root task's last line.
const REST: Duration = Duration::from_millis(200);
/// The last line of a root task begins so.
const END: &str = "record=end";

/// A machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Machine {
    /// QEMU, which has no VT-x without the host's.
    Qemu,
    /// Bochs, which emulates it.
    Bochs,
}

/// What a machine starts.
#[derive(Debug)]
pub(crate) struct Boot<'a> {
    /// The kernel's prefix.
    pub(crate) prefix: &'a Path,
    /// The root task.
    pub(crate) task: &'a Path,
    /// Every byte of the console goes here. Files with other endings beside it belong to the run as well.
    pub(crate) log: &'a Path,
    pub(crate) timeout: Duration,
}

impl Machine {
    /// Its name for people.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Qemu => "QEMU",
            Self::Bochs => "Bochs",
        }
    }

    /// Installs what it takes.
    pub(crate) fn prepare(self) -> Result<()> {
        match self {
            Self::Qemu => host::install_missing(&[QEMU]),
            Self::Bochs => {
                host::install_missing(&[BOCHS, GRUB, XORRISO, MTOOLS])?;
                if Path::new(GRUB_MODULES).is_dir() { Ok(()) } else { host::Installer::find().install(&["grub-pc-bin"]) }
            }
        }
    }

    /// Runs a root task until its last line. Each line of the console goes to `each`.
    pub(crate) fn run(self, boot: &Boot<'_>, each: impl FnMut(&Line)) -> Result<Ended> {
        match self {
            Self::Qemu => qemu(boot, each),
            Self::Bochs => bochs(boot, each),
        }
    }
}

fn qemu(boot: &Boot<'_>, mut each: impl FnMut(&Line)) -> Result<Ended> {
    let mut command = Command::new(QEMU.program);
    // What seL4 takes beyond the model: large and huge pages, and its way into the kernel. This QEMU lacks what is taken away.
    command.args(["-cpu", "Nehalem,-vme,+pdpe1gb,+xsave,+xsaveopt,+syscall,+lm", "-m", &MEMORY.to_string()]);
    command.args(["-display", "none", "-nodefaults", "-no-reboot", "-monitor", "none", "-serial", "stdio"]);
    command.arg("-kernel").arg(boot.prefix.join("bin/kernel32.elf")).arg("-initrd").arg(boot.task);
    let ended = child::run(command, Stdio::null(), Output::Lines, boot.log, Patience::Limit(boot.timeout), |line| {
        each(&line);
        if line.text.starts_with(END) { Verdict::StopIn(REST) } else { Verdict::GoOn }
    })?;
    // It cannot switch itself off.
    Ok(if ended == Ended::Stopped { Ended::PoweredOff } else { ended })
}

fn bochs(boot: &Boot<'_>, mut each: impl FnMut(&Line)) -> Result<Ended> {
    let disc = disc(boot)?;
    let beside = |ending: &str| boot.log.with_extension(ending);
    let (settings, commands, own) = (beside("bochsrc"), beside("rc"), beside("bochs"));
    // A clock of its own and a front end that waits for nobody: every run is the same.
    let text = [
        "display_library: rfb, options=\"timeout=0\"".to_owned(),
        format!("memory: guest={MEMORY}, host={MEMORY}"),
        "cpu: model=corei7_skylake_x, count=1, ips=50000000".to_owned(),
        "romimage: file=/usr/share/bochs/BIOS-bochs-latest".to_owned(),
        "vgaromimage: file=/usr/share/vgabios/vgabios.bin".to_owned(),
        format!("ata0-master: type=cdrom, path=\"{}\", status=inserted", disc.display()),
        "boot: cdrom".to_owned(),
        format!("com1: enabled=1, mode=file, dev=\"{}\"", boot.log.display()),
        "clock: sync=none, time0=946684800".to_owned(),
        "magic_break: enabled=1".to_owned(),
        // It would open the host's sound card.
        "speaker: enabled=0".to_owned(),
        format!("log: \"{}\"", own.display()),
    ];
    fs::write(&settings, text.join("\n") + "\n").with_context(|| format!("cannot write {}", settings.display()))?;
    // The debugger goes on until the root task's last instruction, and quits.
    fs::write(&commands, "c\nq\n").with_context(|| format!("cannot write {}", commands.display()))?;
    // A log of an earlier run is not this one's.
    let _ = fs::remove_file(boot.log);
    let mut command = Command::new(BOCHS.program);
    command.arg("-q").arg("-f").arg(&settings).arg("-rc").arg(&commands);
    let prompt = beside("debugger");
    let ended = child::run(command, Stdio::null(), Output::Lines, &prompt, Patience::Limit(boot.timeout), |_| Verdict::GoOn)?;
    let console = match fs::read(boot.log) {
        Ok(console) => console,
        Err(error) if ended == Ended::PoweredOff => {
            return Err(error).with_context(|| format!("Bochs has written no console; what it says is in {}", own.display()));
        }
        // It was ended before it had one to write.
        Err(_) => Vec::new(),
    };
    let mut finished = false;
    let mut splitter = Splitter::default();
    let mut take = |line: &str| {
        let line = Line::parse(Duration::ZERO, line);
        finished |= line.text.starts_with(END);
        each(&line);
    };
    splitter.feed(&console, &mut take);
    splitter.finish(take);
    // Once the root task has come to its end, it is of no matter how Bochs has come to its own.
    Ok(if finished && matches!(ended, Ended::Failed(_)) { Ended::PoweredOff } else { ended })
}

/// A disc that starts the kernel with the root task as its module.
fn disc(boot: &Boot<'_>) -> Result<PathBuf> {
    let tree = boot.log.with_extension("disc");
    let image = boot.log.with_extension("iso");
    if tree.exists() {
        fs::remove_dir_all(&tree).with_context(|| format!("cannot remove {}", tree.display()))?;
    }
    fs::create_dir_all(tree.join("boot/grub"))?;
    fs::copy(boot.prefix.join("bin/kernel.elf"), tree.join("kernel"))?;
    fs::copy(boot.task, tree.join("task"))?;
    fs::write(tree.join("boot/grub/grub.cfg"), "set timeout=0\nmultiboot /kernel\nmodule /task\nboot\n")?;
    let mut command = Command::new("grub-mkrescue");
    process::run(command.args(["-d", GRUB_MODULES, "-o"]).arg(&image).arg(&tree)).context("no disc that starts seL4 can be made")?;
    Ok(image)
}
