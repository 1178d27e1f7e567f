//! Interrupt controllers of PCs: IOAPIC, a pair of 8259, messages; and ACPI tables.
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::arithmetic_side_effects)
)]

#[cfg(test)]
extern crate std;

mod chipset;
mod error;
mod ioapic;
mod message;
mod pic;
mod routing;
pub mod spec;

pub use chipset::{Chipset, Unsent};
pub use error::{ChipsetError, Error};
pub use ioapic::{IoApic, IoApicVersion, Mask, Pin, PinRoute, Wire};
pub use message::{ApicMessage, Destination, LocalApics, Trigger};
pub use pic::{Acknowledgement, Pic};
pub use routing::{Inputs, PciLine, PicIrq, Routing, SCI};
