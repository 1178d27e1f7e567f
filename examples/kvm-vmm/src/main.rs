//! A VMM on KVM, composed from the crossvm and rust-vmm crates.
fn main() {}
