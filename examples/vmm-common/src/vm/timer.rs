//! The timers of a vCPU: those of the CPU that it has for itself, whose physical interrupts become the guest's.

use crossvm_arm::{PhysicalIntId, Ppi, Version};
use crossvm_core::Level;

use super::Vm;
use crate::map;
use crate::platform::Platform;
use crate::vcpu::Vcpu;

/// A timer that EL1 uses without exits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GuestTimer {
    /// CNTV: Linux takes this one.
    Virtual,
    /// CNTP: what many bare-metal programs take.
    Physical,
}

impl GuestTimer {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Virtual, Self::Physical];

    /// The PPI of the guest and of the machine: the same, as the Arm Base System Architecture has it.
    #[must_use]
    pub const fn intid(self) -> u32 {
        match self {
            Self::Virtual => map::VIRTUAL_TIMER,
            Self::Physical => map::PHYSICAL_TIMER,
        }
    }
}

impl<P: Platform> Vm<P> {
    /// The physical interrupt of a timer of `vcpu` has come, and the timer asserts it.
    ///
    /// GICv3: it was acknowledged, and its priority dropped; the guest deactivates it. GICv2: it is masked until the timer is quiet. There
    /// the guest could deactivate it as well, but QEMU's model does not look at the line again when it does: a timer that has come again
    /// meanwhile would be lost.
    pub fn timer_fired(&mut self, vcpu: &Vcpu, timer: GuestTimer) {
        let (Some(ppi), Some(physical)) = (Ppi::new(timer.intid()), PhysicalIntId::new(timer.intid())) else { return };
        let interrupts = &mut self.backend.interrupts;
        let raised = match interrupts.version() {
            Version::V3 => interrupts.raise_hardware(vcpu.id, ppi, physical),
            Version::V2 => interrupts.set_ppi_level(vcpu.id, ppi, Level::High),
        };
        if raised.is_err() {
            self.complain(format_args!("the timer's interrupt could not be raised"));
        }
    }

    /// A timer of `vcpu` does not assert its interrupt: what is pending of it is withdrawn.
    pub fn timer_quiet(&mut self, vcpu: &Vcpu, timer: GuestTimer) {
        if let Some(ppi) = Ppi::new(timer.intid()) {
            let interrupts = &mut self.backend.interrupts;
            // Only a vCPU or interrupt that does not exist is an error.
            let _ = match interrupts.version() {
                Version::V3 => interrupts.lower_hardware(vcpu.id, ppi),
                Version::V2 => interrupts.set_ppi_level(vcpu.id, ppi, Level::Low),
            };
        }
    }
}
