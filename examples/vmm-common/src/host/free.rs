//! Which host-physical memory is free: handed out from the bottom up, never taken back.

use core::fmt;

use crossvm_core::FrameSize;
use heapless::Vec;

use super::{HostAddr, HostRange};

/// Most separate free ranges: each image and each hole of the machine adds one.
const MAX_RANGES: usize = 64;

/// The host's memory that belongs to nobody yet.
#[derive(Debug, Default)]
pub struct FreeMemory {
    ranges: Vec<HostRange, MAX_RANGES>,
}

/// No free range is large enough, or the free memory is in too many pieces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutOfMemory {
    /// Bytes that were asked for.
    pub size: u64,
}

impl fmt::Display for OutOfMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no {} contiguous bytes of the host's memory are free: give the machine more", self.size)
    }
}

impl core::error::Error for OutOfMemory {}

impl FreeMemory {
    /// No memory at all.
    #[must_use]
    pub const fn new() -> Self {
        Self { ranges: Vec::new() }
    }

    /// Adds memory.
    ///
    /// # Errors
    /// [`OutOfMemory`] where there are too many ranges.
    pub fn add(&mut self, range: HostRange) -> Result<(), OutOfMemory> {
        self.remove(range)?;
        self.ranges.push(range).map_err(|range| OutOfMemory { size: range.size() })
    }

    /// Takes out a range that is in use, free or not.
    ///
    /// # Errors
    /// [`OutOfMemory`] where the rest would be in too many pieces.
    pub fn remove(&mut self, used: HostRange) -> Result<(), OutOfMemory> {
        let mut rest = Vec::new();
        for range in &self.ranges {
            if !range.overlaps(used) {
                rest.push(*range).map_err(|_| OutOfMemory { size: range.size() })?;
                continue;
            }
            let below = HostRange::inclusive(range.start().get(), used.start().get().checked_sub(1));
            let above = used.last().get().checked_add(1).and_then(|start| HostRange::inclusive(start, Some(range.last().get())));
            for piece in [below, above].into_iter().flatten() {
                rest.push(piece).map_err(|_| OutOfMemory { size: piece.size() })?;
            }
        }
        self.ranges = rest;
        Ok(())
    }

    /// Takes the lowest free `size` bytes whose address is a multiple of `alignment`.
    ///
    /// # Errors
    /// [`OutOfMemory`] where no free range is large enough.
    pub fn allocate(&mut self, size: u64, alignment: FrameSize) -> Result<HostRange, OutOfMemory> {
        let fits = |range: &HostRange| {
            let start = range.start().get().checked_next_multiple_of(alignment.bytes())?;
            HostRange::new(HostAddr::new(start), size).filter(|candidate| range.covers(*candidate))
        };
        let found = self.ranges.iter().filter_map(fits).min_by_key(|range| range.start()).ok_or(OutOfMemory { size })?;
        self.remove(found)?;
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(start: u64, size: u64) -> HostRange {
        HostRange::new(HostAddr::new(start), size).unwrap()
    }

    #[test]
    fn what_is_taken_is_never_given_out_again() {
        let mut free = FreeMemory::new();
        free.add(range(0x4000_0000, 0x1000_0000)).unwrap();
        let used = [range(0x4000_0000, 0x140_0000), range(0x4200_0000, 0x12_3456), range(0x4f00_0000, 0x200_0000)];
        for used in used {
            free.remove(used).unwrap();
        }
        let mut given: std::vec::Vec<HostRange> = std::vec::Vec::new();
        while let Ok(next) = free.allocate(0x20_0000, FrameSize::MIB_2) {
            assert!(next.start().get().is_multiple_of(0x20_0000));
            assert!(!used.iter().chain(&given).any(|taken| taken.overlaps(next)), "{next}");
            assert!(range(0x4000_0000, 0x1000_0000).covers(next));
            given.push(next);
        }
        // 120 blocks up to 0x4f000000; 10 of the VMM's and one of the image's are taken.
        assert_eq!(given.len(), 120 - 10 - 1);
        assert_eq!(free.allocate(0x20_0000, FrameSize::MIB_2), Err(OutOfMemory { size: 0x20_0000 }));
    }

    #[test]
    fn the_lowest_fitting_range_is_used_first() {
        let mut free = FreeMemory::new();
        free.add(range(0x8000_0000, 0x100_0000)).unwrap();
        free.add(range(0x4000_0000, 0x10_0000)).unwrap();
        assert_eq!(free.allocate(0x1000, FrameSize::KIB_4), Ok(range(0x4000_0000, 0x1000)));
        assert_eq!(free.allocate(0x20_0000, FrameSize::KIB_4), Ok(range(0x8000_0000, 0x20_0000)));
        assert_eq!(free.allocate(0x1000, FrameSize::MIB_2), Ok(range(0x8020_0000, 0x1000)));
    }
}
