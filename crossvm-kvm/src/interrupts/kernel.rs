//! x86 with all interrupt controllers in the kernel.

use std::fmt;
use std::sync::Arc;

use crossvm_core::{Bdf, ErrorType, InterruptController, Irq, Level, Message};
use crossvm_x86::{PciLine, Routing};
use kvm_bindings::{KVM_IRQCHIP_IOAPIC, KVM_IRQCHIP_PIC_MASTER, KVM_IRQCHIP_PIC_SLAVE, kvm_irqchip};
use kvm_ioctls::VmFd;

use super::irqchip::{irqchip, set_edge_level_control};
use super::{GsiRoutes, InterruptError, signal_msi};
use crate::error::{Call, CallError};

/// The IOAPIC, the 8259 pair and the local APICs of a VM in the kernel (`KVM_CREATE_IRQCHIP`).
///
/// As an [`InterruptController`], by clause: KVM keeps the levels (1), looks at them again at each end of interrupt and unmasking (2, 3), and lets the request
/// fall with them (4); a call that fails has changed nothing (5). Messages to the local APICs' addresses go there (6); any other, and one that asks for
/// anything but an interrupt with a vector, is dropped (7).
///
/// A line is a GSI, and leads to a pin of the IOAPIC and to an input of the 8259 pair, so that guests with and without IOAPIC are interrupted.
pub struct KernelInterrupts {
    vm: Arc<VmFd>,
    routes: GsiRoutes,
    initial: Vec<kvm_irqchip>,
}

impl fmt::Debug for KernelInterrupts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KernelInterrupts").field("routes", &self.routes).finish_non_exhaustive()
    }
}

impl KernelInterrupts {
    /// Makes them, before the first vCPU, with GSIs that lead where `routing` says. The PCI lines' inputs of the 8259 pair are level-triggered, as a PC's
    /// firmware leaves them (ELCR).
    ///
    /// # Errors
    /// What the kernel reports; `EINVAL` for a routing that KVM cannot serve: see [`GsiRoutes::pc`].
    pub fn create(vm: Arc<VmFd>, routing: &Routing) -> Result<Self, CallError> {
        vm.create_irq_chip().map_err(CallError::of_ioctl(Call::CreateIrqchip))?;
        let routes = GsiRoutes::pc(Arc::clone(&vm), routing)?;
        let inputs = PciLine::ALL.into_iter().map(|line| routing.pic_irq(line).number());
        set_edge_level_control(&vm, inputs.fold(0, |bits, input| bits | 1u16.wrapping_shl(input.into())))?;
        let chips = [KVM_IRQCHIP_PIC_MASTER, KVM_IRQCHIP_PIC_SLAVE, KVM_IRQCHIP_IOAPIC];
        let initial = chips.into_iter().map(|chip| irqchip(&vm, chip)).collect::<Result<_, _>>()?;
        Ok(Self { vm, routes, initial })
    }

    /// The routes of the VM's GSIs, to add some for [`IrqFd`](crate::IrqFd)s.
    #[must_use]
    pub const fn routes(&mut self) -> &mut GsiRoutes {
        &mut self.routes
    }

    /// Brings the IOAPIC and the 8259 pair back to their power-on state, for a reset of the VM whose lines are low. The local APICs are the vCPUs'.
    ///
    /// # Errors
    /// What the kernel reports.
    pub fn reset(&mut self) -> Result<(), CallError> {
        self.initial.iter().try_for_each(|state| self.vm.set_irqchip(state).map_err(CallError::of_ioctl(Call::Irqchip)))
    }
}

impl ErrorType for KernelInterrupts {
    type Error = InterruptError;
}

impl InterruptController for KernelInterrupts {
    fn set_level(&mut self, irq: Irq, level: Level) -> Result<(), InterruptError> {
        if self.routes.get(irq).is_empty() {
            return Err(InterruptError::NoLine(irq));
        }
        Ok(self.vm.set_irq_line(irq.number(), level.is_high()).map_err(CallError::of_ioctl(Call::IrqLine))?)
    }

    fn deliver_msi(&mut self, requester: Bdf, message: Message) -> Result<(), InterruptError> {
        match as_edge(message) {
            Some(message) => Ok(signal_msi(&self.vm, requester, message, false)?),
            None => Ok(()),
        }
    }
}

/// The message as KVM is to get it; `None` for one that is no interrupt. KVM itself looks at neither the upper part of the address nor at what a
/// message asks for: a guest's device could ask for INIT or SMI.
///
/// Intel SDM volume 3 §12.11: address bits 31–20 are 0xfee, data bits 7–0 the vector (from 16 on), 10–8 the delivery mode, 15 the trigger mode.
pub(super) fn as_edge(message: Message) -> Option<Message> {
    const FIXED: u32 = 0;
    const LOWEST_PRIORITY: u32 = 1;
    let mode = message.data >> 8 & 7;
    let interrupt = message.address >> 20 == 0xfee && message.data & 0xff >= 16 && (mode == FIXED || mode == LOWEST_PRIORITY);
    interrupt.then_some(Message { data: message.data & 0x7ff, ..message })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_interrupt_is_no_message() {
        let message = |address, data| Message { address, data };
        for good in [message(0xfee0_0000, 0x31), message(0xfeef_f00c, 0x131), message(0xfee0_1000, 0x10)] {
            assert_eq!(as_edge(good), Some(good));
        }
        assert_eq!(as_edge(message(0xfee0_0000, 0xffff_c031)), Some(message(0xfee0_0000, 0x31)), "edge, whatever the trigger mode");
        for bad in [message(0xfed0_0000, 0x31), message(1 << 32 | 0xfee0_0000, 0x31), message(0xfee0_0000, 0xf), message(0, 0)] {
            assert_eq!(as_edge(bad), None, "{bad}");
        }
        for mode in 2..8 {
            assert_eq!(as_edge(message(0xfee0_0000, mode << 8 | 0x31)), None, "delivery mode {mode}");
        }
    }
}
