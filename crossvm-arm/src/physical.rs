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
    /// [`Error::NoSuchVcpu`], [`Error::NoSuchInterrupt`] or [`Error::ForMessages`]. The physical interrupt stays the VMM's to deactivate then.
    pub fn raise_hardware(&mut self, vcpu: VcpuId, intid: impl Into<IntId>, physical: PhysicalIntId) -> Result<(), Error> {
        let id: IntId = intid.into();
        let bank = if id.word() == 0 { self.bank_of_vcpu(vcpu)? } else { self.bank_of_line(id)? };
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
    /// [`Error::NoSuchVcpu`], [`Error::NoSuchInterrupt`] or [`Error::ForMessages`].
    pub fn lower_hardware(&mut self, vcpu: VcpuId, intid: impl Into<IntId>) -> Result<(), Error> {
        let id: IntId = intid.into();
        let bank = if id.word() == 0 { self.bank_of_vcpu(vcpu)? } else { self.bank_of_line(id)? };
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
    /// It happens when the guest clears the pending or the active state by a register, when the interrupt was active in no list
    /// register, and at a reset. An interrupt that the guest merely disables keeps its link: it stays pending, until it is enabled, its
    /// device takes the request back, or the VM is reset.
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

#[cfg(test)]
mod tests {
    use crossvm_core::{Level, Width};

    use super::*;
    use crate::VcpuSet;
    use crate::spec::{ListRegister, State};
    use crate::testing::{FIRST, Gic, Registers, SECOND, TIMER, booted, set_edge, set_priority, spi};

    const PHYSICAL: PhysicalIntId = PhysicalIntId::new(30).unwrap();
    const ABSENT: VcpuId = VcpuId::new(3).unwrap();

    /// The timer has come, and is in a list register.
    fn raised() -> (Gic, Registers<4>) {
        let (mut gic, mut registers) = (booted(), Registers::new());
        gic.raise_hardware(FIRST, TIMER, PHYSICAL).unwrap();
        gic.load(FIRST, &mut registers);
        (gic, registers)
    }

    #[test]
    fn a_hardware_interrupt_is_linked_so_that_the_guest_deactivates_it() {
        let (mut gic, mut registers) = raised();
        let register = registers.of(27);
        assert_eq!((register.state(), register.hardware(), register.physical_intid()), (State::Pending, true, 30));
        registers.set(27, State::Active);
        gic.save(FIRST, &mut registers);
        gic.load(FIRST, &mut registers);
        assert_eq!((registers.of(27).state(), registers.of(27).hardware()), (State::Active, true));
        registers.set(27, State::Inactive);
        gic.save(FIRST, &mut registers);
        assert_eq!(gic.take_deactivation(FIRST), None);
        assert!(!gic.has_pending(FIRST));
    }

    #[test]
    fn a_reset_gives_back_every_physical_interrupt_that_is_linked() {
        let (mut gic, mut registers) = raised();
        gic.raise_hardware(SECOND, TIMER, PHYSICAL).unwrap();
        gic.raise_hardware(SECOND, spi(40), PhysicalIntId::new(140).unwrap()).unwrap();
        registers.set(27, State::Active);
        gic.save(FIRST, &mut registers);
        gic.reset();
        assert_eq!(gic.take_deactivation(SECOND), Some(PHYSICAL));
        assert_eq!(gic.take_deactivation(SECOND), PhysicalIntId::new(140));
        assert_eq!(gic.take_deactivation(SECOND), None);
        assert_eq!(gic.take_deactivation(FIRST), Some(PHYSICAL));
        assert_eq!(gic.take_deactivation(FIRST), None);
    }

    #[test]
    fn an_interrupt_that_the_guest_disables_keeps_its_link() {
        let (mut gic, mut registers) = raised();
        gic.save(FIRST, &mut registers);
        gic.redistributor_write(FIRST, 0x1_0180, Width::U32, 1 << 27);
        gic.load(FIRST, &mut registers);
        assert_eq!((registers.contents(), gic.take_deactivation(FIRST)), (std::vec![], None));
        gic.redistributor_write(FIRST, 0x1_0100, Width::U32, 1 << 27);
        gic.load(FIRST, &mut registers);
        assert!(registers.of(27).hardware());
    }

    #[test]
    fn clearing_the_pending_or_the_active_state_gives_the_physical_interrupt_back() {
        let (mut gic, mut registers) = raised();
        gic.save(FIRST, &mut registers);
        gic.redistributor_write(FIRST, 0x1_0280, Width::U32, 1 << 27);
        assert_eq!((gic.take_deactivation(FIRST), gic.take_deactivation(FIRST)), (Some(PHYSICAL), None));

        let (mut gic, mut registers) = raised();
        registers.set(27, State::Active);
        gic.save(FIRST, &mut registers);
        gic.redistributor_write(FIRST, 0x1_0280, Width::U32, 1 << 27);
        assert_eq!(gic.take_deactivation(FIRST), None);
        gic.redistributor_write(FIRST, 0x1_0380, Width::U32, 1 << 27);
        assert_eq!(gic.take_deactivation(FIRST), Some(PHYSICAL));
    }

    #[test]
    fn clearing_the_pending_state_while_the_guest_runs_decides_at_the_exit() {
        for (state, given_back) in [(State::Pending, Some(PHYSICAL)), (State::Active, None), (State::Inactive, None)] {
            let (mut gic, mut registers) = raised();
            gic.redistributor_write(FIRST, 0x1_0280, Width::U32, 1 << 27);
            assert_eq!(gic.take_deactivation(FIRST), None);
            registers.set(27, state);
            gic.save(FIRST, &mut registers);
            assert_eq!(gic.take_deactivation(FIRST), given_back, "{state:?}");
        }
    }

    #[test]
    fn a_device_that_takes_its_request_back_withdraws_the_interrupt() {
        let (mut gic, mut registers) = raised();
        gic.save(FIRST, &mut registers);
        gic.lower_hardware(FIRST, TIMER).unwrap();
        assert_eq!(gic.take_deactivation(FIRST), Some(PHYSICAL));
        gic.load(FIRST, &mut registers);
        assert_eq!(registers.contents(), []);
        // Without a link it does nothing, nor once the guest has acknowledged.
        gic.lower_hardware(FIRST, TIMER).unwrap();
        let (mut gic, mut registers) = raised();
        registers.set(27, State::Active);
        gic.save(FIRST, &mut registers);
        gic.lower_hardware(FIRST, TIMER).unwrap();
        assert_eq!(gic.take_deactivation(FIRST), None);
    }

    #[test]
    fn taking_a_request_back_kicks_the_vcpu_that_has_it() {
        let (mut gic, mut registers) = (booted(), Registers::<4>::new());
        gic.raise_hardware(SECOND, spi(40), PHYSICAL).unwrap();
        gic.load(FIRST, &mut registers);
        assert_eq!(gic.take_kicks(), VcpuSet::EMPTY.with(FIRST));
        gic.lower_hardware(SECOND, spi(40)).unwrap();
        assert_eq!(gic.take_kicks(), VcpuSet::EMPTY.with(FIRST));
        assert_eq!(gic.take_deactivation(SECOND), None);
        gic.save(FIRST, &mut registers);
        assert_eq!(gic.take_deactivation(FIRST), Some(PHYSICAL));
    }

    #[test]
    fn an_edge_is_not_taken_back() {
        let (mut gic, mut registers) = (booted(), Registers::<4>::new());
        set_edge(&mut gic, 40);
        gic.raise_hardware(FIRST, spi(40), PHYSICAL).unwrap();
        gic.lower_hardware(FIRST, spi(40)).unwrap();
        gic.load(FIRST, &mut registers);
        assert!(registers.of(40).hardware());
    }

    #[test]
    fn a_link_and_a_second_reason_to_be_pending_do_not_share_a_register() {
        let (mut gic, mut registers) = raised();
        registers.set(27, State::Active);
        gic.save(FIRST, &mut registers);
        gic.redistributor_write(FIRST, 0x1_0200, Width::U32, 1 << 27);
        gic.load(FIRST, &mut registers);
        let register = registers.of(27);
        assert_eq!((register.state(), register.hardware()), (State::Active, false));
        assert_eq!(register.physical_intid(), ListRegister::MAINTENANCE_ON_EOI);
        // The end is reported; the link is the second coming's.
        registers.set(27, State::Inactive);
        gic.save(FIRST, &mut registers);
        gic.load(FIRST, &mut registers);
        assert_eq!((registers.of(27).state(), registers.of(27).hardware()), (State::Pending, true));
    }

    #[test]
    fn a_line_that_is_high_as_well_ends_the_link_through_the_vmm() {
        let (mut gic, mut registers) = (booted(), Registers::<4>::new());
        gic.raise_hardware(FIRST, TIMER, PHYSICAL).unwrap();
        gic.set_ppi_level(FIRST, TIMER, Level::High).unwrap();
        gic.load(FIRST, &mut registers);
        assert!(!registers.of(27).hardware());
        registers.set(27, State::Inactive);
        gic.save(FIRST, &mut registers);
        assert_eq!(gic.take_deactivation(FIRST), Some(PHYSICAL));
        assert!(gic.has_pending(FIRST));
    }

    #[test]
    fn an_interrupt_that_ends_outside_the_registers_gives_the_physical_one_back() {
        let (mut gic, mut registers) = (booted(), Registers::<1>::new());
        gic.raise_hardware(FIRST, TIMER, PHYSICAL).unwrap();
        gic.load(FIRST, &mut registers);
        registers.set(27, State::Active);
        gic.save(FIRST, &mut registers);
        set_priority(&mut gic, 40, 0x20);
        gic.set_spi_level(spi(40), Level::High).unwrap();
        gic.load(FIRST, &mut registers);
        assert_eq!(registers.contents(), [(40, State::Pending)]);
        registers.end_absent(1);
        gic.save(FIRST, &mut registers);
        assert_eq!(gic.take_deactivation(FIRST), Some(PHYSICAL));
    }

    #[test]
    fn a_physical_interrupt_that_comes_again_before_the_save_is_a_new_one() {
        let (mut gic, mut first) = (booted(), Registers::<4>::new());
        gic.raise_hardware(FIRST, spi(40), PHYSICAL).unwrap();
        gic.load(FIRST, &mut first);
        first.set(40, State::Active);
        gic.save(FIRST, &mut first);
        gic.load(FIRST, &mut first);
        // The guest ends it without an exit; then it comes once more, on another CPU.
        first.set(40, State::Inactive);
        gic.raise_hardware(SECOND, spi(40), PHYSICAL).unwrap();
        gic.distributor_write(FIRST, 0x6000 + 40 * 8, Width::U32, 1);
        let mut second = Registers::<4>::new();
        gic.load(SECOND, &mut second);
        gic.save(FIRST, &mut first);
        assert_eq!(gic.take_deactivation(FIRST), None);
        assert!(second.of(40).hardware());
        gic.save(SECOND, &mut second);
        gic.load(SECOND, &mut second);
        assert_eq!(second.contents(), [(40, State::Pending)]);
        second.set(40, State::Inactive);
        gic.save(SECOND, &mut second);
        assert_eq!(gic.take_deactivation(SECOND), None);
        assert!(!gic.has_pending(FIRST) && !gic.has_pending(SECOND));
    }

    #[test]
    fn a_physical_interrupt_that_comes_again_before_it_was_given_back_is_not_given_back() {
        let (mut gic, mut registers) = raised();
        gic.save(FIRST, &mut registers);
        gic.redistributor_write(FIRST, 0x1_0280, Width::U32, 1 << 27);
        gic.raise_hardware(FIRST, TIMER, PHYSICAL).unwrap();
        assert_eq!(gic.take_deactivation(FIRST), None);
    }

    #[test]
    fn what_does_not_exist_is_refused_and_changes_nothing() {
        let mut gic = booted();
        assert_eq!(gic.raise_hardware(ABSENT, TIMER, PHYSICAL), Err(Error::NoSuchVcpu { index: 3, count: 3 }));
        assert_eq!(gic.raise_hardware(FIRST, spi(96), PHYSICAL), Err(Error::NoSuchInterrupt { intid: 96, end: 96 }));
        assert!(gic.lower_hardware(ABSENT, TIMER).is_err() && gic.lower_hardware(FIRST, spi(96)).is_err());
        assert!(gic.set_ppi_level(ABSENT, TIMER, Level::High).is_err());
        gic.load(ABSENT, &mut Registers::<4>::new());
        gic.save(ABSENT, &mut Registers::<4>::new());
        assert_eq!((gic.take_deactivation(ABSENT), gic.has_pending(ABSENT)), (None, false));
        assert_eq!(gic, booted());
    }
}
