//! Software generated interrupts of version 3: what a trapped write of `ICC_SGI1R_EL1` and its siblings sends. In version 2 a guest has no
//! such registers: `GICD_SGIR` is in the distributor.

use crate::spec::{Group, SgiRequest};
use crate::{VcpuId, Version, Vgic};

impl<const VCPUS: usize, const SPI_WORDS: usize> Vgic<VCPUS, SPI_WORDS> {
    /// `vcpu` writes `ICC_SGI1R_EL1`: sends the SGI to its targets, whichever group they have it in.
    ///
    /// With one Security state, a group 1 request generates interrupts of either group (IHI 0069 §12.1.10).
    pub fn write_sgi1r(&mut self, vcpu: VcpuId, value: u64) {
        self.send(vcpu, value.into(), |_| true);
    }

    /// `vcpu` writes `ICC_SGI0R_EL1`: sends the SGI to those targets that have it in group 0.
    pub fn write_sgi0r(&mut self, vcpu: VcpuId, value: u64) {
        self.send(vcpu, value.into(), |group| group == Group::Zero);
    }

    /// `vcpu` writes `ICC_ASGI1R_EL1`. With one Security state there is no other group 1: as `ICC_SGI0R_EL1`.
    pub fn write_asgi1r(&mut self, vcpu: VcpuId, value: u64) {
        self.write_sgi0r(vcpu, value);
    }

    fn send(&mut self, from: VcpuId, request: SgiRequest, takes: impl Fn(Group) -> bool) {
        if self.version != Version::V3 {
            return;
        }
        let bit = 1_u32.wrapping_shl(request.intid().into());
        for vcpu in VcpuId::first(VCPUS).filter(|vcpu| is_target(request, from, *vcpu)) {
            let Some(redistributor) = self.vcpus.get_mut(vcpu.index()) else { continue };
            if takes(redistributor.bank.group_of(bit)) {
                let changed = redistributor.bank.pend(bit);
                self.changed_private(vcpu, changed);
            }
        }
    }
}

/// Whether `request`, written by `from`, is for `vcpu`.
fn is_target(request: SgiRequest, from: VcpuId, vcpu: VcpuId) -> bool {
    if request.all_but_self() {
        return vcpu != from;
    }
    let [affinity0, affinity1, affinity2, affinity3] = vcpu.affinity().to_le_bytes();
    (request.affinity1(), request.affinity2(), request.affinity3()) == (affinity1, affinity2, affinity3)
        && request.range() == affinity0 >> 4
        && request.target_list().wrapping_shr(u32::from(affinity0 & 15)) & 1 != 0
}

#[cfg(test)]
mod tests {
    use crossvm_core::Width;

    use super::*;
    use crate::VcpuSet;

    type Gic = Vgic<4, 1>;

    const SELF: VcpuId = VcpuId::new(1).unwrap();

    /// The vCPUs at which SGI `intid` is pending.
    fn pending(gic: &Gic, intid: u32) -> std::vec::Vec<usize> {
        VcpuId::first(8).filter(|vcpu| gic.redistributor_read(*vcpu, 0x1_0200, Width::U32) >> intid & 1 != 0).map(VcpuId::index).collect()
    }

    #[test]
    fn a_target_list_reaches_the_vcpus_in_it_and_no_other() {
        let mut gic = Gic::new();
        gic.write_sgi1r(SELF, 0x0500_00fa);
        assert_eq!(pending(&gic, 5), [1, 3]);
        assert_eq!(pending(&gic, 4), [0_usize; 0]);
    }

    #[test]
    fn all_but_self_ignores_the_target_list_and_leaves_out_the_sender() {
        let mut gic = Gic::new();
        gic.write_sgi1r(SELF, 1 << 40 | 0x0f00_0002);
        assert_eq!(pending(&gic, 15), [0, 2, 3]);
    }

    #[test]
    fn other_clusters_and_ranges_are_not_reached() {
        let mut gic = Gic::new();
        for affinity in [1 << 16, 1 << 32, 1 << 48, 1 << 44] {
            gic.write_sgi1r(SELF, affinity | 0xffff);
        }
        assert_eq!(pending(&gic, 0), [0_usize; 0]);
    }

    #[test]
    fn group_0_requests_reach_only_those_who_have_the_sgi_in_group_0() {
        let mut gic = Gic::new();
        gic.redistributor_write(SELF, 0x1_0080, Width::U32, 0xffff_ffff);
        gic.write_sgi0r(SELF, 0x0100_0003);
        gic.write_asgi1r(SELF, 0x0200_0003);
        gic.write_sgi1r(SELF, 0x0300_0003);
        assert_eq!((pending(&gic, 1), pending(&gic, 2), pending(&gic, 3)), (vec![0], vec![0], vec![0, 1]));
    }

    #[test]
    fn a_target_that_has_the_sgi_enabled_is_kicked() {
        let mut gic = Gic::new();
        gic.distributor_write(SELF, 0, Width::U32, 3);
        let target = VcpuId::new(2).unwrap();
        gic.redistributor_write(target, 0x1_0100, Width::U32, 1);
        assert_eq!(gic.take_kicks(), VcpuSet::EMPTY);
        gic.write_sgi1r(SELF, 1 << 40);
        assert_eq!(gic.take_kicks(), VcpuSet::EMPTY.with(target));
        assert!(gic.has_pending(target) && !gic.has_pending(SELF));
    }

    use std::vec;
}
