//! The backend on this machine's KVM, with guests of a few instructions. Where `/dev/kvm` does not open, each test says so and is skipped.
#![cfg(target_arch = "x86_64")]

mod apic;
mod connections;
mod emit;
mod exits;
mod guest;
mod interrupts;
mod machine;
mod memory;
mod program;
mod split;
