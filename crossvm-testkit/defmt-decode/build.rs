//! Gives the linker a place for defmt's strings. Their addresses are the numbers that stand for them in a frame, so they must be small, and
//! known when the program is linked: the program is not position independent.

use std::env;
use std::path::Path;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=strings.ld");
    if env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("linux") {
        let folder = env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
        println!("cargo::rustc-link-arg-bins=-no-pie");
        println!("cargo::rustc-link-arg-bins=-Wl,-T,{}", Path::new(&folder).join("strings.ld").display());
    }
}
