//! What this machine must have, and how it gets it.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail};
use serde::Serialize;

use crate::architecture::Architecture;
use crate::output;
use crate::process;
use crate::progress::step;

/// A program of the host's distribution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tool {
    /// The program that must be in `PATH`.
    pub(crate) program: &'static str,
    /// What it is for.
    pub(crate) purpose: &'static str,
    /// The packages of Debian and Ubuntu that bring it.
    pub(crate) packages: &'static [&'static str],
}

/// The machine emulator.
pub(crate) const QEMU: &str = "qemu-system-aarch64";

/// What guests of every architecture take.
const TOOLS: [Tool; 3] = [
    Tool { program: "dpkg-deb", purpose: "unpacks the guests' kernel and busybox", packages: &["dpkg"] },
    Tool { program: "apt-get", purpose: "downloads the guests' kernel and busybox", packages: &["apt"] },
    MAKE,
];
/// The machine emulator for arm64.
pub(crate) const MACHINE: Tool =
    Tool { program: QEMU, purpose: "the machine that the demonstration runs in", packages: &["qemu-system-arm"] };
/// The machine emulator for x86-64.
pub(crate) const QEMU_X86: Tool = Tool {
    program: "qemu-system-x86_64",
    purpose: "the machine that seL4's root tasks run in, and kvm-vmm where this one cannot run guests",
    packages: &["qemu-system-x86"],
};

/// Starts programs with a scheduling policy.
pub(crate) const CHRT: Tool =
    Tool { program: "chrt", purpose: "starts the emulated machine that kvm-vmm runs in", packages: &["util-linux"] };

/// Builds kernel modules.
pub(crate) const MAKE: Tool = Tool { program: "make", purpose: "builds the Linux driver", packages: &["make"] };

/// Compiles kernel modules; beside Debian's Rust it also links, with a C library.
pub(crate) const GUEST_COMPILER: Tool = Tool {
    program: "aarch64-linux-gnu-gcc",
    purpose: "compiles the Linux driver, links the guests' programs",
    packages: &["gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross"],
};

/// Disassembles the tables that crossvm-x86 makes.
pub(crate) const IASL: Tool = Tool { program: "iasl", purpose: "checks ACPI tables, in the tests", packages: &["acpica-tools"] };

/// Runs what generates parts of seL4, in an environment of its own.
pub(crate) const PYTHON: Tool =
    Tool { program: "python3", purpose: "runs the generators of seL4's build", packages: &["python3", "python3-venv"] };

/// Compiles kernel modules for x86-64; beside Debian's Rust it also links.
pub(crate) const COMPILER: Tool =
    Tool { program: "gcc", purpose: "compiles the Linux driver for x86-64, links programs", packages: &["gcc", "libc6-dev"] };

/// The tools that guests of `architecture` take, which may not be there yet.
pub(crate) fn tools(architecture: Architecture) -> Vec<Tool> {
    let own: &[Tool] = match architecture {
        Architecture::Arm64 => &[MACHINE, GUEST_COMPILER],
        Architecture::Amd64 => &[COMPILER],
    };
    [own, &TOOLS].concat()
}

/// Whether a tool is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Presence {
    /// It is.
    Present,
    /// It is not.
    Missing,
}

impl Tool {
    /// Looks for the tool.
    pub(crate) fn presence(&self) -> Presence {
        // As a linker it is of no use without the C library that it links.
        let library = self.program != GUEST_COMPILER.program
            || Path::new("/usr/aarch64-linux-gnu/lib/libc.a").exists()
            || cfg!(target_arch = "aarch64");
        // Debian has the module that fills new environments in a package of its own.
        let module = self.program != PYTHON.program
            || process::succeeds_within(Command::new(self.program).args(["-c", "import ensurepip, venv"]), Duration::from_secs(20));
        if library && module && process::find_program(self.program).is_some() { Presence::Present } else { Presence::Missing }
    }
}

/// How packages of the distribution get installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Installer {
    /// `apt-get`, as root.
    Apt,
    /// `sudo apt-get`.
    SudoApt,
    /// Not by us: no apt, or neither root nor sudo.
    Nobody,
}

impl Installer {
    /// What is possible on this machine for this user.
    pub(crate) fn find() -> Self {
        if process::find_program("apt-get").is_none() {
            Self::Nobody
        } else if rustix::process::geteuid().is_root() {
            Self::Apt
        } else if process::find_program("sudo").is_some() {
            Self::SudoApt
        } else {
            Self::Nobody
        }
    }

    /// Installs `packages` after saying so.
    pub(crate) fn install(self, packages: &[&str]) -> Result<()> {
        let list = packages.join(" ");
        if self == Self::Nobody {
            bail!("missing packages: {list}. {}", advice(packages));
        }
        output::note(format!("  .. installing with apt-get: {list}"));
        // An index may be old or absent; one source that fails must not stop the others.
        if let Err(error) = step("apt-get update", |_| process::run(self.command().arg("update"))) {
            output::note(format!("     {error:#}\n     going on with the package lists that there are"));
        }
        process::run_shown(self.command().args(["install", "-y", "--no-install-recommends"]).args(packages))
    }

    fn command(self) -> Command {
        let mut command = Command::new(if self == Self::SudoApt { "sudo" } else { "apt-get" });
        if self == Self::SudoApt {
            command.args(["env", "DEBIAN_FRONTEND=noninteractive", "apt-get"]);
        }
        command.env("DEBIAN_FRONTEND", "noninteractive").arg("-q");
        command
    }
}

/// Installs those of `tools` that are missing.
pub(crate) fn install_missing(tools: &[Tool]) -> Result<()> {
    let missing: Vec<_> = tools.iter().filter(|tool| tool.presence() == Presence::Missing).collect();
    if missing.is_empty() {
        return Ok(());
    }
    for tool in &missing {
        output::note(format!("  .. {} is missing: {}", tool.program, tool.purpose));
    }
    let packages: Vec<&str> = missing.iter().flat_map(|tool| tool.packages.iter().copied()).collect();
    Installer::find().install(&packages)?;
    for tool in missing {
        if tool.presence() == Presence::Missing {
            bail!("{} is still missing after installing {}", tool.program, tool.packages.join(" "));
        }
    }
    Ok(())
}

/// What a person should do to get `packages`.
pub(crate) fn advice(packages: &[&str]) -> String {
    let family = fs::read_to_string("/etc/os-release").unwrap_or_default();
    if family.contains("debian") || family.contains("ubuntu") {
        format!("Run as root: apt-get install {}", packages.join(" "))
    } else {
        "Install QEMU for arm64 (qemu-system-aarch64) and Rust with rustup from your distribution; the guests' kernels come as Debian packages, \
         so `apt-get` and `dpkg-deb` must be there too: a Debian or Ubuntu container has everything"
            .to_owned()
    }
}
