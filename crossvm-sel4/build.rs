//! Compiles the shim to libsel4, for the feature `libsel4` on targets without an operating system.

#[cfg(feature = "libsel4")]
#[path = "build/prefix.rs"]
mod prefix;
#[cfg(feature = "libsel4")]
#[path = "build/shim.rs"]
mod shim;

use std::process::ExitCode;

fn main() -> ExitCode {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=build");
    println!("cargo::rustc-check-cfg=cfg(sel4_vtx)");
    #[cfg(feature = "libsel4")]
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("none")
        && let Err(message) = shim::compile()
    {
        println!("cargo::error={message}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
