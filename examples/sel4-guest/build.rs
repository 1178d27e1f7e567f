//! Says which programs are built for what they run on, and how they are linked.

use std::env;
use std::path::Path;

/// The target of the guest in a vCPU: 32 bits, no SSE. Its programs bring their own start and call no system.
const MACHINE: &str = "i586-unknown-linux-gnu";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-check-cfg=cfg(thread, machine)");
    if env::var_os("CARGO_FEATURE_PROGRAMS").is_none() {
        return;
    }
    let variable = |name| env::var(name).unwrap_or_default();
    let bare = variable("CARGO_CFG_TARGET_OS") == "none" && variable("CARGO_CFG_TARGET_ARCH") == "x86_64";
    let kind = match variable("TARGET").as_str() {
        MACHINE => "machine",
        _ if bare => "thread",
        _ => return,
    };
    println!("cargo::rustc-cfg={kind}");
    let script = Path::new(&variable("CARGO_MANIFEST_DIR")).join(format!("src/raw/{kind}.ld"));
    println!("cargo::rerun-if-changed={}", script.display());
    // Linked for one address: the loaders know no relocation.
    for argument in ["--no-pie", &format!("-T{}", script.display())] {
        println!("cargo::rustc-link-arg-bins={argument}");
    }
}
