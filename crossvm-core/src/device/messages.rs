//! The MSI-X table and pending bits of one connection, as the guest sees them in their BAR: PCI Local Bus 3.0, §6.8.2.

use super::spec;
use crate::{Message, Width};

/// Vector control, §6.8.2.9: the vector sends no message.
const MASKED: u32 = 1 << 0;
/// The address is one of a dword: its lower two bits are wired to zero, §6.8.2.7.
const ADDRESS_BITS: u32 = !0b11;

/// Offsets of the four dwords of the vector.
const ADDRESS: u64 = spec::MESSAGE_TABLE as u64;
const UPPER_ADDRESS: u64 = ADDRESS + 4;
const DATA: u64 = ADDRESS + 8;
const CONTROL: u64 = ADDRESS + 12;
const PENDING: u64 = spec::MESSAGE_PENDING as u64;

/// One vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MessageTable {
    address: u32,
    upper_address: u32,
    data: u32,
    pub(crate) masked: bool,
    /// An event came whose message has not been sent.
    pub(crate) pending: bool,
}

impl MessageTable {
    /// At power-on: masked.
    pub(crate) const fn new() -> Self {
        Self { address: 0, upper_address: 0, data: 0, masked: true, pending: false }
    }

    /// What the vector sends.
    pub(crate) const fn message(&self) -> Message {
        Message { address: (self.upper_address as u64) << 32 | self.address as u64, data: self.data }
    }

    /// What a load gives: any width, any offset.
    pub(crate) fn read(&self, offset: u64, width: Width) -> u64 {
        let first = offset & !3;
        let dwords = [first, first.saturating_add(4), first.saturating_add(8)].map(|at| self.dword(at));
        let [low, middle, high] = dwords.map(u128::from);
        let all = low | middle << 32 | high << 64;
        let [b0, b1, b2, b3, b4, b5, b6, b7, ..] = (all >> (offset & 3).saturating_mul(8)).to_le_bytes();
        u64::from_le_bytes([b0, b1, b2, b3, b4, b5, b6, b7]) & width.mask()
    }

    const fn dword(&self, offset: u64) -> u32 {
        match offset {
            ADDRESS => self.address,
            UPPER_ADDRESS => self.upper_address,
            DATA => self.data,
            CONTROL if self.masked => MASKED,
            PENDING if self.pending => 1,
            _ => 0,
        }
    }

    /// A store. Only dwords and aligned pairs of them are defined (§6.8.2); others, and those beside the vector, are ignored: `false`.
    pub(crate) const fn write(&mut self, offset: u64, width: Width, value: u64) -> bool {
        if !offset.is_multiple_of(width.bytes()) {
            return false;
        }
        let [b0, b1, b2, b3, b4, b5, b6, b7] = value.to_le_bytes();
        let (low, high) = (u32::from_le_bytes([b0, b1, b2, b3]), u32::from_le_bytes([b4, b5, b6, b7]));
        match width {
            Width::U32 => self.write_dword(offset, low),
            Width::U64 => self.write_dword(offset, low) && self.write_dword(offset.saturating_add(4), high),
            Width::U8 | Width::U16 => false,
        }
    }

    const fn write_dword(&mut self, offset: u64, value: u32) -> bool {
        match offset {
            ADDRESS => self.address = value & ADDRESS_BITS,
            UPPER_ADDRESS => self.upper_address = value,
            DATA => self.data = value,
            CONTROL => self.masked = value & MASKED != 0,
            _ => return false,
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn programmed() -> MessageTable {
        let mut table = MessageTable::new();
        assert!(table.write(0, Width::U64, 0x0000_0012_0802_0043));
        assert!(table.write(8, Width::U64, 0xffff_fffe_0000_0051));
        table
    }

    #[test]
    fn a_vector_is_masked_until_the_guest_says_otherwise() {
        let table = MessageTable::new();
        assert_eq!((table.masked, table.read(12, Width::U32), table.read(8, Width::U64)), (true, 1, 1 << 32));
        assert_eq!(table.message(), Message { address: 0, data: 0 });
    }

    #[test]
    fn dwords_and_pairs_of_them_program_the_vector() {
        let table = programmed();
        assert_eq!(table.message(), Message { address: 0x12_0802_0040, data: 0x51 });
        // Bits of vector control that do not exist stay zero.
        assert_eq!((table.masked, table.read(12, Width::U32)), (false, 0));
        let mut single = MessageTable::new();
        for (offset, value) in [(0, 0x0802_0040), (4, 0x12), (8, 0x51), (12, 0)] {
            assert!(single.write(offset, Width::U32, value));
        }
        assert_eq!(single, table);
    }

    #[test]
    fn a_load_of_any_width_at_any_offset_gives_the_bytes_of_the_table() {
        let mut table = programmed();
        table.pending = true;
        let mut bytes = [0u8; 0x1000];
        bytes[..8].copy_from_slice(&0x12_0802_0040u64.to_le_bytes());
        bytes[8] = 0x51;
        bytes[0x800] = 1;
        for offset in 0..0x1000 {
            for width in Width::ALL {
                let range = offset..(offset + usize::try_from(width.bytes()).unwrap()).min(bytes.len());
                let expected = bytes[range].iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte));
                assert_eq!(table.read(offset as u64, width), expected, "{offset:#x} {width:?}");
            }
        }
    }

    #[test]
    fn every_other_store_is_ignored() {
        let before = programmed();
        for offset in 0..0x1000 {
            for width in Width::ALL {
                let defined = width >= Width::U32 && offset + width.bytes() <= 16 && offset % width.bytes() == 0;
                let mut table = before;
                assert_eq!(table.write(offset, width, 0x5555_5555_5555_5555), defined, "{offset:#x} {width:?}");
                assert_eq!(table != before, defined, "{offset:#x} {width:?}");
            }
        }
    }
}
