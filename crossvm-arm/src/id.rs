//! Names of interrupts and vCPUs.

use core::fmt;

use crate::spec::{FIRST_PPI, FIRST_SPI, LAST_SPI};

/// An interrupt of the guest: SGI, PPI or SPI, INTID 0 to 1019.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct IntId(u16);

impl IntId {
    /// The interrupt `number`, or `None` for 1020 and above.
    #[must_use]
    pub const fn new(number: u32) -> Option<Self> {
        #[expect(clippy::cast_possible_truncation, reason = "at most 1019")]
        if number <= LAST_SPI { Some(Self(number as u16)) } else { None }
    }

    /// The INTID.
    #[must_use]
    pub const fn number(self) -> u32 {
        self.0 as u32
    }

    /// Interrupt `index` of word `word`, or `None` for 1020 and above.
    pub(crate) fn of(word: usize, index: u32) -> Option<Self> {
        u32::try_from(word).ok()?.checked_mul(32)?.checked_add(index).and_then(Self::new)
    }

    /// Which word of 32 interrupts: 0 is that of SGIs and PPIs.
    pub(crate) const fn word(self) -> usize {
        (self.0 >> 5) as usize
    }

    /// The INTID as an index.
    pub(crate) const fn index(self) -> usize {
        self.0 as usize
    }

    /// The interrupt's bit in its word.
    pub(crate) const fn bit(self) -> u32 {
        1_u32.wrapping_shl(self.number())
    }
}

impl fmt::Display for IntId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A private peripheral interrupt: INTID 16 to 31, one for each vCPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Ppi(IntId);

impl Ppi {
    /// The PPI with this INTID, or `None` outside 16 to 31.
    #[must_use]
    pub const fn new(intid: u32) -> Option<Self> {
        match IntId::new(intid) {
            Some(id) if intid >= FIRST_PPI && intid < FIRST_SPI => Some(Self(id)),
            _ => None,
        }
    }

    /// The INTID.
    #[must_use]
    pub const fn number(self) -> u32 {
        self.0.number()
    }
}

/// A shared peripheral interrupt: INTID 32 to 1019.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Spi(IntId);

impl Spi {
    /// The SPI with this INTID (a device tree's number plus 32), or `None` outside 32 to 1019.
    #[must_use]
    pub const fn new(intid: u32) -> Option<Self> {
        match IntId::new(intid) {
            Some(id) if intid >= FIRST_SPI => Some(Self(id)),
            _ => None,
        }
    }

    /// The INTID.
    #[must_use]
    pub const fn number(self) -> u32 {
        self.0.number()
    }
}

impl From<Ppi> for IntId {
    fn from(ppi: Ppi) -> Self {
        ppi.0
    }
}

impl From<Spi> for IntId {
    fn from(spi: Spi) -> Self {
        spi.0
    }
}

/// SPIs in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct SpiRange {
    first: Spi,
    count: u16,
}

impl SpiRange {
    /// The `count` SPIs from `first` on, or `None` where there are none or where they go beyond 1019.
    #[must_use]
    pub const fn new(first: Spi, count: u16) -> Option<Self> {
        match first.0.number().checked_add(count as u32) {
            Some(end) if count > 0 && end <= LAST_SPI + 1 => Some(Self { first, count }),
            _ => None,
        }
    }

    /// The first SPI.
    #[must_use]
    pub const fn first(self) -> Spi {
        self.first
    }

    /// How many there are.
    #[must_use]
    pub const fn count(self) -> u16 {
        self.count
    }

    /// Whether `spi` is one of them.
    #[must_use]
    pub const fn contains(self, spi: Spi) -> bool {
        match spi.0.number().checked_sub(self.first.0.number()) {
            Some(index) => index < self.count as u32,
            None => false,
        }
    }

    /// The last INTID.
    pub(crate) const fn last(self) -> u32 {
        self.first.0.number().saturating_add(self.count as u32).saturating_sub(1)
    }
}

/// A physical interrupt: a PPI or SPI of the machine's own interrupt controller, INTID 16 to 1019.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct PhysicalIntId(u16);

impl PhysicalIntId {
    /// The physical interrupt with this INTID, or `None` outside 16 to 1019.
    #[must_use]
    pub const fn new(intid: u32) -> Option<Self> {
        match IntId::new(intid) {
            Some(IntId(number)) if intid >= FIRST_PPI => Some(Self(number)),
            _ => None,
        }
    }

    /// The INTID.
    #[must_use]
    pub const fn number(self) -> u32 {
        self.0 as u32
    }

    /// As stored in a bank and in a list register.
    pub(crate) const fn raw(self) -> u16 {
        self.0
    }

    /// From what [`raw`](Self::raw) gave.
    pub(crate) const fn from_raw(raw: u16) -> Self {
        Self(raw)
    }
}

/// A vCPU of the VM: 0 to 7. Its affinity is 0.0.0.index, which the VMM gives the guest in `VMPIDR_EL2`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct VcpuId(u8);

impl VcpuId {
    /// Most vCPUs of one VM.
    pub const MAX: usize = 8;

    /// The vCPU `index`, or `None` for 8 and above.
    #[must_use]
    pub const fn new(index: u8) -> Option<Self> {
        if index < 8 { Some(Self(index)) } else { None }
    }

    /// The vCPU's index.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// `Aff3.Aff2.Aff1.Aff0`: what `MPIDR_EL1` tells the guest.
    #[must_use]
    pub const fn affinity(self) -> u32 {
        self.0 as u32
    }

    /// The first vCPU.
    pub(crate) const ZERO: Self = Self(0);

    /// All ids below `count`.
    pub(crate) fn first(count: usize) -> impl Iterator<Item = Self> + Clone {
        (0..8).map(Self).take(count)
    }
}

impl fmt::Display for VcpuId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A set of vCPUs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct VcpuSet(u8);

impl VcpuSet {
    /// No vCPU.
    pub const EMPTY: Self = Self(0);

    /// Whether no vCPU is in the set.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether `vcpu` is in the set.
    #[must_use]
    pub const fn contains(self, vcpu: VcpuId) -> bool {
        self.0 & Self::bit(vcpu) != 0
    }

    /// The set with `vcpu`.
    #[must_use]
    pub const fn with(self, vcpu: VcpuId) -> Self {
        Self(self.0 | Self::bit(vcpu))
    }

    /// The set without `vcpu`: whom the VMM that runs `vcpu` has to interrupt.
    #[must_use]
    pub const fn without(self, vcpu: VcpuId) -> Self {
        Self(self.0 & !Self::bit(vcpu))
    }

    /// The vCPUs of both sets.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The vCPUs of this set that are not in the other.
    pub(crate) const fn minus(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// How many vCPUs are in the set.
    pub(crate) const fn len(self) -> u32 {
        self.0.count_ones()
    }

    /// Bit n stands for vCPU n.
    pub(crate) const fn bits(self) -> u8 {
        self.0
    }

    /// The vCPUs below `count` whose bits are set.
    pub(crate) fn from_bits(bits: u8, count: usize) -> Self {
        VcpuId::first(count).map(|vcpu| Self(bits & Self::bit(vcpu))).fold(Self::EMPTY, Self::union)
    }

    /// The vCPUs in the set, lowest first.
    pub fn iter(self) -> impl Iterator<Item = VcpuId> {
        VcpuId::first(VcpuId::MAX).filter(move |vcpu| self.contains(*vcpu))
    }

    const fn bit(vcpu: VcpuId) -> u8 {
        1_u8.wrapping_shl(vcpu.affinity())
    }
}
