//! Delivery: which interrupts the list registers of a vCPU hold while it runs.
//!
//! ```text
//!            load                        the guest                         save
//!  state ──────────▶ list registers ── acknowledges, ends ──▶ list registers ──────────▶ state
//!        most urgent first;                                           EOIcount for what did not fit
//!        maintenance for what waits
//! ```
//!
//! Between a save and the next load the state is complete and the list registers are empty. Registers that are [one way](ListRegisters::one_way) keep what they
//! have: `one_way.rs`.

mod gich;
mod list_registers;
mod load;
mod one_way;
mod queue;
mod save;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_one_way;
#[cfg(test)]
mod tests_vcpus;

pub use gich::{Gich, GichFrame};
pub use list_registers::ListRegisters;
