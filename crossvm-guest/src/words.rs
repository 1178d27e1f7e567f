//! Shared memory as words, and copies between it and buffers, made of aligned words only.
//!
//! A dataport that Linux maps as Device memory (`resourceN`) faults on unaligned accesses and on `dc zva` on arm64, so the usual
//! `memcpy` must not touch it. Shared memory may also change while it is read, so no reference to it is ever made. These
//! copies are right for every kind of memory: bytes up to the first 8-byte boundary, then 8-byte words, then bytes again.

/// An integer that is read and written in one access; one of 64 bits in two, where the processor has no such access.
pub trait Word: Copy + Into<u64> + crate::raw::Plain {
    /// The word whose bits are the low bits of `value`.
    #[must_use]
    fn from_low_bits(value: u64) -> Self;
}

impl Word for u8 {
    fn from_low_bits(value: u64) -> Self {
        let [low, ..] = value.to_le_bytes();
        low
    }
}

impl Word for u32 {
    fn from_low_bits(value: u64) -> Self {
        let [a, b, c, d, ..] = value.to_le_bytes();
        Self::from_le_bytes([a, b, c, d])
    }
}

impl Word for u64 {
    fn from_low_bits(value: u64) -> Self {
        value
    }
}

/// Memory that somebody else may change at any time, accessed one aligned word at a time.
///
/// An access outside the memory or not aligned to its width is not made.
#[expect(clippy::len_without_is_empty, reason = "memory of no length is not mapped")]
pub trait Words {
    /// Length in bytes.
    fn len(&self) -> usize;
    /// Loads the word at `offset`; `None` where it is not all in the memory, or misaligned.
    fn load<W: Word>(&self, offset: usize) -> Option<W>;
    /// Stores a word at `offset`; `None`, and nothing stored, where it is not all in the memory, or misaligned.
    fn store<W: Word>(&self, offset: usize, value: W) -> Option<()>;

    /// Copies `buffer.len()` bytes from `offset` on out of the memory; `None`, and nothing read, where they do not all lie in it.
    fn copy_out(&self, offset: usize, buffer: &mut [u8]) -> Option<()> {
        copy_out(self, offset, buffer)
    }

    /// Copies `bytes` into the memory from `offset` on; `None`, and nothing written, where they do not all fit in it.
    fn copy_in(&self, offset: usize, bytes: &[u8]) -> Option<()> {
        copy_in(self, offset, bytes)
    }
}

/// Width of the words in the middle.
const WORD: usize = size_of::<u64>();

/// Bytes from `offset` to the next word boundary, at most `len`.
fn head_length(offset: usize, len: usize) -> usize {
    // Not more than 7, and zero at a boundary.
    (offset.wrapping_neg() % WORD).min(len)
}

fn copy_out<M: Words + ?Sized>(memory: &M, offset: usize, buffer: &mut [u8]) -> Option<()> {
    if offset.checked_add(buffer.len())? > memory.len() {
        return None;
    }
    let (head, rest) = buffer.split_at_mut(head_length(offset, buffer.len()));
    let mut at = offset;
    for byte in head {
        *byte = memory.load(at)?;
        at += 1;
    }
    let (words, tail) = rest.as_chunks_mut::<WORD>();
    for word in words {
        *word = memory.load::<u64>(at)?.to_ne_bytes();
        at += WORD;
    }
    for byte in tail {
        *byte = memory.load(at)?;
        at += 1;
    }
    Some(())
}

fn copy_in<M: Words + ?Sized>(memory: &M, offset: usize, bytes: &[u8]) -> Option<()> {
    if offset.checked_add(bytes.len())? > memory.len() {
        return None;
    }
    let (head, rest) = bytes.split_at(head_length(offset, bytes.len()));
    let mut at = offset;
    for byte in head {
        memory.store(at, *byte)?;
        at += 1;
    }
    let (words, tail) = rest.as_chunks::<WORD>();
    for word in words {
        memory.store(at, u64::from_ne_bytes(*word))?;
        at += WORD;
    }
    for byte in tail {
        memory.store(at, *byte)?;
        at += 1;
    }
    Some(())
}

#[cfg(all(test, feature = "linux", target_os = "linux"))]
mod tests {
    use std::cell::RefCell;

    use proptest::prelude::*;

    use super::*;
    use crate::raw::{Map, Place};
    use crate::rights::Rights;

    /// A map that notes each access: (offset, width).
    struct Watched {
        map: Map,
        accesses: RefCell<Vec<(usize, usize)>>,
    }

    impl Watched {
        fn new(bytes: &[u8]) -> Self {
            let file = tempfile::tempfile().unwrap();
            std::os::unix::fs::FileExt::write_all_at(&file, bytes, 0).unwrap();
            Self {
                map: Map::new(&file, Place { offset: 0, lead: 0, length: bytes.len() }, Rights::ReadWrite).unwrap(),
                accesses: RefCell::default(),
            }
        }

        fn bytes(&self) -> Vec<u8> {
            (0..self.map.len()).map(|at| self.map.load(at).unwrap()).collect()
        }

        /// The accesses are aligned, and touch each byte of the range once and no other.
        fn check(&self, offset: usize, len: usize) {
            let mut at = offset;
            for (start, width) in self.accesses.borrow().iter() {
                assert_eq!(*start, at, "each byte once, in order");
                assert_eq!(start % width, 0, "aligned");
                at += width;
            }
            assert_eq!(at, offset + len);
        }
    }

    impl Words for Watched {
        fn len(&self) -> usize {
            self.map.len()
        }
        fn load<W: Word>(&self, offset: usize) -> Option<W> {
            self.accesses.borrow_mut().push((offset, size_of::<W>()));
            self.map.load(offset)
        }
        fn store<W: Word>(&self, offset: usize, value: W) -> Option<()> {
            self.accesses.borrow_mut().push((offset, size_of::<W>()));
            self.map.store(offset, value)
        }
    }

    proptest! {
        #[test]
        fn copies_out_are_exact_and_aligned(memory in prop::collection::vec(any::<u8>(), 1..200), offset in 0_usize..220, len in 0_usize..220) {
            let watched = Watched::new(&memory);
            let mut buffer = vec![0xee; len];
            match copy_out(&watched, offset, &mut buffer) {
                Some(()) => {
                    prop_assert_eq!(&buffer[..], &memory[offset..offset + len]);
                    watched.check(offset, len);
                }
                None => {
                    prop_assert!(offset + len > memory.len());
                    prop_assert!(watched.accesses.borrow().is_empty() && buffer.iter().all(|byte| *byte == 0xee));
                }
            }
        }

        #[test]
        fn copies_in_are_exact_and_aligned(memory in prop::collection::vec(any::<u8>(), 1..200), offset in 0_usize..220, bytes in prop::collection::vec(any::<u8>(), 0..220)) {
            let watched = Watched::new(&memory);
            let mut expected = memory.clone();
            match copy_in(&watched, offset, &bytes) {
                Some(()) => {
                    expected[offset..offset + bytes.len()].copy_from_slice(&bytes);
                    watched.check(offset, bytes.len());
                }
                None => {
                    prop_assert!(offset + bytes.len() > memory.len());
                    prop_assert!(watched.accesses.borrow().is_empty());
                }
            }
            prop_assert_eq!(watched.bytes(), expected);
        }
    }

    #[test]
    fn an_offset_that_wraps_is_refused() {
        let watched = Watched::new(&[0; 16]);
        assert!(copy_out(&watched, usize::MAX, &mut [0; 2]).is_none());
        assert!(copy_in(&watched, usize::MAX, &[0; 2]).is_none());
    }

    #[test]
    fn an_aligned_copy_uses_words() {
        let watched = Watched::new(&[7; 64]);
        copy_out(&watched, 8, &mut [0; 32]).unwrap();
        assert_eq!(*watched.accesses.borrow(), [(8, 8), (16, 8), (24, 8), (32, 8)]);
    }
}
