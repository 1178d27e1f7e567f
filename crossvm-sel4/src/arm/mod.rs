//! Guests of seL4's Arm hypervisor configuration: their interrupts.
//!
//! ```text
//!   a peer's event, a device ──▶ crossvm_arm::Vgic::set_level ─┐
//!   VppiEvent (a timer) ───────▶ Vgic::set_ppi_level ──────────┤
//!                                                              ▼
//!                                    Vgic::load ──▶ VcpuInjector::write ──▶ seL4_ARM_VCPU_InjectIRQ
//!                                       ▲                                          │
//!                                       │                                          ▼
//!                       Vgic::load ◀── VcpuInjector::serve ◀── VGICMaintenance ── the guest ends it
//! ```
//!
//! The kernel has the list registers. It puts an interrupt into one, and says when the guest has ended it; it neither tells what is in a register nor
//! takes it back, and an interrupt that is put where another one is pending overwrites it. So the injector remembers which registers are busy, from
//! injection to maintenance message, and the [`Vgic`](crossvm_arm::Vgic) knows it for [one way](crossvm_arm::ListRegisters::one_way). What does not fit waits there.
//!
//! For the VMM:
//!
//! - Call [`Vgic::load`](crossvm_arm::Vgic::load) after everything that may have made an interrupt pending, and after [`VcpuInjector::serve`]. The vCPU need not
//!   have left the guest.
//! - On `WFI`, the guest goes on at once while [`Vgic::has_pending`](crossvm_arm::Vgic::has_pending) or [`VcpuInjector::in_flight`] says that something may
//!   wait for it.
//! - A vCPU that starts again gets a new vCPU object and a new injector: there is no other way to empty its registers.
//! - Guests that deactivate apart from the end of interrupt (`EOImode` = 1) are not served: their `GICC_DIR` traps, and a register cannot be emptied.
//! - In version 2 the guest reads 0 for the vCPU that sent an SGI: the kernel has no room for it.

mod injector;

pub use injector::{Served, VcpuInjector};
