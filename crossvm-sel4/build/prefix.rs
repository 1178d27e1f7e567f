//! Looks at an installed seL4 before anything is compiled against it, so that what is wrong is said in a sentence.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

/// An installed seL4 that the shim can be compiled against.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Prefix {
    /// The folder of its headers.
    pub(crate) include: PathBuf,
    /// Whether it is seL4 5.0.0.
    pub(crate) five: bool,
    /// Whether it has vCPUs of VT-x.
    pub(crate) vtx: bool,
}

/// Looks at what the variable SEL4_PREFIX names, for a target of the architecture `target` (`CARGO_CFG_TARGET_ARCH`).
///
/// # Errors
/// What is wrong, and what to do.
pub(crate) fn check(prefix: Option<&OsStr>, target: &str) -> Result<Prefix, String> {
    let wanted = match target {
        "aarch64" => "CONFIG_ARCH_AARCH64",
        "x86_64" => "CONFIG_ARCH_X86_64",
        other => {
            return Err(format!(
                "crossvm has no backend for seL4 on {other}: build for aarch64 or x86_64, or without the feature `libsel4`"
            ));
        }
    };
    let prefix = prefix.filter(|prefix| !prefix.is_empty()).ok_or(
        "SEL4_PREFIX is not set: the feature `libsel4` needs the folder of an installed seL4 (the one that `ninja install` of its kernel \
         filled, with bin/kernel.elf and libsel4/include)",
    )?;
    let prefix = Path::new(prefix);
    let shown = prefix.display();
    if !prefix.is_dir() {
        return Err(format!("SEL4_PREFIX is {shown}, which is not a folder"));
    }
    let include = prefix.join("libsel4/include");
    if !include.is_dir() {
        return Err(format!(
            "SEL4_PREFIX is {shown}, but there is no folder libsel4/include in it: name the folder that seL4 was installed to"
        ));
    }
    let (five, config) = configuration(prefix, &include)?;
    let has = |option: &str| is_set(&config, option);
    if has("CONFIG_KERNEL_MCS") {
        return Err(format!(
            "the seL4 in {shown} was built with mixed-criticality scheduling, whose system calls crossvm does not know: build it with \
             KernelIsMCS off"
        ));
    }
    if !has(wanted) {
        return Err(format!("the seL4 in {shown} is not one for {target}: name one that is, or build for its architecture"));
    }
    if target == "aarch64" && !has("CONFIG_ARM_HYPERVISOR_SUPPORT") {
        return Err(format!(
            "the seL4 in {shown} was built without vCPUs: build it with KernelArmHypervisorSupport on, and boot it in EL2"
        ));
    }
    Ok(Prefix { include, five, vtx: has("CONFIG_VTX") })
}

/// Whether it is seL4 5.0.0, and the text of its configuration.
fn configuration(prefix: &Path, include: &Path) -> Result<(bool, String), String> {
    let current = include.join("kernel/gen_config.h");
    let five = !current.is_file();
    if five && !fs::read_to_string(prefix.join("VERSION")).is_ok_and(|version| version.trim() == "5.0.0") {
        return Err(format!(
            "the headers in {} are of no seL4 that crossvm knows: it knows releases with kernel/gen_config.h (13.0.0 and later) and 5.0.0, \
             which has a file VERSION beside libsel4",
            include.display()
        ));
    }
    let file = if five { include.join("autoconf.h") } else { current };
    let text = fs::read_to_string(&file).map_err(|error| format!("{} cannot be read: {error}", file.display()))?;
    Ok((five, text))
}

/// Whether a header has the line `#define OPTION`, with or without a 1.
fn is_set(config: &str, option: &str) -> bool {
    config.lines().any(|line| {
        let mut words = line.split_whitespace();
        words.next() == Some("#define") && words.next() == Some(option) && words.next().is_none_or(|value| value == "1")
    })
}

/// The C compiler for a target on this host, if it is among the programs that `found` finds.
///
/// # Errors
/// Which one is missing, and how it is installed.
pub(crate) fn compiler(target: &str, host: &str, found: impl Fn(&str) -> bool) -> Result<&'static str, String> {
    let native = host.starts_with(target);
    let (program, package) = match (target, native) {
        ("aarch64", false) => ("aarch64-linux-gnu-gcc", "gcc-aarch64-linux-gnu"),
        ("x86_64", false) => ("x86_64-linux-gnu-gcc", "gcc-x86-64-linux-gnu"),
        _ => ("gcc", "gcc"),
    };
    if found(program) {
        return Ok(program);
    }
    Err(format!(
        "the C compiler {program}, which the feature `libsel4` takes for {target}, is not installed: `apt install {package}`, or name another \
         one in CC_{target}_unknown_none"
    ))
}
