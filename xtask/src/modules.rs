//! Our Linux driver as a module for Debian's kernels: `cargo xtask module`.
//!
//! ```text
//!  Series ─▶ Kernel (cache) ──▶ Headers (cache) ──▶ make, in a copy of guest/linux ──▶ crossvm.ko, without debug information
//!  6.1, 6.12                     linux-headers-*, linux-kbuild-*: unpacked, never installed
//! ```
//!
//! Nothing of this is needed where the stock driver serves, so nothing is fetched before somebody asks. Put the module into an initial
//! RAM disk like this:
//!
//! ```text
//! let kernel = setup::kernel(Series::V6_1, Architecture::Arm64)?;
//! let module = modules::build(workspace, &kernel, Warnings::Errors)?;
//! guest::write_initramfs(&kernel.with_module(module), …)?;          // /lib/modules/crossvm.ko
//! ```

mod build;
mod headers;
pub(crate) mod trial;

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use clap::{Args, ValueEnum};
use crossvm_manifest::Profile;

use crate::architecture::Architecture;
use crate::guest::{self, Kernel, Series};
use crate::launch::Gic;
use crate::progress::step;
use crate::setup::{self, Existing};
use crate::workspace::Workspace;
use crate::{output, programs};

pub(crate) use build::Warnings;
use headers::Headers;
use trial::Trial;

/// Which registers a device has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum DeviceProfile {
    /// All of them, and MSI-X.
    #[default]
    Extended,
    /// Those that seL4's device has.
    Reference,
}

impl From<DeviceProfile> for Profile {
    fn from(profile: DeviceProfile) -> Self {
        match profile {
            DeviceProfile::Extended => Self::Extended,
            DeviceProfile::Reference => Self::Reference,
        }
    }
}

/// Build the Linux driver of guest/linux for a Debian kernel.
///
/// It prints the path of crossvm.ko and, for arm64, that of the kernel's Image. What is needed of Debian's kernel headers is
/// downloaded and unpacked into the cache, never installed.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Series of the kernel
    #[arg(long, value_enum, value_name = "SERIES", default_value = "6.1")]
    kernel: Series,

    /// Processor of the guest
    #[arg(long, value_enum, value_name = "ARCHITECTURE", default_value = "arm64")]
    arch: Architecture,

    /// Also copy the module to this file
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,

    /// Also write an initial RAM disk with the module and the guests' programs to this file (arm64)
    #[arg(long, value_name = "FILE")]
    initramfs: Option<PathBuf>,

    /// Also test it: boot a guest of that series under the EL2 hypervisor (arm64)
    #[arg(long)]
    test: bool,

    /// With --test: version of the interrupt controller
    #[arg(long, value_enum, value_name = "VERSION", default_value_t, requires = "test")]
    gic: Gic,

    /// With --test: what the device offers
    #[arg(long, value_enum, value_name = "PROFILE", default_value_t, requires = "test")]
    profile: DeviceProfile,

    /// With --test: how many vCPUs the guest has
    #[arg(long, value_name = "NUMBER", default_value_t = 1, requires = "test")]
    vcpus: u8,

    /// All warnings of the compiler, and those of sparse where it is installed, are errors
    #[arg(long)]
    strict: bool,
}

/// Builds the module as the flags say.
pub(crate) fn module(workspace: &Workspace, arguments: &Arguments) -> Result<()> {
    let warnings = if arguments.strict || arguments.test { Warnings::Errors } else { Warnings::Shown };
    let built = match arguments.arch {
        Architecture::Arm64 => {
            let kernel = setup::kernel(arguments.kernel, Architecture::Arm64)?;
            let built = build(workspace, &kernel, warnings)?;
            output::line(format!("{}\n{}", built.display(), kernel.image.display()));
            if arguments.test {
                let ready = setup::setup(workspace, Existing::Keep, Architecture::Arm64)?;
                trial::test(
                    workspace,
                    &ready,
                    Trial { series: arguments.kernel, gic: arguments.gic, profile: arguments.profile.into(), vcpus: arguments.vcpus },
                )?;
            }
            if let Some(place) = &arguments.initramfs {
                let ready = setup::setup(workspace, Existing::Keep, Architecture::Arm64)?;
                let programs = programs::build_guest(workspace, &ready.toolchain, Architecture::Arm64)?;
                guest::write_initramfs(&kernel.with_module(built.clone()), &ready.userland, &programs, place)?;
            }
            built
        }
        Architecture::Amd64 => {
            if arguments.initramfs.is_some() || arguments.test {
                bail!("--initramfs and --test are for arm64: our guests' programs are");
            }
            let built = build_for_amd64(workspace, arguments.kernel, warnings)?;
            output::line(built.display());
            built
        }
    };
    if let Some(place) = &arguments.out {
        fs::copy(&built, place).with_context(|| format!("cannot write {}", place.display()))?;
    }
    Ok(())
}

/// Builds the module for the guests' `kernel` and returns the path of `crossvm.ko`. Fetches that kernel's headers where they are missing.
pub(crate) fn build(workspace: &Workspace, kernel: &Kernel, warnings: Warnings) -> Result<PathBuf> {
    compile(workspace, &Headers::of_release(&kernel.release, kernel.architecture)?, warnings)
}

/// Builds the module for Debian's newest amd64 kernel of `series` and returns the path of `crossvm.ko`.
pub(crate) fn build_for_amd64(workspace: &Workspace, series: Series, warnings: Warnings) -> Result<PathBuf> {
    compile(workspace, &Headers::newest(series, Architecture::Amd64)?, warnings)
}

fn compile(workspace: &Workspace, headers: &Headers, warnings: Warnings) -> Result<PathBuf> {
    build::install_tools(headers.architecture)?;
    step(&format!("crossvm.ko for Linux {}", headers.release), |_| build::build(workspace, headers, warnings))
}
