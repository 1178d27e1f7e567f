//! A virtual interrupt controller for Arm guests: `GICv3` (Arm IHI 0069) as plain data.
//!
//! ```text
//!   guest                                  VMM                                         devices
//!     │ load, store at GICD, GICR           │                                             │
//!     ├────────────────────────────────────▶│ distributor_read/_write                     │
//!     │                                     │ redistributor_read/_write     set_spi_level │
//!     │ ICC_SGI1R_EL1                       │        │                      pulse_spi     │
//!     ├────────────────────────────────────▶│ write_sgi1r   │      ┌───────────────────────┤
//!     │                                     ▼        ▼      ▼      ▼      set_ppi_level    │
//!     │                            ┌───────────────────────────────────┐  raise_hardware   │
//!     │                            │ Vgic: enabled, pending, active,   │◀──────────────────┘
//!     │                            │ line, edge, group, priority, route│──▶ take_kicks: vCPUs to interrupt
//!     │                            └──────┬─────────────────────▲──────┘──▶ take_deactivation: physical
//!     │                     before entry: │ load    at an exit: │ save         interrupts given back
//!     │                                   ▼                     │
//!     │ acknowledge, end of interrupt  ┌──────────────────────────┐
//!     └───────────────────────────────▶│ ListRegisters (hardware) │   no exit
//!                                      └──────────────────────────┘
//! ```
//!
//! The guest acknowledges and ends interrupts in its virtual CPU interface, which is hardware. Everything else exits to the VMM, which
//! gives the access to [`Vgic`] and nothing more. The state is here between a [`save`](Vgic::save) and the next
//! [`load`](Vgic::load), and in the [`ListRegisters`] while the guest runs.
//!
//! # What is modelled
//!
//! One Security state, affinity routing always on: what Linux and other guests find under KVM. SGIs, PPIs and up to 988 SPIs, level and
//! edge, 32 priorities, groups 0 and 1, routing by affinity and 1 of N, up to 8 vCPUs. No LPIs and no ITS, no message-based SPIs, no
//! extended INTIDs. `GICD_TYPER` says so.
//!
//! # An example
//!
//! ```
//! use crossvm_arm::spec::{HypervisorControl, ListRegister, MachineControl, State};
//! use crossvm_arm::{ListRegisters, Spi, VcpuId, Vgic};
//! use crossvm_core::{Level, Width};
//!
//! // On bare metal these are ICH_LR<n>_EL2, ICH_HCR_EL2 and ICH_VMCR_EL2. Here: memory.
//! #[derive(Default)]
//! struct Registers([ListRegister; 4], HypervisorControl);
//!
//! impl ListRegisters for Registers {
//!     fn count(&self) -> usize { self.0.len() }
//!     fn read(&self, index: usize) -> ListRegister { self.0[index] }
//!     fn write(&mut self, index: usize, value: ListRegister) { self.0[index] = value; }
//!     fn control(&self) -> HypervisorControl { self.1 }
//!     fn set_control(&mut self, value: HypervisorControl) { self.1 = value; }
//!     fn machine_control(&self) -> MachineControl { MachineControl::new().with_enable_group1(true) }
//! }
//!
//! // One vCPU, 64 SPIs; it may stand in a static.
//! let mut gic = Vgic::<1, 2>::new();
//! let vcpu = VcpuId::new(0).unwrap();
//! let mut registers = Registers::default();
//!
//! // The guest's driver wakes its redistributor and enables SPI 40 in group 1.
//! gic.redistributor_write(vcpu, 0x14, Width::U32, 0);
//! gic.distributor_write(0x000, Width::U32, 0b10);
//! gic.distributor_write(0x084, Width::U32, 1 << 8);
//! gic.distributor_write(0x104, Width::U32, 1 << 8);
//!
//! // A device raises its line; the interrupt is in a list register at the next entry.
//! gic.set_spi_level(Spi::new(40).unwrap(), Level::High)?;
//! gic.load(vcpu, &mut registers);
//! assert_eq!((registers.0[0].virtual_intid(), registers.0[0].state()), (40, State::Pending));
//!
//! // The guest acknowledges it, has the device lower the line, and ends it.
//! registers.0[0].set_state(State::Active);
//! gic.save(vcpu, &mut registers);
//! gic.set_spi_level(Spi::new(40).unwrap(), Level::Low)?;
//! gic.load(vcpu, &mut registers);
//! registers.0[0].set_state(State::Inactive);
//! gic.save(vcpu, &mut registers);
//! assert!(!gic.has_pending(vcpu));
//! # Ok::<(), crossvm_arm::Error>(())
//! ```
//!
//! # The rooms
//!
//! | to find | look in |
//! | --- | --- |
//! | offsets and layouts of registers | [`spec`] |
//! | `GICD_*` | `distributor.rs` |
//! | `GICR_*`, `GICR_WAKER` | `redistributor.rs` |
//! | registers with a field for each interrupt, in both frames | `registers.rs` |
//! | accesses of odd widths and offsets | `lanes.rs` |
//! | the state of 32 interrupts | `bank.rs` |
//! | routing of SPIs | `spi.rs` |
//! | `ICC_SGI1R_EL1` and its siblings | `sgi.rs` |
//! | list registers: filling, folding, maintenance | `delivery/` |
//! | physical interrupts that stand behind a guest's | `physical.rs` |
//! | lines, kicks, power-on | `vgic.rs` |
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::arithmetic_side_effects)
)]

#[cfg(test)]
extern crate std;

mod bank;
mod delivery;
mod distributor;
mod error;
mod id;
mod lanes;
mod physical;
mod redistributor;
mod registers;
mod sgi;
pub mod spec;
mod spi;
#[cfg(test)]
mod testing;
mod vgic;

pub use delivery::ListRegisters;
pub use error::Error;
pub use id::{IntId, PhysicalIntId, Ppi, Spi, VcpuId, VcpuSet};
pub use vgic::Vgic;
