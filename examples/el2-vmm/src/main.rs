//! The hypervisor itself. On a host it says how it is run.
#![cfg_attr(all(target_arch = "aarch64", target_os = "none"), no_std, no_main)]

#[cfg(all(target_arch = "aarch64", target_os = "none"))]
mod bare;

#[cfg(not(all(target_arch = "aarch64", target_os = "none")))]
fn main() {
    println!(
        "el2-vmm is a hypervisor for bare metal: it is built for aarch64-unknown-none-softfloat and runs in QEMU.\n\n  \
         cargo xtask demo            two Debian guests that talk to each other\n  \
         cargo xtask run --on el2    your own kernels\n\n\
         On its console, Ctrl-A and a digit choose the guest that gets what you type."
    );
}
