//! A VMM for arm64 guests, composed from the crossvm crates: the portable part.
//!
//! It boots arm64 Linux Images and the like and connects the VMs with each other and with native components. Everything that touches neither
//! hardware nor kernel is here and is tested on any host. Two programs are made of it: [`el2-vmm`](../../el2-vmm/README.md) adds the
//! instructions of EL2, [`sel4-vmm`](../../sel4-vmm/README.md) the system calls of seL4.
//!
//! ```text
//!   guest ──trap──▶ the program ─▶ exit::decode ──▶ Vm::serve ─┬─▶ exit::psci
//!     ▲                                                        ├─▶ crossvm_arm::Vgic       GICD, GICR, ICC_SGI1R
//!     │                                                        ├─▶ uart::Pl011             ─▶ console
//!     │                                                        ├─▶ crossvm_pci::PciBus     ECAM ─▶ effects ─┐
//!     │                                                        └─▶ crossvm_core::CrossVm ◀──────────────────┘
//!     │                                                                  │ emit              │ map, unmap
//!     │                                                                  ▼                   ▼
//!     └──eret◀── Vm::next ◀── mail::Mailbox ◀── kick ── mail::Notify               translation::Stage2
//! ```
//!
//! | to find | look in |
//! | --- | --- |
//! | what is composed, and how the VMM is told | [`config`], `crossvm_manifest` |
//! | the host: its memory, its device tree | [`host`] |
//! | guest-physical memory, and translation tables for it | [`space`], [`translation`] |
//! | why a guest was left, PSCI, injected exceptions | [`exit`] |
//! | the guest's machine: addresses, device tree, images | [`map`], [`guest`] |
//! | the serial port and the shared console | [`uart`], [`console`] |
//! | events and dataports between VMs | [`mail`], [`pace`], [`dataport`], [`wiring`] |
//! | native components | [`components`] |
//! | one VM, put together | [`vm`], [`vcpu`] |
//! | what is asked of the hardware or kernel, what the processor has | [`platform`], [`identity`] |
//!
//! # What a guest can do to others
//!
//! A guest's accesses end in state machines that cannot panic, block or allocate. It reaches no memory but its
//! own RAM and the dataports and event registers of its connections, and executes from its RAM alone. What it makes the VMM print is
//! bounded. A guest that does something that no machine would
//! answer gets the exception that hardware would give; one that does what the VMM cannot interpret is stopped, alone, with its registers on the console.
#![no_std]
#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::arithmetic_side_effects, unsafe_code)
)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod components;
pub mod config;
pub mod console;
#[allow(unsafe_code, reason = "takes possession of memory, as `host::PhysicalMemory` does")]
pub mod dataport;
pub mod exit;
pub mod guest;
pub mod host;
pub mod identity;
pub mod mail;
pub mod map;
pub mod pace;
pub mod platform;
pub mod space;
pub mod stats;
pub mod translation;
pub mod uart;
pub mod vcpu;
pub mod vm;
pub mod wiring;
