//! Work in progress.
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::arithmetic_side_effects)
)]

#[cfg(test)]
extern crate std;

mod access;
mod address;
mod backend;
mod crossvm;
pub mod device;
mod error;
mod event;
mod interrupt;
mod memory;
mod pci;

pub use access::{GuestAccess, Width};
pub use address::{FrameSize, GuestAddr, GuestRange};
pub use backend::{Backend, Parts};
pub use crossvm::{
    ApplyError, BarStatus, Config, Connection, ConnectionId, CrossVm, DataportEnd, InstallCause, InstallError, InterruptMode, Invalid,
    Outcome, ServeError, Status, TooManyDataports,
};
pub use error::{Error, ErrorKind, ErrorType};
pub use event::{EventId, EventSet};
pub use interrupt::{InterruptController, Irq, IrqAllocator, Level, Notifier};
pub use memory::{Dataport, EventPage, GuestMemory, Mapping, MemoryType, Rights};
pub use pci::{Bar, BarIndex, BarWidth, Bdf, ClassCode, Command, ConfigAccess, ConfigEffect, Function, InterruptStatus, PciSpace};
