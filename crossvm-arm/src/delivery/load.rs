//! Before an entry: the interrupts that are due go to the list registers, the most urgent first.
//!
//! Where there are more interrupts than registers, active ones come first, for the guest is about to end them, and pending ones fill
//! the rest. One register is always left to the most urgent pending interrupt, for it may be the one that the guest waits for inside a
//! handler: of n registers at most n − 1 hold active interrupts while one is pending. What waits here is less urgent than what is pending
//! in a register, and the virtual CPU interface tells when it is due:
//!
//! | what waits here | what is asked for | what happens then |
//! | --- | --- | --- |
//! | pending interrupts | `NPIE`: no register is pending any more | the next ones are loaded |
//! | active interrupts | `LRENPIE`: the guest has ended one | `EOIcount` tells how many |
//! | the same, or another vCPU's, that the guest deactivates by name | `TDIR` | [`write_dir`](Vgic::write_dir) |
//! | a group that the guest has disabled | `VGrp<n>EIE`: it is enabled | it gets registers according to its priorities |
//! | interrupts behind a group that the guest may disable | `VGrp<n>DIE`: it is disabled | what is in the way makes room |
//! | the second coming of one in a register | the register's EOI bit | it is loaded as pending |
//!
//! `NPIE` and not `UIE`: that would ask again and again where there is only one register.

use crate::delivery::ListRegisters;
use crate::delivery::queue::{Candidate, MOST_REGISTERS, Queue};
use crate::delivery::save::without_requests;
use crate::sources::Sources;
use crate::spec::{Group, HypervisorControl, ListRegister, State};
use crate::vgic::Groups;
use crate::{IntId, VcpuId, Version, Vgic, bank};

impl<const VCPUS: usize, const SPI_WORDS: usize> Vgic<VCPUS, SPI_WORDS> {
    /// Gives the interrupts of `vcpu` to its list registers, before each entry, and asks for the maintenance interrupt that the rest needs.
    /// On a maintenance interrupt the VMM has nothing to do but what it does at each exit: save and load.
    ///
    /// Sets `ICH_HCR_EL2.En`. A vCPU that was loaded already is saved first.
    pub fn load(&mut self, vcpu: VcpuId, registers: &mut impl ListRegisters) {
        if self.vcpus.get(vcpu.index()).is_none() {
            return;
        }
        if registers.one_way() {
            return self.load_one_way(vcpu, registers);
        }
        self.save(vcpu, registers);
        let slots = registers.count().min(MOST_REGISTERS);
        let (actives, pendings) = self.candidates(vcpu, slots);
        let crowded = actives.exceeds(slots) || pendings.exceeds(slots.saturating_sub(actives.len()));
        let reserved = usize::from(pendings.len() > 0);
        let active_slots = actives.len().min(slots.saturating_sub(reserved));
        let pending_slots = pendings.len().min(slots.saturating_sub(active_slots));

        let mut used = 0;
        for (index, candidate) in (0..slots).zip(actives.first(active_slots).chain(pendings.first(pending_slots))) {
            registers.write(index, self.lend(vcpu, candidate, crowded));
            used = index.saturating_add(1);
        }
        if let Some(redistributor) = self.vcpus.get_mut(vcpu.index()) {
            redistributor.loaded = used;
        }

        let control = registers.control();
        let mut wanted = without_requests(control).with_enable(true);
        let absent = actives.exceeds(active_slots);
        // Deactivation apart from the end of interrupt need not happen on the vCPU that acknowledged. Guests that do not separate the two
        // never write the register. In version 2 it always traps, for the VMM does not map its page.
        let trap = self.version == Version::V3 && (absent || VCPUS > 1);
        wanted = wanted.with_entry_not_present(absent).with_trap_deactivate(trap);
        let behind = pendings.groups_behind(pending_slots);
        wanted = self.watch_groups(vcpu, wanted, pendings.first(pending_slots), behind);
        if wanted != control {
            registers.set_control(wanted);
        }
    }

    /// The active interrupts of `vcpu` and the pending ones that it may be given, the `slots` most urgent of each.
    pub(super) fn candidates(&self, vcpu: VcpuId, slots: usize) -> (Queue, Queue) {
        let (mut actives, mut pendings) = (Queue::new(slots), Queue::new(slots));
        let Some(redistributor) = self.vcpus.get(vcpu.index()) else { return (actives, pendings) };
        for word in 0..=SPI_WORDS {
            let Some(bank) = self.bank(vcpu, word) else { continue };
            let ready = if redistributor.asleep { 0 } else { self.ready(vcpu, word) };
            for index in bank::ones(self.active(vcpu, word) | ready) {
                let Some(intid) = IntId::of(word, index) else { continue };
                let group = bank.group_of(intid.bit());
                let priority = bank.priority_of(index);
                if ready & intid.bit() == 0 {
                    actives.offer(Candidate { masked: false, priority, intid, group });
                } else {
                    pendings.offer(Candidate { masked: !redistributor.groups.contains(group), priority, intid, group });
                }
            }
        }
        (actives, pendings)
    }

    /// Gives an interrupt to a list register; `crowded` where others have to wait for one.
    pub(super) fn lend(&mut self, vcpu: VcpuId, candidate: Candidate, crowded: bool) -> ListRegister {
        let (word, bit, index) = (candidate.intid.word(), candidate.intid.bit(), candidate.intid.number() & 31);
        let asleep = self.vcpus.get(vcpu.index()).is_none_or(|vcpu| vcpu.asleep);
        let reaching = if asleep { 0 } else { self.reaching(vcpu, word) & bit };
        let passing = self.bank(vcpu, word).map_or(0, |bank| self.passing(bank)) & bit;
        // A list register has room for one sender.
        let sent = self.version == Version::V2 && Sources::has(candidate.intid);
        if let Some(spi) = self.spi_mut(word) {
            spi.hold(vcpu, bit);
        }
        let Some(bank) = self.bank_mut(vcpu, word) else { return ListRegister::EMPTY };
        let active = bank.active & bit != 0;
        let linked = bank.linked & bit != 0;
        // An edge that comes while the interrupt is active makes it pending as well. A line must be looked at again after the end
        // of interrupt, and the architecture forbids both states at once where a physical interrupt is linked. Where others wait, it
        // waits with them: its register would become pending unseen, and be served before a more urgent one.
        let both = active && !linked && !sent && !crowded && bank.edge & bank.latch & passing & reaching != 0;
        bank.lend(bit, !active || both);
        let sender = if sent { self.lend_source(vcpu, candidate.intid, !active) } else { 0 };
        let Some(bank) = self.bank(vcpu, word) else { return ListRegister::EMPTY };
        // What remains makes the interrupt pending again after its end. That must not pass unseen where it matters at once, nor end a
        // link that it still needs.
        let again = bank.outstanding() & (passing | bank.linked) & bit != 0;
        let hardware = linked && !again;
        let physical = match (hardware, again) {
            (true, _) => bank.physical_of(index),
            (false, true) => ListRegister::MAINTENANCE_ON_EOI | sender,
            (false, false) => sender,
        };
        let state = match (active, both) {
            (false, _) => State::Pending,
            (true, false) => State::Active,
            (true, true) => State::PendingActive,
        };
        let register = ListRegister::new()
            .with_virtual_intid(candidate.intid.number())
            .with_priority(candidate.priority)
            .with_group(candidate.group)
            .with_hardware(hardware)
            .with_state(state);
        // An INTID fits always; the checked form keeps a panic out of the code.
        register.with_physical_intid_checked(physical).unwrap_or(register)
    }

    /// Who sent the SGI that a list register takes, as the register has it.
    fn lend_source(&mut self, vcpu: VcpuId, id: IntId, pending: bool) -> u16 {
        let Some(redistributor) = self.vcpus.get_mut(vcpu.index()) else { return 0 };
        u16::try_from(redistributor.sources.lend(&mut redistributor.bank, id, pending).index()).unwrap_or(0)
    }

    /// Asks for the maintenance interrupts that pending interrupts need which wait outside the list registers, in the groups `behind`.
    fn watch_groups(
        &self,
        vcpu: VcpuId,
        control: HypervisorControl,
        inside: impl Iterator<Item = Candidate>,
        behind: Groups,
    ) -> HypervisorControl {
        let enabled = self.vcpus.get(vcpu.index()).map_or(Groups::NONE, |vcpu| vcpu.groups);
        let waits = |group| behind.contains(group);
        let mut control = control.with_no_pending(behind != Groups::NONE);
        let (mut when_enabled, mut when_disabled) = (Groups::NONE, Groups::NONE);
        for candidate in inside {
            let other = if candidate.group == Group::Zero { Group::One } else { Group::Zero };
            let shared = self.spi(candidate.intid.word()).is_some_and(|spi| spi.one_of_n & candidate.intid.bit() != 0);
            // If the guest disables this group, the other one must not starve behind it, nor must another vCPU miss what it could take.
            if !candidate.masked && (waits(other) && enabled.contains(other) || shared && VCPUS > 1) {
                when_disabled.insert(candidate.group);
            }
        }
        for group in [Group::Zero, Group::One] {
            let unclaimed = || {
                (1..=SPI_WORDS)
                    .any(|word| self.spi(word).is_some_and(|spi| self.unclaimed(word) & spi.targets(vcpu) & spi.bank.members(group) != 0))
            };
            if !enabled.contains(group) && (waits(group) || unclaimed()) {
                when_enabled.insert(group);
            }
        }
        control = control.with_group0_enabled(when_enabled.zero).with_group1_enabled(when_enabled.one);
        control.with_group0_disabled(when_disabled.zero).with_group1_disabled(when_disabled.one)
    }
}
