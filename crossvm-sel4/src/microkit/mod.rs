//! VM monitors of seL4's Microkit: everything is mapped when the system is built, and signals are channels.
//!
//! ```text
//!   Connection ── emit ──▶ ChannelNotifier ──▶ microkit_notify          notified(channel) ──▶ Channel::event ──▶ CrossVm::consume
//!       │ dataports
//!       ▼
//!   RegionDataport ──▶ BAR with a fixed address                          fault(vcpu, …) ──▶ CrossVm::handle
//!   FixedMemory ─────▶ event pages, one for each connection                    └──────────▶ VcpuInjector<MicrokitVcpus>::serve
//! ```
//!
//! A system description (`cargo xtask microkit` writes one) gives the guest its dataports and event pages, and the monitor the event pages alone. So
//! nothing is left to be mapped: [`FixedMemory`] compares what it is asked for with what there is. What follows for the guest is said at
//! [`Bar::fixed`](crossvm_core::Bar::fixed): it must leave addresses as they are.
//!
//! | to find | look in |
//! | --- | --- |
//! | what is asked of libmicrokit | [`MicrokitCalls`] |
//! | it, on the machine: feature `microkit`, with `shim/microkit.c` | `Libmicrokit` |
//! | signals | [`Channel`], [`ChannelNotifier`] |
//! | memory | [`RegionDataport`], [`FixedMemory`] |
//! | interrupts of the guest | [`MicrokitVcpus`], with [`arm`](crate::arm) |

mod calls;
mod channel;
#[cfg(all(feature = "microkit", target_os = "none", target_arch = "aarch64"))]
mod libmicrokit;
mod memory;
mod region;

pub use calls::{MicrokitCalls, MicrokitVcpus, VcpuNumber};
pub use channel::{Channel, ChannelNotifier};
#[cfg(all(feature = "microkit", target_os = "none", target_arch = "aarch64"))]
pub use libmicrokit::Libmicrokit;
pub use memory::{FixedError, FixedMemory, FixedPage};
pub use region::{Part, RegionDataport};
