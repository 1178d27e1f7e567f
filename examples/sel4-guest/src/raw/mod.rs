//! All the `unsafe` of the programs: their start, memory at fixed addresses, the instructions that are no Rust, and system calls.

#![allow(unsafe_code)]

mod memory;
mod odd;

#[cfg(machine)]
mod machine;
#[cfg(thread)]
mod thread;

#[cfg(machine)]
pub use machine::{Machine, start};
pub use memory::Identity;
#[cfg(thread)]
pub use thread::{Thread, peer, start};
