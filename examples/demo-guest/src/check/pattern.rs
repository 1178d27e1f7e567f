//! Data for a whole dataport: written by one side and read by the other, compared by their CRC-32 (ISO-HDLC).

use crc32fast::Hasher;

use crate::link::Shared;
use crate::random::Random;

/// How much is written or read at once.
const BLOCK: usize = 64 << 10;

/// A CRC-32 as ISO-HDLC defines it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Checksum(pub(super) u32);

impl std::fmt::Display for Checksum {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

/// Fills all of `dataport` with random data.
pub(super) fn write(dataport: &impl Shared, random: &mut Random) -> Result<Checksum, String> {
    let mut crc = Hasher::new();
    let mut block = vec![0; BLOCK];
    for offset in (0..dataport.size()).step_by(BLOCK) {
        let part = block.get_mut(..BLOCK.min(dataport.size() - offset)).unwrap_or_default();
        random.fill(part);
        crc.update(part);
        dataport.write(offset, part).map_err(|error| error.to_string())?;
    }
    Ok(Checksum(crc.finalize()))
}

/// Reads all of `dataport`.
pub(super) fn read(dataport: &impl Shared) -> Result<Checksum, String> {
    let mut crc = Hasher::new();
    each_block(dataport, |_, part| {
        crc.update(part);
        Ok(())
    })?;
    Ok(Checksum(crc.finalize()))
}

/// Reads all of `dataport` and gives it to `each`, block by block with their offsets.
pub(super) fn each_block(dataport: &impl Shared, mut each: impl FnMut(usize, &[u8]) -> Result<(), String>) -> Result<(), String> {
    let mut block = vec![0; BLOCK];
    for offset in (0..dataport.size()).step_by(BLOCK) {
        let part = block.get_mut(..BLOCK.min(dataport.size() - offset)).unwrap_or_default();
        dataport.read(offset, part).map_err(|error| error.to_string())?;
        each(offset, part)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::fake::Memory;

    #[test]
    fn what_was_written_is_read_to_the_last_byte() {
        for size in [4096, 12 << 10, (64 << 10) + 4096] {
            let memory = Memory::new(size);
            let mut random = Random::from_kernel().unwrap();
            let written = write(&memory, &mut random).unwrap();
            assert_eq!(read(&memory), Ok(written));
            let mut last = [0];
            memory.read(size - 1, &mut last).unwrap();
            memory.write(size - 1, &[last[0] ^ 1]).unwrap();
            assert_ne!(read(&memory), Ok(written), "{size}");
        }
    }

    #[test]
    fn the_checksum_is_iso_hdlc() {
        assert_eq!(crc32fast::hash(b"123456789"), 0xcbf4_3926);
        assert_eq!(Checksum(0xf).to_string(), "0000000f");
    }
}
