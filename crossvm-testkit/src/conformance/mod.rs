//! The contracts of `crossvm-core`'s traits as tests, one for each clause, named after it. Run them against a backend of your own:
//!
//! ```
//! use crossvm_testkit::{FakeIrqs, conformance};
//!
//! conformance::irq_allocator::all(|| FakeIrqs::new(32..40));
//! ```
//!
//! Each `all` runs every clause of its trait that can be seen through the trait, on a fresh backend each, and panics where one is broken.

pub mod guest_memory;
pub mod interrupt_controller;
pub mod irq_allocator;
pub mod notifier;
pub mod pci_space;
