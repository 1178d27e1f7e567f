//! How bulk data lies in the dataport: two slots, each a header on a cache line of its own with the data behind it.
//!
//! ```text
//!   0                                 half                               size
//!   │ header │ data of chunk 0, 2, … │ header │ data of chunk 1, 3, … │
//! ```

/// Length of a header: a cache line of its own.
pub(crate) const HEADER: usize = 64;
/// First word of a header.
const MAGIC: u32 = u32::from_le_bytes(*b"blk1");

/// Where the slots of a dataport lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Layout {
    half: usize,
}

impl Layout {
    /// The layout of a dataport of `size` bytes, or `None` where it is too small for data.
    pub(crate) fn new(size: usize) -> Option<Self> {
        let half = size / 2 / HEADER * HEADER;
        (half > HEADER).then_some(Self { half })
    }

    /// Most data that a slot takes.
    pub(crate) const fn capacity(self) -> usize {
        self.half - HEADER
    }

    /// Where the header of chunk `sequence` lies; its data follow.
    pub(crate) const fn slot(self, sequence: u32) -> usize {
        if sequence.is_multiple_of(2) { 0 } else { self.half }
    }
}

/// What a header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) sequence: u32,
    pub(crate) length: u32,
}

impl Header {
    /// The header as it stands in the dataport.
    pub(crate) fn to_bytes(self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        let words = [MAGIC, self.sequence, self.length];
        bytes.as_chunks_mut::<4>().0.iter_mut().zip(words).for_each(|(bytes, word)| *bytes = word.to_le_bytes());
        bytes
    }

    /// Checks a header that the peer has written, and returns the length of the data: more than nothing, and no more than the slot
    /// holds or are still to come. The peer is not trusted with any of it.
    pub(crate) fn check(bytes: &[u8; HEADER], sequence: u32, layout: Layout, left: usize) -> Result<usize, String> {
        let [magic, found, length] = {
            let (words, _) = bytes.as_chunks::<4>();
            std::array::from_fn(|index| words.get(index).map_or(0, |word| u32::from_le_bytes(*word)))
        };
        if magic != MAGIC {
            return Err(format!("chunk {sequence} has no header"));
        }
        if found != sequence {
            return Err(format!("chunk {found} instead of {sequence}"));
        }
        match usize::try_from(length) {
            Ok(length) if length > 0 && length <= layout.capacity() && length <= left => Ok(length),
            _ => Err(format!("chunk {sequence} claims {length} bytes")),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn slots_lie_in_the_dataport_and_apart() {
        for size in [0, 64, 128, 191, 255, 256, 257, 4096, 1 << 20] {
            let Some(layout) = Layout::new(size) else {
                assert!(size < 256, "{size}");
                continue;
            };
            assert!(layout.slot(0) + HEADER + layout.capacity() <= layout.slot(1));
            assert!(layout.slot(1) + HEADER + layout.capacity() <= size);
            assert_eq!((layout.slot(1) % HEADER, layout.slot(2)), (0, layout.slot(0)));
        }
    }

    #[test]
    fn a_header_is_read_as_it_was_written_and_refused_where_it_lies() {
        let layout = Layout::new(1 << 20).unwrap();
        let bytes = Header { sequence: 7, length: 1000 }.to_bytes();
        assert_eq!(Header::check(&bytes, 7, layout, 1000), Ok(1000));
        assert!(Header::check(&bytes, 8, layout, 1000).is_err(), "another chunk");
        assert!(Header::check(&bytes, 7, layout, 999).is_err(), "more than is still to come");
        assert!(Header::check(&[0; HEADER], 0, layout, 1000).is_err(), "an empty slot");
        let capacity = u32::try_from(layout.capacity()).unwrap();
        for length in [0, capacity + 1, u32::MAX] {
            assert!(Header::check(&Header { sequence: 0, length }.to_bytes(), 0, layout, usize::MAX).is_err(), "{length}");
        }
        assert!(Header::check(&Header { sequence: 0, length: capacity }.to_bytes(), 0, layout, usize::MAX).is_ok());
    }

    proptest! {
        #[test]
        fn no_header_leads_outside_the_slot(bytes in prop::array::uniform32(any::<u8>()), magic in any::<bool>(), sequence in 0_u32..4, size in 256_usize..8192) {
            let mut header = [0; HEADER];
            header[..32].copy_from_slice(&bytes);
            if magic {
                header[..4].copy_from_slice(&MAGIC.to_le_bytes());
                header[4..8].copy_from_slice(&sequence.to_le_bytes());
                // Small lengths, so that both outcomes happen.
                header[10..12].fill(0);
            }
            let layout = Layout::new(size).unwrap();
            if let Ok(length) = Header::check(&header, sequence, layout, usize::MAX) {
                prop_assert!(length > 0 && layout.slot(sequence) + HEADER + length <= size);
            }
        }
    }
}
