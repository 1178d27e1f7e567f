//! The root task of `cargo xtask sel4 semantics`: what the kernel answers, case by case.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(all(target_os = "none", target_arch = "aarch64"))]
mod heap;
#[cfg(target_os = "none")]
mod probe;
#[cfg(target_os = "none")]
mod task;

#[cfg(target_os = "none")]
sel4_vmm::root_task!(task::main);

#[cfg(not(target_os = "none"))]
fn main() {
    sel4_vmm::explain("sel4-semantics", "cargo xtask sel4 semantics");
}
