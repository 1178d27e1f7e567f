//! The guest's side of crossvm.
//!
//! | feature | what it brings |
//! | --- | --- |
//! | `bare` | the module `bare`: a driver for guests without an operating system. `no_std`, no allocator |
//! | `defmt` | every public type but those of Linux implements `defmt::Format` |
//! | `linux` (on by default) | Linux user space, described below. Nothing is left of it on other systems |
//! | `tokio` | `AsyncWaiter`, which waits for events under tokio, with `linux` |
//! | `command` (on by default) | the command `crossvm`, with `linux` |
//!
//! # Linux
//!
//! Connections are found, bound, and used from user space, on the kernel's stock `uio_pci_generic`. No kernel module of ours is needed.
//! [`Endpoint`] uses whichever driver holds a connection:
//!
//! | driver | opens as | what is counted | dataports are mapped |
//! | --- | --- | --- | --- |
//! | `uio_pci_generic` | [`Connection`] | events, exactly (as exactly as the [profile](Profile) does) | uncached, write combining where offered |
//! | that of `guest/linux` | [`Node`] | events, exactly | cacheable |
//! | another UIO driver that answers interrupts itself and maps the BARs, as seL4's `connector` | [`UioConnection`] | interrupts: at least one after each emit, so wake-ups | as that driver says; `connector`: cacheable |
//!
//! ```text
//!  /sys/bus/pci/devices ──▶ System ──▶ Function ──▶ Connection ──▶ EventPage   emit, count, take
//!   (PCI 1af4:a111)           │                        │  │          resource0
//!                             │ bind                   │  └──────▶ Dataport     read, write
//!                             ▼                        │             resourceN_wc, else resourceN
//!                      uio_pci_generic                 └─────────▶ Waiter       wait
//!                                                                    /dev/uioN, config
//! ```
//!
//! ```no_run
//! # #[cfg(not(all(feature = "linux", target_os = "linux")))]
//! # fn main() {}
//! # #[cfg(all(feature = "linux", target_os = "linux"))]
//! # fn main() -> Result<(), crossvm_guest::Error> {
//! use crossvm_guest::{DataportIndex, Patience, Scope, System};
//! use std::time::Duration;
//!
//! let system = System::default();
//! system.bind(Scope::Free)?;
//! let connection = system.open("reverse")?;
//! let dataport = connection.dataport(DataportIndex::FIRST)?;
//! let mut waiter = connection.waiter()?;
//!
//! dataport.write(0, b"stressed\n")?;
//! connection.emit();
//! if waiter.wait(Patience::default().timeout(Duration::from_secs(1)))?.is_some() {
//!     let mut answer = [0; 9];
//!     dataport.read(dataport.size() / 2, &mut answer)?;
//!     assert_eq!(&answer, b"desserts\n");
//! }
//! # Ok(())
//! # }
//! ```
//!
//! A waiter sleeps by itself (`wait`), or is a descriptor of an event loop: the module [`wait`] tells how, and how no event is slept through.
//!
//! # Messages
//!
//! A dataport is memory, no more. Two ends that want to exchange messages through one, without having to trust each other, open a
//! [`channel`]: under Linux a [`GuestChannel`], which sleeps on the connection's events; on bare metal a
//! [`Channel`](channel::Channel) over [`Ordered`] memory, whose doorbell is the connection's [`EventRegisters`]. It takes all of the dataport and
//! all events.
//!
//! ```no_run
//! # #[cfg(not(all(feature = "linux", target_os = "linux")))]
//! # fn main() {}
//! # #[cfg(all(feature = "linux", target_os = "linux"))]
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use crossvm_guest::channel::{Config, Side};
//! use crossvm_guest::{DataportIndex, GuestChannel, System};
//!
//! let endpoint = System::default().endpoint("bulk")?;
//! let mut channel = GuestChannel::open(&endpoint, DataportIndex::FIRST, Config::new(Side::A))?;
//! channel.connect()?;
//! channel.send(b"stressed")?;
//! # Ok(())
//! # }
//! ```
//!
//! # Order
//!
//! Dataports and event registers are different kinds of memory here (arm64: Normal non-cacheable or Device; x86: write combining
//! and uncached), which the fences of [`core::sync::atomic`] are not made to order. This library uses the instructions that do:
//!
//! | where | arm64 | x86 | RISC-V | what it gives |
//! | --- | --- | --- | --- | --- |
//! | before EMIT, and after COUNT was cleared | `dsb sy` | `mfence` | `fence iorw, iorw` | what was written to a dataport is there, and what was read from it was read, before the peer is told |
//! | in a channel in uncached memory, before a word that tells of others | `dmb sy` | `mfence` | `fence iorw, iorw` | what was written is there, and what was read was read, before the peer can know |
//! | after COUNT was read, or a channel's word | `dmb ld` | `lfence` | `fence iorw, iorw` | what the peer wrote before it emitted is seen by the reads that follow |
//!
//! So a program writes, then [emits](EventRegisters::emit); the peer [takes](EventRegisters::take) the event, then reads. It needs no fence of its
//! own.
//!
//! # Cacheability
//!
//! Linux maps a sysfs `resourceN_wc` as Normal non-cacheable memory on arm64, and `resourceN` as Device memory. Dataports are mapped
//! through the first where it exists, and either is read and written in aligned words only, because Device memory faults on unaligned
//! accesses. Uncached memory is slow to read: read a value once.
//!
//! On processors with FEAT_S2FWB a VM monitor may force both to be cacheable; the bundled `el2-vmm` does not. So do not count on it: a
//! peer whose own view of the memory is cached must clean what it has written from its cache before it emits, and invalidate what it is
//! about to read after it has taken an event. Two guests that both use this library have the same, uncached view, and `el2-vmm`'s native
//! components do this maintenance themselves: nothing is left to do in either case.
//!
//! # Trust
//!
//! The device's contents come from the VM monitor and a dataport's from the peer. Neither can make this library panic or touch memory
//! outside a map: names, counts and sizes are checked when a connection is opened, and every access is checked against its map.
#![cfg_attr(not(all(feature = "linux", target_os = "linux")), no_std)]
#![deny(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic))]

#[cfg(all(test, not(all(feature = "linux", target_os = "linux"))))]
extern crate std;

#[cfg(feature = "bare")]
pub mod bare;
mod count;
mod fault;
#[cfg(feature = "defmt")]
mod format;
mod index;
#[cfg(all(feature = "linux", target_os = "linux"))]
mod linux;
mod memory;
mod raw;
mod registers;
mod rights;
pub mod spec;
mod words;

pub use count::{EventCount, Profile};
pub use crossvm_channel as channel;
pub use fault::Fault;
pub use index::DataportIndex;
#[cfg(all(feature = "tokio", target_os = "linux"))]
pub use linux::AsyncWaiter;
#[cfg(all(feature = "linux", target_os = "linux"))]
pub use linux::{
    Bar, Bars, Bell, Bound, Caching, ChannelError, Connection, Dataport, DataportInfo, Endpoint, EndpointWaiter, Error, EventPage,
    EventSleep, Function, GuestChannel, Interrupt, Interrupts, Irq, MappedDataport, Node, NodeWaiter, Observation, Patience, PciAddress,
    Prepared, Scope, System, Taken, Uio, UioConnection, UioMap, UioWaiter, Waiter, wait,
};
pub use memory::Ordered;
pub use registers::{DataportRecord, EventRegisters};
pub use rights::Rights;
pub use words::{Word, Words};
