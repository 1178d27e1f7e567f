//! Where kvm-vmm runs.

use std::fmt;
use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use clap::ValueEnum;

use crate::architecture::Architecture;

/// How long the probe may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where a user wants kvm-vmm to run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Wish {
    /// Here where it can, else in an emulated machine
    #[default]
    Auto,
    /// Here
    Host,
    /// In an emulated machine
    Nested,
}

/// Where kvm-vmm runs, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// On this machine's /dev/kvm.
    Here {
        /// Why.
        because: String,
    },
    /// On the /dev/kvm of an emulated machine.
    Nested {
        /// What is emulated.
        architecture: Architecture,
        /// Why.
        because: String,
    },
}

impl Place {
    /// Whether guests run on the SVM of an emulated processor.
    pub(crate) fn is_emulated_pc(&self) -> bool {
        matches!(self, Self::Nested { architecture: Architecture::Amd64, .. })
    }

    /// As the user wishes; without a wish, what a probe by the program `vmm` finds.
    pub(super) fn choose(wish: Wish, architecture: Architecture, vmm: &Path) -> Self {
        let nested = |because: String| Self::Nested { architecture, because };
        match wish {
            Wish::Host => Self::Here { because: "--l1 host asks for it".to_owned() },
            Wish::Nested => nested("--l1 nested asks for it".to_owned()),
            Wish::Auto if !architecture.is_ours() => {
                nested(format!("this machine's processor does not run guests for {}", architecture.debian()))
            }
            Wish::Auto => match probe(Command::new(vmm).arg("probe"), PATIENCE) {
                Ok(()) => Self::Here { because: "its /dev/kvm runs kernels".to_owned() },
                Err(why) => nested(why),
            },
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Here { because } => write!(f, "running on this machine, because {because}"),
            Self::Nested { architecture, because } => {
                let extension = match architecture {
                    Architecture::Amd64 => "SVM",
                    Architecture::Arm64 => "EL2",
                };
                write!(f, "running inside an emulated machine with {extension}, because {because}")
            }
        }
    }
}

/// Whether the probe succeeds; where not, why not, in its own words.
fn probe(command: &mut Command, limit: Duration) -> Result<(), String> {
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = child.map_err(|error| format!("the probe of /dev/kvm cannot be started: {error}"))?;
    let deadline = Instant::now() + limit;
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(20)),
            _ => {
                // Nothing depends on how a program ends that we have given up.
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("the probe of /dev/kvm came to no end within {} s", limit.as_secs()));
            }
        }
    };
    if status.success() {
        return Ok(());
    }
    let mut text = String::new();
    // What it says is less than a pipe holds.
    let _ = child.stdout.take().map(|mut output| output.read_to_string(&mut text));
    let _ = child.stderr.take().map(|mut output| output.read_to_string(&mut text));
    match text.lines().map(str::trim).rfind(|line| !line.is_empty()) {
        Some(why) => Err(why.to_owned()),
        None => Err(format!("the probe of /dev/kvm ended with {status}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(text: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", text]);
        command
    }

    #[test]
    fn a_probe_decides_and_gives_its_reason() {
        let limit = Duration::from_secs(30);
        assert_eq!(probe(&mut script("echo fine"), limit), Ok(()));
        assert_eq!(probe(&mut script("echo no VMX; exit 1"), limit), Err("no VMX".to_owned()));
        assert_eq!(probe(&mut script("echo crashed >&2; exit 101"), limit), Err("crashed".to_owned()));
        assert!(probe(&mut script("exit 3"), limit).unwrap_err().contains("exit status: 3"));
        assert!(probe(&mut script("sleep 20"), Duration::from_millis(50)).unwrap_err().contains("no end"));
        assert!(probe(&mut Command::new("/nowhere/kvm-vmm"), limit).unwrap_err().contains("cannot be started"));
    }

    #[test]
    fn the_place_says_what_it_is_and_why() {
        let place = Place::choose(Wish::Nested, Architecture::Amd64, Path::new("/nowhere"));
        assert_eq!(place.to_string(), "running inside an emulated machine with SVM, because --l1 nested asks for it");
        let place = Place::choose(Wish::Host, Architecture::Amd64, Path::new("/nowhere"));
        assert_eq!(place.to_string(), "running on this machine, because --l1 host asks for it");
    }
}
