//! The interrupt controllers: all in the kernel, or IOAPIC and 8259 here.

use std::sync::Arc;

use anyhow::{Context, Result};
use crossvm_core::{Bdf, ErrorType, GuestAddr, InterruptController, Irq, Level, Message, Width};
use crossvm_kvm::{InterruptError, KernelInterrupts, SplitInterrupts};
use crossvm_x86::{IoApic, Routing};
use kvm_bindings::{kvm_pit_config, kvm_pit_state2};
use kvm_ioctls::{VcpuFd, VmFd};

use super::map;
use crate::cli::Irqchip;

/// The interrupt controllers of a VM beside its local APICs.
#[derive(Debug)]
pub(crate) enum Interrupts {
    /// In the kernel.
    Kernel(Kernel),
    /// In this program.
    Split(Box<Split>),
}

/// Interrupt controllers in this program. There is no timer beside those of the local APICs.
#[derive(Debug)]
pub(crate) struct Split {
    interrupts: SplitInterrupts,
    /// Something could not be delivered or told: it is with the next call.
    failed: bool,
}

impl Split {
    /// What fails is done or sent with a later call, which the event thread makes.
    fn note(&mut self, result: Result<(), InterruptError>) {
        self.failed |= result.is_err();
    }
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
            Irqchip::Split => {
                let interrupts = SplitInterrupts::create(Arc::clone(vm), IoApic::new(), Routing::PC);
                Ok(Self::Split(Box::new(Split { interrupts: interrupts.context("KVM_CAP_SPLIT_IRQCHIP")?, failed: false })))
            }
        }
    }

    fn in_kernel(vm: &Arc<VmFd>) -> Result<Self> {
        let interrupts = KernelInterrupts::create(Arc::clone(vm), &Routing::PC).context("interrupt controllers in the kernel")?;
        vm.create_pit2(kvm_pit_config::default()).context("KVM_CREATE_PIT2")?;
        let timer = vm.get_pit2().context("KVM_GET_PIT2")?;
        Ok(Self::Kernel(Kernel { vm: Arc::clone(vm), interrupts, timer }))
    }

    /// Back to power-on. The lines of connections are low, and the vCPUs stopped.
    ///
    /// # Errors
    /// What KVM reports.
    pub(crate) fn reset(&mut self) -> Result<()> {
        self.lower(map::SERIAL_IRQ);
        match self {
            Self::Kernel(kernel) => {
                kernel.interrupts.reset()?;
                kernel.vm.set_pit2(&kernel.timer).context("KVM_SET_PIT2")
            }
            Self::Split(split) => Ok(split.interrupts.reset()?),
        }
    }

    /// A rising edge on a line of an ISA device. The line stays high: an 8259 forgets an edge whose line falls before it is acknowledged.
    pub(crate) fn raise_anew(&mut self, irq: Irq) {
        // A line that exists: what fails else is made up for.
        let result = self.set_level(irq, Level::Low).and_then(|()| self.set_level(irq, Level::High));
        self.note(result);
    }

    /// The device has no reason to interrupt any more.
    pub(crate) fn lower(&mut self, irq: Irq) {
        let result = self.set_level(irq, Level::Low);
        self.note(result);
    }

    fn note(&mut self, result: Result<(), InterruptError>) {
        if let Self::Split(split) = self {
            split.note(result);
        }
    }

    /// The guest reads a port; `None` where it is none of theirs.
    pub(crate) fn port_in(&mut self, port: u16, width: Width) -> Option<u64> {
        match self {
            // The 8259s have eight data lines.
            Self::Split(split) if width == Width::U8 => split.interrupts.pic_read(port).map(u64::from),
            _ => None,
        }
    }

    /// The guest writes a port; whether it is one of theirs.
    pub(crate) fn port_out(&mut self, port: u16, width: Width, value: u32) -> bool {
        let [low, ..] = value.to_le_bytes();
        match self {
            Self::Split(split) if width == Width::U8 => split.interrupts.pic_write(port, low),
            _ => false,
        }
    }

    /// The guest loads; `None` where nothing of theirs is.
    pub(crate) fn load(&mut self, at: GuestAddr, width: Width) -> Option<u64> {
        match self {
            Self::Split(split) => Some(split.interrupts.ioapic_read(register(at)?, width)),
            Self::Kernel(_) => None,
        }
    }

    /// The guest stores; whether something of theirs is there.
    pub(crate) fn store(&mut self, at: GuestAddr, width: Width, value: u64) -> bool {
        let (Self::Split(split), Some(offset)) = (self, register(at)) else { return false };
        let result = split.interrupts.ioapic_write(offset, width, value);
        split.note(result);
        true
    }

    /// A local APIC has ended a level-triggered interrupt with this vector.
    pub(crate) fn end_of_interrupt(&mut self, vector: u8) {
        if let Self::Split(split) = self {
            let result = split.interrupts.end_of_interrupt(vector);
            split.note(result);
        }
    }

    /// vCPU 0 is about to enter the guest.
    pub(crate) fn before_run(&mut self, vcpu: &mut VcpuFd) {
        if let Self::Split(split) = self {
            // The interrupt counts as delivered: KVM has no room for one where it said that it has. It cannot be made up for.
            let _ = split.interrupts.before_run(vcpu);
        }
    }

    /// Whether vCPU 0 must leave the guest for an interrupt of an 8259. To be asked before the lock is given back.
    pub(crate) fn take_kick(&mut self) -> bool {
        match self {
            Self::Split(split) => split.interrupts.take_kick(),
            Self::Kernel(_) => false,
        }
    }

    /// Whether something could not be delivered, since the last time.
    pub(crate) fn take_failed(&mut self) -> bool {
        match self {
            Self::Split(split) => std::mem::take(&mut split.failed),
            Self::Kernel(_) => false,
        }
    }

    /// Tries again what could not be delivered.
    pub(crate) fn retry(&mut self) {
        if let Self::Split(split) = self {
            // A vector that no pin has: it only delivers what is due.
            let result = split.interrupts.end_of_interrupt(0);
            split.note(result);
        }
    }
}

/// Where in the IOAPIC's page an address is.
fn register(at: GuestAddr) -> Option<u32> {
    u32::try_from(at.offset_from(map::IOAPIC.start())?).ok().filter(|_| map::IOAPIC.contains(at))
}

impl ErrorType for Interrupts {
    type Error = InterruptError;
}

impl InterruptController for Interrupts {
    fn set_level(&mut self, irq: Irq, level: Level) -> Result<(), InterruptError> {
        match self {
            Self::Kernel(kernel) => kernel.interrupts.set_level(irq, level),
            Self::Split(split) => split.interrupts.set_level(irq, level),
        }
    }

    fn deliver_msi(&mut self, requester: Bdf, message: Message) -> Result<(), InterruptError> {
        match self {
            Self::Kernel(kernel) => kernel.interrupts.deliver_msi(requester, message),
            Self::Split(split) => split.interrupts.deliver_msi(requester, message),
        }
    }
}
