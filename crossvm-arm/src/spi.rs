//! 32 shared interrupts: a bank, where each of them is routed, and which vCPU handles it.

use crate::bank::Bank;
use crate::spec::Route;
use crate::{VcpuId, bank};

/// 32 SPIs of a VM with `VCPUS` vCPUs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SpiBank<const VCPUS: usize> {
    pub(crate) bank: Bank,
    routes: [Route; 32],
    /// For each vCPU, the SPIs whose affinity is that of the vCPU.
    routed: [u32; VCPUS],
    /// The SPIs that any one vCPU may take.
    pub(crate) one_of_n: u32,
    /// For each vCPU, the SPIs that are in its list registers or active on it. An SPI is held by one vCPU at most.
    held: [u32; VCPUS],
}

impl<const VCPUS: usize> SpiBank<VCPUS> {
    /// At power-on: the interrupts set in `implemented`, level-sensitive, routed to vCPU 0.
    pub(crate) const fn new(implemented: u32) -> Self {
        let mut routed = [0; VCPUS];
        if let Some(first) = routed.first_mut() {
            *first = u32::MAX;
        }
        Self { bank: Bank::new(implemented, 0), routes: [Route::new(); 32], routed, one_of_n: 0, held: [0; VCPUS] }
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
        let bit = 1_u32.wrapping_shl(index);
        for (vcpu, routed) in VcpuId::first(VCPUS).zip(&mut self.routed) {
            *routed &= !bit;
            if !route.one_of_n() && route.affinity() == vcpu.affinity() {
                *routed |= bit;
            }
        }
        self.one_of_n &= !bit;
        if route.one_of_n() {
            self.one_of_n |= bit;
        }
    }

    /// The SPIs routed to `vcpu` by affinity.
    pub(crate) fn routed_to(&self, vcpu: VcpuId) -> u32 {
        self.routed.get(vcpu.index()).copied().unwrap_or(0)
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

    /// Whoever holds one of `mask` and has it neither active nor in a list register, lets go of it.
    pub(crate) fn let_go(&mut self, mask: u32) {
        let free = mask & !self.bank.active & !self.bank.resident;
        for held in &mut self.held {
            *held &= !free;
        }
    }

    /// Software has made `mask` active: vCPUs hold what is routed to them, `any` what is routed to any.
    pub(crate) fn hold_active(&mut self, mask: u32, any: VcpuId) {
        let free = mask & !self.held();
        for index in bank::ones(free) {
            let bit = 1_u32.wrapping_shl(index);
            let holder =
                if self.one_of_n & bit != 0 { Some(any) } else { VcpuId::first(VCPUS).find(|vcpu| self.routed_to(*vcpu) & bit != 0) };
            if let Some(vcpu) = holder {
                self.hold(vcpu, bit);
            }
        }
    }
}
