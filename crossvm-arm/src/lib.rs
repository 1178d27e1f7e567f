//! A virtual interrupt controller for Arm guests: `GICv2` (Arm IHI 0048) and `GICv3` (Arm IHI 0069) as plain data.
//!
//! ```text
//!   guest                                  VMM                                         devices
//!     │ load, store at GICD, GICR           │                                             │
//!     ├────────────────────────────────────▶│ distributor_read/_write                     │
//!     │                                     │ redistributor_read/_write     set_spi_level │
//!     │ ICC_SGI1R_EL1                       │        │                      pulse_spi     │
//!     ├────────────────────────────────────▶│ write_sgi1r   │      ┌── deliver_message ───┤
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
//! SGIs, PPIs and up to 988 SPIs, level and edge, 32 priorities, groups 0 and 1, both EOI modes, up to 8 vCPUs, interrupts by message.
//!
//! [`Version::V3`]: one Security state, affinity routing always on: what Linux and other guests find under KVM. Routing by affinity and
//! 1 of N. No LPIs, no ITS and no extended INTIDs; `GICD_TYPER` says so.
//!
//! [`Version::V2`]: no Security Extensions. SGIs are pending once for each vCPU that sent them, and enabled always. SPIs go to one vCPU of
//! those in `GICD_ITARGETSR`.
//!
//! # How a VMM wires it
//!
//! A version 2 guest needs a physical `GICv2`, a version 3 guest a physical `GICv3`. [`Vgic::with_version`] decides; all else is
//! the same type.
//!
//! | | version 2 | version 3 |
//! | --- | --- | --- |
//! | traps, to [`distributor_read`](Vgic::distributor_read) and [`_write`](Vgic::distributor_write) | `GICD`, 4 KiB | `GICD`, 64 KiB |
//! | traps, to [`redistributor_read`](Vgic::redistributor_read) and [`_write`](Vgic::redistributor_write) | – | `GICR`, 128 KiB for each vCPU |
//! | traps, to [`cpu_interface_write`](Vgic::cpu_interface_write) | second page of 4 KiB of `GICC`: `GICC_DIR` | – |
//! | traps, to [`write_sgi1r`](Vgic::write_sgi1r) and its siblings | – (`GICD_SGIR` is in `GICD`) | `ICC_SGI1R_EL1`, `ICC_SGI0R_EL1`, `ICC_ASGI1R_EL1` |
//! | traps when [`load`](Vgic::load) asks for it, to [`write_dir`](Vgic::write_dir) | – | `ICC_DIR_EL1` |
//! | traps, to [`message_frame_read`](Vgic::message_frame_read) and [`_write`](Vgic::message_frame_write) | the `GICv2m` frame | – (`GICD_SETSPI_NSR` is in `GICD`) |
//! | mapped for the guest | first page of 4 KiB of the physical `GICV`, where the guest has its `GICC` | – |
//! | not for the guest | `GICC`, `GICH`, second page of `GICV` | `ICH_*_EL2` |
//! | [`ListRegisters`] | [`Gich`] over the frame `GICH` | `ICH_LR<n>_EL2`, `ICH_HCR_EL2`, `ICH_VMCR_EL2` |
//! | belongs to the vCPU, kept by the VMM where vCPUs share a CPU | `GICH_VMCR`, `GICH_APR` | `ICH_VMCR_EL2`, `ICH_AP<n>R<m>_EL2` |
//! | device tree | `arm,cortex-a15-gic` (and `arm,gic-v2m-frame`) | `arm,gic-v3` (and `msi-controller`, `mbi-ranges`) |
//!
//! The second page of `GICV` is `GICV_DIR` alone. A guest that deactivates apart from the end of interrupt (`EOImode` = 1) may name any
//! interrupt there, in a list register or not, and hardware would only count those that are in none. Linux does so only where it is
//! a hypervisor itself, so the trap costs little.
//!
//! Messages: [`Vgic::with_messages`] sets SPIs aside. A device's message goes to [`deliver_message`](Vgic::deliver_message), which is also what
//! `deliver_msi` does, a guest's store to the trapped frame.
//!
//! What is read of pending and active interrupts is exact for the vCPU that reads. For those in the list registers of vCPUs that run
//! elsewhere, [`distributor_holders`](Vgic::distributor_holders) tells whom to stop first.
//!
//! A vCPU that is switched off or on goes to [`reset_vcpu`](Vgic::reset_vcpu), the whole VM to [`reset`](Vgic::reset).
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
//! gic.distributor_write(vcpu, 0x000, Width::U32, 0b10);
//! gic.distributor_write(vcpu, 0x084, Width::U32, 1 << 8);
//! gic.distributor_write(vcpu, 0x104, Width::U32, 1 << 8);
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
//! The same with version 2: [`Gich`] needs only to be told how to reach the frame `GICH`, and SPIs 64 to 95 are for messages.
//!
//! ```
//! use crossvm_arm::{Gich, GichFrame, ListRegisters, Messages, Spi, SpiRange, VcpuId, Version, Vgic};
//! use crossvm_core::{GuestAddr, Message, Width};
//!
//! // On bare metal: volatile loads and stores of device memory. Here: memory, with four list registers.
//! struct Frame([u32; 0x44]);
//!
//! impl GichFrame for Frame {
//!     fn read(&self, offset: u32) -> u32 { if offset == 0x4 { 3 } else { self.0[offset as usize / 4] } }
//!     fn write(&mut self, offset: u32, value: u32) { self.0[offset as usize / 4] = value; }
//! }
//!
//! let messages = Messages::new(GuestAddr::new(0x0802_0000), SpiRange::new(Spi::new(64).unwrap(), 32).unwrap());
//! let mut gic = Vgic::<2, 2>::with_version(Version::V2).with_messages(messages)?;
//! let (first, second) = (VcpuId::new(0).unwrap(), VcpuId::new(1).unwrap());
//! let mut registers = Gich::new(Frame([0; 0x44]));
//!
//! // The guest's driver has SPI 70 as an edge, enabled, to the first vCPU. Then a device sends its message.
//! gic.distributor_write(first, 0x000, Width::U32, 1);
//! gic.distributor_write(first, 0xc11, Width::U8, 0b10 << 4);
//! gic.distributor_write(first, 0x108, Width::U32, 1 << 6);
//! gic.deliver_message(Message { address: 0x0802_0040, data: 70 });
//! // And the second vCPU sends SGI 3 to the first.
//! gic.distributor_write(second, 0xf00, Width::U32, 0b01 << 16 | 3);
//!
//! gic.load(first, &mut registers);
//! assert_eq!((registers.read(0).virtual_intid(), registers.read(0).physical_intid()), (3, 1), "sent by vCPU 1");
//! assert_eq!(registers.read(1).virtual_intid(), 70);
//! # Ok::<(), crossvm_arm::Error>(())
//! ```
//!
//! # The rooms
//!
//! | to find | look in |
//! | --- | --- |
//! | offsets and layouts of registers | [`spec`] |
//! | `GICD_*` | `distributor/`, a file for each version |
//! | `GICR_*`, `GICR_WAKER` | `redistributor.rs` |
//! | registers with a field for each interrupt, in all frames | `registers.rs` |
//! | accesses of odd widths and offsets | `lanes.rs` |
//! | the state of 32 interrupts | `bank.rs` |
//! | routing of SPIs | `spi.rs` |
//! | `ICC_SGI1R_EL1` and its siblings | `sgi.rs` |
//! | who sent an SGI, in version 2 | `sources.rs` |
//! | messages, the `GICv2m` frame | `message.rs` |
//! | list registers: filling, folding, maintenance, `GICH_*` | `delivery/` |
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
mod message;
mod physical;
mod redistributor;
mod registers;
mod sgi;
mod sources;
pub mod spec;
mod spi;
#[cfg(test)]
mod testing;
mod version;
mod vgic;

pub use delivery::{Gich, GichFrame, ListRegisters};
pub use error::Error;
pub use id::{IntId, PhysicalIntId, Ppi, Spi, SpiRange, VcpuId, VcpuSet};
pub use message::Messages;
pub use version::Version;
pub use vgic::Vgic;
