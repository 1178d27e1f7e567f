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
#![no_std]
#![deny(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::arithmetic_side_effects)
)]

pub mod kernel;
