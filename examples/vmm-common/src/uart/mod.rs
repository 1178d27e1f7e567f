//! A virtual PL011 (Arm DDI 0183) as a state machine: what Linux's `amba-pl011` driver and its earlycon need.
//!
//! What is written is transmitted at once: the transmit FIFO is always empty. What is received waits in the receive FIFO.

mod pl011;
pub mod spec;

pub use pl011::{Pl011, Transmit};
