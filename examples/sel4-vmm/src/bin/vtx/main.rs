//! The root task of `cargo xtask sel4 vtx`: the VM monitor of a guest in a vCPU with VT-x, and a trial of its connections.
//!
//! ```text
//!   trial ── Command ──▶ Mailbox ──▶ guest (EPT, vCPU)          peer (VSpace, thread)
//!                                      │ ports, EMIT               ▲ notification
//!                                      ▼                           │
//!                        machine: Vcpu::run ──▶ CrossVm ───────────┘
//!                                      ▲                           │
//!                                      └── bound notification ◀────┘◀── Idle: a thread that runs when nobody else can
//! ```
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(all(target_os = "none", target_arch = "x86_64"))]
mod machine;
#[cfg(all(target_os = "none", target_arch = "x86_64"))]
mod peers;
#[cfg(all(target_os = "none", target_arch = "x86_64"))]
mod ram;
#[cfg(all(target_os = "none", target_arch = "x86_64"))]
mod sabotage;
#[cfg(all(target_os = "none", target_arch = "x86_64"))]
mod task;
#[cfg(all(target_os = "none", target_arch = "x86_64"))]
mod trial;

#[cfg(all(target_os = "none", target_arch = "x86_64"))]
sel4_vmm::root_task!(task::main);

// On other machines it is empty, but a program all the same.
#[cfg(all(target_os = "none", not(target_arch = "x86_64")))]
use sel4_vmm as _;

#[cfg(not(target_os = "none"))]
fn main() {
    sel4_vmm::explain("sel4-vtx", "cargo xtask sel4 vtx");
}
