//! Where the two rings are in memory of a given size.

use crate::side::Side;
use crate::spec::{LINE, MAX_CAPACITY, MIN_SIZE, RINGS, UNIT};

/// One ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub(crate) struct Ring {
    /// Offset of its first byte in the memory.
    pub(crate) start: u32,
    /// Length in bytes: a multiple of [`LINE`].
    pub(crate) capacity: u32,
}

/// The two rings in memory that has `size` bytes for both sides, or `None` where that is too small.
pub(crate) fn rings(size: u32) -> Option<[Ring; 2]> {
    if size < MIN_SIZE {
        return None;
    }
    let half = size.wrapping_sub(RINGS) / 2;
    let capacity = half.min(MAX_CAPACITY) & !LINE.wrapping_sub(1);
    Some([Ring { start: RINGS, capacity }, Ring { start: RINGS.wrapping_add(capacity), capacity }])
}

/// Length of the longest message in bytes of a channel in memory of `len` bytes on both sides; 0 where that is too small for one.
#[must_use]
pub fn max_message(len: usize) -> usize {
    match rings(told_size(len)) {
        Some([ring, _]) => ring.max_message() as usize,
        None => 0,
    }
}

/// The size that this side may tell: what it has, as far as 32 bits go.
pub(crate) fn told_size(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

impl Ring {
    /// The ring into which `side` writes.
    pub(crate) const fn of(rings: [Self; 2], side: Side) -> Self {
        let [a, b] = rings;
        match side {
            Side::A => a,
            Side::B => b,
        }
    }

    /// The longest message in bytes.
    pub(crate) const fn max_message(self) -> u32 {
        (self.capacity / 2).saturating_sub(UNIT)
    }

    /// Offset in the memory of the byte at `offset` in the ring.
    pub(crate) const fn at(self, offset: u32) -> usize {
        self.start.wrapping_add(offset) as usize
    }
}

/// How much room a message of `length` bytes takes: its record's header, and itself, padded. `length` is at most the longest message's.
pub(crate) const fn record(length: u32) -> u32 {
    UNIT.wrapping_add(length.wrapping_add(UNIT.wrapping_sub(1)) & !UNIT.wrapping_sub(1))
}

/// A record's header: a length in bytes, and a kind.
#[inline]
pub(crate) const fn header(length: u32, kind: u32) -> [u8; UNIT as usize] {
    ((kind as u64) << 32 | length as u64).to_le_bytes()
}

/// What a record's header says: a length in bytes, and a kind.
#[inline]
pub(crate) const fn length_and_kind(header: [u8; UNIT as usize]) -> (u32, u32) {
    // As one number, so that it stays in one register.
    let both = u64::from_le_bytes(header);
    (low(both), low(both >> 32))
}

/// The lower half.
#[inline]
#[allow(clippy::cast_possible_truncation)]
const fn low(both: u64) -> u32 {
    both as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rings_lie_in_the_memory_one_after_the_other() {
        for size in [MIN_SIZE, 4096, 4097, 65536, 1 << 20, (12 << 10) + 4, u32::MAX] {
            let [a, b] = rings(size).unwrap();
            assert_eq!((a.start, a.capacity), (RINGS, b.capacity));
            assert!(a.capacity.is_multiple_of(LINE) && a.capacity >= LINE && a.capacity <= MAX_CAPACITY);
            assert_eq!(b.start, a.start + a.capacity);
            assert!(u64::from(b.start) + u64::from(b.capacity) <= u64::from(size));
            assert_eq!(record(a.max_message()), a.capacity / 2);
            assert_eq!(max_message(size as usize), a.max_message() as usize);
        }
        assert_eq!(rings(4096).unwrap()[0], Ring { start: 1024, capacity: 1536 });
        assert_eq!((rings(MIN_SIZE - 1), max_message(MIN_SIZE as usize - 1)), (None, 0));
    }

    #[test]
    fn records_are_padded() {
        assert_eq!([0, 1, 8, 9].map(record), [8, 16, 16, 24]);
    }

    #[test]
    fn a_header_is_two_words_little_endian() {
        assert_eq!(header(0x0403_0201, 5), [1, 2, 3, 4, 5, 0, 0, 0]);
        assert_eq!(length_and_kind([1, 2, 3, 4, 5, 0, 0, 0]), (0x0403_0201, 5));
    }
}
