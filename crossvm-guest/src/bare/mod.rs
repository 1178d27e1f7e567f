//! The bare-metal driver: for guests without Linux. No allocator, no operating system, no assumption about how memory is mapped.
//!
//! ```text
//!   Bus ──▶ Function ──▶ open ──▶ Connection ──▶ EventRegisters   emit, count, take, clear
//!    │ ConfigRegionAccess  │          │
//!    │ (Ecam, ConfigPorts, │          └────────▶ Dataport         read, write, load, store
//!    │  or your own)       ├── set_intx                 │
//!    │                     └── msix ──▶ Msix       PhysicalMemory (Mapped<your Hal>, or your own)
//!    └── place: BARs into a Window
//! ```
//!
//! The caller brings two things: a way to configuration space (any [`ConfigRegionAccess`] of `pci_types`; [`Ecam`] and, on x86,
//! `ConfigPorts` are here), and a way to guest-physical memory: a [`Hal`] that turns addresses into pointers.
//!
//! ```
//! use core::ptr::NonNull;
//! use crossvm_guest::EventCount;
//! use crossvm_guest::bare::{Bus, Ecam, Error, Hal, Intx, Mapped, PhysicalRange};
//!
//! /// A guest whose memory is mapped where it is.
//! struct Identity;
//!
//! // SAFETY: this guest's page tables map all memory, devices included, at its own address, for good.
//! unsafe impl Hal for Identity {
//!     fn map(&self, range: PhysicalRange) -> Option<NonNull<u8>> {
//!         NonNull::new(core::ptr::with_exposed_provenance_mut(usize::try_from(range.start()).ok()?))
//!     }
//! }
//!
//! fn answer(ecam: PhysicalRange) -> Result<(), Error> {
//!     let bus = Bus::new(Ecam::new(&Identity, ecam).ok_or(Error::Unreachable { range: ecam })?);
//!     for function in bus.connections() {
//!         let connection = function.open(&Mapped::new(Identity))?;
//!         function.set_intx(Intx::Enabled);
//!         let dataport = connection.dataport(&Mapped::new(Identity), crossvm_guest::DataportIndex::FIRST)?;
//!         if connection.events().take(EventCount::MAX).is_some() {
//!             let mut request = [0; 16];
//!             dataport.read(0, &mut request)?;
//!             connection.events().emit();
//!         }
//!     }
//!     Ok(())
//! }
//! ```
//!
//! # Interrupts
//!
//! | | INTx | MSI-X |
//! | --- | --- | --- |
//! | which devices have it | all: [`Function::pin`] | those of the extended profile, where the VM monitor takes messages: [`Function::msix`] is `Some` |
//! | what arrives | a level: high while COUNT is not zero | a message for each time events come; one for all that came while masked |
//! | on which interrupt | the machine's description tells for the pin; on a PC, [`Function::noted_line`] | the guest chooses: [`Msix::set_message`] |
//! | switched by | [`Function::set_intx`] | [`Msix::enable`], and then the line stays low; [`Msix::set_mask`] |
//! | whether it was this function | [`Function::interrupt_pending`], or COUNT | its message says so |
//!
//! ```no_run
//! # use crossvm_guest::bare::{ConfigRegionAccess, Error, Function, Intx, Mask, Message, PhysicalMemory, VectorIndex};
//! /// Makes `function` interrupt: by `message`, which the program's interrupt controller has given it, or else by the line.
//! fn arm(function: &Function<'_, impl ConfigRegionAccess>, memory: &impl PhysicalMemory, message: Message) -> Result<(), Error> {
//!     match function.msix(memory)? {
//!         Some(msix) => {
//!             msix.set_message(VectorIndex::FIRST, message)?;
//!             msix.set_mask(VectorIndex::FIRST, Mask::Open)?;
//!             msix.enable();
//!         }
//!         None => function.set_intx(Intx::Enabled),
//!     }
//!     Ok(())
//! }
//! ```
//!
//! # Waiting
//!
//! How a guest waits for an interrupt is its own matter. The line is high while COUNT is not zero and INTx is enabled, and a message that comes
//! while the processor's interrupts are off stays pending in its controller: so whoever takes all events before it sleeps, with interrupts
//! off in between, sleeps through none.

mod bars;
mod bus;
mod connection;
mod dataport;
mod error;
#[cfg(feature = "defmt")]
mod format;
mod function;
mod memory;
mod msix;
mod window;

pub use bars::{Bar, Bars};
pub use bus::Bus;
pub use connection::{Connection, DataportInfo};
pub use dataport::Dataport;
pub use error::Error;
pub use function::{Function, Intx, Pin};
pub use memory::{PhysicalMemory, PhysicalRange};
pub use msix::{Mask, Message, Msix, VectorIndex};
pub use pci_types::{ConfigRegionAccess, PciAddress};
pub use window::Window;

#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
pub use crate::raw::ConfigPorts;
pub use crate::raw::{Ecam, Hal, Mapped, MappedRegion};
