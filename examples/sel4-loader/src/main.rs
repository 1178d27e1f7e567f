//! The loader itself. On a host it says how it is run.
#![cfg_attr(all(target_arch = "aarch64", target_os = "none"), no_std, no_main)]

#[cfg(all(target_arch = "aarch64", target_os = "none"))]
mod bare;

#[cfg(not(all(target_arch = "aarch64", target_os = "none")))]
fn main() {
    println!(
        "sel4-loader boots seL4 in QEMU's virt machine: it is built for aarch64-unknown-none-softfloat.\n\n  \
         cargo xtask run MANIFEST --on sel4    runs a manifest on the kernel that SEL4_PREFIX names"
    );
}
