//! A VMM on KVM, composed from the crossvm and rust-vmm crates.
#![allow(dead_code, unused_imports, reason = "what connects processes is here before what it connects")]

mod link;

fn main() {}
