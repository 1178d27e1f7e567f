//! The targets that rustup offers.

use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use super::{Target, Verb};
use crate::architecture::Architecture;
use crate::process;
use crate::progress::Step;
use crate::workspace::Workspace;

/// Without a network rustup can wait for a long time; with one it needs a few seconds.
const PATIENCE: Duration = Duration::from_secs(90);
/// All of them.
pub(super) const TARGETS: [Target; 7] = [
    Target::BareMetal,
    Target::Microcontroller,
    Target::RiscV,
    Target::X86,
    Target::X86Paged,
    Target::Linux(Architecture::Arm64),
    Target::Linux(Architecture::Amd64),
];

/// Whether all targets are installed. This machine's own C library can stand in for another one that rustup has for it.
pub(super) fn ready() -> bool {
    let Some(installed) = installed() else { return false };
    let own = |target: Target| matches!(target, Target::Linux(architecture) if architecture.is_ours());
    TARGETS.iter().all(|target| own(*target) || includes(&installed, *target))
}

/// Whether `target` is installed. Asked once: what is installed later is there for the next run.
pub(super) fn has(target: Target) -> bool {
    static INSTALLED: OnceLock<Option<String>> = OnceLock::new();
    INSTALLED.get_or_init(installed).as_ref().is_some_and(|installed| includes(installed, target))
}

fn installed() -> Option<String> {
    process::find_program("rustup")?;
    process::output(Command::new("rustup").args(["target", "list", "--installed"])).ok()
}

fn includes(installed: &str, target: Target) -> bool {
    installed.lines().any(|line| line.trim() == target.triple())
}

/// Adds the targets to the toolchain in use; `false` where rustup is missing or cannot.
pub(super) fn install(step: &Step) -> bool {
    if process::find_program("rustup").is_none() {
        return false;
    }
    step.detail("asking rustup for the targets");
    process::succeeds_within(Command::new("rustup").args(["target", "add"]).args(TARGETS.map(Target::triple)), PATIENCE) && ready()
}

/// The user's cargo.
pub(super) fn cargo(workspace: &Workspace, verb: Verb) -> Command {
    let mut command = workspace.cargo();
    command.arg(match verb {
        Verb::Build => "build",
        Verb::Clippy => "clippy",
    });
    command
}
