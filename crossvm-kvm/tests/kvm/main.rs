//! The backend on this machine's KVM, with guests of a few instructions. Where `/dev/kvm` does not open, each test says so and is skipped.
#![cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]

#[cfg(target_arch = "x86_64")]
mod apic;
#[cfg(target_arch = "x86_64")]
mod connections;
mod emit;
mod exits;
#[cfg(target_arch = "x86_64")]
mod failing;
#[cfg(target_arch = "x86_64")]
mod guest;
#[cfg(target_arch = "x86_64")]
mod interrupts;
mod machine;
mod memory;
#[cfg(target_arch = "x86_64")]
mod probe;
mod program;
#[cfg(target_arch = "x86_64")]
mod split;
#[cfg(target_arch = "aarch64")]
mod vgic;
