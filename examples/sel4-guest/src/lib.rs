//! What the root task of `sel4-vmm` and the programs that it starts have agreed on: where things are mapped, and how a guest is told
//! what to do.
//!
//! ```text
//!   sel4-vmm ── Mailbox: command, arguments ──▶ guest ── configuration space, event registers ──▶ trap ──▶ sel4-vmm
//!      ▲    ◀── Mailbox: status, results ──────   │  ▲
//!      └── Report: "ready for a command" ─────────┘  └── interrupt: a notification, or an injected vector
//!                                                 │
//!                                             dataports, Exchange
//!                                                 │
//!                                               peer: a protection domain of its own
//! ```
//!
//! | program | runs as | agreed on in |
//! | --- | --- | --- |
//! | `sel4-guest` | a seL4 thread in a VSpace of its own, x86-64 | [`thread`] |
//! | `sel4-vm-guest` | a paged 32-bit program in a VT-x vCPU | [`machine`] |
//! | `sel4-peer` | a seL4 thread in a VSpace of its own, x86-64 | [`peer`] |
//!
//! Both guests obey the same [`Command`]s. A guest [reports](Report) that it is ready, the VMM writes a command into the [`Mailbox`] and lets
//! it go on, and the next report says that the command is done. Everything in the mailbox comes from a guest: the VMM reads numbers
//! from it and nothing else.
#![no_std]
#![deny(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod guest;
pub mod machine;
mod mailbox;
pub mod peer;
mod platform;
#[cfg(any(thread, machine))]
pub mod raw;
pub mod thread;

pub use guest::obey;
pub use mailbox::{
    Command, Error, Found, FoundDataport, MAX_ARGUMENTS, MAX_DATAPORTS, MAX_FOUND, MAX_RESULTS, Mailbox, NAME_WORDS, Report, Status,
};
pub use platform::{Platform, Random};
