//! Gives a guest something new to read.

use core::sync::atomic::Ordering;

use crate::config::Memories;
use crate::platform::Caches;

/// What the number of the event is multiplied by: the golden ratio in 32 bits, so that neighbours differ in many bits.
const FACTOR: u32 = 0x9e37_79b9;

/// On the n-th event fills the first dataport with the words n × [`FACTOR`] ^ index, of 32 bits, little endian.
pub(super) fn work<C: Caches>(dataports: &Memories, received: u64, caches: C) {
    let Some(memory) = dataports.first() else { return };
    // Of n, 32 bits count.
    let [b0, b1, b2, b3, ..] = received.to_le_bytes();
    let seed = u32::from_le_bytes([b0, b1, b2, b3]).wrapping_mul(FACTOR);
    for (index, word) in (0..=u32::MAX).zip(memory.words()) {
        word.store((seed ^ index).to_le(), Ordering::Relaxed);
    }
    caches.clean(memory.range());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataport::SharedMemory;
    use crate::host::tests::memory;
    use crate::platform::tests::Recorder;

    #[test]
    fn every_event_has_words_of_its_own() {
        // SAFETY: fresh memory of this test.
        let shared = unsafe { SharedMemory::new(memory(8192).range()) }.unwrap();
        let dataports: Memories = [shared.memory()].into_iter().collect();
        let word = |index: usize| shared.memory().words()[index].load(Ordering::Relaxed);
        work(&dataports, 1, Recorder::new());
        assert_eq!([word(0), word(1), word(2047)], [0x9e37_79b9, 0x9e37_79b8, 0x9e37_7e46]);
        work(&dataports, 2, Recorder::new());
        assert_eq!(word(0), 0x3c6e_f372);
        work(&dataports, (1 << 32) + 1, Recorder::new());
        assert_eq!(word(0), 0x9e37_79b9);
    }
}
