//! At an exit: what the guest did with its list registers becomes state again.

use crate::delivery::ListRegisters;
use crate::sources::Sources;
use crate::spec::{HypervisorControl, ListRegister, MachineControl};
use crate::vgic::Groups;
use crate::{IntId, VcpuId, Version, Vgic, bank};

impl<const VCPUS: usize, const SPI_WORDS: usize> Vgic<VCPUS, SPI_WORDS> {
    /// Takes the interrupts of `vcpu` back from its list registers, at each exit, before anything else is done with this object for
    /// the vCPU. Leaves the registers empty and no maintenance interrupt asked for, unless
    /// they are [one way](ListRegisters::one_way).
    ///
    /// A vCPU may be loaded on another physical CPU afterwards. Saving twice does no harm.
    pub fn save(&mut self, vcpu: VcpuId, registers: &mut impl ListRegisters) {
        if registers.one_way() {
            return self.save_one_way(vcpu, registers);
        }
        let Some(redistributor) = self.vcpus.get_mut(vcpu.index()) else { return };
        let loaded = core::mem::take(&mut redistributor.loaded);
        let control = registers.control();
        // First, while it can be seen which active interrupts were in no register.
        for _ in 0..control.eoi_count() {
            self.end_absent(vcpu);
        }
        for index in 0..loaded {
            let register = registers.read(index);
            registers.write(index, ListRegister::EMPTY);
            self.fold(vcpu, register);
        }
        self.see_groups(vcpu, registers.machine_control());
        let quiet = without_requests(control);
        if quiet != control {
            registers.set_control(quiet);
        }
    }

    /// `vcpu` writes `ICC_DIR_EL1`, trapped because [`load`](Self::load) set `ICH_HCR_EL2.TDIR`: deactivates the interrupt. Call it
    /// between save and load. On a CPU that cannot trap this register alone (`ICH_VTR_EL2.TDS` = 0), the VMM sets `ICH_HCR_EL2.TC`.
    /// In version 2, [`cpu_interface_write`](Self::cpu_interface_write) does this.
    ///
    /// Where the guest separates priority drop from deactivation (`EOImode` = 1), it may deactivate in any order and on any vCPU: the
    /// count of those that were in no list register would not tell which.
    ///
    /// An SPI that is in a list register of another vCPU may have been acknowledged there without anybody having seen it. So the
    /// deactivation waits for that vCPU, which [`take_kicks`](Self::take_kicks) names, and is forgotten if its list register is still
    /// pending then. Have it kicked before `vcpu` goes on: an acknowledge from then until the kick arrives counts as one before.
    pub fn write_dir(&mut self, vcpu: VcpuId, value: u64) {
        // Bits 23:0 are the INTID (IHI 0069 §12.2).
        if let Some(id) = u32::try_from(value & 0xff_ffff).ok().and_then(IntId::new) {
            self.end(vcpu, id);
        }
    }

    /// The guest has ended the most urgent of the active interrupts that were in no list register. Interrupts nest by priority, so the
    /// one that ends first is the most urgent.
    fn end_absent(&mut self, vcpu: VcpuId) {
        let mut first: Option<(u8, IntId)> = None;
        for word in 0..=SPI_WORDS {
            let Some(bank) = self.bank(vcpu, word) else { continue };
            for index in bank::ones(self.active(vcpu, word) & !bank.resident) {
                let candidate = IntId::of(word, index).map(|id| (bank.priority_of(index), id));
                first = match (first, candidate) {
                    (Some(best), Some(new)) => Some(best.min(new)),
                    (best, new) => best.or(new),
                };
            }
        }
        if let Some((_, id)) = first {
            self.end(vcpu, id);
        }
    }

    /// Deactivates an interrupt. Where another vCPU has it in a list register, that happens once the vCPU is saved.
    pub(crate) fn end(&mut self, vcpu: VcpuId, id: IntId) {
        if let Some(bank) = self.bank_mut(vcpu, id.word()) {
            bank.deactivate(id.bit());
        }
        self.let_go(vcpu, id);
    }

    pub(super) fn fold(&mut self, vcpu: VcpuId, register: ListRegister) {
        let Some(id) = IntId::new(register.virtual_intid()) else { return };
        if self.spi(id.word()).is_some_and(|spi| spi.held_by(vcpu) & id.bit() == 0) {
            // Another vCPU has it since: this register was overtaken by a reset or by a new physical interrupt.
            return;
        }
        if let (Version::V2, true, Some(own)) = (self.version, Sources::has(id), self.vcpus.get_mut(vcpu.index())) {
            own.sources.fold(&own.bank, id, register);
        }
        if let Some(bank) = self.bank_mut(vcpu, id.word()) {
            bank.fold(id.bit(), register);
        }
        self.let_go(vcpu, id);
    }

    /// An SPI has left the list registers or the active state of `vcpu`: unless it is active, others may take it.
    fn let_go(&mut self, vcpu: VcpuId, id: IntId) {
        if let Some(spi) = self.spi_mut(id.word()) {
            spi.let_go(id.bit());
            self.changed_shared(id.word(), id.bit(), Some(vcpu));
        }
    }

    /// Notes which groups the guest has enabled in its CPU interface. 1 of N SPIs go to vCPUs that have their group enabled.
    pub(super) fn see_groups(&mut self, vcpu: VcpuId, control: MachineControl) {
        let groups = Groups::from(control);
        if let Some(redistributor) = self.vcpus.get_mut(vcpu.index())
            && redistributor.groups != groups
        {
            redistributor.groups = groups;
            self.changed_participation(Some(vcpu));
        }
    }
}

/// `control` with no maintenance interrupt asked for, no count and no trap of ours.
pub(super) const fn without_requests(control: HypervisorControl) -> HypervisorControl {
    control
        .with_underflow(false)
        .with_entry_not_present(false)
        .with_no_pending(false)
        .with_group0_enabled(false)
        .with_group0_disabled(false)
        .with_group1_enabled(false)
        .with_group1_disabled(false)
        .with_trap_deactivate(false)
        .with_eoi_count(0)
}
