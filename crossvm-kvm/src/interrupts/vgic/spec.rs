//! Registers that a reset concerns, and what they hold at power-on (IHI 0048, IHI 0069), as KVM's device attributes name them.

/// The first SPI.
pub(super) const FIRST_SPI: u32 = 32;

/// Where an attribute names the vCPU: bits from here on hold its affinity (GICv3) or its number (GICv2). Ours are the same.
pub(super) const VCPU_SHIFT: u32 = 32;

/// INTIDs, from the first to behind the last.
pub(super) type IntIds = std::ops::Range<u32>;

/// SGIs and PPIs: each vCPU has its own.
pub(super) const PRIVATE: IntIds = 0..FIRST_SPI;

/// Offsets of the words of a register that starts at `base` and has `bits` bits for each of `intids`, which fill words.
pub(super) fn words(base: u32, bits: u32, intids: &IntIds) -> impl Iterator<Item = u32> + use<> {
    let word = |intid: u32| intid.saturating_mul(bits) / 32;
    (word(intids.start)..word(intids.end)).map(move |index| base.saturating_add(index.saturating_mul(4)))
}

/// `GICD_*`: offsets in bytes.
pub(super) mod distributor {
    /// Control.
    pub(in super::super) const CTLR: u32 = 0x000;
    /// Group, one bit each.
    const IGROUPR: u32 = 0x080;
    /// Enables by ones.
    pub(in super::super) const ISENABLER: u32 = 0x100;
    /// Disables by ones.
    pub(in super::super) const ICENABLER: u32 = 0x180;
    /// Pending by ones; through KVM, of a GICv3: pending or not.
    const ISPENDR: u32 = 0x200;
    /// Not pending any more by ones.
    const ICPENDR: u32 = 0x280;
    /// Not active any more by ones.
    const ICACTIVER: u32 = 0x380;
    /// Priority, a byte each.
    pub(in super::super) const IPRIORITYR: u32 = 0x400;
    /// Targets, a byte each. GICv2.
    pub(in super::super) const ITARGETSR: u32 = 0x800;
    /// Edge or level, two bits each.
    pub(in super::super) const ICFGR: u32 = 0xc00;
    /// All of a word are edges: what KVM has SPIs be at first.
    pub(in super::super) const EDGES: u32 = 0xaaaa_aaaa;
    /// Route, 64 bits each. GICv3; counted from the SGIs on, which have none.
    pub(in super::super) const IROUTER: u32 = 0x6000;
    /// SGIs that are not pending any more, a byte of senders each. GICv2.
    pub(in super::super) const CPENDSGIR: [u32; 4] = [0xf10, 0xf14, 0xf18, 0xf1c];

    /// Registers with one bit each, in this order, and what a word of them holds at power-on, of version 3. KVM has one Security state, whose interrupts are all of
    /// group 1 at first.
    pub(in super::super) const V3: [(u32, u32); 4] = [(ICENABLER, u32::MAX), (ISPENDR, 0), (ICACTIVER, u32::MAX), (IGROUPR, u32::MAX)];
    /// The same of version 2.
    pub(in super::super) const V2: [(u32, u32); 4] = [(ICENABLER, u32::MAX), (ICPENDR, u32::MAX), (ICACTIVER, u32::MAX), (IGROUPR, 0)];
}

/// `GICR_*`, in the frame of SGIs and PPIs: offsets in bytes.
pub(super) mod redistributor {
    /// Of a word of SGIs and PPIs, the PPIs.
    pub(in super::super) const NO_SGIS: u32 = 0xffff_0000;
    /// Priority, a byte each.
    pub(in super::super) const IPRIORITYR: u32 = 0x1_0400;

    /// Registers with a bit each for SGIs and PPIs, in this order, then the edges and levels of PPIs. KVM has the SGIs enabled at first.
    pub(in super::super) const POWER_ON: [(u32, u32); 6] =
        [(0x1_0180, NO_SGIS), (0x1_0100, !NO_SGIS), (0x1_0200, 0), (0x1_0380, u32::MAX), (0x1_0080, u32::MAX), (0x1_0c04, 0)];
}

/// The CPU interface.
pub(super) mod interface {
    /// Op0, Op1, CRn, CRm and Op2 of a system register, as attributes have them.
    const fn register(crn: u16, crm: u16, op2: u16) -> u16 {
        3 << 14 | crn << 7 | crm << 3 | op2
    }

    /// `ICC_CTLR_EL1`.
    pub(in super::super) const CTLR: u16 = register(12, 12, 4);
    /// `ICC_IGRPEN0_EL1`, `ICC_IGRPEN1_EL1`, `ICC_PMR_EL1`, `ICC_BPR0_EL1`, `ICC_BPR1_EL1`, `ICC_AP0R0_EL1`, `ICC_AP1R0_EL1`: zero. The other words of active
    /// priorities exist only where there are more than five bits of priority, which Linux does not use.
    pub(in super::super) const ZERO: [u16; 7] = [
        register(12, 12, 6),
        register(12, 12, 7),
        register(4, 6, 0),
        register(12, 8, 3),
        register(12, 12, 3),
        register(12, 8, 4),
        register(12, 9, 0),
    ];
    /// GICv2: `GICC_CTLR`, `GICC_PMR`, `GICC_BPR`, `GICC_APR0`: zero. Offsets in bytes.
    pub(in super::super) const V2_ZERO: [u32; 4] = [0x00, 0x04, 0x08, 0xd0];
}
