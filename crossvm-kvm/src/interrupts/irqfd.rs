//! Eventfds that interrupt the guest.

use std::fmt;
use std::sync::Arc;

use crossvm_core::Irq;
use kvm_ioctls::VmFd;
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use crate::error::{Call, CallError};

/// An eventfd that interrupts as an edge: each signal raises the GSI and lets it fall, or sends the message that the GSI is routed to
/// ([`GsiRoutes`](crate::GsiRoutes)). Taken back when it is dropped.
pub struct IrqFd {
    vm: Arc<VmFd>,
    gsi: Irq,
    event: EventFd,
}

impl fmt::Debug for IrqFd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IrqFd").field("gsi", &self.gsi).finish_non_exhaustive()
    }
}

fn event() -> Result<EventFd, CallError> {
    EventFd::new(EFD_NONBLOCK | libc::EFD_CLOEXEC).map_err(CallError::of_io(Call::EventFd))
}

impl IrqFd {
    /// A new eventfd for `gsi`. The VM has its interrupt controller already.
    ///
    /// # Errors
    /// What the kernel reports.
    pub fn new(vm: Arc<VmFd>, gsi: Irq) -> Result<Self, CallError> {
        let event = event()?;
        vm.register_irqfd(&event, gsi.number()).map_err(CallError::of_ioctl(Call::Irqfd))?;
        Ok(Self { vm, gsi, event })
    }

    /// Interrupts the guest.
    ///
    /// # Errors
    /// What the kernel reports.
    pub fn trigger(&self) -> Result<(), CallError> {
        self.event.write(1).map_err(CallError::of_io(Call::WriteEvent))
    }

    /// The eventfd, to give to whom shall interrupt.
    #[must_use]
    pub const fn event(&self) -> &EventFd {
        &self.event
    }

    /// The GSI.
    #[must_use]
    pub const fn gsi(&self) -> Irq {
        self.gsi
    }
}

impl Drop for IrqFd {
    fn drop(&mut self) {
        // Fails only for one that is not there.
        let _ = self.vm.unregister_irqfd(&self.event, self.gsi.number());
    }
}

/// An eventfd that raises a level-triggered GSI, which stays high until the guest ends the interrupt. KVM lets it fall then, and signals the second eventfd: who
/// still has a reason raises it again. Taken back when it is dropped.
pub struct ResampledIrqFd {
    vm: Arc<VmFd>,
    gsi: Irq,
    event: EventFd,
    resample: EventFd,
}

impl fmt::Debug for ResampledIrqFd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResampledIrqFd").field("gsi", &self.gsi).finish_non_exhaustive()
    }
}

impl ResampledIrqFd {
    /// Two new eventfds for `gsi`. The VM has its interrupt controller already.
    ///
    /// # Errors
    /// What the kernel reports.
    pub fn new(vm: Arc<VmFd>, gsi: Irq) -> Result<Self, CallError> {
        let (event, resample) = (event()?, event()?);
        vm.register_irqfd_with_resample(&event, &resample, gsi.number()).map_err(CallError::of_ioctl(Call::Irqfd))?;
        Ok(Self { vm, gsi, event, resample })
    }

    /// Raises the line.
    ///
    /// # Errors
    /// What the kernel reports.
    pub fn raise(&self) -> Result<(), CallError> {
        self.event.write(1).map_err(CallError::of_io(Call::WriteEvent))
    }

    /// The eventfd that raises the line.
    #[must_use]
    pub const fn event(&self) -> &EventFd {
        &self.event
    }

    /// The eventfd that is signalled when the guest has ended the interrupt and the line has fallen.
    #[must_use]
    pub const fn resample(&self) -> &EventFd {
        &self.resample
    }

    /// The GSI.
    #[must_use]
    pub const fn gsi(&self) -> Irq {
        self.gsi
    }
}

impl Drop for ResampledIrqFd {
    fn drop(&mut self) {
        // Fails only for one that is not there.
        let _ = self.vm.unregister_irqfd(&self.event, self.gsi.number());
    }
}
