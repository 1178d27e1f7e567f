//! The Rust toolchain for the programs that do not run here: VMMs (bare metal, or another machine's Linux) and the guests' programs.
//!
//! With rustup its targets are used. Where rustup is missing or cannot download, Debian's compiler serves: unpacked into the
//! cache, with the core library for bare metal built from its sources once.

mod debian;
mod rustup;
mod sysroot;

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, bail};

use crate::apt::Apt;
use crate::architecture::Architecture;
use crate::cache::{Cache, Lock};
use crate::progress::Step;
use crate::workspace::Workspace;

/// Environment variable that decides for one of the two: `rustup` or `debian`.
pub(crate) const CHOICE_VARIABLE: &str = "CROSSVM_TOOLCHAIN";

/// What a program is built for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    /// The VMM at EL2: no operating system, and no floating-point registers, which belong to the guest.
    BareMetal,
    /// A small bare machine of 32 bits: shows that the libraries do not take 64 for granted.
    Microcontroller,
    /// A bare RISC-V machine: nor Arm.
    RiscV,
    /// A bare x86 machine.
    X86,
    /// A bare x86 machine of 32 bits without SSE: a guest in a vCPU of seL4. The target is Linux's, of which nothing is used.
    X86Paged,
    /// Static programs for Linux: guests', and a VMM that may run in another machine than this.
    Linux(Architecture),
}

impl Target {
    /// Those without an operating system: the libraries must build for each.
    pub(crate) const BARE: [Self; 5] = [Self::BareMetal, Self::Microcontroller, Self::RiscV, Self::X86, Self::X86Paged];

    /// Compiler flags of its own: the programs for Linux's target are linked without Linux's C library.
    const fn flags(self) -> &'static str {
        match self {
            Self::X86Paged => "-C linker-flavor=ld.lld -C relocation-model=static -C target-feature=+crt-static",
            Self::Linux(_) => "-C target-feature=+crt-static",
            _ => "",
        }
    }

    /// The compiler's name of a target without an operating system, and of the guests' with rustup's C library.
    const fn triple(self) -> &'static str {
        match self {
            Self::BareMetal => "aarch64-unknown-none-softfloat",
            Self::Microcontroller => "thumbv7em-none-eabihf",
            Self::RiscV => "riscv64gc-unknown-none-elf",
            Self::X86 => "x86_64-unknown-none",
            Self::X86Paged => "i586-unknown-linux-gnu",
            Self::Linux(Architecture::Arm64) => "aarch64-unknown-linux-musl",
            Self::Linux(Architecture::Amd64) => "x86_64-unknown-linux-musl",
        }
    }
}

/// What cargo shall do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    /// Build programs or libraries.
    Build,
    /// Lint.
    Clippy,
}

/// A toolchain that is ready for use.
#[derive(Debug, Clone)]
pub(crate) enum Toolchain {
    /// The user's own, with targets from rustup.
    Rustup,
    /// Debian's compiler in the cache, driven by the user's cargo.
    Debian(debian::Debian),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Choice {
    Any,
    Rustup,
    Debian,
}

impl Toolchain {
    /// The toolchain, if one is ready.
    pub(crate) fn find(cache: &Cache) -> Result<Option<Self>> {
        let choice = choice()?;
        if choice != Choice::Debian && rustup::ready() {
            return Ok(Some(Self::Rustup));
        }
        if choice == Choice::Rustup {
            return Ok(None);
        }
        Ok(debian::Debian::find(cache).map(Self::Debian))
    }

    /// Tries to get the targets from rustup.
    pub(crate) fn install_with_rustup(step: &Step) -> Result<bool> {
        let choice = choice()?;
        if choice == Choice::Debian {
            return Ok(false);
        }
        if rustup::install(step) {
            return Ok(true);
        }
        if choice == Choice::Rustup {
            bail!(
                "rustup cannot add the targets; run `rustup target add {}` to see why, or unset {CHOICE_VARIABLE}",
                rustup::TARGETS.map(Target::triple).join(" ")
            );
        }
        Ok(false)
    }

    /// Gets Debian's compiler into the cache.
    pub(crate) fn install_from_debian(cache: &Cache, lock: &Lock, apt: &Apt, workspace: &Workspace, step: &Step) -> Result<()> {
        debian::install(cache, lock, apt, workspace, step)
    }

    /// A cargo command for `target`.
    pub(crate) fn cargo(&self, workspace: &Workspace, verb: Verb, target: Target) -> Result<Command> {
        let mut command = match self {
            Self::Rustup => rustup::cargo(workspace, verb),
            Self::Debian(debian) => debian.cargo(workspace, verb)?,
        };
        command.args(["--target", self.triple(target), "--target-dir"]).arg(workspace.cross_target());
        // Flags for the host's programs would replace ours.
        command.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
        for (name, value) in self.settings(target)? {
            command.env(self.setting_name(target, name), value);
        }
        Ok(command)
    }

    /// The folder where [`Toolchain::cargo`] leaves release programs.
    pub(crate) fn programs(&self, workspace: &Workspace, target: Target) -> PathBuf {
        workspace.cross_target().join(self.triple(target)).join("release")
    }

    /// The compiler's name of `target`.
    pub(crate) fn triple(&self, target: Target) -> &'static str {
        match (target, self) {
            (Target::Linux(architecture), Self::Debian(_)) => glibc(architecture),
            // Whose rustup has no other C library for this machine's programs has this machine's.
            (Target::Linux(architecture), Self::Rustup) if !rustup::has(target) => glibc(architecture),
            (target, _) => target.triple(),
        }
    }

    fn settings(&self, target: Target) -> Result<Vec<(&'static str, OsString)>> {
        match self {
            // rustup's musl target brings its own C library and start files: the compiler's linker is enough.
            Self::Rustup if matches!(target, Target::Linux(_)) && rustup::has(target) => Ok(vec![("LINKER", OsString::from("rust-lld"))]),
            Self::Rustup if matches!(target, Target::Linux(_)) => Ok(vec![("RUSTFLAGS", OsString::from(target.flags()))]),
            // A system's target would take the system's linker.
            Self::Rustup if target == Target::X86Paged => {
                Ok(vec![("LINKER", OsString::from("rust-lld")), ("RUSTFLAGS", OsString::from(target.flags()))])
            }
            Self::Rustup => Ok(Vec::new()),
            Self::Debian(debian) => debian.settings(target),
        }
    }

    fn setting_name(&self, target: Target, name: &str) -> String {
        format!("CARGO_TARGET_{}_{name}", self.triple(target).to_ascii_uppercase().replace('-', "_"))
    }
}

impl fmt::Display for Toolchain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rustup => write!(f, "rustup's targets"),
            Self::Debian(debian) => write!(f, "{} in the cache", debian.origin()),
        }
    }
}

/// The compiler's name of Linux with Debian's C library.
const fn glibc(architecture: Architecture) -> &'static str {
    match architecture {
        Architecture::Arm64 => "aarch64-unknown-linux-gnu",
        Architecture::Amd64 => "x86_64-unknown-linux-gnu",
    }
}

fn choice() -> Result<Choice> {
    match std::env::var(CHOICE_VARIABLE).unwrap_or_default().as_str() {
        "" => Ok(Choice::Any),
        "rustup" => Ok(Choice::Rustup),
        "debian" => Ok(Choice::Debian),
        other => bail!("{CHOICE_VARIABLE} is `{other}`; it must be `rustup`, `debian` or unset"),
    }
}
