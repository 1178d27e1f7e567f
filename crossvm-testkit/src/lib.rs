//! What it takes to test a VMM built on crossvm, and a backend written for it, without hardware.
//!
//! ```text
//!  CrossVm ──▶ Faulty<FakeMemory> ──▶ FakeMemory: what is mapped where, with which rights; loads and stores as the guest
//!          ──▶ Faulty<FakeBus>    ──▶ FakeBus: configuration space as bytes and masks, a plain model of crossvm-pci
//!          ──▶ Faulty<FakeIrqs>   ──▶ FakeIrqs: a range of lines
//!          ──▶ Faulty<FakeInterrupts> FakeInterrupts: levels, and every change of them
//!          ──▶ FakeNotifier       ──▶ Doorbell: the set of events that waits for a VM
//!                  │
//!                Faults: the n-th backend call fails
//! ```
//!
//! A fake panics where a caller breaks a trait's contract: a test that misuses a backend must not pass. [`conformance`] holds a test for
//! each clause that can be seen through its trait, to run against a backend of your own. `strategy` (a feature, on by default) gives proptest strategies for what guests do.
//! `sel4` (a feature) is a simulated seL4.
//!
//! ```
//! use crossvm_core::{ConnectionId, Config, Connection, CrossVm, GuestAddr, Rights, device::Name};
//! use crossvm_testkit::{Doorbell, FakeDataport, FakeNotifier, FakeVm, fake_vm};
//!
//! let (to_us, to_peer) = (Doorbell::default(), Doorbell::default());
//! let event = crossvm_core::EventId::new(0).unwrap();
//! let mut vm = fake_vm();
//! let mut connections: CrossVm<FakeVm, FakeDataport, FakeNotifier, 4> = CrossVm::new(Config::default());
//! let connection = Connection::new(Name::new("camera").unwrap())
//!     .with_dataport(FakeDataport::new(64 << 10), Rights::ReadWrite)?
//!     .with_emit(to_peer.notifier(event))
//!     .with_event(event);
//! let ids = connections.install(&mut vm, [connection])?;
//! let bars = connections.status(ids[0]).unwrap().bars;
//! let events = bars[0].mapped_at.unwrap();
//!
//! // The guest finds the name in its event registers, and shares the dataport.
//! assert_eq!(vm.memory.load(events.checked_add(8).unwrap(), 6).unwrap(), b"camera");
//! vm.memory.store(bars[1].mapped_at.unwrap(), b"hello").unwrap();
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod bus;
pub mod conformance;
mod faults;
mod interrupts;
mod memory;
#[cfg(feature = "sel4")]
pub mod microkit;
mod notifier;
#[cfg(feature = "sel4")]
pub mod sel4;
#[cfg(feature = "strategy")]
pub mod strategy;

pub use bus::{BusError, FakeBus};
pub use faults::{Faults, Faulty, FaultyError};
pub use interrupts::{FakeInterrupts, FakeIrqs};
pub use memory::{FakeDataport, FakeFrame, FakeMemory, FakePage, GuestFault};
pub use notifier::{Doorbell, FakeNotifier};

use crossvm_core::{GuestAddr, GuestRange, Parts};

/// The README's example is compiled and run with the doc tests.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

/// The fakes of one VM, side by side.
pub type FakeVm = Parts<FakeMemory, FakeBus, FakeIrqs, FakeInterrupts>;

/// Guest RAM of [`fake_vm`]: 64 MiB at 1 GiB.
pub const RAM: (u64, u64) = (0x4000_0000, 64 << 20);
/// Window of the host bridge of [`fake_vm`]: 256 MiB at 256 MiB.
pub const WINDOW: (u64, u64) = (0x1000_0000, 256 << 20);

/// The range of a constant such as [`RAM`].
///
/// # Panics
/// Where it is empty or passes the end of the address space.
#[must_use]
pub fn range((start, size): (u64, u64)) -> GuestRange {
    GuestRange::new(GuestAddr::new(start), size).expect("a range has a size and an end")
}

/// A VM of fakes with RAM at [`RAM`], a bus with its window at [`WINDOW`] and 32 interrupt lines from 32 on.
#[must_use]
pub fn fake_vm() -> FakeVm {
    Parts {
        memory: FakeMemory::new([range(RAM)]),
        pci: FakeBus::new(range(WINDOW)),
        irqs: FakeIrqs::new(32..64),
        interrupts: FakeInterrupts::default(),
    }
}
