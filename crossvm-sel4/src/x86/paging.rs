//! From the guest's linear addresses to guest-physical ones: 32-bit paging (Vol. 3A §4.3), which is what a 32-bit guest starts with.

use bitfield_struct::bitfield;
use crossvm_core::GuestAddr;

use super::instruction::LONGEST;

/// The guest's RAM, as the VMM reads it. The guest may change it at any time.
pub trait GuestRam {
    /// Fills `into` with the bytes from `at` on. `false`, and nothing filled, where not all of them are RAM.
    fn read(&self, at: GuestAddr, into: &mut [u8]) -> bool;
}

impl<T: GuestRam + ?Sized> GuestRam for &T {
    fn read(&self, at: GuestAddr, into: &mut [u8]) -> bool {
        T::read(self, at, into)
    }
}

/// An entry of a page directory or page table.
#[bitfield(u32)]
struct Entry {
    present: bool,
    #[bits(6)]
    __: u8,
    /// In a directory: 4 MiB.
    large: bool,
    #[bits(4)]
    __: u8,
    #[bits(20)]
    frame: u32,
}

/// Bytes that one table covers, less one: of addresses in a large page.
const LARGE_MASK: u32 = 0x003f_ffff;
const PAGE_MASK: u32 = 0xfff;

/// Where `linear` is in guest-physical memory. `None` where it is nowhere, or its tables are not in RAM.
///
/// `tables` is the guest's CR3, `large_pages` its CR4.PSE. Addresses above 4 GiB in large pages (PSE-36) are not followed.
#[must_use]
pub fn translate<M: GuestRam + ?Sized>(ram: &M, tables: u32, large_pages: bool, linear: u32) -> Option<GuestAddr> {
    let directory = entry(ram, tables & !PAGE_MASK, linear >> 22)?;
    if directory.large() && large_pages {
        return Some(GuestAddr::new(u64::from(directory.into_bits() & !LARGE_MASK | linear & LARGE_MASK)));
    }
    let table = entry(ram, directory.into_bits() & !PAGE_MASK, linear >> 12 & 0x3ff)?;
    Some(GuestAddr::new(u64::from(table.frame() << 12 | linear & PAGE_MASK)))
}

/// An entry that is present.
fn entry<M: GuestRam + ?Sized>(ram: &M, table: u32, index: u32) -> Option<Entry> {
    let mut bytes = [0; 4];
    let found = ram.read(GuestAddr::new(u64::from(table | index << 2)), &mut bytes);
    let entry = Entry::from_bits(u32::from_le_bytes(bytes));
    (found && entry.present()).then_some(entry)
}

/// The bytes from `linear` on, as many as can be read of an instruction's [`LONGEST`].
pub(super) fn fetch<M: GuestRam + ?Sized>(ram: &M, tables: u32, large_pages: bool, linear: u32) -> heapless::Vec<u8, LONGEST> {
    let mut bytes = heapless::Vec::new();
    // One page's part, then the next's.
    let first = (PAGE_MASK.saturating_sub(linear & PAGE_MASK) as usize).saturating_add(1).min(LONGEST);
    let parts = [(linear, first), (linear.wrapping_add(u32::try_from(first).unwrap_or(0)), LONGEST.saturating_sub(first))];
    for (linear, count) in parts {
        let mut part = [0; LONGEST];
        let Some(part) = part.get_mut(..count).filter(|part| !part.is_empty()) else { break };
        let Some(at) = translate(ram, tables, large_pages, linear) else { break };
        if !ram.read(at, part) {
            break;
        }
        for byte in part {
            // Both parts together are as long as there is room.
            let _ = bytes.push(*byte);
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    struct Ram(Vec<u8>);

    impl GuestRam for Ram {
        fn read(&self, at: GuestAddr, into: &mut [u8]) -> bool {
            let start = usize::try_from(at.get()).unwrap();
            let Some(bytes) = self.0.get(start..start + into.len()) else { return false };
            into.copy_from_slice(bytes);
            true
        }
    }

    /// Directory at 0x1000: entry 0 a large page at 0, entry 1 a table at 0x2000, entry 2 not present, entry 3 a table outside of RAM.
    /// Table: entry 0 page 0x3000, entry 1 page 0x5000.
    fn ram() -> Ram {
        let mut ram = Ram((0..0x8000_u32).map(|at| (at % 251) as u8).collect());
        for (at, entry) in
            [(0x1000, 0x83_u32), (0x1004, 0x2003), (0x1008, 0x2002), (0x100c, 0x0010_0003), (0x2000, 0x3003), (0x2004, 0x5003), (0x2008, 0)]
        {
            ram.0[at..at + 4].copy_from_slice(&entry.to_le_bytes());
        }
        ram
    }

    #[test]
    fn addresses_are_translated_as_32_bit_paging_does() {
        let ram = ram();
        let translate = |linear| translate(&ram, 0x1018, true, linear).map(GuestAddr::get);
        assert_eq!(translate(0x1234), Some(0x1234));
        assert_eq!(translate(0x0040_0abc), Some(0x3abc));
        assert_eq!(translate(0x0040_1abc), Some(0x5abc));
        assert_eq!(translate(0x0040_2abc), None, "page not present");
        assert_eq!(translate(0x0080_0000), None, "table not present");
        assert_eq!(translate(0x00c0_0000), None, "table outside of RAM");
        assert_eq!(super::translate(&ram, 0x1000, false, 0x1234).map(GuestAddr::get), None, "no large pages: entry 0 names a table at 0");
    }

    #[test]
    fn an_instruction_across_two_pages_is_read_from_both() {
        let ram = ram();
        let bytes = fetch(&ram, 0x1000, true, 0x0040_0ffa);
        assert_eq!(&bytes[..6], &ram.0[0x3ffa..0x4000]);
        assert_eq!(&bytes[6..], &ram.0[0x5000..0x5009]);
        assert_eq!(fetch(&ram, 0x1000, true, 0x0040_1ffd).len(), 3, "the next page is not present");
        assert_eq!(fetch(&ram, 0x1000, true, 0x0040_1000).len(), LONGEST);
        assert_eq!(fetch(&ram, 0x1000, true, 0x0080_0000).len(), 0);
        assert_eq!(fetch(&ram, 0x1000, true, u32::MAX).len(), 0);
    }
}
