//! Links only where no panic can be reached from what a guest does.
//!
//! The panic handler calls a function that exists nowhere. Where the optimizer can prove that no entry point panics, the handler is dropped, and
//! the program links; where one panic is left, the linker names the missing function. Built for bare metal by `cargo xtask test`; it is never run.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
mod channel;
#[cfg(target_os = "none")]
mod chipset;
#[cfg(target_os = "none")]
mod entry;
#[cfg(target_os = "none")]
mod microkit;
#[cfg(target_os = "none")]
mod sel4;
#[cfg(target_os = "none")]
mod stubs;
#[cfg(target_os = "none")]
mod x86;

#[cfg(not(target_os = "none"))]
fn main() {
    println!("Nothing to run here: the claim is that this links for a bare-metal target. `cargo xtask test --only panic-free` builds it.");
}
