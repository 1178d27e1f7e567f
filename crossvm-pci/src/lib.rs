//! PCI configuration space as a state machine: what a guest finds, sizes, moves and switches, without touching anything.
//!
//! ```text
//!  guest's load or store
//!        │ trap
//!        ▼
//!  Ecam::decode ────────┐
//!  Cam::decode ─────────┼▶ (Bdf, ConfigAccess) ──▶ PciBus::read ──▶ value
//!  ConfigPorts::decode ─┘                          PciBus::write ─▶ ConfigEffect ──▶ CrossVm::apply ──▶ backend maps, unmaps, drives lines
//! ```
//!
//! | where | what |
//! | --- | --- |
//! | [`spec`] | registers of a type 0 header and of capabilities, with sections of PCI 3.0 |
//! | [`PciBus`] | host bridge, functions, BAR placement and decoding, interrupt wires |
//! | [`Ecam`], [`Cam`] | configuration space as memory, 4 KiB or 256 bytes a function |
//! | [`ConfigPorts`] | configuration accesses by the ports 0xcf8 and 0xcfc |
//! | `fdt` (feature) | the bridge's device tree node, for ECAM and CAM |
//!
//! ```
//! use crossvm_core::{ConfigAccess, GuestAddr, GuestRange, PciSpace, Width};
//! use crossvm_pci::{Ecam, HostBridge, PciBus};
//!
//! let window = GuestRange::new(GuestAddr::new(0x1000_0000), 0x2eff_0000).unwrap();
//! let bus: PciBus<8> = PciBus::new(HostBridge::default(), window);
//! let ecam = Ecam::new(GuestAddr::new(0x3f00_0000), 16).unwrap();
//! // The guest reads the ids of 00:00.0, and then those of a function that is not there.
//! assert_eq!(ecam.read(&bus, GuestAddr::new(0x3f00_0000), Width::U32), Some(0x0008_1b36));
//! assert_eq!(ecam.read(&bus, GuestAddr::new(0x3f00_8000), Width::U32), Some(0xffff_ffff));
//! ```
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::arithmetic_side_effects)
)]

#[cfg(test)]
extern crate std;

mod bus;
mod cam;
mod capabilities;
mod check;
mod decode;
mod ecam;
mod error;
#[cfg(feature = "fdt")]
pub mod fdt;
#[cfg(feature = "defmt")]
mod format;
mod function;
mod lane;
mod placement;
mod ports;
mod region;
pub mod spec;

pub use bus::{HostBridge, PciBus};
pub use cam::Cam;
pub use ecam::Ecam;
pub use error::PciError;
pub use ports::ConfigPorts;
