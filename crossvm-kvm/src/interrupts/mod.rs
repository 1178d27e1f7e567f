//! Interrupts to the guest.
//!
//! ```text
//!   CrossVm ── set_level ──▶ KVM_IRQ_LINE ──▶ routes of the GSI ──▶ IOAPIC pin, 8259 input   (x86, all in the kernel)
//!           │                            └──▶ the vGIC's SPI                                (arm64)
//!           └─ deliver_msi ▶ KVM_SIGNAL_MSI ─▶ local APIC, ITS;  or a pulse of an SPI, where the VMM has a GICv2m frame
//!
//!   others ── eventfd ─────▶ KVM_IRQFD ─────▶ routes of the GSI                             (IrqFd, ResampledIrqFd)
//! ```
//!
//! The lines of connections go by `KVM_IRQ_LINE` on purpose, and not by a resampled irqfd: the contract wants that a line is low when the guest's store that
//! clears the event completes, and a resampled irqfd stays high until the guest's end of interrupt. The building blocks are here for devices that can live with that.

mod gsi;
#[cfg(target_arch = "x86_64")]
mod irqchip;
mod irqfd;
#[cfg(target_arch = "x86_64")]
mod kernel;
mod routes;
#[cfg(target_arch = "x86_64")]
mod split;
#[cfg(target_arch = "aarch64")]
mod vgic;

use std::fmt;

use crossvm_core::{Bdf, ErrorKind, Irq, Message};
use kvm_ioctls::VmFd;
use rustix::io::Errno;

use crate::error::{Call, CallError};

pub use gsi::{GsiPool, NoGsi};
pub use irqfd::{IrqFd, ResampledIrqFd};
#[cfg(target_arch = "x86_64")]
pub use kernel::KernelInterrupts;
pub use routes::{GsiRoutes, Route};
#[cfg(target_arch = "x86_64")]
pub use split::{KvmApics, SplitInterrupts};
#[cfg(target_arch = "aarch64")]
pub use vgic::{Vgic, VgicConfig, VgicInterrupts, VgicVersion};

/// Why an interrupt controller does not do what it was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum InterruptError {
    /// There is no such line.
    NoLine(Irq),
    /// A call failed.
    Call(CallError),
}

impl From<CallError> for InterruptError {
    fn from(error: CallError) -> Self {
        Self::Call(error)
    }
}

impl crossvm_core::Error for InterruptError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NoLine(_) => ErrorKind::OutOfRange,
            Self::Call(error) => error.kind(),
        }
    }
}

impl fmt::Display for InterruptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoLine(irq) => write!(f, "there is no interrupt line {irq}"),
            Self::Call(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for InterruptError {}

/// The low and the high half of an address.
fn halves(address: u64) -> (u32, u32) {
    let [a, b, c, d, e, f, g, h] = address.to_le_bytes();
    (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]))
}

/// A message as an entry of KVM's routing table.
fn msi_route(requester: Bdf, message: Message, with_device: bool) -> kvm_bindings::kvm_irq_routing_msi {
    let (address_lo, address_hi) = halves(message.address);
    let mut route = kvm_bindings::kvm_irq_routing_msi { address_lo, address_hi, data: message.data, ..Default::default() };
    if with_device {
        route.__bindgen_anon_1.devid = requester.requester_id().into();
    }
    route
}

/// Sends a message. Whether anyone took it does not matter: the guest has chosen where it goes.
fn signal_msi(vm: &VmFd, requester: Bdf, message: Message, with_device: bool) -> Result<(), CallError> {
    let (address_lo, address_hi) = halves(message.address);
    let mut msi = kvm_bindings::kvm_msi { address_lo, address_hi, data: message.data, ..Default::default() };
    if with_device {
        msi.devid = requester.requester_id().into();
        msi.flags = kvm_bindings::KVM_MSI_VALID_DEVID;
    }
    match vm.signal_msi(msi).map_err(CallError::of_ioctl(Call::SignalMsi)) {
        // KVM returns -1 where no vCPU is addressed, which reads as EPERM. An ITS that does not know the device or the event says ENODEV or EINVAL.
        Err(error) if [Errno::PERM, Errno::NODEV, Errno::INVAL].map(Errno::raw_os_error).contains(&error.errno()) => Ok(()),
        result => result.map(drop),
    }
}
