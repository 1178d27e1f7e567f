//! The root task of `cargo xtask run --on sel4`: virtual machines with unmodified kernels, on vCPUs of seL4's Arm hypervisor configuration.
#![cfg_attr(all(target_arch = "aarch64", target_os = "none"), no_std, no_main)]

#[cfg(all(target_arch = "aarch64", target_os = "none"))]
mod task;

#[cfg(not(target_os = "none"))]
fn main() {
    sel4_vmm::explain("sel4-arm", "cargo xtask run MANIFEST --on sel4");
}

#[cfg(all(target_os = "none", not(target_arch = "aarch64")))]
compile_error!("sel4-arm is for arm64: build it for aarch64-unknown-none-softfloat");
