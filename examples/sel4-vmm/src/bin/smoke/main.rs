//! The root task of `cargo xtask sel4 smoke`: guests and components are threads, each in an address space of its own.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(all(target_os = "none", target_arch = "x86_64"))]
mod task;

#[cfg(all(target_os = "none", target_arch = "x86_64"))]
sel4_vmm::root_task!(task::main);

#[cfg(not(all(target_os = "none", target_arch = "x86_64")))]
fn main() {
    sel4_vmm::explain("sel4-smoke", "cargo xtask sel4 smoke");
}
