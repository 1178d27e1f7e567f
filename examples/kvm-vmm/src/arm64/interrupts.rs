//! The interrupt controller in the kernel, and the frame in front of it that takes messages.
//!
//! The guest has a GICv3 where KVM offers one, else a GICv2. Messages go to a `GICv2m` frame in both cases: it is emulated here, and its SPIs are edges on
//! KVM's lines. Linux accepts such a frame below a GICv3 too, as long as that has no LPIs.

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use crossvm_arm::{Messages, Spi, SpiRange};
use crossvm_core::{Bdf, ErrorType, GuestAddr, InterruptController, Irq, Level, Message, Width};
use crossvm_kvm::{InterruptError, Vgic, VgicConfig, VgicInterrupts, VgicVersion};
use kvm_ioctls::VmFd;
use vmm_common::guest::Controller;

use super::map;
use crate::cli::Irqchip;

/// How many SPIs there are: up to the last one for messages, in whole words.
const SPIS: u32 = (vmm_common::map::FIRST_MESSAGE_IRQ + vmm_common::map::MESSAGE_IRQS as u32 - 32).next_multiple_of(32);

/// Makes the vGIC of a VM whose vCPUs are there and have been reset.
///
/// # Errors
/// What KVM reports for a GICv2, where it has neither.
pub(super) fn create(vm: &VmFd) -> Result<Vgic> {
    let (distributor, redistributors) = (vmm_common::map::DISTRIBUTOR.start(), vmm_common::map::REDISTRIBUTORS.start());
    let of = |version| Vgic::create(vm, VgicConfig { version, spis: SPIS });
    let created = of(VgicVersion::V3 { distributor, redistributors, its: None }).or_else(|error| {
        // The host's is a GICv2.
        if error.errno() != libc::ENODEV {
            return Err(error);
        }
        of(VgicVersion::V2 { distributor, cpu_interface: vmm_common::map::CPU_INTERFACE.start() })
    });
    let mut vgic = created.context("an interrupt controller in the kernel")?;
    vgic.finish().context("the interrupt controller in the kernel")?;
    Ok(vgic)
}

/// How the device tree describes it.
pub(super) const fn controller(vgic: &Vgic) -> Controller {
    match vgic.config().version {
        VgicVersion::V2 { .. } => Controller::V2,
        VgicVersion::V3 { .. } => Controller::V3WithFrame,
    }
}

/// The interrupts of a VM.
#[derive(Debug)]
pub(crate) struct Interrupts {
    vgic: Arc<Vgic>,
    vcpus: u8,
    lines: VgicInterrupts,
    frame: Messages,
}

impl Interrupts {
    /// Those of `vm` with so many vCPUs.
    ///
    /// # Errors
    /// Where `place` is not [`Irqchip::Kernel`].
    pub(super) fn new(vm: &Arc<VmFd>, vgic: Arc<Vgic>, vcpus: u8, place: Irqchip) -> Result<Self> {
        if place != Irqchip::Kernel {
            bail!("--irqchip split is for x86: on arm64 the interrupt controller is in the kernel");
        }
        let spis = Spi::new(vmm_common::map::FIRST_MESSAGE_IRQ).and_then(|first| SpiRange::new(first, vmm_common::map::MESSAGE_IRQS));
        let frame = Messages::new(map::MESSAGE_FRAME.start(), spis.context("SPIs for messages")?);
        let lines = VgicInterrupts::new(Arc::clone(vm), &vgic).with_message_frame(frame);
        Ok(Self { vgic, vcpus, lines, frame })
    }

    /// Back to power-on. All lines are low, and the vCPUs stopped.
    ///
    /// # Errors
    /// What KVM reports.
    pub(crate) fn reset(&mut self) -> Result<()> {
        self.vgic.reset(self.vcpus).context("the interrupt controller cannot be reset")
    }

    /// Whether a vCPU must leave the guest for an interrupt: KVM sees to that.
    pub(crate) const fn take_kick(&self) -> bool {
        false
    }

    /// Whether something could not be delivered that nobody was told of: never.
    pub(crate) const fn take_failed(&self) -> bool {
        false
    }

    /// Tries again what could not be delivered.
    pub(crate) const fn retry(&self) {}

    /// The guest loads; `None` where nothing of theirs is.
    pub(crate) fn load(&self, at: GuestAddr, width: Width) -> Option<u64> {
        Some(self.frame.frame_read(frame_offset(at)?, width))
    }

    /// The guest stores; whether something of theirs is there.
    pub(crate) fn store(&mut self, at: GuestAddr, width: Width, value: u64) -> bool {
        let Some(offset) = frame_offset(at) else { return false };
        // A line that exists: KVM refuses nothing else.
        let _ = self.lines.frame_write(offset, width, value);
        true
    }
}

fn frame_offset(at: GuestAddr) -> Option<u32> {
    if !map::MESSAGE_FRAME.contains(at) {
        return None;
    }
    at.offset_from(map::MESSAGE_FRAME.start()).and_then(|offset| u32::try_from(offset).ok())
}

impl ErrorType for Interrupts {
    type Error = InterruptError;
}

impl InterruptController for Interrupts {
    fn set_level(&mut self, irq: Irq, level: Level) -> Result<(), InterruptError> {
        self.lines.set_level(irq, level)
    }

    fn deliver_msi(&mut self, requester: Bdf, message: Message) -> Result<(), InterruptError> {
        self.lines.deliver_msi(requester, message)
    }
}
