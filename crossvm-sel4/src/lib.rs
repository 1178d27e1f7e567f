//! The seL4 backend of crossvm: a VM monitor that is a seL4 program gives its guests connections.
//!
//! ```text
//!   crossvm_core::CrossVm
//!     │ Dataport          │ Notifier              │ GuestMemory         │ InterruptController
//!     ▼                   ▼                       ▼                     ▼
//!   frames            notifications           the guest's VSpace     list registers, VM entry
//!     └───────────────────┴──────────┬────────────┴─────────────────────┘
//!                                    ▼
//!                           kernel::Kernel: the few system calls that all of this takes
//!                                    │
//!              ┌─────────────────────┼──────────────────────┐
//!         an installed libsel4    rust-sel4         a simulated kernel (crossvm-testkit)
//! ```
//!
//! | to find | look in |
//! | --- | --- |
//! | what is asked of the kernel | [`kernel`] |
//! | memory that is shared: `Dataport` | [`frame`] |
//! | signals to peers: `Notifier` | [`notification`] |
//! | signals of peers, and the VMM's own beside them | [`badge`] |
//! | the guest's address space with its event pages: `GuestMemory` | [`vspace`] |
//! | a vCPU's list registers, for `crossvm-arm` | [`arm`] |
//! | where capability slots and kernel objects come from | [`objects`] |
//! | guests in VT-x vCPUs | [`x86`] |
//! | programs of Microkit, where all is mapped when the system is built | [`microkit`] |
//! | an installed libsel4 | `libsel4` (feature `libsel4`, on targets without an operating system) |
//! | rust-sel4 | the package in `rust-sel4/`, outside the workspace |
#![no_std]
#![deny(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::arithmetic_side_effects)
)]

#[cfg(test)]
extern crate std;

pub mod arm;
pub mod badge;
pub mod frame;
pub mod kernel;
#[cfg(all(feature = "libsel4", target_os = "none"))]
#[allow(unsafe_code)]
pub mod libsel4;
pub mod microkit;
pub mod notification;
pub mod objects;
pub mod vspace;
pub mod x86;

pub use arm::VcpuInjector;
pub use badge::BadgeSet;
pub use frame::{Frame, FrameDataport, FrameKind};
pub use notification::NotificationNotifier;
pub use objects::{ObjectPool, Objects};
pub use vspace::{OwnSpace, VSpace, WindowSpace};
