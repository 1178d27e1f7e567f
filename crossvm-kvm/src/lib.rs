//! The traits of `crossvm-core` on KVM.
