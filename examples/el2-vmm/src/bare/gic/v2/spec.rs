//! Registers of the GICv2 that the VMM drives (Arm IHI 0048B, chapter 4). No behaviour.

use bitfield_struct::bitfield;

/// Distributor.
pub(super) mod gicd {
    pub(in super::super) const CTLR: usize = 0x000;
    pub(in super::super) const TYPER: usize = 0x004;
    pub(in super::super) const ISENABLER: usize = 0x100;
    pub(in super::super) const ICENABLER: usize = 0x180;
    pub(in super::super) const IPRIORITYR: usize = 0x400;
    pub(in super::super) const ITARGETSR: usize = 0x800;
    pub(in super::super) const SGIR: usize = 0xf00;
    /// Without the Security Extensions group 0, in the Non-secure view group 1: the group that interrupts are in after a reset, and the one
    /// that firmware leaves to the Non-secure state.
    pub(in super::super) const CTLR_ENABLE: u32 = 1;
}

/// CPU interface.
pub(super) mod gicc {
    pub(in super::super) const CTLR: usize = 0x0000;
    pub(in super::super) const PMR: usize = 0x0004;
    pub(in super::super) const BPR: usize = 0x0008;
    pub(in super::super) const IAR: usize = 0x000c;
    pub(in super::super) const EOIR: usize = 0x0010;
    /// The same group as in the distributor.
    pub(in super::super) const CTLR_ENABLE: u32 = 1;
}

/// GICD_SGIR.
#[bitfield(u32)]
pub(super) struct SoftwareInterrupt {
    /// SGIINTID.
    #[bits(4)]
    pub(super) intid: u8,
    #[bits(12)]
    _reserved: u16,
    /// CPUTargetList.
    pub(super) targets: u8,
    _filter: u8,
}

/// What GICC_IAR gives and GICC_EOIR takes.
#[bitfield(u32)]
pub(super) struct Acknowledged {
    /// INTID.
    #[bits(10)]
    pub(super) intid: u16,
    /// Who sent an SGI.
    #[bits(3)]
    pub(super) source: u8,
    #[bits(19)]
    _reserved: u32,
}
