//! For a root task: its memory layout, the programs that it starts, and the mistake that it shall make.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

/// The programs: each a variable of the environment that names a file.
const PROGRAMS: [&str; 3] = ["SEL4_GUEST", "SEL4_PEER", "SEL4_VM_GUEST"];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if env::var("CARGO_CFG_TARGET_OS").as_deref() != Ok("none") {
        return;
    }
    let script = variable("CARGO_MANIFEST_DIR").join("src/task/link.ld");
    println!("cargo::rerun-if-changed={}", script.display());
    println!("cargo::rustc-link-arg-bins=-T{}", script.display());
    // The kernel loads a program where it is linked. What the compiler makes for any address runs there as well.
    println!("cargo::rustc-link-arg-bins=--no-pie");

    // For lints, which run nothing: a program without anything in it.
    let nothing = variable("OUT_DIR").join("nothing");
    if let Err(error) = fs::write(&nothing, "") {
        println!("cargo::error=cannot write {}: {error}", nothing.display());
    }
    for program in PROGRAMS {
        println!("cargo::rerun-if-env-changed={program}");
        let file = variable(program);
        if file.is_file() {
            println!("cargo::rerun-if-changed={}", file.display());
        }
        let file = if file.is_file() { &file } else { &nothing };
        println!("cargo::rustc-env={program}={}", file.display());
    }
    println!("cargo::rerun-if-env-changed=SEL4_SABOTAGE");
    println!("cargo::rustc-env=SABOTAGE={}", env::var("SEL4_SABOTAGE").unwrap_or_default());
}

fn variable(name: &str) -> PathBuf {
    Path::new(&env::var_os(name).unwrap_or_default()).to_owned()
}
