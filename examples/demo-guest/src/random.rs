//! Data that nobody can have guessed or kept from an earlier run: a generator seeded by the kernel.

use std::fs::File;
use std::io::{self, Read};

/// The generator splitmix64: fast and good enough to tell one byte of data from another; nothing here is a secret.
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    /// Seeds one from the kernel's random source.
    pub(crate) fn from_kernel() -> io::Result<Self> {
        let mut seed = [0; size_of::<u64>()];
        File::open("/dev/urandom")?.read_exact(&mut seed)?;
        Ok(Self(u64::from_ne_bytes(seed)))
    }

    /// The next number.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Fills `bytes`.
    pub(crate) fn fill(&mut self, bytes: &mut [u8]) {
        for piece in bytes.chunks_mut(size_of::<u64>()) {
            let number = self.next().to_ne_bytes();
            piece.iter_mut().zip(number).for_each(|(byte, random)| *byte = random);
        }
    }

    /// A line of `length` printable characters.
    pub(crate) fn line(&mut self, length: usize) -> String {
        const CHARACTERS: std::ops::RangeInclusive<u8> = b' '..=b'~';
        let count = u64::from(CHARACTERS.end() - CHARACTERS.start()) + 1;
        let mut character = || u8::try_from(self.next() % count).map_or('?', |offset| char::from(CHARACTERS.start() + offset));
        (0..length).map(|_| character()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequence_is_splitmix64() {
        let mut random = Random(0);
        assert_eq!([random.next(), random.next()], [0xe220_a839_7b1d_cdaf, 0x6e78_9e6a_a1b9_65f4]);
    }

    #[test]
    fn lines_are_printable_and_have_their_length() {
        let line = Random::from_kernel().unwrap().line(500);
        assert_eq!(line.len(), 500);
        assert!(line.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
    }

    #[test]
    fn all_bytes_are_filled() {
        let mut bytes = [0; 4099];
        Random(1).fill(&mut bytes);
        assert!(bytes.windows(16).all(|window| window.iter().any(|byte| *byte != 0)));
    }
}
