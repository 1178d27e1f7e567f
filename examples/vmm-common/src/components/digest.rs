//! Sums up what a guest has written.

use core::sync::atomic::Ordering;

use crc::{CRC_32_ISO_HDLC, Crc, Table};

use super::memory::write_first;
use crate::config::Memories;
use crate::host::PhysicalMemory;
use crate::platform::Caches;

/// Sixteen bytes at a time.
static CRC: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&CRC_32_ISO_HDLC);

/// Words that are taken out of the shared memory at once.
const STEP: usize = 64;

/// On each event writes the CRC-32 of the whole first dataport to the start of the second.
pub(super) fn work<C: Caches>(dataports: &Memories, _received: u64, caches: C) {
    if let [from, to, ..] = dataports.as_slice() {
        caches.clean_and_invalidate(from.range());
        write_first(to, sum(from), caches);
    }
}

/// The CRC-32 (ISO-HDLC) of all bytes. Each is read once.
fn sum(memory: &PhysicalMemory) -> u32 {
    let mut digest = CRC.digest();
    for step in memory.double_words().chunks(STEP) {
        let mut bytes = [[0; 8]; STEP];
        for (to, from) in bytes.iter_mut().zip(step) {
            *to = from.load(Ordering::Relaxed).to_ne_bytes();
        }
        digest.update(bytes.get(..step.len()).unwrap_or_default().as_flattened());
    }
    digest.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataport::SharedMemory;
    use crate::host::tests::memory;
    use crate::platform::tests::Recorder;

    fn shared(size: u64) -> &'static SharedMemory {
        // SAFETY: fresh memory of this test.
        unsafe { SharedMemory::new(memory(size).range()) }.unwrap()
    }

    #[test]
    fn the_sum_is_the_one_that_everybody_knows() {
        let dataports: Memories = [shared(4096).memory(), shared(4096).memory()].into_iter().collect();
        let bytes = dataports[0].bytes();
        let first = || u32::from_le_bytes(core::array::from_fn(|index| dataports[1].bytes()[index].load(Ordering::Relaxed)));
        dataports[1].words()[1].store(7, Ordering::Relaxed);
        // As zlib's crc32 has them: of 4096 zeros, and with 123456789 in front.
        work(&dataports, 1, Recorder::new());
        assert_eq!(first(), 0xc71c_0011);
        bytes.iter().zip(b"123456789").for_each(|(cell, byte)| cell.store(*byte, Ordering::Relaxed));
        work(&dataports, 2, Recorder::new());
        assert_eq!(first(), EXPECTED);
        bytes[4095].store(1, Ordering::Relaxed);
        work(&dataports, 3, Recorder::new());
        assert_ne!(first(), EXPECTED, "the last byte counts");
        assert_eq!(dataports[1].words()[1].load(Ordering::Relaxed), 7, "nothing else is written");
    }

    const EXPECTED: u32 = 0xee69_3235;
}
