//! The targets that rustup offers.

use std::process::Command;
use std::time::Duration;

use super::{Target, Verb};
use crate::process;
use crate::progress::Step;
use crate::workspace::Workspace;

/// Without a network rustup can wait for a long time; with one it needs a few seconds.
const PATIENCE: Duration = Duration::from_secs(90);
/// All of them.
pub(super) const TARGETS: [Target; 6] =
    [Target::BareMetal, Target::Microcontroller, Target::RiscV, Target::X86, Target::X86Paged, Target::Guest];

/// Whether all targets are installed.
pub(super) fn ready() -> bool {
    if process::find_program("rustup").is_none() {
        return false;
    }
    let Ok(installed) = process::output(Command::new("rustup").args(["target", "list", "--installed"])) else { return false };
    TARGETS.iter().all(|target| installed.lines().any(|line| line.trim() == target.triple()))
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
