//! The KVM backend of crossvm: a VMM on Linux gives its guests connections, on x86-64 and arm64.
//!
//! ```text
//!   guest                        KVM                                this process                                      the other end
//!  ┌─────────────────┐
//!  │ store to EMIT ──┼─▶ ioeventfd (EmitFds) ────────────────────────────────────────────────────▶ eventfd ──▶ its take()
//!  │                 │   or an exit ──▶ CrossVm::handle ──▶ EventNotifier::notify ───────────────▶ eventfd ──▶ its take()
//!  │ load of COUNT ◀─┼── read-only memory slot ◀──────────── SharedPage: words ◀── CrossVm::consume ◀── take() ◀── its eventfd
//!  │ interrupt ◀─────┼── KVM_IRQ_LINE, KVM_SIGNAL_MSI ◀───── InterruptController ◀───────┘
//!  │ loads, stores ◀─┼── memory slot ◀── mapping ◀────────── MemfdDataport ◀───────────────────────▶ the same memfd, in this process or another
//!  └─────────────────┘   (GuestSpace)                                          SCM_RIGHTS
//! ```
//!
//! | to find | look in |
//! | --- | --- |
//! | memory with a sealed size, to share with other processes | [`memfd`] |
//! | memory that is shared with guests: `Dataport` | [`dataport`] |
//! | the guest's address space with its event pages: `GuestMemory` | [`space`] |
//! | signals between the ends: `Notifier` | [`notifier`] |
//! | EMIT without an exit | [`emit`] |
//! | interrupt controllers in the kernel, split between kernel and process, on arm64: `InterruptController` | [`interrupts`] |
//! | free lines: `IrqAllocator`; routes; eventfds that interrupt | [`GsiPool`], [`GsiRoutes`], [`IrqFd`], [`ResampledIrqFd`] |
//! | whether this machine's KVM will do | [`probe`](fn@probe), and `probe_guest` on x86 |
//! | which call failed, and how | [`CallError`] in every error |
//!
//! `PciSpace` is `crossvm-pci`'s. vCPUs, consoles and images to boot are the VMM's: `examples/kvm-vmm` is one, on the rust-vmm crates.
//!
//! # Which interrupt controller
//!
//! | | x86-64 | arm64 |
//! | --- | --- | --- |
//! | all in the kernel | `KernelInterrupts` | `Vgic` and `VgicInterrupts`, version 2 or 3 |
//! | local APICs in the kernel, IOAPIC and 8259 pair in this process | `SplitInterrupts` | – |
//! | a message (MSI-X) | `KVM_SIGNAL_MSI` | `KVM_SIGNAL_MSI` with an ITS; else a `GICv2m` frame, whose messages are pulses of an SPI |
//! | lines for connections | [`GsiPool::pc`]: GSI 16 to 23 | [`GsiPool::new`]: SPIs of the VMM's choice |
//!
//! # Who maps what how, on arm64
//!
//! | | event registers | dataports |
//! | --- | --- | --- |
//! | this process | write-back cacheable | write-back cacheable |
//! | KVM's stage 2 | write-back cacheable, read-only | write-back cacheable, with the end's rights |
//! | a Linux guest by `resourceN` (`uio_pci_generic`) | Device | Device |
//! | a Linux guest by `resourceN_wc` | – | Normal, not cacheable |
//! | a Linux guest by our own driver | Device | write-back cacheable |
//!
//! The guest's attribute and that of stage 2 are combined. With FEAT_S2FWB (Armv8.4; not in Cortex-A72 or Neoverse N1), KVM has stage 2 override the guest's: all
//! see write-back memory, and nothing is to be done. Without it the weaker one counts: a guest with Device or non-cacheable memory reads and writes past the caches. KVM
//! writes a page back once, when the guest reaches it first, and leaves the rest to others:
//!
//! - [`SharedPage`] writes each event register back when it is published, so that COUNT is right for every guest. That is one instruction
//!   (`dc cvac`, which Linux lets programs use) for each event, with FEAT_S2FWB as well: a program cannot ask for it.
//! - Both guests of a dataport map it alike, or clean and invalidate around their accesses. By `resourceN_wc` at both ends, or by our driver at both, they do.
//! - A component of this process is a cacheable end. For a guest that is not, it invalidates before it reads and cleans behind what it writes
//!   (`dc civac`, `dc cvac`), as those of `examples/kvm-vmm` do.
//!
//! QEMU has no caches, so no run under it shows whether this is right. It has not been tried on hardware.
//!
//! # What a peer process can do
//!
//! It shares what it was sent: the bytes of the dataports and the counters of the eventfds. It cannot cut a dataport short, as its size is sealed and
//! [`Memfd::from_fd`] looks. It cannot make [`EventNotifier::take`] block. What it can, if it makes an eventfd blocking and full, is to have an emit of ours that is
//! an exit wait; one that KVM signals never does.
//!
//! # Example
//!
//! One connection of a guest whose event registers KVM itself serves. Without `/dev/kvm`, the example says so and ends.
//!
//! ```
//! # #[cfg(target_arch = "x86_64")]
//! # mod example {
//! use std::sync::Arc;
//! use crossvm_core::{Config, Connection, CrossVm, EventId, EventSet, FrameSize, Notifier, Parts, Rights, device::Name};
//! use crossvm_kvm::{EmitFds, EventNotifier, GsiPool, GuestSpace, KernelInterrupts, Memfd, MemfdDataport, probe};
//! use crossvm_pci::{HostBridge, PciBus};
//! use crossvm_x86::Routing;
//! use vm_memory::{GuestAddress, GuestRegionMmap};
//!
//! # pub fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let report = probe();
//! if !report.is_usable() {
//!     eprintln!("{report}");
//!     return Ok(());
//! }
//! let kvm = Arc::new(kvm_ioctls::Kvm::new()?.create_vm()?);
//! let interrupts = KernelInterrupts::create(Arc::clone(&kvm), &Routing::PC)?;
//! let mut memory = GuestSpace::new(Arc::clone(&kvm))?;
//! memory.add_ram(Arc::new(GuestRegionMmap::from_range(GuestAddress(0), 1 << 20, None)?))?;
//! let window = crossvm_core::GuestRange::new(crossvm_core::GuestAddr::new(0xc000_0000), 1 << 28).unwrap();
//! let mut vm = Parts { memory, pci: PciBus::<8>::new(HostBridge::default(), window), irqs: GsiPool::pc(), interrupts };
//!
//! // The peer, in this process or another, has clones of these: it maps the memory, signals `to_us` and takes from `to_peer`.
//! let (to_us, to_peer) = (EventNotifier::new()?, EventNotifier::new()?);
//! let memfd = Arc::new(Memfd::create("camera", 1 << 20)?);
//! let event = EventId::new(0).unwrap();
//! let camera = Connection::new(Name::new("camera").unwrap())
//!     .with_dataport(MemfdDataport::new(memfd, FrameSize::KIB_4)?, Rights::ReadWrite)?
//!     .with_emit(to_peer.clone())
//!     .with_event(event);
//! let mut connections = CrossVm::<_, _, _, 8>::new(Config::default());
//! let camera = connections.install(&mut vm, [camera])?[0];
//!
//! // From here on, and after each change of the mappings, KVM signals the peer when the guest stores to EMIT.
//! let mut emits = EmitFds::new(kvm);
//! emits.follow(&connections, |id| (id == camera).then_some(&to_peer))?;
//!
//! // The peer signals: the guest's COUNT rises, and its interrupt line.
//! to_us.notify()?;
//! let signals = to_us.take()?;
//! assert_eq!(signals, 1);
//! connections.consume(&mut vm, EventSet::of(event))?;
//! assert_eq!(connections.status(camera).unwrap().count, 1);
//! # Ok(())
//! # }
//! # }
//! # #[cfg(target_arch = "x86_64")]
//! # example::run().unwrap();
//! ```
#![deny(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::arithmetic_side_effects)
)]

pub mod dataport;
pub mod emit;
mod error;
pub mod interrupts;
pub mod memfd;
pub mod notifier;
#[cfg(target_arch = "x86_64")]
pub mod payload;
mod probe;
#[allow(unsafe_code)]
mod raw;
pub mod space;

pub use dataport::{DataportError, Frame, MemfdDataport};
pub use emit::{EmitErrors, EmitFds};
pub use error::{Call, CallError};
pub use interrupts::{GsiPool, GsiRoutes, InterruptError, IrqFd, ResampledIrqFd, Route};
#[cfg(target_arch = "x86_64")]
pub use interrupts::{KernelInterrupts, SplitInterrupts};
#[cfg(target_arch = "aarch64")]
pub use interrupts::{Vgic, VgicConfig, VgicInterrupts, VgicVersion};
pub use memfd::{Memfd, MemfdError};
pub use notifier::{EventNotifier, NotifierError};
#[cfg(target_arch = "x86_64")]
pub use probe::{GuestReport, probe_guest};
pub use probe::{Report, probe};
pub use space::{GuestSpace, SharedPage, SpaceError};
