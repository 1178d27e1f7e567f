//! Empty capability slots.

use crate::kernel::CPtr;

/// The slots of one run, a bit for each: at most `64 * WORDS`.
#[derive(Debug, Clone)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct SlotPool<const WORDS: usize> {
    first: CPtr,
    count: usize,
    /// A bit for each slot that is allocated.
    used: [u64; WORDS],
}

impl<const WORDS: usize> SlotPool<WORDS> {
    /// The `count` empty slots from `first` on; those beyond what the pool can hold are left alone.
    #[must_use]
    pub fn new(first: CPtr, count: usize) -> Self {
        Self { first, count: count.min(WORDS.saturating_mul(64)), used: [0; WORDS] }
    }

    /// How many slots are free.
    #[must_use]
    pub fn free(&self) -> usize {
        let used = self.used.iter().map(|word| word.count_ones() as usize).fold(0, usize::saturating_add);
        self.count.saturating_sub(used)
    }

    /// Takes `count` slots in a row, the lowest there are, and gives the first; `None`: there is no such run.
    pub fn allocate(&mut self, count: usize) -> Option<CPtr> {
        let mut start = 0usize;
        let mut index = 0usize;
        while index.checked_sub(start)? < count {
            if index >= self.count {
                return None;
            }
            // A word that is full needs no look at each of its bits.
            if index.is_multiple_of(64) && self.used.get(index.wrapping_shr(6)) == Some(&u64::MAX) {
                index = index.saturating_add(64);
                start = index;
            } else if self.is_used(index) {
                index = index.saturating_add(1);
                start = index;
            } else {
                index = index.saturating_add(1);
            }
        }
        self.mark(start, count, true);
        Some(self.first.offset(start as u64))
    }

    /// Gives back `count` slots from `first` on. Slots that are not of this pool are ignored.
    pub fn release(&mut self, first: CPtr, count: usize) {
        let start = first.raw().checked_sub(self.first.raw()).and_then(|start| usize::try_from(start).ok());
        if let Some(start) = start.filter(|start| start.saturating_add(count) <= self.count) {
            self.mark(start, count, false);
        }
    }

    fn is_used(&self, index: usize) -> bool {
        self.used.get(index.wrapping_shr(6)).is_some_and(|word| word & bit(index) != 0)
    }

    fn mark(&mut self, start: usize, count: usize, used: bool) {
        for index in start..start.saturating_add(count) {
            if let Some(word) = self.used.get_mut(index.wrapping_shr(6)) {
                *word = if used { *word | bit(index) } else { *word & !bit(index) };
            }
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the lowest six bits")]
const fn bit(index: usize) -> u64 {
    1u64.wrapping_shl((index & 63) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_the_lowest_that_fit_and_never_overlap() {
        let mut slots = SlotPool::<2>::new(CPtr::new(100), 128);
        let at = |slot| Some(CPtr::new(slot));
        assert_eq!((slots.allocate(1), slots.allocate(3), slots.allocate(60)), (at(100), at(101), at(104)));
        assert_eq!(slots.allocate(65), None, "64 are left");
        slots.release(CPtr::new(101), 3);
        assert_eq!((slots.allocate(4), slots.allocate(2), slots.free()), (at(164), at(101), 61));
        assert_eq!((slots.allocate(60), slots.allocate(1), slots.allocate(1)), (at(168), at(103), None));
    }

    #[test]
    fn slots_beyond_the_run_are_left_alone() {
        let mut slots = SlotPool::<1>::new(CPtr::new(8), 10);
        assert_eq!((slots.free(), slots.allocate(11), slots.allocate(10)), (10, None, Some(CPtr::new(8))));
        slots.release(CPtr::new(7), 1);
        slots.release(CPtr::new(17), 2);
        assert_eq!(slots.free(), 0, "none of those is a run of the pool");
        assert_eq!(SlotPool::<1>::new(CPtr::new(8), 1000).free(), 64);
    }
}
