//! arm64 with the vGIC in the kernel.

mod reset;
mod spec;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use crossvm_arm::{Messages, Spi};
use crossvm_core::{Bdf, ErrorType, GuestAddr, InterruptController, Irq, Level, Message, Width};
use kvm_bindings::{
    KVM_ARM_IRQ_TYPE_SHIFT, KVM_ARM_IRQ_TYPE_SPI, KVM_DEV_ARM_VGIC_CTRL_INIT, KVM_DEV_ARM_VGIC_GRP_ADDR, KVM_DEV_ARM_VGIC_GRP_CPU_SYSREGS,
    KVM_DEV_ARM_VGIC_GRP_CTRL, KVM_DEV_ARM_VGIC_GRP_NR_IRQS, KVM_VGIC_ITS_ADDR_TYPE, KVM_VGIC_V2_ADDR_TYPE_CPU, KVM_VGIC_V2_ADDR_TYPE_DIST,
    KVM_VGIC_V3_ADDR_TYPE_DIST, KVM_VGIC_V3_ADDR_TYPE_REDIST, kvm_create_device, kvm_device_attr,
    kvm_device_type_KVM_DEV_TYPE_ARM_VGIC_ITS, kvm_device_type_KVM_DEV_TYPE_ARM_VGIC_V2, kvm_device_type_KVM_DEV_TYPE_ARM_VGIC_V3,
};
use kvm_ioctls::{DeviceFd, VmFd};

use super::{InterruptError, signal_msi};
use crate::error::{Call, CallError};
use crate::raw::get_attribute;

use spec::{FIRST_SPI, interface};

/// Which GIC the guest sees, and where. Sizes are those of the architecture: 4 KiB and 8 KiB for version 2, 64 KiB and 128 KiB for each vCPU for version 3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VgicVersion {
    /// Version 2. Needs a host with a GICv2, or a GICv3 that offers it to guests.
    V2 {
        /// The distributor, 4 KiB.
        distributor: GuestAddr,
        /// The CPU interface, 8 KiB.
        cpu_interface: GuestAddr,
    },
    /// Version 3.
    V3 {
        /// The distributor, 64 KiB.
        distributor: GuestAddr,
        /// The redistributors, 128 KiB for each vCPU, one behind the other.
        redistributors: GuestAddr,
        /// An ITS, 128 KiB, for messages.
        its: Option<GuestAddr>,
    },
}

/// What vGIC a guest gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VgicConfig {
    /// Version and place.
    pub version: VgicVersion,
    /// How many SPIs, from INTID 32 on: a multiple of 32, up to 960.
    pub spis: u32,
}

/// The vGIC in the kernel. It goes with the VM; this object keeps its descriptor, for its state to be read and written.
#[derive(Debug)]
pub struct Vgic {
    device: DeviceFd,
    its: Option<DeviceFd>,
    config: VgicConfig,
    /// Version 3: `ICC_CTLR_EL1` at power-on. KVM takes no other sizes in it than those that it has.
    control: u64,
}

impl Vgic {
    /// Makes it and gives it its addresses: before the guest runs. [`Vgic::finish`] comes behind it, when all vCPUs are there and have been reset by `KVM_ARM_VCPU_INIT`.
    ///
    /// # Errors
    /// What the kernel reports: `ENODEV` where the host offers no such GIC.
    pub fn create(vm: &VmFd, config: VgicConfig) -> Result<Self, CallError> {
        let (kind, places) = match config.version {
            VgicVersion::V2 { distributor, cpu_interface } => (
                kvm_device_type_KVM_DEV_TYPE_ARM_VGIC_V2,
                [(KVM_VGIC_V2_ADDR_TYPE_DIST, distributor), (KVM_VGIC_V2_ADDR_TYPE_CPU, cpu_interface)],
            ),
            VgicVersion::V3 { distributor, redistributors, .. } => (
                kvm_device_type_KVM_DEV_TYPE_ARM_VGIC_V3,
                [(KVM_VGIC_V3_ADDR_TYPE_DIST, distributor), (KVM_VGIC_V3_ADDR_TYPE_REDIST, redistributors)],
            ),
        };
        let device = create(vm, kind)?;
        for (kind, place) in places {
            set(&device, KVM_DEV_ARM_VGIC_GRP_ADDR, kind.into(), Some(&place.get()))?;
        }
        let irqs = config.spis.saturating_add(FIRST_SPI);
        set(&device, KVM_DEV_ARM_VGIC_GRP_NR_IRQS, 0, Some(&irqs))?;
        let its = match config.version {
            VgicVersion::V3 { its: Some(place), .. } => {
                let its = create(vm, kvm_device_type_KVM_DEV_TYPE_ARM_VGIC_ITS)?;
                set(&its, KVM_DEV_ARM_VGIC_GRP_ADDR, KVM_VGIC_ITS_ADDR_TYPE.into(), Some(&place.get()))?;
                Some(its)
            }
            _ => None,
        };
        Ok(Self { device, its, config, control: 0 })
    }

    /// Makes it ready: behind the last vCPU, before the first runs.
    ///
    /// # Errors
    /// What the kernel reports.
    pub fn finish(&mut self) -> Result<(), CallError> {
        for device in std::iter::once(&self.device).chain(&self.its) {
            set::<u64>(device, KVM_DEV_ARM_VGIC_GRP_CTRL, KVM_DEV_ARM_VGIC_CTRL_INIT.into(), None)?;
        }
        if let VgicVersion::V3 { .. } = self.config.version {
            self.control = get_attribute(&self.device, KVM_DEV_ARM_VGIC_GRP_CPU_SYSREGS, interface::CTLR.into())?;
        }
        Ok(())
    }

    /// What it was made of.
    #[must_use]
    pub const fn config(&self) -> VgicConfig {
        self.config
    }

    /// Its descriptor.
    #[must_use]
    pub const fn device(&self) -> &DeviceFd {
        &self.device
    }

    /// The descriptor of its ITS.
    #[must_use]
    pub const fn its(&self) -> Option<&DeviceFd> {
        self.its.as_ref()
    }
}

fn create(vm: &VmFd, kind: u32) -> Result<DeviceFd, CallError> {
    let mut request = kvm_create_device { type_: kind, fd: 0, flags: 0 };
    vm.create_device(&mut request).map_err(CallError::of_ioctl(Call::CreateDevice))
}

fn set<T>(device: &DeviceFd, group: u32, attr: u64, value: Option<&T>) -> Result<(), CallError> {
    let addr = value.map_or(0, |value| std::ptr::from_ref(value).expose_provenance() as u64);
    let attribute = kvm_device_attr { group, attr, addr, flags: 0 };
    device.set_device_attr(&attribute).map_err(CallError::of_ioctl(Call::DeviceAttribute))
}

/// A VM's vGIC in the kernel, as connections use it.
///
/// As an [`InterruptController`], by clause: KVM keeps the levels (1), looks at them again at each end of interrupt and enabling (2, 3), and lets the pending state
/// fall with them (4); a call that fails has changed nothing (5). Messages go to the ITS, or to the VMM's `GICv2m` frame as a pulse of the SPI, which the guest has
/// configured as edge (6); any other is dropped, one to the SPI of a line among them (7).
#[derive(Clone)]
pub struct VgicInterrupts {
    vm: Arc<VmFd>,
    lines: Range<u32>,
    frame: Option<Messages>,
    its: bool,
}

impl fmt::Debug for VgicInterrupts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VgicInterrupts")
            .field("lines", &self.lines)
            .field("frame", &self.frame)
            .field("its", &self.its)
            .finish_non_exhaustive()
    }
}

impl VgicInterrupts {
    /// The interrupts of `vm`, whose vGIC is `vgic`; messages go to its ITS where it has one.
    #[must_use]
    pub fn new(vm: Arc<VmFd>, vgic: &Vgic) -> Self {
        let end = vgic.config.spis.saturating_add(FIRST_SPI).min(1020);
        Self { vm, lines: FIRST_SPI..end, frame: None, its: vgic.its.is_some() }
    }

    /// With a `GICv2m` frame for messages, which the VMM emulates: for a vGIC of version 2, and for one of version 3 without ITS. No device has the frame's
    /// SPIs as lines. A guest's loads are answered by [`Messages::frame_read`], its stores go to [`VgicInterrupts::frame_write`].
    #[must_use]
    pub const fn with_message_frame(mut self, frame: Messages) -> Self {
        self.frame = Some(frame);
        self
    }

    /// The frame for messages.
    #[must_use]
    pub const fn message_frame(&self) -> Option<Messages> {
        self.frame
    }

    /// A guest's store of `value` at `offset` of the frame, in bytes: as if a device had sent it.
    ///
    /// # Errors
    /// What the kernel reports.
    pub fn frame_write(&mut self, offset: u32, width: Width, value: u64) -> Result<(), InterruptError> {
        self.pulse(self.frame.and_then(|frame| frame.frame_write(offset, width, value)))
    }

    fn pulse(&self, spi: Option<Spi>) -> Result<(), InterruptError> {
        if let Some(spi) = spi {
            self.line(spi.number(), Level::High)?;
            self.line(spi.number(), Level::Low)?;
        }
        Ok(())
    }

    fn line(&self, intid: u32, level: Level) -> Result<(), CallError> {
        let irq = KVM_ARM_IRQ_TYPE_SPI << KVM_ARM_IRQ_TYPE_SHIFT | intid;
        self.vm.set_irq_line(irq, level.is_high()).map_err(CallError::of_ioctl(Call::IrqLine))
    }
}

impl ErrorType for VgicInterrupts {
    type Error = InterruptError;
}

impl InterruptController for VgicInterrupts {
    fn set_level(&mut self, irq: Irq, level: Level) -> Result<(), InterruptError> {
        let message = Spi::new(irq.number()).is_some_and(|spi| self.frame.is_some_and(|frame| frame.spis().contains(spi)));
        if message || !self.lines.contains(&irq.number()) {
            return Err(InterruptError::NoLine(irq));
        }
        Ok(self.line(irq.number(), level)?)
    }

    fn deliver_msi(&mut self, requester: Bdf, message: Message) -> Result<(), InterruptError> {
        if self.its {
            return Ok(signal_msi(&self.vm, requester, message, true)?);
        }
        self.pulse(self.frame.and_then(|frame| frame.frame_receive(message)))
    }
}
