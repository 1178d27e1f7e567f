//! The root task of `cargo xtask run --on sel4`: virtual machines with unmodified kernels, on vCPUs of seL4's Arm hypervisor configuration.
//!
//! For arm64 alone: for another machine without operating system there is nothing in it, and it does not link.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(all(target_arch = "aarch64", target_os = "none"))]
mod task;

#[cfg(all(not(target_arch = "aarch64"), target_os = "none"))]
use sel4_vmm as _;

#[cfg(not(target_os = "none"))]
fn main() {
    sel4_vmm::explain("sel4-arm", "cargo xtask run MANIFEST --on sel4");
}
