//! Gives the linker the loader's memory layout when it is built for bare metal.

use std::env;
use std::path::Path;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=src/bare/link.ld");
    if env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("none") {
        let folder = env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
        let script = Path::new(&folder).join("src/bare/link.ld");
        println!("cargo::rustc-link-arg-bins=-T{}", script.display());
    }
}
