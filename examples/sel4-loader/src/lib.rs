//! A boot loader for seL4 at EL2 of QEMU's `virt` machine: the portable part.
//!
//! QEMU's generic loader puts the ELF files of kernel and root task into memory; the loader's command line says where:
//! `-append "crossvm.kernel=ADDRESS,SIZE crossvm.root=ADDRESS,SIZE"`. The loader copies them where they are to run, behind them what the
//! kernel wants, and jumps into the kernel with translation on.
//!
//! ```text
//!   given by QEMU                        where the kernel finds it
//!   device tree ─────────────────────────────────────────────────────────┐
//!   kernel's ELF file ──▶ its segments, at their physical addresses      │
//!   root task's ELF file ─────────────────────────────────────┐          │
//!                                                             ▼          ▼
//!                         │ kernel │ device tree, cut to its length │ root task, side by side │
//! ```
//!
//! | to find | look in |
//! | --- | --- |
//! | what the command line says | [`arguments`] |
//! | what goes where, and what is refused | [`plan`] |
//! | the device tree's length | [`tree`] |
//! | the tables that the kernel is entered with | [`tables`] |
//! | the instructions of EL2 | `src/bare/` |
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::arithmetic_side_effects)
)]

pub mod arguments;
pub mod plan;
pub mod tables;
pub mod tree;
