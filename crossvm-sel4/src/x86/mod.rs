//! Guests in VT-x vCPUs, as seL4 offers them: 32-bit protected mode with paging.
//!
//! ```text
//!                 ┌────────────── Vcpu::run ◀── Lines: levels and messages ◀── CrossVm (InterruptController)
//!                 ▼                   ▲
//!   Entry: event, window              │ Exit
//!                 │                   │  PortRead, PortWrite ──▶ crossvm_pci::ConfigPorts
//!            seL4_VMEnter ──▶ words ──┘  Memory ───────────────▶ CrossVm::handle
//!                                        Signal ───────────────▶ CrossVm::consume
//! ```
//!
//! | to find | look in |
//! | --- | --- |
//! | running the guest | [`Vcpu`] |
//! | what it starts with | [`Start`] |
//! | what it did | [`Exit`], [`Stop`] |
//! | what interrupts it: `InterruptController`, `IrqAllocator` | [`Lines`], [`FreeLines`] |
//! | when an interrupt goes in | [`injection`] |
//! | the instruction behind a trapped access | [`instruction`] |
//! | numbers and layouts of the manual | [`spec`] |
//!
//! Its memory is a [`VSpace`](crate::VSpace) on [`Space::Ept`](crate::kernel::Space::Ept).
//!
//! # What a guest may do
//!
//! Any instruction, any port and any address. Accesses that cannot be decoded are skipped, a store among them that covers EMIT emits; MSRs read as zero;
//! instructions that a guest cannot have do nothing. A guest whose own code, tables or stack lie where it has no memory cannot go on: it stops
//! alone, with the reason.
//!
//! # Taking memory away
//!
//! seL4 unmaps a page from the EPT and then invalidates with INVEPT, to which it gives the bare address of the root table where an EPT pointer belongs (memory
//! type and walk length are zero). That is no pointer of any vCPU, and processors refuse it: seen in 5.0.0 and in today's kernel, and in Bochs's log. So on
//! real hardware a translation that the processor has cached may outlive the unmapping. What follows for a VMM:
//!
//! - Frames that a guest had mapped are not given to anybody else while the guest's vCPU exists. Dataports belong to their connection, which is safe; a connection
//!   that was removed keeps its frames.
//! - A guest that moves a BAR, or turns memory decoding off, may still reach the old place. It reaches its own connection there, with the rights it had.
//! - New mappings need no invalidation, for what was not mapped is not cached. The event page is never mapped with more rights than to read.

pub mod exit;
pub mod injection;
pub mod instruction;
mod lines;
mod paging;
mod registers;
pub mod spec;
mod state;
#[cfg(test)]
mod tests;
mod vcpu;

pub use exit::{Answer, Exit, Identity, Stop};
pub use lines::{FreeLines, LineError, Lines, Vector};
pub use paging::{GuestRam, translate};
pub use registers::{GeneralRegisters, Register, RegisterPart};
pub use state::Start;
pub use vcpu::{Vcpu, open_bus};
