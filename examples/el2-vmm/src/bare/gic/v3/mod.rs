//! The physical GICv3: CPU interface and list registers are system registers.

mod interface;
mod list_registers;
mod spec;

use vmm_common::host::{HostRange, Mpidr};

pub(super) use interface::{acknowledge, deactivate, drop_priority, enable_interface, reset_virtual_interface, send_kick};
pub(super) use list_registers::Hardware as ListRegisters;

use super::{PRIORITY, PRIVATE};
use crate::bare::mmio::Registers;
use spec::{gicd, gicr};

/// The distributor.
#[derive(Debug, Clone, Copy)]
pub(super) struct Distributor(Registers);

impl Distributor {
    /// The distributor at `range`.
    ///
    /// # Safety
    ///
    /// As for [`Registers::new`].
    pub(super) const unsafe fn new(range: HostRange) -> Self {
        // SAFETY: the caller's promise.
        Self(unsafe { Registers::new(range) })
    }

    /// Starts it, with all shared interrupts disabled.
    pub(super) fn start(self) {
        self.0.write(gicd::CTLR, 0);
        self.wait();
        let words = usize::try_from(self.0.read(gicd::TYPER) & 0x1f).unwrap_or(0);
        for word in 1..=words {
            self.0.write(gicd::ICENABLER + 4 * word, u32::MAX);
            self.0.write(gicd::IGROUPR + 4 * word, u32::MAX);
            for quarter in 0..8 {
                self.0.write(gicd::IPRIORITYR + 32 * word + 4 * quarter, PRIORITY);
            }
        }
        self.wait();
        self.0.write(gicd::CTLR, gicd::CTLR_ENABLE);
        self.wait();
    }

    /// Sends a shared, level-triggered interrupt to `cpu`.
    pub(super) fn enable(self, intid: u32, cpu: Mpidr) {
        let Ok(number) = usize::try_from(intid) else { return };
        self.0.write_wide(gicd::IROUTER + 8 * number, cpu.get());
        self.0.write(gicd::ISENABLER + 4 * (number / 32), 1 << (intid % 32));
        self.wait();
    }

    fn wait(self) {
        while self.0.read(gicd::CTLR) & gicd::CTLR_WRITE_PENDING != 0 {
            core::hint::spin_loop();
        }
    }
}

/// The redistributors of all CPUs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Redistributors(Registers);

impl Redistributors {
    /// The redistributors at `range`.
    ///
    /// # Safety
    ///
    /// As for [`Registers::new`].
    pub(super) const unsafe fn new(range: HostRange) -> Self {
        // SAFETY: the caller's promise.
        Self(unsafe { Registers::new(range) })
    }

    /// Wakes the redistributor of `cpu` and enables its private interrupts. `None`: the CPU has none.
    pub(super) fn start(self, cpu: Mpidr) -> Option<()> {
        let frame = self.find(cpu)?;
        let at = |offset: usize| frame + offset;
        self.0.write(at(gicr::WAKER), 0);
        while self.0.read(at(gicr::WAKER)) & gicr::WAKER_CHILDREN_ASLEEP != 0 {
            core::hint::spin_loop();
        }
        self.0.write(at(gicr::SGI_FRAME + gicd::ICENABLER), u32::MAX);
        self.0.write(at(gicr::SGI_FRAME + gicd::IGROUPR), u32::MAX);
        for quarter in 0..8 {
            self.0.write(at(gicr::SGI_FRAME + gicd::IPRIORITYR + 4 * quarter), PRIORITY);
        }
        self.0.write(at(gicr::SGI_FRAME + gicd::ISENABLER), PRIVATE);
        while self.0.read(at(gicr::CTLR)) & gicr::CTLR_WRITE_PENDING != 0 {
            core::hint::spin_loop();
        }
        Some(())
    }

    /// Offset of the frames of `cpu`.
    fn find(self, cpu: Mpidr) -> Option<usize> {
        let mut frame = 0;
        loop {
            let kind = self.0.read(frame + gicr::TYPER);
            if self.0.read(frame + gicr::TYPER_AFFINITY) == cpu.packed() && kind != 0 {
                return Some(frame);
            }
            // Beyond the last register all reads give zero.
            if kind & gicr::TYPER_LAST != 0 || (kind == 0 && self.0.read(frame + gicr::PIDR2) == 0) {
                return None;
            }
            frame += if kind & gicr::TYPER_VIRTUAL_LPIS != 0 { gicr::STRIDE_WITH_VIRTUAL_LPIS } else { gicr::STRIDE };
        }
    }
}
