//! What `build.rs` says of an installed seL4 that cannot be used.

#[path = "../build/prefix.rs"]
mod prefix;

use std::fs;
use std::path::Path;

use tempfile::TempDir;

/// A folder as an installation of a current kernel leaves it.
fn installed(options: &[&str]) -> TempDir {
    let folder = TempDir::new().unwrap();
    let config: String = options.iter().map(|option| format!("#define CONFIG_{option}  1\n")).collect();
    write(&folder.path().join("libsel4/include/kernel/gen_config.h"), &config);
    folder
}

/// A folder as the build of seL4 5.0.0 leaves it.
fn installed_five(version: &str) -> TempDir {
    let folder = TempDir::new().unwrap();
    write(&folder.path().join("libsel4/include/autoconf.h"), "#define CONFIG_ARCH_X86_64 1\n#define CONFIG_DEBUG_BUILD\n");
    write(&folder.path().join("VERSION"), version);
    folder
}

fn write(file: &Path, text: &str) {
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(file, text).unwrap();
}

#[track_caller]
fn refused(folder: Option<&Path>, target: &str, words: &str) {
    let message = prefix::check(folder.map(Path::as_os_str), target).unwrap_err();
    assert!(message.contains(words), "{message}");
}

#[test]
fn current_kernels_are_taken() {
    let arm = installed(&["ARCH_AARCH64", "ARM_HYPERVISOR_SUPPORT"]);
    let found = prefix::check(Some(arm.path().as_os_str()), "aarch64").unwrap();
    assert_eq!(found, prefix::Prefix { include: arm.path().join("libsel4/include"), five: false, vtx: false });
    let x86 = installed(&["ARCH_X86_64", "VTX"]);
    assert!(prefix::check(Some(x86.path().as_os_str()), "x86_64").unwrap().vtx);
}

#[test]
fn the_release_5_0_0_is_taken() {
    let five = installed_five("5.0.0\n");
    assert!(prefix::check(Some(five.path().as_os_str()), "x86_64").unwrap().five);
}

#[test]
fn a_prefix_that_is_not_set_is_named() {
    refused(None, "x86_64", "SEL4_PREFIX is not set");
    refused(Some(Path::new("")), "x86_64", "SEL4_PREFIX is not set");
}

#[test]
fn what_is_no_folder_is_refused() {
    let folder = TempDir::new().unwrap();
    refused(Some(&folder.path().join("none")), "x86_64", "not a folder");
}

#[test]
fn a_folder_without_headers_is_refused() {
    let folder = TempDir::new().unwrap();
    refused(Some(folder.path()), "x86_64", "no folder libsel4/include");
}

#[test]
fn headers_of_an_unknown_release_are_refused() {
    refused(Some(installed_five("9.0.1").path()), "x86_64", "no seL4 that crossvm knows");
    let folder = TempDir::new().unwrap();
    fs::create_dir_all(folder.path().join("libsel4/include")).unwrap();
    refused(Some(folder.path()), "x86_64", "no seL4 that crossvm knows");
}

#[test]
fn a_kernel_with_mixed_criticality_scheduling_is_refused() {
    refused(Some(installed(&["ARCH_X86_64", "KERNEL_MCS"]).path()), "x86_64", "mixed-criticality");
}

#[test]
fn a_kernel_of_another_architecture_is_refused() {
    refused(Some(installed(&["ARCH_X86_64"]).path()), "aarch64", "not one for aarch64");
    refused(Some(installed(&["ARCH_AARCH64", "ARM_HYPERVISOR_SUPPORT"]).path()), "x86_64", "not one for x86_64");
    refused(Some(installed(&["ARCH_RISCV64"]).path()), "riscv64", "no backend for seL4 on riscv64");
}

#[test]
fn a_kernel_for_arm_without_vcpus_is_refused() {
    refused(Some(installed(&["ARCH_AARCH64"]).path()), "aarch64", "KernelArmHypervisorSupport");
}

#[test]
fn an_option_that_is_off_is_not_taken_as_set() {
    let folder = TempDir::new().unwrap();
    let config = "#define CONFIG_ARCH_X86_64  1\n/* disabled: CONFIG_KERNEL_MCS */\n#define CONFIG_VTX  0\n";
    write(&folder.path().join("libsel4/include/kernel/gen_config.h"), config);
    assert!(!prefix::check(Some(folder.path().as_os_str()), "x86_64").unwrap().vtx);
}

#[test]
fn a_missing_compiler_is_named_with_its_package() {
    let host = "x86_64-unknown-linux-gnu";
    assert_eq!(prefix::compiler("aarch64", host, |program| program == "aarch64-linux-gnu-gcc").unwrap(), "aarch64-linux-gnu-gcc");
    assert_eq!(prefix::compiler("x86_64", host, |program| program == "gcc").unwrap(), "gcc");
    let message = prefix::compiler("aarch64", host, |_| false).unwrap_err();
    assert!(message.contains("aarch64-linux-gnu-gcc") && message.contains("apt install gcc-aarch64-linux-gnu"), "{message}");
    let message = prefix::compiler("x86_64", "aarch64-unknown-linux-gnu", |_| false).unwrap_err();
    assert!(message.contains("gcc-x86-64-linux-gnu"), "{message}");
}
