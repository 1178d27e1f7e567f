//! The translation tables that the kernel is entered with (Arm DDI 0487, D8.3; for the values that the kernel checks, seL4's AArch64 boot code).
//!
//! ```text
//!   level 0: 512 GiB each ──▶ level 1: 1 GiB each
//!     [0] the loader's own: devices, RAM, at their physical addresses
//!     [k] the kernel's: one table of level 2, 2 MiB each
//! ```

use bitfield_struct::bitfield;

use crate::plan::Span;

/// Entries of a table.
pub const ENTRIES: usize = 512;

/// A table.
pub type Table = [u64; ENTRIES];

/// Attributes by the numbers that the kernel's own tables use: index 0 is Device-nGnRnE, 1 Device-nGnRE, 2 Device-GRE, 3 Normal not cached,
/// 4 Normal write-back, 5 Normal write-through (MAIR_EL2).
pub const MAIR: u64 = 0xbbff_440c_0400;

/// TCR_EL2 without the size of physical addresses: 48 bits of virtual ones, granule 4 KiB, walks write-back and inner shareable, RES1. The
/// kernel refuses every other value.
pub const TCR: u64 = 0x8080_3510;

/// TCR_EL2 for a processor that says this in ID_AA64MMFR0_EL1: its size of physical addresses, as the kernel for it has it, which knows 40
/// and 44 bits.
#[must_use]
pub const fn control(memory_features: u64) -> u64 {
    let size = if memory_features & 0xf <= 2 { 2 } else { 4 };
    TCR | size << 16
}

/// A block of memory, or a pointer to a table.
#[bitfield(u64)]
struct Entry {
    valid: bool,
    table: bool,
    /// Number of the attributes in [`MAIR`].
    #[bits(3)]
    attributes: u8,
    _ns: bool,
    /// RES1 in the EL2 regime.
    ap1: bool,
    _read_only: bool,
    #[bits(2)]
    shareability: u8,
    accessed: bool,
    _not_global: bool,
    #[bits(36)]
    page: u64,
    #[bits(6)]
    _middle: u8,
    execute_never: bool,
    #[bits(9)]
    _high: u16,
}

/// Attributes of devices.
const DEVICE: u8 = 0;
/// Attributes of memory.
const NORMAL: u8 = 4;
const INNER_SHAREABLE: u8 = 0b11;
const GIB: u64 = 1 << 30;
const BLOCK: u64 = 2 << 20;

const fn memory(address: u64) -> u64 {
    let entry = Entry::new().with_valid(true).with_attributes(NORMAL).with_ap1(true).with_shareability(INNER_SHAREABLE);
    entry.with_accessed(true).with_page(address >> 12).into_bits()
}

const fn pointer(address: u64) -> u64 {
    Entry::new().with_valid(true).with_table(true).with_page(address >> 12).into_bits()
}

/// The loader's own map of the first GiB, where the devices are, and of the second, where RAM starts.
#[must_use]
pub const fn own() -> Table {
    let mut table = [0; ENTRIES];
    let device = Entry::new().with_valid(true).with_attributes(DEVICE).with_ap1(true).with_accessed(true).with_execute_never(true);
    table[0] = device.into_bits();
    table[1] = memory(GIB);
    table
}

/// Where the tables are, as physical addresses.
#[derive(Debug, Clone, Copy)]
pub struct Places {
    /// Of the loader's own table of level 1.
    pub own: u64,
    /// Of the kernel's table of level 1.
    pub kernel: u64,
    /// Of the kernel's table of level 2.
    pub kernel_blocks: u64,
}

/// Fills the tables of the kernel, which is at `kernel` and linked to `linked`: `root` of level 0, `level1` and `level2`. `None` where the
/// kernel does not fit one table of level 2 beside the loader's own addresses.
#[must_use]
pub fn fill(root: &mut Table, level1: &mut Table, level2: &mut Table, places: Places, kernel: Span, linked: u64) -> Option<()> {
    let index = |address: u64, shift: u32| usize::try_from(address.checked_shr(shift)? & 511).ok();
    *root.first_mut()? = pointer(places.own);
    let top = index(linked, 39).filter(|top| *top != 0)?;
    *root.get_mut(top)? = pointer(places.kernel);
    *level1.get_mut(index(linked, 30)?)? = pointer(places.kernel_blocks);
    let first = kernel.start & !BLOCK.checked_sub(1)?;
    let blocks = kernel.end.checked_sub(first)?.div_ceil(BLOCK);
    let mut address = first;
    let entries = level2.get_mut(index(linked, 21)?..)?.get_mut(..usize::try_from(blocks).ok()?)?;
    for entry in entries {
        *entry = memory(address);
        address = address.checked_add(BLOCK)?;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACES: Places = Places { own: 0x4040_1000, kernel: 0x4040_2000, kernel_blocks: 0x4040_3000 };

    #[test]
    fn the_kernel_is_where_it_is_linked_to() {
        let (mut root, mut level1, mut level2) = ([0; ENTRIES], [0; ENTRIES], [0; ENTRIES]);
        let kernel = Span { start: 0x6000_0000, end: 0x6023_f000 };
        fill(&mut root, &mut level1, &mut level2, PLACES, kernel, 0xff_c000_0000).unwrap();
        assert_eq!((root[0], root[1]), (0x4040_1003, 0x4040_2003));
        assert_eq!(level1[511], 0x4040_3003);
        // Block, index 4, AP[1], inner shareable, AF.
        assert_eq!(level2[..3], [0x6000_0000 | 0x751, 0x6020_0000 | 0x751, 0]);
    }

    #[test]
    fn a_kernel_that_does_not_fit_is_refused() {
        let filled = |kernel, linked| fill(&mut [0; ENTRIES], &mut [0; ENTRIES], &mut [0; ENTRIES], PLACES, kernel, linked);
        let huge = Span { start: 0x4000_0000, end: 0x8000_0001 };
        assert_eq!(filled(huge, 0xff_c000_0000), None);
        assert_eq!(filled(Span { start: 0x4000_0000, end: 0x4000_1000 }, 0x4000_0000), None, "where the loader itself is");
    }

    #[test]
    fn registers_are_as_the_kernel_wants_them() {
        // Cortex-A57: 44 bits; Cortex-A53: 40 bits.
        assert_eq!((control(0x1124), control(0x1122)), (0x8084_3510, 0x8082_3510));
        assert_eq!(MAIR.to_le_bytes(), [0x00, 0x04, 0x0c, 0x44, 0xff, 0xbb, 0, 0]);
        assert_eq!((own()[0], own()[1]), (0x0040_0000_0000_0441, 0x4000_0751));
    }
}
