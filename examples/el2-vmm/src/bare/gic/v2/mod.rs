//! The physical GICv2: all of it is in memory.

mod spec;

use core::sync::atomic::{AtomicU8, Ordering};

use crossvm_arm::{Gich, GichFrame};
use vmm_common::host::{CpuId, HostRange, MAX_CPUS};

use super::{KICK, PRIORITY, PRIVATE};
use crate::bare::mmio::Registers;
use spec::{Acknowledged, SoftwareInterrupt, gicc, gicd};

/// The bit of each CPU in lists of targets, from when its interface is enabled.
static TARGETS: [AtomicU8; MAX_CPUS] = [const { AtomicU8::new(0) }; MAX_CPUS];

/// INTIDs from here on are special: nothing is pending.
const SPECIAL: u16 = 1020;

/// The registers of a physical GICv2.
#[derive(Debug, Clone, Copy)]
pub(super) struct Controller {
    distributor: Registers,
    interface: Registers,
    hypervisor: Registers,
}

impl Controller {
    /// The controller with its distributor (GICD), its CPU interface (GICC) and its virtual interface control (GICH) at these ranges.
    ///
    /// # Safety
    ///
    /// As for [`Registers::new`], for each of the ranges.
    pub(super) const unsafe fn new(distributor: HostRange, interface: HostRange, hypervisor: HostRange) -> Self {
        // SAFETY: the caller's promise.
        unsafe {
            Self { distributor: Registers::new(distributor), interface: Registers::new(interface), hypervisor: Registers::new(hypervisor) }
        }
    }

    /// Starts the distributor, with all shared interrupts disabled.
    pub(super) fn start(self) {
        self.distributor.write(gicd::CTLR, 0);
        let words = usize::try_from(self.distributor.read(gicd::TYPER) & 0x1f).unwrap_or(0);
        for word in 1..=words {
            self.distributor.write(gicd::ICENABLER + 4 * word, u32::MAX);
            for quarter in 0..8 {
                self.distributor.write(gicd::IPRIORITYR + 32 * word + 4 * quarter, PRIORITY);
            }
        }
        self.distributor.write(gicd::CTLR, gicd::CTLR_ENABLE);
    }

    /// Makes this CPU take interrupts of any priority.
    pub(super) fn enable_interface(self, cpu: CpuId) {
        // The targets of a private interrupt are the CPU that reads them: on a machine with one CPU they may read as zero.
        let [target, ..] = self.distributor.read(gicd::ITARGETSR).to_le_bytes();
        if let Some(slot) = TARGETS.get(usize::from(cpu.get())) {
            slot.store(target, Ordering::Release);
        }
        self.distributor.write(gicd::ICENABLER, u32::MAX);
        for quarter in 0..8 {
            self.distributor.write(gicd::IPRIORITYR + 4 * quarter, PRIORITY);
        }
        self.distributor.write(gicd::ISENABLER, PRIVATE);
        self.interface.write(gicc::PMR, 0xff);
        self.interface.write(gicc::BPR, 0);
        self.interface.write(gicc::CTLR, gicc::CTLR_ENABLE);
    }

    /// Sends a shared interrupt to `cpu`, whose interface is enabled.
    pub(super) fn enable(self, intid: u32, cpu: CpuId) {
        let Ok(number) = usize::try_from(intid) else { return };
        let register = gicd::ITARGETSR + (number & !3);
        let mut targets = self.distributor.read(register).to_le_bytes();
        if let Some(target) = targets.get_mut(number & 3) {
            *target = target_of(cpu);
        }
        self.distributor.write(register, u32::from_le_bytes(targets));
        self.distributor.write(gicd::ISENABLER + 4 * (number / 32), 1 << (intid % 32));
    }

    /// Has a private interrupt of this CPU come again.
    pub(super) fn enable_private(self, intid: u32) {
        self.distributor.write(gicd::ISENABLER, 1 << (intid % 32));
    }

    /// Has a private interrupt of this CPU stay away.
    pub(super) fn disable_private(self, intid: u32) {
        self.distributor.write(gicd::ICENABLER, 1 << (intid % 32));
    }

    /// Acknowledges what is pending: INTID and, of an SGI, its sender.
    pub(super) fn acknowledge(self) -> Option<u32> {
        let acknowledged = Acknowledged::from_bits(self.interface.read(gicc::IAR));
        (acknowledged.intid() < SPECIAL).then(|| acknowledged.into_bits())
    }

    /// The INTID of what was acknowledged.
    pub(super) fn intid(acknowledged: u32) -> u32 {
        Acknowledged::from_bits(acknowledged).intid().into()
    }

    /// Lets this interrupt, the last that was acknowledged and not ended, come again.
    pub(super) fn end(self, acknowledged: u32) {
        self.interface.write(gicc::EOIR, acknowledged);
    }

    /// Makes a CPU leave its guest.
    pub(super) fn send_kick(self, cpu: CpuId) {
        let kick = u8::try_from(KICK).unwrap_or(0);
        let request = SoftwareInterrupt::new().with_targets(target_of(cpu)).with_intid(kick);
        self.distributor.write(gicd::SGIR, request.into_bits());
    }

    /// The list registers of the CPU that uses them.
    pub(super) const fn list_registers(self) -> Gich<Frame> {
        Gich::new(Frame(self.hypervisor))
    }
}

fn target_of(cpu: CpuId) -> u8 {
    TARGETS.get(usize::from(cpu.get())).map_or(0, |target| target.load(Ordering::Acquire))
}

/// GICH of this CPU.
#[derive(Debug, Clone, Copy)]
pub(in crate::bare) struct Frame(Registers);

impl GichFrame for Frame {
    fn read(&self, offset: u32) -> u32 {
        usize::try_from(offset).map_or(0, |offset| self.0.read(offset))
    }

    fn write(&mut self, offset: u32, value: u32) {
        if let Ok(offset) = usize::try_from(offset) {
            self.0.write(offset, value);
        }
    }
}
