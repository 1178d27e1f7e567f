//! QEMU's `virt` machine with a hypervisor and what it boots.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Result, bail};

use super::Gic;
use super::child::{self, Ended, Output, Patience, Verdict};
use super::console::{Line, Source};
use super::layout::{Layout, Off};
use crate::{host, process};

/// A model of CPU that the emulator knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cpu(pub(crate) String);

/// How the last line begins that a hypervisor writes.
const END: &str = "record=end";
/// How long a machine that cannot switch itself off is left running after it.
const REST: Duration = Duration::from_millis(100);

/// Where the machine's serial input comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Input {
    /// There is none.
    Nothing,
    /// The user's terminal.
    Terminal,
}

/// A machine to be started.
#[derive(Debug, Clone)]
pub(crate) struct Machine {
    pub(crate) hypervisor: PathBuf,
    pub(crate) layout: Layout,
    pub(crate) cpu: Cpu,
    pub(crate) gic: Gic,
    /// Further arguments for the emulator.
    pub(crate) extra: Vec<OsString>,
    pub(crate) input: Input,
    pub(crate) output: Output,
    /// Every byte of the console goes here.
    pub(crate) log: PathBuf,
}

impl Machine {
    /// The command that starts the machine.
    pub(crate) fn command(&self) -> Command {
        let layout = &self.layout;
        let mut command = Command::new(host::QEMU);
        command.args(["-M", &format!("virt,virtualization=on,gic-version={}", self.gic), "-cpu", &self.cpu.0]);
        command.args(["-smp", &layout.cpus.to_string(), "-m", &layout.memory_mib.to_string()]);
        command.args(["-display", "none", "-nodefaults", "-no-reboot"]);
        match self.input {
            Input::Nothing => command.args(["-monitor", "none", "-serial", "stdio"]),
            // Ctrl-A belongs to the hypervisor, so the emulator's own key is Ctrl-]: Ctrl-] x ends the machine.
            Input::Terminal => command.args(["-serial", "mon:stdio", "-echr", "29"]),
        };
        command.arg("-kernel").arg(&self.hypervisor);
        command.args(["-append", &layout.parameters]);
        for blob in &layout.blobs {
            let mut device = OsString::from("loader,file=");
            device.push(escape(&blob.path));
            device.push(format!(",addr={:#x},force-raw=on", blob.image.address));
            command.arg("-device").arg(device);
        }
        command.args(&self.extra);
        command
    }

    /// Runs the machine to its end. Each line goes to `each`, which says whether to go on.
    pub(crate) fn run(&self, patience: Patience, mut each: impl FnMut(Line) -> Verdict) -> Result<Ended> {
        if process::find_program(host::QEMU).is_none() {
            bail!("{} is missing; `cargo xtask setup` installs it", host::QEMU);
        }
        let input = if self.input == Input::Terminal { Stdio::inherit() } else { Stdio::null() };
        let mut done = false;
        let ended = child::run(self.command(), input, self.output, &self.log, patience, |line| {
            let is_last = self.layout.off == Off::ByUs && line.source == Source::Vmm && line.text.starts_with(END);
            done |= is_last;
            let verdict = each(line);
            if is_last { Verdict::StopIn(REST) } else { verdict }
        })?;
        Ok(if done && ended == Ended::Stopped { Ended::PoweredOff } else { ended })
    }
}

/// In the emulator's options a comma ends a value; a doubled one is a comma.
pub(super) fn escape(path: &Path) -> OsString {
    OsString::from(path.to_string_lossy().replace(',', ",,"))
}
