//! Builds the programs that do not run here: the VMM and what runs in the guests.

use std::path::PathBuf;

use anyhow::{Result, bail};

use crate::guest::initramfs::Programs;
use crate::process;
use crate::toolchain::{Target, Toolchain, Verb};
use crate::workspace::Workspace;

/// Package and program of the bare-metal hypervisor.
pub(crate) const VMM: &str = "el2-vmm";

/// Builds the hypervisor and returns the path of its ELF file.
pub(crate) fn build_vmm(workspace: &Workspace, toolchain: &Toolchain) -> Result<PathBuf> {
    process::run_shown(toolchain.cargo(workspace, Verb::Build, Target::BareMetal)?.args(["--release", "--package", VMM]))?;
    existing(toolchain.programs(workspace, Target::BareMetal).join(VMM))
}

/// Builds the guests' programs.
pub(crate) fn build_guest(workspace: &Workspace, toolchain: &Toolchain) -> Result<Programs> {
    let mut cargo = toolchain.cargo(workspace, Verb::Build, Target::Guest)?;
    process::run_shown(cargo.args([
        "--release",
        "--package",
        "crossvm-guest",
        "--package",
        "demo-guest",
        "--package",
        "driver-test",
        "--bins",
    ]))?;
    let folder = toolchain.programs(workspace, Target::Guest);
    Ok(Programs {
        crossvm: existing(folder.join("crossvm"))?,
        demo: existing(folder.join("demo-guest"))?,
        init: existing(workspace.root().join("examples/demo-guest/init"))?,
        driver_test: existing(folder.join("driver-test"))?,
        driver_test_init: existing(workspace.root().join("examples/driver-test/init"))?,
    })
}

fn existing(path: PathBuf) -> Result<PathBuf> {
    if !path.is_file() {
        bail!("{} does not exist although its build succeeded", path.display());
    }
    Ok(path)
}
