//! Register offsets and layouts that version 2 has to itself (Arm IHI 0048B.b). Layouts and constants only.
//!
//! No Security Extensions, interrupt grouping as in every GICv2.

use bitfield_struct::{bitenum, bitfield};

use super::{Group, HypervisorControl, ListRegister, State};

/// Size of the distributor's frame in bytes (IHI 0048 §4.1.2).
pub const DISTRIBUTOR_SIZE: u32 = 0x1000;
/// Size of the CPU interface's frame in bytes: `GICC_DIR` is alone on the second page of 4 KiB (IHI 0048 §4.1.3).
pub const CPU_INTERFACE_SIZE: u32 = 0x2000;

/// `GICD_IIDR` (IHI 0048 §4.3.3): product 0x58, variant 0, revision 1, JEP106 code of Arm as the model's designer.
pub const IIDR_VALUE: u32 = super::IIDR_VALUE;

/// `GICD_ICPIDR2` (IHI 0048 §4.3.18): `ArchRev` = 2, a GICv2.
pub const PIDR2_VALUE: u32 = 0x2b;

/// Distributor register map (IHI 0048 §4.1.2): what version 3 does not have at the same place. Offsets in bytes.
pub mod gicd {
    /// `GICD_ITARGETSR<0>`: 8 bits for each interrupt.
    pub const ITARGETSR: u32 = 0x0800;
    /// `GICD_ITARGETSR<8>`: the first that is not of SGIs and PPIs, and not read-only.
    pub const ITARGETSR_SPIS: u32 = 0x0820;
    /// The first byte behind the `GICD_ITARGETSR<n>`.
    pub const ITARGETSR_END: u32 = 0x0c00;
    /// `GICD_SGIR`.
    pub const SGIR: u32 = 0x0f00;
    /// `GICD_CPENDSGIR<0>`: 8 bits for each SGI, one for each vCPU that may have sent it.
    pub const CPENDSGIR: u32 = 0x0f10;
    /// `GICD_SPENDSGIR<0>`: as `GICD_CPENDSGIR`.
    pub const SPENDSGIR: u32 = 0x0f20;
    /// The first byte behind the `GICD_SPENDSGIR<n>`.
    pub const SPENDSGIR_END: u32 = 0x0f30;
    /// `GICD_ICPIDR2`.
    pub const PIDR2: u32 = 0x0fe8;
}

/// CPU interface register map (IHI 0048 §4.1.3), as far as it traps. Offsets in bytes.
pub mod gicc {
    /// `GICC_DIR`: the only register of the frame's second page.
    pub const DIR: u32 = 0x1000;
}

/// Register map of the virtual interface control block, `GICH_*` (IHI 0048 §5.3). Offsets in bytes.
pub mod gich {
    /// `GICH_HCR`.
    pub const HCR: u32 = 0x000;
    /// `GICH_VTR`.
    pub const VTR: u32 = 0x004;
    /// `GICH_VMCR`.
    pub const VMCR: u32 = 0x008;
    /// `GICH_MISR`.
    pub const MISR: u32 = 0x010;
    /// `GICH_EISR<0>`.
    pub const EISR: u32 = 0x020;
    /// `GICH_ELRSR<0>`.
    pub const ELRSR: u32 = 0x030;
    /// `GICH_APR`.
    pub const APR: u32 = 0x0f0;
    /// `GICH_LR<0>`: 4 bytes for each list register.
    pub const LR: u32 = 0x100;
}

/// `GICD_TYPER` (IHI 0048 §4.3.2).
#[bitfield(u32, defmt = cfg(feature = "defmt"))]
#[derive(PartialEq, Eq)]
pub struct DistributorType {
    /// `ITLinesNumber`: interrupts up to 32 × (n + 1) − 1.
    #[bits(5)]
    pub lines: u8,
    /// `CPUNumber`: CPU interfaces, minus 1.
    #[bits(3)]
    pub cpus: u8,
    #[bits(2)]
    __: u8,
    /// `SecurityExtn`.
    pub security_extensions: bool,
    /// `LSPI`: SPIs that can be locked, with the Security Extensions.
    #[bits(5)]
    pub lockable_spis: u8,
    __: u16,
}

/// `GICD_CTLR` without the Security Extensions (IHI 0048 §4.3.1).
#[bitfield(u32, defmt = cfg(feature = "defmt"))]
#[derive(PartialEq, Eq)]
pub struct DistributorControl {
    /// `EnableGrp0`: group 0 interrupts are forwarded.
    pub enable_group0: bool,
    /// `EnableGrp1`: group 1 interrupts are forwarded.
    pub enable_group1: bool,
    #[bits(30)]
    __: u32,
}

/// To whom a write of `GICD_SGIR` goes (IHI 0048 §4.3.15).
#[bitenum]
#[repr(u8)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum TargetFilter {
    /// To those in the target list.
    List = 0,
    /// To all but the one that writes.
    AllButSelf = 1,
    /// To the one that writes.
    OnlySelf = 2,
    /// To nobody.
    #[fallback]
    Reserved = 3,
}

/// `GICD_SGIR` (IHI 0048 §4.3.15).
#[bitfield(u32, defmt = cfg(feature = "defmt"))]
#[derive(PartialEq, Eq)]
pub struct SoftwareInterrupt {
    /// `SGIINTID`.
    #[bits(4)]
    pub intid: u8,
    #[bits(11)]
    __: u16,
    /// `NSATT`: only with the Security Extensions.
    pub nonsecure: bool,
    /// `CPUTargetList`.
    pub target_list: u8,
    /// `TargetListFilter`.
    #[bits(2)]
    pub filter: TargetFilter,
    #[bits(6)]
    __: u8,
}

/// What a guest writes to `GICC_DIR` (IHI 0048 §4.4.15).
#[bitfield(u32, defmt = cfg(feature = "defmt"))]
#[derive(PartialEq, Eq)]
pub struct Deactivation {
    /// `InterruptID`.
    #[bits(10)]
    pub intid: u16,
    /// `CPUID`: who sent the SGI.
    #[bits(3)]
    pub source: u8,
    #[bits(19)]
    __: u32,
}

/// `GICH_VTR` (IHI 0048 §5.3.2).
#[bitfield(u32, defmt = cfg(feature = "defmt"))]
#[derive(PartialEq, Eq)]
pub struct VgicType {
    /// `ListRegs`: list registers, minus 1.
    #[bits(6)]
    pub list_registers: u8,
    #[bits(20)]
    __: u32,
    /// `PREbits`: bits of preemption, minus 1.
    #[bits(3)]
    pub preemption_bits: u8,
    /// `PRIbits`: bits of priority, minus 1.
    #[bits(3)]
    pub priority_bits: u8,
}

/// `GICH_LR<n>` (IHI 0048 §5.3.8).
#[bitfield(u32, defmt = cfg(feature = "defmt"))]
#[derive(PartialEq, Eq)]
pub struct GichListRegister {
    /// `VirtualID`: what the guest reads when it acknowledges.
    #[bits(10)]
    pub virtual_id: u16,
    /// `PhysicalID`. Where `hardware`: the physical interrupt that the guest's deactivation deactivates. Else bit 9 asks for a
    /// maintenance interrupt at the end of interrupt, and bits 2:0 are the CPU that sent an SGI.
    #[bits(10)]
    pub physical_id: u16,
    #[bits(3)]
    __: u8,
    /// `Priority`: the upper 5 bits.
    #[bits(5)]
    pub priority: u8,
    /// `State`.
    #[bits(2)]
    pub state: State,
    /// `Grp1`.
    #[bits(1)]
    pub group: Group,
    /// `HW`.
    pub hardware: bool,
}

impl From<ListRegister> for GichListRegister {
    /// Loses nothing of what this crate puts into a list register.
    fn from(register: ListRegister) -> Self {
        let virtual_id = (register.virtual_intid() & 0x3ff) as u16;
        // The fields fit; the checked forms keep a panic out of the code.
        let fields = Self::new()
            .with_priority_checked(register.priority() >> 3)
            .and_then(|fields| fields.with_virtual_id_checked(virtual_id))
            .and_then(|fields| fields.with_physical_id_checked(register.physical_intid() & 0x3ff));
        fields.unwrap_or_default().with_state(register.state()).with_group(register.group()).with_hardware(register.hardware())
    }
}

impl From<GichListRegister> for ListRegister {
    fn from(register: GichListRegister) -> Self {
        let fields = Self::new().with_physical_intid_checked(register.physical_id()).unwrap_or_default();
        fields
            .with_virtual_intid(register.virtual_id().into())
            .with_priority(register.priority().wrapping_shl(3))
            .with_state(register.state())
            .with_group(register.group())
            .with_hardware(register.hardware())
    }
}

impl HypervisorControl {
    /// As `GICH_HCR` (IHI 0048 §5.3.1), which has no traps.
    #[must_use]
    pub const fn to_gich(self) -> u32 {
        (self.into_bits() & Self::GICH) as u32
    }

    /// From what `GICH_HCR` reads as.
    #[must_use]
    pub const fn from_gich(bits: u32) -> Self {
        Self::from_bits(bits as u64 & Self::GICH)
    }

    /// `EOICount`, and the enables from `En` to `VGrp1DIE`.
    const GICH: u64 = 0xf800_00ff;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn list_registers_have_the_places_of_the_manual() {
        let register = ListRegister::new().with_virtual_intid(40).with_priority(0xa8).with_group(Group::One).with_state(State::Pending);
        assert_eq!(GichListRegister::from(register).into_bits(), 0x5a80_0028);
        let register = register.with_physical_intid(ListRegister::MAINTENANCE_ON_EOI).with_state(State::Active);
        assert_eq!(GichListRegister::from(register).into_bits(), 0x6a88_0028);
        let register = register.with_physical_intid(140).with_hardware(true).with_group(Group::Zero).with_state(State::PendingActive);
        assert_eq!(GichListRegister::from(register).into_bits(), 0xba82_3028);
    }

    #[test]
    fn every_value_of_a_list_register_of_version_2_survives_the_way_there_and_back() {
        for bit in (0..32).filter(|bit| !(20..23).contains(bit)) {
            for bits in [1_u32 << bit, !(1 << bit) & !0x0070_0000] {
                let common = ListRegister::from(GichListRegister::from_bits(bits));
                assert_eq!(GichListRegister::from(common).into_bits(), bits, "{bits:#x}");
            }
        }
    }

    #[test]
    fn the_control_has_the_places_of_the_manual() {
        let control = HypervisorControl::new().with_enable(true).with_no_pending(true).with_group1_disabled(true).with_eoi_count(3);
        assert_eq!(control.to_gich(), 0x1800_0089);
        assert_eq!(HypervisorControl::from_gich(0x1800_0089), control);
        assert_eq!(control.with_trap_deactivate(true).to_gich(), 0x1800_0089);
        assert_eq!(HypervisorControl::from_gich(u32::MAX).to_gich(), 0xf800_00ff);
    }

    #[test]
    fn a_software_interrupt_has_the_places_of_the_manual() {
        let request = SoftwareInterrupt::from_bits(0x0235_8009);
        assert_eq!((request.intid(), request.target_list(), request.filter()), (9, 0x35, TargetFilter::OnlySelf));
        assert!(request.nonsecure());
    }
}
