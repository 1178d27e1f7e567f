//! A vGIC as at power-on, for a guest that boots again.
//!
//! KVM has no call for that, so each register is set by a device attribute. Those that set or clear bits do so as for a guest, but for the pending bits of a GICv3, which are
//! written as they shall be (Linux, `Documentation/virt/kvm/devices/arm-vgic-v3.rst`).

use kvm_bindings::{
    KVM_DEV_ARM_ITS_CTRL_RESET, KVM_DEV_ARM_VGIC_GRP_CPU_REGS, KVM_DEV_ARM_VGIC_GRP_CPU_SYSREGS, KVM_DEV_ARM_VGIC_GRP_CTRL,
    KVM_DEV_ARM_VGIC_GRP_DIST_REGS, KVM_DEV_ARM_VGIC_GRP_REDIST_REGS,
};

use super::spec::{self, FIRST_SPI, IntIds, distributor, interface, redistributor};
use super::{Vgic, VgicVersion, set};
use crate::error::CallError;

impl Vgic {
    /// Brings all registers of the controller and of `vcpus` vCPUs, which have the affinities 0, 1, 2 and so on, to what they are at power-on. Lines keep their levels.
    ///
    /// # Errors
    /// What the kernel reports: `EBUSY` where a vCPU is in `KVM_RUN`.
    pub fn reset(&self, vcpus: u8) -> Result<(), CallError> {
        let spis = FIRST_SPI..FIRST_SPI.saturating_add(self.config.spis);
        match self.config.version {
            VgicVersion::V3 { .. } => self.reset_v3(vcpus, &spis)?,
            VgicVersion::V2 { .. } => self.reset_v2(vcpus, &spis)?,
        }
        match &self.its {
            Some(its) => set::<u64>(its, KVM_DEV_ARM_VGIC_GRP_CTRL, KVM_DEV_ARM_ITS_CTRL_RESET.into(), None),
            None => Ok(()),
        }
    }

    fn reset_v3(&self, vcpus: u8, spis: &IntIds) -> Result<(), CallError> {
        let distributor = |offset: u32, value: u32| set(&self.device, KVM_DEV_ARM_VGIC_GRP_DIST_REGS, offset.into(), Some(&value));
        distributor(distributor::CTLR, 0)?;
        for (register, value) in distributor::V3 {
            spec::words(register, 1, spis).try_for_each(|offset| distributor(offset, value))?;
        }
        for (register, bits) in [(distributor::IPRIORITYR, 8), (distributor::IROUTER, 64)] {
            spec::words(register, bits, spis).try_for_each(|offset| distributor(offset, 0))?;
        }
        spec::words(distributor::ICFGR, 2, spis).try_for_each(|offset| distributor(offset, distributor::EDGES))?;
        for place in places(vcpus) {
            let redistributor =
                |offset: u32, value: u32| set(&self.device, KVM_DEV_ARM_VGIC_GRP_REDIST_REGS, place | u64::from(offset), Some(&value));
            redistributor::POWER_ON.into_iter().try_for_each(|(register, value)| redistributor(register, value))?;
            spec::words(redistributor::IPRIORITYR, 8, &spec::PRIVATE).try_for_each(|offset| redistributor(offset, 0))?;
            let interface =
                |register: u16, value: u64| set(&self.device, KVM_DEV_ARM_VGIC_GRP_CPU_SYSREGS, place | u64::from(register), Some(&value));
            interface(interface::CTLR, self.control)?;
            interface::ZERO.into_iter().try_for_each(|register| interface(register, 0))?;
        }
        Ok(())
    }

    fn reset_v2(&self, vcpus: u8, spis: &IntIds) -> Result<(), CallError> {
        for place in places(vcpus) {
            let distributor =
                |offset: u32, value: u32| set(&self.device, KVM_DEV_ARM_VGIC_GRP_DIST_REGS, place | u64::from(offset), Some(&value));
            distributor(distributor::CTLR, 0)?;
            for (register, value) in distributor::V2 {
                let private = if register == distributor::ICENABLER { redistributor::NO_SGIS } else { value };
                spec::words(register, 1, &spec::PRIVATE).try_for_each(|offset| distributor(offset, private))?;
                spec::words(register, 1, spis).try_for_each(|offset| distributor(offset, value))?;
            }
            distributor(distributor::ISENABLER, !redistributor::NO_SGIS)?;
            for (register, bits) in [(distributor::IPRIORITYR, 8), (distributor::ITARGETSR, 8)] {
                spec::words(register, bits, spis).try_for_each(|offset| distributor(offset, 0))?;
            }
            spec::words(distributor::ICFGR, 2, spis).try_for_each(|offset| distributor(offset, distributor::EDGES))?;
            spec::words(distributor::IPRIORITYR, 8, &spec::PRIVATE).try_for_each(|offset| distributor(offset, 0))?;
            // The first word is that of SGIs, which are edges always.
            spec::words(distributor::ICFGR, 2, &spec::PRIVATE).skip(1).try_for_each(|offset| distributor(offset, 0))?;
            distributor::CPENDSGIR.into_iter().try_for_each(|offset| distributor(offset, u32::MAX))?;
            for register in interface::V2_ZERO {
                set(&self.device, KVM_DEV_ARM_VGIC_GRP_CPU_REGS, place | u64::from(register), Some(&0u32))?;
            }
        }
        Ok(())
    }
}

/// How attributes name each vCPU.
fn places(vcpus: u8) -> impl Iterator<Item = u64> {
    (0..u64::from(vcpus)).map(|vcpu| vcpu << spec::VCPU_SHIFT)
}
