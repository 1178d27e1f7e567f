//! The flattened device tree's header (Devicetree Specification 0.4, §5.2).
//!
//! QEMU gives its tree a megabyte, nearly all of it empty. The kernel hands the tree to the root task page by page, with a capability for
//! each; so the loader passes on what is used of it.

/// The first bytes of every tree.
const MAGIC: u32 = 0xd00d_feed;
/// Longest tree that is looked at, in bytes.
pub const LARGEST: u64 = 4 << 20;
/// Words of the header.
const WORDS: usize = 10;
/// Bytes of the header.
pub const HEADER_BYTES: usize = 4 * WORDS;

/// How long a tree is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lengths {
    /// As its header says, in bytes.
    pub total: u32,
    /// What is used of it, in bytes.
    pub used: u32,
}

/// Reads a tree's header. `None` where it is none.
#[must_use]
pub fn lengths(header: &[u8; HEADER_BYTES]) -> Option<Lengths> {
    let word = |index: usize| header.as_chunks::<4>().0.get(index).copied().map(u32::from_be_bytes);
    if word(0)? != MAGIC {
        return None;
    }
    let total = word(1)?;
    // Structure, strings, and the reservations between header and structure.
    let structure = word(2)?.checked_add(word(9)?)?;
    let strings = word(3)?.checked_add(word(8)?)?;
    let used = structure.max(strings).max(word(4)?);
    (used <= total && u64::from(total) <= LARGEST).then_some(Lengths { total, used })
}

/// The bytes to write at [`TOTAL_AT`] of a tree that is cut to `length`.
#[must_use]
pub const fn total(length: u32) -> [u8; 4] {
    length.to_be_bytes()
}

/// Where a tree's header has its total length.
pub const TOTAL_AT: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn header(words: [u32; WORDS]) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        for (chunk, word) in bytes.chunks_mut(4).zip(words) {
            chunk.copy_from_slice(&word.to_be_bytes());
        }
        bytes
    }

    /// Magic, total, structure at, strings at, reservations at, version, compatible, CPU, size of strings, size of structure.
    const GOOD: [u32; WORDS] = [MAGIC, 0x10_0000, 0x38, 0x1c00, 0x28, 17, 16, 0, 0x200, 0x1b00];

    #[test]
    fn what_is_used_ends_behind_the_last_block() {
        assert_eq!(lengths(&header(GOOD)), Some(Lengths { total: 0x10_0000, used: 0x1e00 }));
        let mut strings_first = GOOD;
        (strings_first[2], strings_first[3]) = (0x300, 0x38);
        assert_eq!(lengths(&header(strings_first)).unwrap().used, 0x1e00);
    }

    #[test]
    fn what_is_no_tree_is_refused() {
        for (index, value) in [(0, 0), (1, 0x100), (1, 0x50_0000), (2, u32::MAX), (3, u32::MAX), (4, 0x20_0000)] {
            let mut words = GOOD;
            words[index] = value;
            assert_eq!(lengths(&header(words)), None, "word {index}: {value:#x}");
        }
    }
}
