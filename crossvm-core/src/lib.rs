//! Shared memory and events between virtual machines, and between a virtual machine and native components, for any VMM.
//!
//! A VMM gives its guest a *connection*: dataports (memory that both ends see) and events (each end signals the other). The guest sees
//! an ordinary PCI device. This crate is the device and the wiring; everything that touches hardware or a hypervisor comes in
//! through traits.
//!
//! ```text
//!            guest                         VMM of this guest                              the other end
//!  ┌──────────────────────┐     ┌──────────────────────────────────────┐
//!  │ store to EMIT ───────┼trap─▶ CrossVm::handle ──▶ Notifier::notify ─┼──▶ … ──▶ its VMM: CrossVm::consume
//!  │                      │     │                                      │
//!  │ load of COUNT ◀──────┼─────┤ EventPage (mapped read-only)         │
//!  │ interrupt ◀──────────┼─────┤ InterruptController::set_level,      │
//!  │                      │     │   deliver_msi ◀── CrossVm::consume ◀─┼── … ◀── its Notifier
//!  │                      │     │                                      │
//!  │ configuration write ─┼trap─▶ PciSpace::write ──▶ ConfigEffect ──▶ CrossVm::apply ──▶ GuestMemory::map, unmap
//!  │                      │     │                                      │
//!  │ loads, stores ◀──────┼─────┤ Dataport (mapped with its rights) ◀──┼──▶ the same frames
//!  └──────────────────────┘     └──────────────────────────────────────┘
//! ```
//!
//! | to find | look at |
//! | --- | --- |
//! | what a backend must provide | [`Dataport`], [`Notifier`], [`IrqAllocator`], [`PciSpace`], [`GuestMemory`], [`EventPage`], [`InterruptController`]; bundled by [`Backend`] |
//! | the operations of a VMM | [`CrossVm`]: [`install`](CrossVm::install), [`handle`](CrossVm::handle), [`consume`](CrossVm::consume), [`apply`](CrossVm::apply), [`reset`](CrossVm::reset), [`remove`](CrossVm::remove), and [`refresh`](CrossVm::refresh) after a backend's failure |
//! | what the guest sees | [`device::spec`]: the event registers |
//!
//! Contracts are numbered clauses in the docs of each trait; `crossvm-testkit` has a test for each clause that can be seen through its trait, to run
//! against any backend.
//!
//! # Example
//!
//! A VMM with one connection. The fakes stand where a hypervisor's page tables, free lines and interrupt controller would.
//!
//! ```
//! use crossvm_core::{Config, Connection, CrossVm, EventId, EventSet, GuestAccess, Level, Outcome, Rights, Width, device::Name};
//! use crossvm_testkit::{Doorbell, FakeDataport, FakeNotifier, FakeVm, fake_vm};
//!
//! let mut vm = fake_vm();
//! let peer = Doorbell::default();
//! let event = EventId::new(0).unwrap();
//! let mut connections: CrossVm<FakeVm, FakeDataport, FakeNotifier, 8> = CrossVm::new(Config::default());
//! let camera = Connection::new(Name::new("camera").unwrap())
//!     .with_dataport(FakeDataport::new(1 << 20), Rights::ReadWrite)?
//!     .with_emit(peer.notifier(event))
//!     .with_event(event);
//! let camera = connections.install(&mut vm, [camera])?[0];
//!
//! // The guest's store to EMIT traps: the peer is signalled.
//! let events = connections.status(camera).unwrap().bars[0].mapped_at.unwrap();
//! let emit = GuestAccess::Write { at: events, width: Width::U8, value: 1 };
//! assert_eq!(connections.handle(&mut vm, emit)?, Outcome::Emitted(camera));
//! assert!(peer.take().contains(event));
//!
//! // The peer signals back: COUNT rises, and so does the line.
//! connections.consume(&mut vm, EventSet::of(event))?;
//! let irq = connections.status(camera).unwrap().irq.unwrap();
//! assert_eq!(vm.interrupts.level(irq), Level::High);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Threads
//!
//! A [`CrossVm`] has no locks: a VMM that serves one VM from several threads puts its own lock around the VM's connections and backends.
//! Between VMs nothing is shared but frames and notifiers. The guest reads COUNT without the VMM's knowledge: the VMM stores it with
//! release order, so that a guest that sees COUNT rise and orders its next loads behind that (Arm: `dmb ishld`, x86: nothing)
//! sees everything that the peer wrote before it emitted.
//!
//! # Features
//!
//! None is on by default.
//!
//! | feature | what it brings |
//! | --- | --- |
//! | `defmt` | every public type implements `defmt::Format`, where its parameters do. Addresses and sets read as hexadecimal numbers. Nothing is logged here: a VMM logs what it likes, and limits the rate of what a guest can cause |
//! | `embedded-hal` | the module `hal`: `OutputPin`s as [`Notifier`]s, `InputPin`s as sources of events, and a wait with a timeout by `DelayNs` |
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
#[cfg(feature = "defmt")]
mod format;
#[cfg(feature = "embedded-hal")]
pub mod hal;
mod interrupt;
mod memory;
mod pci;

pub use access::{GuestAccess, Width};
pub use address::{FrameSize, GuestAddr, GuestRange};
pub use backend::{Backend, Parts};
pub use crossvm::{
    ApplyError, BarStatus, Config, Connection, ConnectionId, ConsumeError, CrossVm, DataportEnd, InstallCause, InstallError, InterruptMode,
    Invalid, Messages, Outcome, Removed, ServeError, Status, TooManyDataports,
};
pub use error::{Error, ErrorKind, ErrorType};
pub use event::{Event, EventId, EventSet, ExactId};
pub use interrupt::{InterruptController, Irq, IrqAllocator, Level, Message, Notifier};
pub use memory::{Dataport, EventPage, GuestMemory, Mapping, MemoryType, Rights};
pub use pci::{
    Bar, BarIndex, BarWidth, Bdf, ClassCode, Command, ConfigAccess, ConfigEffect, Function, InterruptStatus, MAX_VENDOR_DWORDS,
    MsixControl, MsixTable, PciSpace,
};
