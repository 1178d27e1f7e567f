//! The interrupt controllers: all in the kernel, or IOAPIC and 8259 here.

use std::sync::Arc;

use anyhow::{Context, Result};
use crossvm_core::{Bdf, ErrorType, GuestAddr, InterruptController, Irq, Level, Message, Width};
use crossvm_kvm::{InterruptError, KernelInterrupts};
use crossvm_x86::Routing;
use kvm_bindings::{kvm_pit_config, kvm_pit_state2};
use kvm_ioctls::VmFd;

use crate::cli::Irqchip;

/// The interrupt controllers of a VM beside its local APICs.
#[derive(Debug)]
pub(crate) enum Interrupts {
    /// In the kernel.
    Kernel(Kernel),
}

/// Interrupt controllers and timer in the kernel.
pub(crate) struct Kernel {
    vm: Arc<VmFd>,
    interrupts: KernelInterrupts,
    /// As it was at power-on.
    timer: kvm_pit_state2,
}

impl std::fmt::Debug for Kernel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kernel").field("interrupts", &self.interrupts).finish_non_exhaustive()
    }
}

impl Interrupts {
    /// Makes them. The VM has no vCPU yet.
    ///
    /// # Errors
    /// What KVM reports.
    pub(crate) fn new(vm: &Arc<VmFd>, place: Irqchip) -> Result<Self> {
        match place {
            Irqchip::Kernel => Self::in_kernel(vm),
            Irqchip::Split => anyhow::bail!("not yet"),
        }
    }

    fn in_kernel(vm: &Arc<VmFd>) -> Result<Self> {
        let interrupts = KernelInterrupts::create(Arc::clone(vm), &Routing::PC).context("interrupt controllers in the kernel")?;
        vm.create_pit2(kvm_pit_config::default()).context("KVM_CREATE_PIT2")?;
        let timer = vm.get_pit2().context("KVM_GET_PIT2")?;
        Ok(Self::Kernel(Kernel { vm: Arc::clone(vm), interrupts, timer }))
    }

    /// Back to power-on. All lines are low, and the vCPUs stopped.
    ///
    /// # Errors
    /// What KVM reports.
    pub(crate) fn reset(&mut self) -> Result<()> {
        match self {
            Self::Kernel(kernel) => {
                kernel.interrupts.reset()?;
                kernel.vm.set_pit2(&kernel.timer).context("KVM_SET_PIT2")
            }
        }
    }

    /// One edge on a line of an ISA device.
    pub(crate) fn pulse(&mut self, irq: Irq) {
        match self {
            Self::Kernel(kernel) => {
                // A line that exists: KVM refuses nothing else.
                let _ = kernel.interrupts.set_level(irq, Level::High).and_then(|()| kernel.interrupts.set_level(irq, Level::Low));
            }
        }
    }

    /// The guest reads a port; `None` where it is none of theirs.
    pub(crate) fn port_in(&mut self, _port: u16, _width: Width) -> Option<u64> {
        match self {
            Self::Kernel(_) => None,
        }
    }

    /// The guest writes a port; whether it is one of theirs.
    pub(crate) fn port_out(&mut self, _port: u16, _width: Width, _value: u32) -> bool {
        match self {
            Self::Kernel(_) => false,
        }
    }

    /// The guest loads; `None` where nothing of theirs is.
    pub(crate) fn load(&mut self, _at: GuestAddr, _width: Width) -> Option<u64> {
        match self {
            Self::Kernel(_) => None,
        }
    }

    /// The guest stores; whether something of theirs is there.
    pub(crate) fn store(&mut self, _at: GuestAddr, _width: Width, _value: u64) -> bool {
        match self {
            Self::Kernel(_) => false,
        }
    }
}

impl ErrorType for Interrupts {
    type Error = InterruptError;
}

impl InterruptController for Interrupts {
    fn set_level(&mut self, irq: Irq, level: Level) -> Result<(), InterruptError> {
        match self {
            Self::Kernel(kernel) => kernel.interrupts.set_level(irq, level),
        }
    }

    fn deliver_msi(&mut self, requester: Bdf, message: Message) -> Result<(), InterruptError> {
        match self {
            Self::Kernel(kernel) => kernel.interrupts.deliver_msi(requester, message),
        }
    }
}
