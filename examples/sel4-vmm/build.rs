//! For a root task: its memory layout, and which kernel it is built for.

use std::env;
use std::fs;
use std::path::Path;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-check-cfg=cfg(sel4_5)");
    if env::var("CARGO_CFG_TARGET_OS").as_deref() != Ok("none") {
        return;
    }
    let folder = env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
    let script = Path::new(&folder).join("src/task/link.ld");
    println!("cargo::rerun-if-changed={}", script.display());
    println!("cargo::rustc-link-arg-bins=-T{}", script.display());
    // The kernel loads a program where it is linked. What the compiler makes for any address runs there as well.
    println!("cargo::rustc-link-arg-bins=--no-pie");

    println!("cargo::rerun-if-env-changed=SEL4_PREFIX");
    let Some(prefix) = env::var_os("SEL4_PREFIX") else {
        // Lints and documentation need no kernel; whoever starts the task has one.
        return;
    };
    let version = Path::new(&prefix).join("VERSION");
    println!("cargo::rerun-if-changed={}", version.display());
    if fs::read_to_string(version).is_ok_and(|version| version.starts_with("5.")) {
        println!("cargo::rustc-cfg=sel4_5");
    }
}
