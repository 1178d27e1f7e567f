//! VM monitors that are seL4's root task, composed from the crossvm crates: what all of them share.
//!
//! ```text
//!   kernel ── boot information ──▶ task::start ──▶ root_task!(main) ──▶ the root task's own modules
//!     ▲                                                                    │
//!     └────────── debug console ◀── task::console ◀── print!, record=… ────┘
//! ```
//!
//! | program | what it is | its modules |
//! | --- | --- | --- |
//! | `sel4-smoke` | x86-64: guests and components are threads in address spaces of their own | `src/bin/smoke/` |
//! | `sel4-semantics` | what the kernel answers, case by case | `src/bin/semantics/` |
//! | `sel4-vtx` | x86-64: a guest in a vCPU with VT-x | `src/bin/vtx/` |
//! | `sel4-arm` | arm64: virtual machines with unmodified kernels, on vCPUs of the hypervisor configuration | `src/bin/arm/`, [`arm`] |
//!
//! A program is built for a target without operating system, against the kernel that the environment variable `SEL4_PREFIX` names. On a
//! host it says how it is run.
#![cfg_attr(target_os = "none", no_std)]

#[cfg(any(target_arch = "aarch64", not(target_os = "none")))]
pub mod arm;
pub mod instruction;
#[cfg(target_os = "none")]
pub mod task;

/// What a root task says where there is no seL4 under it: how it is run.
#[cfg(not(target_os = "none"))]
pub fn explain(program: &str, command: &str) {
    println!("{program} is a root task of seL4: it is built for a machine without operating system. Run it with: {command}");
}
