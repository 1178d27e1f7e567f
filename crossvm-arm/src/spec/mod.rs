//! Register offsets and layouts of the Arm Generic Interrupt Controller: what both versions share and what version 3 has (Arm IHI 0069;
//! sections as in issue H). What version 2 has to itself is in [`gicv2`]. Layouts and constants only.
//!
//! Version 3: one Security state (`GICD_CTLR.DS` = 1), affinity routing always on (`GICD_CTLR.ARE` = 1), no LPIs, no extended SPI and PPI
//! ranges.

pub mod gicv2;
pub mod message;

use bitfield_struct::{bitenum, bitfield};

/// First INTID of the private peripheral interrupts (IHI 0069 §2.2).
pub const FIRST_PPI: u32 = 16;
/// First INTID of the shared peripheral interrupts (IHI 0069 §2.2).
pub const FIRST_SPI: u32 = 32;
/// Last INTID of the shared peripheral interrupts: 1020 to 1023 are special (IHI 0069 §2.2).
pub const LAST_SPI: u32 = 1019;
/// Size of the distributor's frame in bytes (IHI 0069 §12.8).
pub const DISTRIBUTOR_SIZE: u32 = 0x1_0000;
/// Size of one vCPU's redistributor in bytes: the RD frame and the SGI frame, 64 KiB each (IHI 0069 §12.10).
pub const REDISTRIBUTOR_SIZE: u32 = 0x2_0000;
/// Offset of a redistributor's SGI frame from its RD frame (IHI 0069 §12.10).
pub const SGI_FRAME: u32 = 0x1_0000;

/// The bits of a priority that are implemented: 32 levels. No virtual CPU interface has fewer (IHI 0069 §4.8, `ICH_VTR_EL2.PRIbits`), and a
/// level that the interface cannot tell apart must not be one here.
pub const PRIORITY_MASK: u8 = 0xf8;

/// Distributor register map (IHI 0069 §12.8). Offsets in bytes.
pub mod gicd {
    /// `GICD_CTLR`.
    pub const CTLR: u32 = 0x0000;
    /// `GICD_TYPER`.
    pub const TYPER: u32 = 0x0004;
    /// `GICD_IIDR`.
    pub const IIDR: u32 = 0x0008;
    /// `GICD_IROUTER<0>`: 8 bytes for each INTID. The first that exists is that of INTID 32.
    pub const IROUTER: u32 = 0x6000;
    /// The first byte behind `GICD_IROUTER<1019>`.
    pub const IROUTER_END: u32 = 0x7fe0;
    /// `GICD_PIDR2`.
    pub const PIDR2: u32 = 0xffe8;
}

/// Redistributor register map, RD frame (IHI 0069 §12.10). Offsets in bytes.
pub mod gicr {
    /// `GICR_CTLR`.
    pub const CTLR: u32 = 0x0000;
    /// `GICR_IIDR`.
    pub const IIDR: u32 = 0x0004;
    /// `GICR_TYPER`, lower half.
    pub const TYPER: u32 = 0x0008;
    /// `GICR_TYPER`, upper half.
    pub const TYPER_HIGH: u32 = 0x000c;
    /// `GICR_WAKER`.
    pub const WAKER: u32 = 0x0014;
    /// `GICR_PIDR2`.
    pub const PIDR2: u32 = 0xffe8;
}

/// Registers with one field for each interrupt: the same offsets in the distributor and in a redistributor's SGI frame
/// (IHI 0069 §12.8, §12.10).
pub mod banked {
    /// `IGROUPR<n>`: 1 bit for each interrupt.
    pub const IGROUPR: u32 = 0x0080;
    /// `ISENABLER<n>`: 1 bit for each interrupt.
    pub const ISENABLER: u32 = 0x0100;
    /// `ICENABLER<n>`: 1 bit for each interrupt.
    pub const ICENABLER: u32 = 0x0180;
    /// `ISPENDR<n>`: 1 bit for each interrupt.
    pub const ISPENDR: u32 = 0x0200;
    /// `ICPENDR<n>`: 1 bit for each interrupt.
    pub const ICPENDR: u32 = 0x0280;
    /// `ISACTIVER<n>`: 1 bit for each interrupt.
    pub const ISACTIVER: u32 = 0x0300;
    /// `ICACTIVER<n>`: 1 bit for each interrupt.
    pub const ICACTIVER: u32 = 0x0380;
    /// `IPRIORITYR<n>`: 8 bits for each interrupt.
    pub const IPRIORITYR: u32 = 0x0400;
    /// The first byte behind the `IPRIORITYR<n>`.
    pub const IPRIORITYR_END: u32 = 0x0800;
    /// `ICFGR<n>`: 2 bits for each interrupt.
    pub const ICFGR: u32 = 0x0c00;
    /// The first byte behind the `ICFGR<n>`. `IGRPMODR<n>` follows: reserved where `GICD_CTLR.DS` is 1 (IHI 0069 §12.9).
    pub const ICFGR_END: u32 = 0x0d00;
}

/// `GICD_IIDR` and `GICR_IIDR` (IHI 0069 §12.9, §12.11): product 0x58, variant 0, revision 1, JEP106 code of Arm as the model's designer.
pub const IIDR_VALUE: u32 = 0x5800_143b;

/// `GICD_PIDR2` and `GICR_PIDR2` (IHI 0069 §12.9, §12.11): `ArchRev` = 3, a GICv3.
pub const PIDR2_VALUE: u32 = 0x3b;

/// `GICD_CTLR` where `DS` = 1 (IHI 0069 §12.9). RWP reads as zero: every write has taken effect when it returns.
#[bitfield(u32, defmt = cfg(feature = "defmt"))]
#[derive(PartialEq, Eq)]
pub struct DistributorControl {
    /// `EnableGrp0`: group 0 interrupts are forwarded.
    pub enable_group0: bool,
    /// `EnableGrp1`: group 1 interrupts are forwarded.
    pub enable_group1: bool,
    #[bits(2)]
    __: u8,
    /// `ARE`: affinity routing. Always 1 here.
    pub affinity_routing: bool,
    #[bits(1)]
    __: u8,
    /// `DS`: one Security state. Always 1 here.
    pub disable_security: bool,
    #[bits(24)]
    __: u32,
    /// `RWP`: a write is pending. Always 0 here.
    pub write_pending: bool,
}

/// `GICD_TYPER` (IHI 0069 §12.9).
#[bitfield(u32, defmt = cfg(feature = "defmt"))]
#[derive(PartialEq, Eq)]
pub struct DistributorType {
    /// `ITLinesNumber`: INTIDs up to 32 × (n + 1) − 1.
    #[bits(5)]
    pub lines: u8,
    #[bits(3)]
    __: u8,
    /// `ESPI`: extended SPIs.
    pub extended_spis: bool,
    __: bool,
    /// `SecurityExtn`: two Security states.
    pub two_security_states: bool,
    #[bits(5)]
    __: u8,
    /// `MBIS`: message-based SPIs.
    pub message_spis: bool,
    /// `LPIS`: locality-specific peripheral interrupts.
    pub lpis: bool,
    /// `DVIS`: direct injection of virtual LPIs.
    pub direct_injection: bool,
    /// `IDbits`: number of INTID bits, minus 1.
    #[bits(5)]
    pub intid_bits: u8,
    /// `A3V`: affinity level 3 may be other than zero.
    pub affinity3: bool,
    /// `No1N`: 1 of N SPIs are not supported.
    pub no_one_of_n: bool,
    /// `RSS`: SGIs reach level-0 affinities above 15.
    pub range_selector: bool,
    #[bits(5)]
    __: u8,
}

/// `GICD_IROUTER<n>` (IHI 0069 §12.9), lower half: with `GICD_TYPER.A3V` = 0 the upper half is reserved.
#[bitfield(u32, defmt = cfg(feature = "defmt"))]
#[derive(PartialEq, Eq)]
pub struct Route {
    /// `Aff2.Aff1.Aff0` of the PE.
    #[bits(24)]
    pub affinity: u32,
    #[bits(7)]
    __: u8,
    /// `Interrupt_Routing_Mode`: any one PE that takes part, whatever the affinity says.
    pub one_of_n: bool,
}

impl Route {
    /// The bits that are not reserved.
    pub const IMPLEMENTED: u32 = 0x80ff_ffff;
}

/// `GICR_TYPER` (IHI 0069 §12.11).
#[bitfield(u64, defmt = cfg(feature = "defmt"))]
#[derive(PartialEq, Eq)]
pub struct RedistributorType {
    /// `PLPIS`: physical LPIs.
    pub lpis: bool,
    /// `VLPIS`: virtual LPIs.
    pub virtual_lpis: bool,
    __: bool,
    /// `DirectLPI`.
    pub direct_lpi: bool,
    /// `Last`: no redistributor follows in this row.
    pub last: bool,
    /// `DPGS`: `GICR_CTLR.DPG*` exist.
    pub disable_processor_groups: bool,
    #[bits(2)]
    __: u8,
    /// `Processor_Number`.
    pub processor_number: u16,
    #[bits(8)]
    __: u8,
    /// `Aff3.Aff2.Aff1.Aff0` of the PE.
    pub affinity: u32,
}

/// `GICR_WAKER` (IHI 0069 §12.11).
#[bitfield(u32, defmt = cfg(feature = "defmt"))]
#[derive(PartialEq, Eq)]
pub struct Waker {
    __: bool,
    /// `ProcessorSleep`: the redistributor forwards nothing to its PE.
    pub processor_sleep: bool,
    /// `ChildrenAsleep`: the interface to the PE is quiescent. Follows `ProcessorSleep` at once here.
    pub children_asleep: bool,
    #[bits(29)]
    __: u32,
}

/// `ICC_SGI1R_EL1`, `ICC_ASGI1R_EL1` and `ICC_SGI0R_EL1` (IHI 0069 §12.2).
#[bitfield(u64, defmt = cfg(feature = "defmt"))]
#[derive(PartialEq, Eq)]
pub struct SgiRequest {
    /// `TargetList`: bit n stands for `Aff0` = 16 × `range` + n.
    pub target_list: u16,
    /// `Aff1`.
    pub affinity1: u8,
    /// `INTID` of the SGI.
    #[bits(4)]
    pub intid: u8,
    #[bits(4)]
    __: u8,
    /// `Aff2`.
    pub affinity2: u8,
    /// `IRM`: all PEs but the one that writes.
    pub all_but_self: bool,
    #[bits(3)]
    __: u8,
    /// `RS`: which 16 values of `Aff0` the target list stands for.
    #[bits(4)]
    pub range: u8,
    /// `Aff3`.
    pub affinity3: u8,
    #[bits(8)]
    __: u8,
}

/// Interrupt group (IHI 0069 §4.6). Version 3 signals group 0 as FIQ, group 1 as IRQ; version 2 group 0 as the guest has it in
/// `GICC_CTLR.FIQEn`.
#[bitenum]
#[repr(u8)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Group {
    /// Group 0.
    #[fallback]
    Zero = 0,
    /// Group 1.
    One = 1,
}

/// State of the interrupt in a list register (IHI 0069 §12.4).
#[bitenum]
#[repr(u8)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum State {
    /// The register is free.
    #[fallback]
    Inactive = 0,
    /// Not yet acknowledged.
    Pending = 1,
    /// Acknowledged, not yet deactivated.
    Active = 2,
    /// Being handled, and due again.
    PendingActive = 3,
}

impl State {
    /// Whether the interrupt waits for being acknowledged.
    #[must_use]
    pub const fn is_pending(self) -> bool {
        matches!(self, Self::Pending | Self::PendingActive)
    }

    /// Whether the interrupt is being handled.
    #[must_use]
    pub const fn is_active(self) -> bool {
        matches!(self, Self::Active | Self::PendingActive)
    }
}

/// `ICH_LR<n>_EL2` (IHI 0069 §12.4).
///
/// GICv2's `GICH_LR<n>` (IHI 0048 §5.3.8) holds the same fields in 32 bits: 10 bits of either INTID and the upper 5 of the priority,
/// which is all that is used here. [`GichListRegister`](gicv2::GichListRegister) converts.
#[bitfield(u64, defmt = cfg(feature = "defmt"))]
#[derive(PartialEq, Eq)]
pub struct ListRegister {
    /// `vINTID`: what the guest reads when it acknowledges.
    pub virtual_intid: u32,
    /// `pINTID`. Where `hardware`: the physical interrupt that the guest's deactivation deactivates. Else bit 9 asks for a maintenance
    /// interrupt when the guest deactivates: [`ListRegister::MAINTENANCE_ON_EOI`]. For an SGI of version 2, bits 2:0 are the vCPU
    /// that sent it.
    #[bits(13)]
    pub physical_intid: u16,
    #[bits(3)]
    __: u8,
    /// `Priority`: lower is more urgent.
    pub priority: u8,
    #[bits(4)]
    __: u8,
    /// `Group`.
    #[bits(1)]
    pub group: Group,
    /// `HW`: linked to a physical interrupt.
    pub hardware: bool,
    /// `State`.
    #[bits(2)]
    pub state: State,
}

impl ListRegister {
    /// A free register.
    pub const EMPTY: Self = Self::new();
    /// Value of `physical_intid` that asks for a maintenance interrupt on deactivation, where `hardware` is not set (bit 41).
    pub const MAINTENANCE_ON_EOI: u16 = 1 << 9;
}

/// `ICH_HCR_EL2` (IHI 0069 §12.4); `GICH_HCR` (IHI 0048 §5.3.1) has the lower 8 bits and `EOIcount` at the same places.
#[bitfield(u64, defmt = cfg(feature = "defmt"))]
#[derive(PartialEq, Eq)]
pub struct HypervisorControl {
    /// `En`: the virtual CPU interface signals interrupts.
    pub enable: bool,
    /// `UIE`: maintenance while at most one list register is in use.
    pub underflow: bool,
    /// `LRENPIE`: maintenance while `EOIcount` is not zero.
    pub entry_not_present: bool,
    /// `NPIE`: maintenance while no list register is pending.
    pub no_pending: bool,
    /// `VGrp0EIE`: maintenance while the guest has group 0 enabled.
    pub group0_enabled: bool,
    /// `VGrp0DIE`: maintenance while the guest has group 0 disabled.
    pub group0_disabled: bool,
    /// `VGrp1EIE`: maintenance while the guest has group 1 enabled.
    pub group1_enabled: bool,
    /// `VGrp1DIE`: maintenance while the guest has group 1 disabled.
    pub group1_disabled: bool,
    /// `vSGIEOICount`: deactivation of directly injected SGIs does not count.
    pub direct_sgis_uncounted: bool,
    __: bool,
    /// `TC`: traps the registers common to both groups.
    pub trap_common: bool,
    /// `TALL0`: traps the registers of group 0.
    pub trap_group0: bool,
    /// `TALL1`: traps the registers of group 1.
    pub trap_group1: bool,
    /// `TSEI`: traps locally generated `SError`s.
    pub trap_serror: bool,
    /// `TDIR`: traps `ICC_DIR_EL1`.
    pub trap_deactivate: bool,
    /// `DVIM`: directly injected interrupts are masked.
    pub mask_direct: bool,
    #[bits(11)]
    __: u16,
    /// `EOIcount`: deactivations of interrupts that no list register held.
    #[bits(5)]
    pub eoi_count: u8,
    __: u32,
}

/// `ICH_VMCR_EL2` (IHI 0069 §12.4), as far as it is needed here; `GICH_VMCR` (IHI 0048 §5.3.3) has these bits at the same places.
#[bitfield(u64, defmt = cfg(feature = "defmt"))]
#[derive(PartialEq, Eq)]
pub struct MachineControl {
    /// `VENG0`: the guest has group 0 enabled in its CPU interface.
    pub enable_group0: bool,
    /// `VENG1`: the guest has group 1 enabled in its CPU interface.
    pub enable_group1: bool,
    #[bits(7)]
    __: u8,
    /// `VEOIM`: the guest deactivates apart from the end of interrupt.
    pub separate_deactivation: bool,
    #[bits(54)]
    __: u64,
}
