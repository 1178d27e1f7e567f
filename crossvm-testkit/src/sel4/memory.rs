//! Physical memory.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Bytes of a piece of memory that comes into being when it is touched.
const CHUNK: u64 = 64 << 10;

/// Words of memory that follow one another.
#[derive(Debug, Clone)]
pub struct Words {
    chunk: Arc<[AtomicU32]>,
    range: Range<usize>,
}

impl AsRef<[AtomicU32]> for Words {
    fn as_ref(&self) -> &[AtomicU32] {
        &self.chunk[self.range.clone()]
    }
}

/// Chunks that were touched, by their address. All others are 0.
#[derive(Debug, Default)]
pub(super) struct Memory(BTreeMap<u64, Arc<[AtomicU32]>>);

impl Memory {
    fn chunk(&mut self, address: u64) -> &Arc<[AtomicU32]> {
        self.0.entry(address & !(CHUNK - 1)).or_insert_with(|| (0..CHUNK / 4).map(|_| AtomicU32::new(0)).collect())
    }

    /// `count` words from `address` on.
    ///
    /// # Panics
    /// Where they lie in two chunks.
    pub(super) fn words(&mut self, address: u64, count: usize) -> Words {
        let (first, _) = split(address);
        let chunk = Arc::clone(self.chunk(address));
        assert!(first + count <= chunk.len(), "the simulated memory has no {count} words in one piece at {address:#x}");
        Words { chunk, range: first..first + count }
    }

    /// Makes 2^`bits` bytes zeros.
    pub(super) fn clear(&mut self, base: u64, bits: u8) {
        let bytes = 1 << bits;
        if bytes >= CHUNK {
            self.0.retain(|address, _| !(base..base + bytes).contains(address));
        } else if let Some(chunk) = self.0.get(&(base & !(CHUNK - 1))) {
            let (first, count) = (split(base).0, split(bytes).0);
            chunk[first..first + count].iter().for_each(|word| word.store(0, Ordering::Release));
        }
    }

    pub(super) fn load(&mut self, address: u64) -> u8 {
        let (word, byte) = split(address);
        self.chunk(address)[word].load(Ordering::Acquire).to_le_bytes()[byte]
    }

    pub(super) fn store(&mut self, address: u64, value: u8) {
        let (index, byte) = split(address);
        let word = &self.chunk(address)[index];
        let mut bytes = word.load(Ordering::Acquire).to_le_bytes();
        bytes[byte] = value;
        word.store(u32::from_le_bytes(bytes), Ordering::Release);
    }
}

/// The word in its chunk, and the byte in the word.
fn split(address: u64) -> (usize, usize) {
    let index = |value: u64| usize::try_from(value).expect("an index into a chunk fits");
    (index(address % CHUNK / 4), index(address % 4))
}
