//! The seL4 backend on the simulated kernel.

mod conformance;
mod machine;
mod objects;
mod space;
