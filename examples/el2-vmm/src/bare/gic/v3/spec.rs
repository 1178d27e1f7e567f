//! Registers of the GICv3 that the VMM drives (Arm IHI 0069, chapter 12). No behaviour.

/// Distributor; the banked ones are in a redistributor's SGI frame too.
pub(super) mod gicd {
    pub(in super::super) const CTLR: usize = 0x0000;
    pub(in super::super) const TYPER: usize = 0x0004;
    pub(in super::super) const IGROUPR: usize = 0x0080;
    pub(in super::super) const ISENABLER: usize = 0x0100;
    pub(in super::super) const ICENABLER: usize = 0x0180;
    pub(in super::super) const IPRIORITYR: usize = 0x0400;
    pub(in super::super) const IROUTER: usize = 0x6000;
    /// Affinity routing (bit 4), groups 0 and 1 (bits 0 and 1; of the Non-secure view, group 1 both).
    pub(in super::super) const CTLR_ENABLE: u32 = 0b1_0011;
    pub(in super::super) const CTLR_WRITE_PENDING: u32 = 1 << 31;
}

/// Redistributor.
pub(super) mod gicr {
    pub(in super::super) const CTLR: usize = 0x0000;
    pub(in super::super) const TYPER: usize = 0x0008;
    /// The upper half of TYPER.
    pub(in super::super) const TYPER_AFFINITY: usize = 0x000c;
    pub(in super::super) const WAKER: usize = 0x0014;
    pub(in super::super) const PIDR2: usize = 0xffe8;
    pub(in super::super) const SGI_FRAME: usize = 0x1_0000;
    pub(in super::super) const STRIDE: usize = 0x2_0000;
    pub(in super::super) const STRIDE_WITH_VIRTUAL_LPIS: usize = 0x4_0000;
    pub(in super::super) const CTLR_WRITE_PENDING: u32 = 1 << 3;
    pub(in super::super) const WAKER_CHILDREN_ASLEEP: u32 = 1 << 2;
    pub(in super::super) const TYPER_VIRTUAL_LPIS: u32 = 1 << 1;
    pub(in super::super) const TYPER_LAST: u32 = 1 << 4;
}
