//! The seL4 backend of crossvm: a VM monitor that is a seL4 program gives its guests connections.
//!
//! ```text
//!   crossvm_core::CrossVm
//!     │ Dataport          │ Notifier              │ GuestMemory         │ InterruptController
//!     ▼                   ▼                       ▼                     ▼
//!   frames            notifications           the guest's VSpace     list registers, VM entry
//!     └───────────────────┴──────────┬────────────┴─────────────────────┘
//!                                    ▼
//!                           kernel::Kernel: the few system calls that all of this takes
//!                                    │
//!              ┌─────────────────────┼──────────────────────┐
//!         an installed libsel4    rust-sel4         a simulated kernel (crossvm-testkit)
//! ```
//!
//! | to find | look in |
//! | --- | --- |
//! | what is asked of the kernel | [`kernel`] |
//! | memory that is shared: `Dataport` | [`frame`] |
//! | signals to peers: `Notifier` | [`notification`] |
//! | signals of peers, and the VMM's own beside them | [`badge`] |
//! | the guest's address space with its event pages: `GuestMemory` | [`vspace`] |
//! | a vCPU's list registers, for `crossvm-arm` | [`arm`] |
//! | where capability slots and kernel objects come from | [`objects`] |
//! | guests in VT-x vCPUs | [`x86`] |
//! | programs of Microkit, where all is mapped when the system is built | [`microkit`] |
//! | an installed libsel4 | `libsel4` (feature `libsel4`, on targets without an operating system) |
//! | rust-sel4 | the package in `rust-sel4/`, outside the workspace |
//!
//! # Example
//!
//! One connection of a guest. The simulated kernel stands where a real one would; the guest's PCI bus and interrupts are fakes.
//!
//! ```
//! use crossvm_core::{Config, Connection, CrossVm, EventId, GuestAccess, Level, Outcome, Parts, Rights, Width, device::Name};
//! use crossvm_sel4::kernel::{Kernel, Object, Space};
//! use crossvm_sel4::{BadgeSet, Frame, FrameDataport, FrameKind, NotificationNotifier, ObjectPool, Objects, VSpace};
//! use crossvm_testkit::sel4::{Arch, SimKernel, SimWindow};
//! use crossvm_testkit::{FakeBus, FakeInterrupts, FakeIrqs, RAM, WINDOW, range};
//!
//! // What the kernel leaves to a root task: empty slots and untyped memory. From it the guest's address space, a frame to share, and the
//! // notifications where the VMM and its peer receive.
//! let kernel = SimKernel::new(Arch::Aarch64, [24]);
//! let mut pool = ObjectPool::<_, 16, 256>::new(kernel.clone(), kernel.first_free(), 1000)?;
//! pool.add_untyped(SimKernel::UNTYPED, 24)?;
//! let slots = pool.allocate_slots(6)?;
//! let [guest, frame, bell, peer, emit, back] = [0, 1, 2, 3, 4, 5].map(|index| slots.offset(index));
//! let objects = [Object::VSpace, Object::SmallFrame, Object::Notification, Object::Notification];
//! for (slot, object) in [guest, frame, bell, peer].into_iter().zip(objects) {
//!     pool.create(object, slot)?;
//! }
//! kernel.assign_asid(SimKernel::ASID_POOL, guest)?;
//!
//! // On the machine, `OwnSpace` takes the place of `SimWindow`: addresses of the VMM's own where event pages may appear.
//! let window = SimWindow::new(kernel.clone(), 0x1000_0000, 0x20_0000);
//! let memory: VSpace<_, _, _> = VSpace::new(kernel.clone(), pool, Space::Virtual(guest), window)?.with_taken(range(RAM))?;
//! let mut vm = Parts { memory, pci: FakeBus::new(range(WINDOW)), irqs: FakeIrqs::new(32..64), interrupts: FakeInterrupts::default() };
//!
//! let event = EventId::new(3).unwrap();
//! let camera = Connection::new(Name::new("camera").unwrap())
//!     .with_dataport(FrameDataport::checked(&kernel, [Frame::new(frame, FrameKind::Small)])?, Rights::ReadWrite)?
//!     .with_emit(NotificationNotifier::mint(kernel.clone(), peer, emit, event)?)
//!     .with_event(event);
//! let mut connections = CrossVm::<_, _, _, 8>::new(Config::default());
//! let camera = connections.install(&mut vm, [camera])?[0];
//!
//! // The guest has the frame and its event registers. Its store to EMIT is stopped by the kernel: the fault's message becomes an access.
//! let bars = connections.status(camera).unwrap().bars;
//! kernel.store(Space::Virtual(guest), bars[1].mapped_at.unwrap().get(), b"hello").unwrap();
//! let emit = bars[0].mapped_at.unwrap();
//! assert!(kernel.store(Space::Virtual(guest), emit.get(), &[1]).is_err());
//! assert_eq!(connections.handle(&mut vm, GuestAccess::Write { at: emit, width: Width::U8, value: 1 })?, Outcome::Emitted(camera));
//! assert_eq!(kernel.poll(peer).events(), crossvm_core::EventSet::of(event));
//!
//! // The peer signals back: what the VMM receives is one word, with the events of every connection that is concerned.
//! kernel.signal(NotificationNotifier::mint(kernel.clone(), bell, back, event)?.capability());
//! BadgeSet::ALL.consume(&mut connections, &mut vm, kernel.poll(bell))?;
//! assert_eq!(vm.interrupts.level(connections.status(camera).unwrap().irq.unwrap()), Level::High);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![no_std]
#![deny(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::arithmetic_side_effects)
)]

#[cfg(test)]
extern crate std;

pub mod arm;
pub mod badge;
pub mod frame;
pub mod kernel;
#[cfg(all(feature = "libsel4", target_os = "none"))]
#[allow(unsafe_code)]
pub mod libsel4;
pub mod microkit;
pub mod notification;
pub mod objects;
pub mod vspace;
pub mod x86;

pub use arm::VcpuInjector;
pub use badge::BadgeSet;
pub use frame::{Frame, FrameDataport, FrameKind};
pub use notification::NotificationNotifier;
pub use objects::{ObjectPool, Objects};
pub use vspace::{OwnSpace, VSpace, WindowSpace};
