//! 32 shared interrupts: a bank, where each of them may go, and which vCPU handles it.

use crate::bank::Bank;
use crate::spec::Route;
use crate::{VcpuId, VcpuSet, bank};

/// 32 SPIs of a VM with `VCPUS` vCPUs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SpiBank<const VCPUS: usize> {
    pub(crate) bank: Bank,
    /// Version 3: what the guest has written. Version 2 has all it needs in `targets`.
    routes: [Route; 32],
    /// For each vCPU, the SPIs that may go to it.
    targets: [u32; VCPUS],
    /// The SPIs of which one vCPU of several takes part in: 1 of N of version 3, several targets in version 2.
    pub(crate) one_of_n: u32,
    /// For each vCPU, the SPIs that are in its list registers or active on it. An SPI is held by one vCPU at most.
    held: [u32; VCPUS],
}

impl<const VCPUS: usize> SpiBank<VCPUS> {
    /// At power-on: the interrupts set in `implemented`, level-sensitive, routed to vCPU 0.
    pub(crate) const fn new(implemented: u32) -> Self {
        let mut targets = [0; VCPUS];
        if let Some(first) = targets.first_mut() {
            *first = implemented;
        }
        Self { bank: Bank::new(implemented, 0), routes: [Route::new(); 32], targets, one_of_n: 0, held: [0; VCPUS] }
    }

    /// Back to power-on, see [`Bank::reset`].
    pub(crate) fn reset(&mut self) {
        let mut bank = self.bank.clone();
        bank.reset(0);
        let implemented = bank.implemented;
        *self = Self { bank, ..Self::new(implemented) };
    }

    /// `IROUTER` of interrupt `index` of the bank, lower half.
    pub(crate) fn route(&self, index: u32) -> Route {
        usize::try_from(index).ok().and_then(|index| self.routes.get(index)).copied().unwrap_or_default()
    }

    /// Writes the lower half of `IROUTER` of interrupt `index` of the bank.
    pub(crate) fn set_route(&mut self, index: u32, route: Route) {
        let Some(slot) = usize::try_from(index).ok().and_then(|index| self.routes.get_mut(index)) else { return };
        let route = Route::from_bits(route.into_bits() & Route::IMPLEMENTED);
        *slot = route;
        let one_of_n = route.one_of_n();
        self.set_target(index, one_of_n, |vcpu| one_of_n || route.affinity() == vcpu.affinity());
    }

    /// Field of `ITARGETSR` of interrupt `index` of the bank.
    pub(crate) fn targets_of(&self, index: u32) -> VcpuSet {
        let bit = bank::bit(index);
        VcpuId::first(VCPUS).filter(|vcpu| self.targets(*vcpu) & bit != 0).fold(VcpuSet::EMPTY, VcpuSet::with)
    }

    /// Writes the field of `ITARGETSR` of interrupt `index` of the bank.
    pub(crate) fn set_targets_of(&mut self, index: u32, targets: VcpuSet) {
        self.set_target(index, targets.len() > 1, |vcpu| targets.contains(vcpu));
    }

    fn set_target(&mut self, index: u32, one_of_n: bool, is_target: impl Fn(VcpuId) -> bool) {
        let bit = bank::bit(index);
        for (vcpu, targets) in VcpuId::first(VCPUS).zip(&mut self.targets) {
            *targets = if is_target(vcpu) { *targets | bit } else { *targets & !bit };
        }
        self.one_of_n = if one_of_n { self.one_of_n | bit } else { self.one_of_n & !bit };
    }

    /// The SPIs that may go to `vcpu`, alone or as one of several.
    pub(crate) fn targets(&self, vcpu: VcpuId) -> u32 {
        self.targets.get(vcpu.index()).copied().unwrap_or(0)
    }

    /// The SPIs that `vcpu` holds.
    pub(crate) fn held_by(&self, vcpu: VcpuId) -> u32 {
        self.held.get(vcpu.index()).copied().unwrap_or(0)
    }

    /// The SPIs that any vCPU holds.
    pub(crate) fn held(&self) -> u32 {
        self.held.iter().fold(0, |all, held| all | held)
    }

    /// `vcpu` takes `bit`.
    pub(crate) fn hold(&mut self, vcpu: VcpuId, bit: u32) {
        if let Some(held) = self.held.get_mut(vcpu.index()) {
            *held |= bit;
        }
    }

    /// `vcpu` has lost all that it held. What is active stays so, on no vCPU.
    pub(crate) fn abandon(&mut self, vcpu: VcpuId) {
        if let Some(held) = self.held.get_mut(vcpu.index()) {
            self.bank.abandon(core::mem::take(held));
        }
    }

    /// Whoever holds one of `mask` and has it neither active nor in a list register, lets go of it.
    pub(crate) fn let_go(&mut self, mask: u32) {
        let free = mask & !self.bank.active & !self.bank.resident;
        for held in &mut self.held {
            *held &= !free;
        }
    }

    /// Software has made `mask` active: its targets hold it; of several, the first that is in `awake`, or the first.
    pub(crate) fn hold_active(&mut self, mask: u32, awake: VcpuSet) {
        let free = mask & !self.held();
        for index in bank::ones(free) {
            let targets = self.targets_of(index);
            if let Some(vcpu) = targets.iter().find(|vcpu| awake.contains(*vcpu)).or_else(|| targets.iter().next()) {
                self.hold(vcpu, bank::bit(index));
            }
        }
    }
}
