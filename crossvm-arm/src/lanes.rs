//! Guest accesses as aligned words with byte lanes, so that each offset and width means something: an access acts on each byte it covers.
//!
//! The architecture defines 32-bit accesses, bytes for priorities and 64 bits for some registers, and leaves the rest to the
//! implementation (IHI 0069 §12.1).

use crossvm_core::Width;

/// What a write brings to one aligned 32-bit word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lanes {
    value: u32,
    mask: u32,
}

impl Lanes {
    /// The bits written as 1: for registers whose ones act and whose zeros do nothing.
    pub(crate) const fn ones(self) -> u32 {
        self.value & self.mask
    }

    /// Whether the write covers all of `mask`.
    pub(crate) const fn covers(self, mask: u32) -> bool {
        self.mask & mask == mask
    }

    /// The same without the bits of `mask`: for registers whose ones act.
    pub(crate) const fn without(self, mask: u32) -> Self {
        Self { value: self.value & !mask, ..self }
    }

    /// `old` with the bytes that the write covers replaced.
    pub(crate) const fn merge(self, old: u32) -> u32 {
        old & !self.mask | self.ones()
    }
}

/// Reads `width` at `offset` through `word`, which gives the aligned 32-bit word at an offset.
pub(crate) fn read(offset: u32, width: Width, mut word: impl FnMut(u32) -> u32) -> u64 {
    let (first, shift) = split(offset);
    let end = u64::from(shift).saturating_add(width.bytes().saturating_mul(8));
    let mut wide = 0_u128;
    for (step, position) in [(0, 0), (4, 32), (8, 64)] {
        if let (Some(at), true) = (first.checked_add(step), u64::from(position) < end) {
            wide |= u128::from(word(at)).wrapping_shl(position);
        }
    }
    #[expect(clippy::cast_possible_truncation, reason = "the mask keeps the width")]
    let value = wide.wrapping_shr(shift) as u64;
    value & width.mask()
}

/// Writes `value` of `width` at `offset` through `word`, which takes the lanes for the aligned 32-bit word at an offset.
pub(crate) fn write(offset: u32, width: Width, value: u64, mut word: impl FnMut(u32, Lanes)) {
    let (first, shift) = split(offset);
    let value = u128::from(value).wrapping_shl(shift);
    let mask = u128::from(width.mask()).wrapping_shl(shift);
    for (step, position) in [(0, 0), (4, 32), (8, 64)] {
        #[expect(clippy::cast_possible_truncation, reason = "32 bits of it")]
        let lanes = Lanes { value: value.wrapping_shr(position) as u32, mask: mask.wrapping_shr(position) as u32 };
        if let (Some(at), true) = (first.checked_add(step), lanes.mask != 0) {
            word(at, lanes);
        }
    }
}

/// The aligned word's offset and the shift of the access in it, in bits.
const fn split(offset: u32) -> (u32, u32) {
    (offset & !3, (offset & 3).wrapping_mul(8))
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    /// Eight words whose bytes are their own offsets.
    fn byte_at(offset: u32) -> u32 {
        u32::from_le_bytes([offset, offset + 1, offset + 2, offset + 3].map(|byte| u8::try_from(byte).unwrap()))
    }

    #[test]
    fn a_read_of_any_offset_and_width_gives_the_bytes_it_covers() {
        for offset in 0..16 {
            for width in Width::ALL {
                let expected = (0..width.bytes()).rev().fold(0, |value, byte| value << 8 | (u64::from(offset) + byte));
                assert_eq!(read(offset, width, byte_at), expected, "{width:?} at {offset}");
            }
        }
    }

    #[test]
    fn a_write_of_any_offset_and_width_changes_the_bytes_it_covers_and_no_other() {
        for offset in 0..16_u32 {
            for width in Width::ALL {
                let mut memory = [0xee_u8; 32];
                write(offset, width, 0x8877_6655_4433_2211, |at, lanes| {
                    let place = &mut memory[at as usize..at as usize + 4];
                    let old = u32::from_le_bytes(place.try_into().unwrap());
                    place.copy_from_slice(&lanes.merge(old).to_le_bytes());
                });
                let mut expected = [0xee_u8; 32];
                let bytes = usize::try_from(width.bytes()).unwrap();
                expected[offset as usize..offset as usize + bytes].copy_from_slice(&0x8877_6655_4433_2211_u64.to_le_bytes()[..bytes]);
                assert_eq!(memory, expected, "{width:?} at {offset}");
            }
        }
    }

    #[test]
    fn an_access_touches_no_word_outside_itself() {
        let mut words = Vec::new();
        read(4, Width::U32, |at| {
            words.push(at);
            0
        });
        write(8, Width::U8, u64::MAX, |at, _| words.push(at));
        assert_eq!(words, [4, 8]);
    }

    #[test]
    fn an_access_over_the_end_of_the_offsets_does_not_wrap() {
        let mut words = Vec::new();
        write(u32::MAX, Width::U64, u64::MAX, |at, _| words.push(at));
        assert_eq!(words, [u32::MAX - 3]);
        assert_eq!(read(u32::MAX, Width::U64, |_| u32::MAX), 0xff);
    }
}
