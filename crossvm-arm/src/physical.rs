//! Interrupts of the guest that stand for a physical one: the link, and how it ends.
//!
//! ```text
//!  physical interrupt ─▶ VMM: acknowledge, drop priority ─▶ raise_hardware ─▶ list register with HW = 1
//!  (inactive)            (active: it cannot come again)                             │
//!      ▲                                                                            ▼
//!      ├──────────────────────── by hardware ◀──────────────── the guest ends the interrupt
//!      └── the VMM deactivates ◀── take_deactivation ◀── the guest gave the interrupt up in another way
//! ```
//!
//! While the link lasts, the physical interrupt is active. So it is masked, and the VMM is not interrupted again however long the
//! guest leaves its interrupt pending, disabled or active.

use crate::{Error, IntId, PhysicalIntId, VcpuId, Vgic, bank};

impl<const VCPUS: usize, const SPI_WORDS: usize> Vgic<VCPUS, SPI_WORDS> {
    /// A physical interrupt has come that stands for the guest's `intid`: the VMM has acknowledged it and dropped its priority, and leaves
    /// its deactivation to the guest. Makes `intid` pending and links it; the guest's end of interrupt deactivates the physical one
    /// without an exit.
    ///
    /// For a PPI, `vcpu` is the one that was running on the physical CPU interrupted. An SPI goes where the guest has routed it.
    /// Save the vCPU first where it was in the guest, as at every exit.
    ///
    /// # Errors
    /// [`Error::NoSuchVcpu`] or [`Error::NoSuchInterrupt`]. The physical interrupt stays the VMM's to deactivate then.
    pub fn raise_hardware(&mut self, vcpu: VcpuId, intid: impl Into<IntId>, physical: PhysicalIntId) -> Result<(), Error> {
        let id: IntId = intid.into();
        let bank = if id.word() == 0 { self.bank_of_vcpu(vcpu)? } else { self.bank_of_spi(id)? };
        bank.link(id.number() & 31, id.bit(), physical.raw());
        self.changed(vcpu, id);
        Ok(())
    }

    /// The device behind a linked interrupt has taken its request back before the guest acknowledged it: a timer that the guest has
    /// set to a later time, masked or switched off. The guest's interrupt is not pending any more, and the physical one is given to
    /// [`take_deactivation`](Self::take_deactivation).
    ///
    /// Does nothing where the guest has acknowledged, has the interrupt edge-triggered, or where there is no link; so it may be called
    /// whenever the device's condition is found false. Save the vCPU first.
    ///
    /// # Errors
    /// [`Error::NoSuchVcpu`] or [`Error::NoSuchInterrupt`].
    pub fn lower_hardware(&mut self, vcpu: VcpuId, intid: impl Into<IntId>) -> Result<(), Error> {
        let id: IntId = intid.into();
        let bank = if id.word() == 0 { self.bank_of_vcpu(vcpu)? } else { self.bank_of_spi(id)? };
        if bank.unlink(id.bit()) != 0 {
            self.changed(vcpu, id);
        }
        Ok(())
    }

    /// A physical interrupt whose link has ended other than by the guest's end of interrupt in a list register, and that the VMM must
    /// therefore deactivate (`ICC_DIR_EL1`), or it stays active, and so masked, for ever. Ask until there is none, on the physical CPU
    /// of `vcpu`: after [`save`](Self::save), after a register access or [`write_dir`](Self::write_dir) of the guest, after
    /// [`lower_hardware`](Self::lower_hardware), and for each vCPU after [`reset`](Self::reset).
    ///
    /// It happens when the guest clears the pending or the active state by a register, when the interrupt was active in no list register, and at a reset.
    /// An interrupt that the guest merely disables keeps its link: it stays pending.
    pub fn take_deactivation(&mut self, vcpu: VcpuId) -> Option<PhysicalIntId> {
        (0..=SPI_WORDS).find_map(|word| {
            let bank = self.bank_mut(vcpu, word)?;
            let index = bank::ones(bank.released).next()?;
            bank.released &= !bank::bit(index);
            Some(PhysicalIntId::from_raw(bank.physical_of(index)))
        })
    }

    /// Kicks whom a change of `id` concerns.
    fn changed(&mut self, vcpu: VcpuId, id: IntId) {
        if id.word() == 0 {
            self.changed_private(vcpu, id.bit());
        } else {
            if let Some(spi) = self.spi_mut(id.word()) {
                spi.let_go(id.bit());
            }
            self.changed_shared(id.word(), id.bit(), None);
        }
    }
}
