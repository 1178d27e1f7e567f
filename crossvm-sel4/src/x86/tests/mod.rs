//! The vCPU and its interrupts on a model of a processor with VT-x.

mod exits;
mod interrupts;
mod machine;
mod properties;
