//! Layouts of descriptors (Arm DDI 0487, D8.3.1 and D8.3.2). No behaviour.

use bitfield_struct::bitfield;

use crate::host::HostAddr;

/// A descriptor of any level.
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct Descriptor {
    /// The descriptor means something.
    pub valid: bool,
    /// Levels 1 and 2: it points to a table, not to a block. Level 3: always set.
    pub table_or_page: bool,
    /// Lower attributes of a block or page.
    #[bits(10)]
    pub lower: u16,
    /// Bits 47:12 of the output address.
    #[bits(36)]
    pub address: u64,
    #[bits(4)]
    _reserved: u8,
    /// Upper attributes of a block or page.
    #[bits(12)]
    pub upper: u16,
}

impl Descriptor {
    /// Points to the table at `address`.
    #[must_use]
    pub const fn to_table(address: HostAddr) -> Self {
        Self::new().with_valid(true).with_table_or_page(true).with_address(page_number(address))
    }

    /// Where it points to.
    #[must_use]
    pub const fn target(self) -> HostAddr {
        HostAddr::new(self.address() << 12)
    }

    /// Its attributes.
    #[must_use]
    pub const fn attributes(self) -> LeafAttributes {
        LeafAttributes { lower: self.lower(), upper: self.upper() }
    }
}

/// Bits 47:12 of an address: a descriptor has no place for those above, and no host address has them set.
const fn page_number(address: HostAddr) -> u64 {
    (address.get() >> 12) & 0xf_ffff_ffff
}

/// Attributes of a block or page, for either kind of table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeafAttributes {
    lower: u16,
    upper: u16,
}

impl LeafAttributes {
    /// A block or page at `address` with these attributes.
    #[must_use]
    pub(super) const fn leaf(self, address: HostAddr, page: bool) -> Descriptor {
        Descriptor::new()
            .with_valid(true)
            .with_table_or_page(page)
            .with_lower(self.lower)
            .with_upper(self.upper)
            .with_address(page_number(address))
    }
}

/// Lower attributes of stage 1 (bits 11:2).
#[bitfield(u16)]
struct Stage1Lower {
    #[bits(3)]
    attribute_index: u8,
    ns: bool,
    /// RES1 in the EL2 regime.
    ap1: bool,
    read_only: bool,
    #[bits(2)]
    shareability: u8,
    accessed: bool,
    #[bits(7)]
    _rest: u8,
}

/// Upper attributes (bits 63:52): bit 54 is execute-never in both kinds of table.
#[bitfield(u16)]
struct Upper {
    #[bits(2)]
    _low: u8,
    execute_never: bool,
    #[bits(13)]
    _rest: u16,
}

/// Lower attributes of stage 2 (bits 11:2).
#[bitfield(u16)]
struct Stage2Lower {
    #[bits(4)]
    memory_attribute: u8,
    read: bool,
    write: bool,
    #[bits(2)]
    shareability: u8,
    accessed: bool,
    #[bits(7)]
    _rest: u8,
}

const INNER_SHAREABLE: u8 = 0b11;

/// What the VMM's own map says of a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum El2Attributes {
    /// Instructions: read and execute.
    Code,
    /// Constants: read.
    Constants,
    /// Memory: read and write.
    Data,
    /// Device registers: read and write, neither gathered nor reordered nor acknowledged early.
    Device,
}

impl El2Attributes {
    /// MAIR_EL2 that goes with these attributes: index 0 is Device-nGnRnE, index 1 is Normal, write-back, allocating.
    pub const MAIR: u64 = 0xff00;
}

impl From<El2Attributes> for LeafAttributes {
    fn from(attributes: El2Attributes) -> Self {
        let normal = Stage1Lower::new().with_attribute_index(1).with_shareability(INNER_SHAREABLE).with_ap1(true).with_accessed(true);
        let device = normal.with_attribute_index(0).with_shareability(0);
        let (lower, executable) = match attributes {
            El2Attributes::Code => (normal.with_read_only(true), true),
            El2Attributes::Constants => (normal.with_read_only(true), false),
            El2Attributes::Data => (normal, false),
            El2Attributes::Device => (device, false),
        };
        Self { lower: lower.into_bits(), upper: Upper::new().with_execute_never(!executable).into_bits() }
    }
}

/// What a guest may do with a range. Memory is always Normal, write-back, inner shareable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage2Attributes {
    /// Guest RAM: read, write and execute.
    Ram,
    /// Shared memory: read and write.
    ReadWrite,
    /// Shared memory: read.
    Read,
    /// Registers of a physical device: read and write.
    Device,
}

impl From<Stage2Attributes> for LeafAttributes {
    fn from(attributes: Stage2Attributes) -> Self {
        // Normal write-back, or Device-nGnRE.
        let (write, executable, memory_attribute) = match attributes {
            Stage2Attributes::Ram => (true, true, 0b1111),
            Stage2Attributes::ReadWrite => (true, false, 0b1111),
            Stage2Attributes::Read => (false, false, 0b1111),
            Stage2Attributes::Device => (true, false, 0b0001),
        };
        let lower = Stage2Lower::new()
            .with_memory_attribute(memory_attribute)
            .with_read(true)
            .with_write(write)
            .with_shareability(INNER_SHAREABLE)
            .with_accessed(true);
        Self { lower: lower.into_bits(), upper: Upper::new().with_execute_never(!executable).into_bits() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bits(attributes: impl Into<LeafAttributes>, page: bool) -> u64 {
        attributes.into().leaf(HostAddr::new(0x1234_5678_9000), page).into_bits()
    }

    #[test]
    fn descriptors_have_the_architecture_s_bits() {
        // XN, AF, inner shareable, S2AP, MemAttr, type (Arm DDI 0487, D8.3.1 and D8.3.2).
        let (xn, accessed, inner) = (1 << 54, 1 << 10, 0b11 << 8);
        let address = 0x1234_5678_9000;
        assert_eq!(bits(Stage2Attributes::Read, true), xn | address | accessed | inner | 0b01 << 6 | 0b1111 << 2 | 0b11);
        assert_eq!(bits(Stage2Attributes::ReadWrite, true), xn | address | accessed | inner | 0b11 << 6 | 0b1111 << 2 | 0b11);
        assert_eq!(bits(Stage2Attributes::Device, true), xn | address | accessed | inner | 0b11 << 6 | 0b0001 << 2 | 0b11);
        assert_eq!(bits(Stage2Attributes::Ram, false), address | accessed | inner | 0b11 << 6 | 0b1111 << 2 | 0b01);
        // AP[2] read only, AP[1] RES1, AttrIndx.
        assert_eq!(bits(El2Attributes::Code, true), address | accessed | inner | 1 << 7 | 1 << 6 | 1 << 2 | 0b11);
        assert_eq!(bits(El2Attributes::Constants, true), xn | address | accessed | inner | 1 << 7 | 1 << 6 | 1 << 2 | 0b11);
        assert_eq!(bits(El2Attributes::Data, true), xn | address | accessed | inner | 1 << 6 | 1 << 2 | 0b11);
        assert_eq!(bits(El2Attributes::Device, false), xn | address | accessed | 1 << 6 | 0b01);
        assert_eq!(Descriptor::to_table(HostAddr::new(0x4000_1000)).into_bits(), 0x4000_1003);
    }
}
