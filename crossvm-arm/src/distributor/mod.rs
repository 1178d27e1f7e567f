//! The distributor's frame, `GICD_*`, of either version.

mod gicv2;
mod gicv3;

use crossvm_core::Width;

use crate::lanes::{self, Lanes};
use crate::registers::Register;
use crate::vgic::Groups;
use crate::{VcpuId, VcpuSet, Version, Vgic};

impl<const VCPUS: usize, const SPI_WORDS: usize> Vgic<VCPUS, SPI_WORDS> {
    /// `vcpu` reads `width` at `offset` of the distributor: 4 KiB in version 2, 64 KiB in version 3.
    ///
    /// Version 2 has some registers once for each vCPU, hence `vcpu`; in version 3 they are in the redistributors.
    ///
    /// Each offset and width is defined: the bytes covered. What is not implemented reads as zero.
    #[must_use]
    pub fn distributor_read(&self, vcpu: VcpuId, offset: u32, width: Width) -> u64 {
        lanes::read(offset, width, |at| match self.version {
            Version::V2 => self.word_v2(vcpu, at),
            Version::V3 => self.word_v3(at),
        })
    }

    /// `vcpu` writes `value` of `width` at `offset` of the distributor, see [`distributor_read`](Self::distributor_read).
    ///
    /// Each offset and width is defined: a write acts on the bytes it covers, and one that sends an interrupt acts where it covers all that
    /// the architecture asks for. What is not implemented ignores it.
    pub fn distributor_write(&mut self, vcpu: VcpuId, offset: u32, width: Width, value: u64) {
        lanes::write(offset, width, value, |at, lanes| match self.version {
            Version::V2 => self.set_word_v2(vcpu, at, lanes),
            Version::V3 => self.set_word_v3(at, lanes),
        });
    }

    /// The vCPUs other than `vcpu` that have SPIs in their list registers whose pending or active state is read at `offset`: while they
    /// run, only hardware knows whether the guest has acknowledged or ended these. Otherwise there is none.
    ///
    /// For an exact answer, the VMM interrupts them, and reads once they are saved and before they are loaded again. A read without that
    /// tells what was known at their last exit. Writes need nothing of the kind: what they change takes effect at the next save.
    #[must_use]
    pub fn distributor_holders(&self, vcpu: VcpuId, offset: u32, width: Width) -> VcpuSet {
        let mut holders = VcpuSet::EMPTY;
        lanes::read(offset, width, |at| {
            if let Some((word, register)) = Register::at(at)
                && let Some(spi) = self.spi(word).filter(|_| register.is_pending_or_active())
            {
                holders = VcpuId::first(VCPUS).filter(|vcpu| spi.held_by(*vcpu) & spi.bank.resident != 0).fold(holders, VcpuSet::with);
            }
            0
        });
        holders.without(vcpu)
    }

    /// The groups that `GICD_CTLR` forwards.
    fn forward(&mut self, zero: bool, one: bool) {
        let groups = Groups { zero, one };
        if groups != self.forwarded {
            self.forwarded = groups;
            self.changed_all();
        }
    }

    fn set_spi_register(&mut self, word: usize, register: Register, lanes: Lanes) {
        let awake = self.awake();
        let Some(spi) = self.spi_mut(word) else { return };
        let changed = register.write(&mut spi.bank, lanes);
        match register {
            Register::SetActive => spi.hold_active(changed, awake),
            Register::ClearActive => spi.let_go(changed),
            _ => {}
        }
        self.changed_shared(word, changed, None);
    }
}
