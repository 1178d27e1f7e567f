//! Builds the programs that do not run here: the VMM and what runs in the guests.

use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow, bail};

use crate::architecture::Architecture;
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

/// What boots VMs on seL4.
#[derive(Debug, Clone)]
pub(crate) struct Sel4Arm {
    /// The boot loader.
    pub(crate) loader: PathBuf,
    /// The root task.
    pub(crate) task: PathBuf,
}

/// Package and program of the boot loader for seL4.
pub(crate) const SEL4_LOADER: &str = "sel4-loader";
/// Program of the root task with VMs.
pub(crate) const SEL4_ARM: &str = "sel4-arm";

/// Builds what boots VMs on the seL4 in `prefix`.
pub(crate) fn build_sel4_arm(workspace: &Workspace, toolchain: &Toolchain, prefix: &Path) -> Result<Sel4Arm> {
    for (package, program) in [(SEL4_LOADER, SEL4_LOADER), ("sel4-vmm", SEL4_ARM)] {
        let mut cargo = toolchain.cargo(workspace, Verb::Build, Target::BareMetal)?;
        process::run_shown(cargo.env("SEL4_PREFIX", prefix).args(["--release", "--package", package, "--bin", program]))?;
    }
    let folder = toolchain.programs(workspace, Target::BareMetal);
    Ok(Sel4Arm { loader: existing(folder.join(SEL4_LOADER))?, task: existing(folder.join(SEL4_ARM))? })
}

/// Package and program of the VMM on KVM.
pub(crate) const KVM_VMM: &str = "kvm-vmm";

/// Builds the VMM on KVM for a machine of `architecture`: a program that needs nothing but Linux.
pub(crate) fn build_kvm_vmm(workspace: &Workspace, toolchain: &Toolchain, architecture: Architecture) -> Result<PathBuf> {
    let target = Target::Linux(architecture);
    process::run_shown(toolchain.cargo(workspace, Verb::Build, target)?.args(["--release", "--package", KVM_VMM]))?;
    existing(toolchain.programs(workspace, target).join(KVM_VMM))
}

/// Builds the tests `test` of the package `package` for a machine of `architecture`: a program that needs nothing but Linux.
pub(crate) fn build_tests(
    workspace: &Workspace,
    toolchain: &Toolchain,
    architecture: Architecture,
    package: &str,
    test: &str,
) -> Result<PathBuf> {
    let mut cargo = toolchain.cargo(workspace, Verb::Build, Target::Linux(architecture))?;
    // It goes into an initial RAM disk.
    cargo.env("CARGO_PROFILE_DEV_STRIP", "symbols");
    cargo.args(["--package", package, "--test", test, "--message-format", "json-render-diagnostics"]);
    let messages = process::output(&mut cargo)?;
    let program = messages.lines().find_map(|line| executable(line, test));
    existing(program.ok_or_else(|| anyhow!("cargo does not say where it has put the tests `{test}` of {package}"))?)
}

/// The program of the tests `test`, where a message of cargo's tells it.
fn executable(message: &str, test: &str) -> Option<PathBuf> {
    let message: serde_json::Value = serde_json::from_str(message).ok()?;
    let target = message.get("target")?;
    let of_test = target.get("name")? == test && target.get("kind")?.as_array()?.iter().any(|kind| kind == "test");
    message.get("executable")?.as_str().filter(|_| of_test).map(PathBuf::from)
}

/// Builds the guests' programs.
pub(crate) fn build_guest(workspace: &Workspace, toolchain: &Toolchain, architecture: Architecture) -> Result<Programs> {
    let target = Target::Linux(architecture);
    let mut cargo = toolchain.cargo(workspace, Verb::Build, target)?;
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
    let folder = toolchain.programs(workspace, target);
    Ok(Programs {
        crossvm: existing(folder.join("crossvm"))?,
        demo: existing(folder.join("demo-guest"))?,
        init: existing(workspace.root().join("examples/demo-guest/init"))?,
        driver_test: existing(folder.join("driver-test"))?,
        driver_test_init: existing(workspace.root().join("examples/driver-test/init"))?,
    })
}

/// How cargo is told of the programs that run as seL4 threads.
pub(crate) const SEL4_THREADS: [&str; 6] = ["--package", "sel4-guest", "--bin", "sel4-guest", "--bin", "sel4-peer"];
/// How cargo is told of the guest that runs in a vCPU.
pub(crate) const SEL4_VM_GUEST: [&str; 4] = ["--package", "sel4-guest", "--bin", "sel4-vm-guest"];

/// Programs for seL4 threads on x86-64.
#[derive(Debug, Clone)]
pub(crate) struct Sel4Threads {
    /// The guest.
    pub(crate) guest: PathBuf,
    /// The other end of its connections.
    pub(crate) peer: PathBuf,
}

/// Builds the programs that run as seL4 threads.
pub(crate) fn build_sel4_threads(workspace: &Workspace, toolchain: &Toolchain) -> Result<Sel4Threads> {
    let mut cargo = toolchain.cargo(workspace, Verb::Build, Target::X86)?;
    process::run_shown(cargo.arg("--release").args(SEL4_THREADS))?;
    let folder = toolchain.programs(workspace, Target::X86);
    Ok(Sel4Threads { guest: existing(folder.join("sel4-guest"))?, peer: existing(folder.join("sel4-peer"))? })
}

/// Builds the guest that runs in a vCPU.
pub(crate) fn build_sel4_vm_guest(workspace: &Workspace, toolchain: &Toolchain) -> Result<PathBuf> {
    let mut cargo = toolchain.cargo(workspace, Verb::Build, Target::X86Paged)?;
    process::run_shown(cargo.arg("--release").args(SEL4_VM_GUEST))?;
    existing(toolchain.programs(workspace, Target::X86Paged).join("sel4-vm-guest"))
}

fn existing(path: PathBuf) -> Result<PathBuf> {
    if !path.is_file() {
        bail!("{} does not exist although its build succeeded", path.display());
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargo_tells_where_tests_are() {
        let message = |name: &str, kind: &str, executable: &str| {
            format!(r#"{{"reason":"compiler-artifact","target":{{"kind":["{kind}"],"name":"{name}"}},"executable":{executable}}}"#)
        };
        assert_eq!(executable(&message("kvm", "test", r#""/target/kvm-1""#), "kvm"), Some(PathBuf::from("/target/kvm-1")));
        assert_eq!(executable(&message("kvm", "lib", "null"), "kvm"), None);
        assert_eq!(executable(&message("kvm", "bin", r#""/target/kvm""#), "kvm"), None);
        assert_eq!(executable(&message("others", "test", r#""/target/others-1""#), "kvm"), None);
        assert_eq!(executable(r#"{"reason":"build-finished","success":true}"#, "kvm"), None);
    }
}
