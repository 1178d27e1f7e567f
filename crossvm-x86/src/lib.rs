//! Interrupt controllers of PCs as plain data, and the ACPI tables that tell a guest of them.
//!
//! ```text
//!   guest                              VMM                                         devices
//!     │ load, store at the IOAPIC       │                                            │
//!     ├────────────────────────────────▶│ ioapic_read, ioapic_write        set_level │
//!     │ in, out at 0x20 … 0x4d1         │                                  pulse     │
//!     ├────────────────────────────────▶│ pic_read, pic_write           deliver_msi │
//!     │                                 ▼                                   │        │
//!     │                  ┌─────────────────────────────┐      Routing       │        │
//!     │                  │ Chipset: IoApic, Pic, lines │◀──────────────────────────┘
//!     │                  └────┬───────────────────▲────┘                    │
//!     │          ApicMessage  │                   │ end_of_interrupt        │
//!     │                       ▼                   │                         │
//!     │ end of interrupt  ┌────────────────────────────┐                    │
//!     ├──────────────────▶│ LocalApics: hypervisor's   │◀───────────────────┘
//!     │                   └────────────────────────────┘
//!     │                       ▲ interrupt_pending, acknowledge: vector of the 8259 pair
//!     └── takes interrupts ───┘
//! ```
//!
//! [`Chipset`] is all of it: an [`InterruptController`](crossvm_core::InterruptController) whose lines are GSIs. [`IoApic`] and [`Pic`] are there
//! for VMMs that wire them in another way.
//!
//! # How a VMM wires it
//!
//! | | to |
//! | --- | --- |
//! | traps at the IOAPIC's page, 0xfec00000 | [`Chipset::ioapic_read`] and [`_write`](Chipset::ioapic_write) |
//! | ports 0x20, 0x21, 0xa0, 0xa1, 0x4d0, 0x4d1, a byte each | [`Chipset::pic_read`] and [`_write`](Chipset::pic_write) |
//! | a local APIC's broadcast of an end of interrupt (KVM: exit `IOAPIC_EOI`) | [`Chipset::end_of_interrupt`] |
//! | before entry of the vCPU that the 8259 pair is wired to | [`Chipset::interrupt_pending`]; if it takes interrupts now, [`Chipset::acknowledge`] |
//! | a pin that [`Chipset::ioapic_write`] names | where the hypervisor wants to know: [`IoApic::route`] |
//! | ports 0x40 to 0x43 and 0x61, where the hypervisor has no timer of its own | [`Pit`] |
//! | ports of power management | [`PowerManagement`] |
//!
//! # An example
//!
//! ```
//! use core::convert::Infallible;
//!
//! use crossvm_core::{ErrorType, InterruptController, Irq, Level, Width};
//! use crossvm_x86::{ApicMessage, Chipset, IoApic, LocalApics, Routing};
//!
//! // In a hypervisor: KVM_SIGNAL_MSI, with `crossvm_core::Message::from(message)`. Here: a note of the vector.
//! #[derive(Default)]
//! struct Apics(Option<u8>);
//!
//! impl ErrorType for Apics {
//!     type Error = Infallible;
//! }
//!
//! impl LocalApics for Apics {
//!     fn deliver(&mut self, message: ApicMessage) -> Result<(), Infallible> {
//!         self.0 = Some(message.vector);
//!         Ok(())
//!     }
//! }
//!
//! let mut chipset = Chipset::new(IoApic::<24>::new(), Routing::PC, Apics::default());
//!
//! // The guest has pin 17 as a level, vector 0x41, not masked.
//! chipset.ioapic_write(0x00, Width::U32, 0x10 + 2 * 17).unwrap();
//! chipset.ioapic_write(0x10, Width::U32, 1 << 15 | 0x41).unwrap();
//!
//! // A device raises its line: one message, until the guest ends the interrupt while the line is still high.
//! chipset.set_level(Irq::new(17), Level::High)?;
//! assert_eq!(chipset.apics_mut().0.take(), Some(0x41));
//! chipset.set_level(Irq::new(17), Level::High)?;
//! assert_eq!(chipset.apics_mut().0.take(), None);
//! chipset.end_of_interrupt(0x41)?;
//! assert_eq!(chipset.apics_mut().0.take(), Some(0x41));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # The rooms
//!
//! | to find | look in |
//! | --- | --- |
//! | offsets, command words and layouts | [`spec`] |
//! | IOREGSEL, IOWIN | `ioapic/registers.rs` |
//! | remote IRR, edges, polarity, masks of a pin | `ioapic/pin.rs` |
//! | when which message is due | `ioapic/mod.rs` |
//! | ICW, OCW, priorities of one 8259 | `pic/chip.rs` |
//! | both of them, ports, acknowledge | `pic/mod.rs` |
//! | address and data of messages, [`LocalApics`] | `message.rs` |
//! | GSIs, pins and inputs | `routing.rs` |
//! | the whole | `chipset.rs` |
//! | the timer | `pit/` |
//! | switching off | `power.rs` |
//! | ACPI tables, with feature `acpi` | `acpi/` |
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::arithmetic_side_effects)
)]

#[cfg(test)]
extern crate std;

#[cfg(feature = "acpi")]
pub mod acpi;
mod chipset;
mod error;
mod ioapic;
mod message;
mod pic;
mod pit;
mod power;
mod routing;
pub mod spec;

pub use chipset::{Chipset, Unsent};
pub use error::{ChipsetError, Error};
pub use ioapic::{IoApic, IoApicVersion, Mask, Pin, PinRoute, Wire};
pub use message::{ApicMessage, Destination, LocalApics, Trigger};
pub use pic::{Acknowledgement, Pic};
pub use pit::Pit;
pub use power::{PowerEffect, PowerManagement};
pub use routing::{Inputs, PciLine, PciLines, PicIrq, Routing, SCI};
