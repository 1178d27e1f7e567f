//! The seL4 backend on the simulated kernel.

mod conformance;
mod interrupts;
mod machine;
mod objects;
mod sequences;
mod space;
mod vm;
