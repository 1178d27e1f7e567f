//! Guest-physical memory that this program reaches through pointers.

use core::fmt;
use core::ptr::NonNull;

use crate::bare::{PhysicalMemory, PhysicalRange};
use crate::raw::Plain;
use crate::words::{Word, Words};

/// Where a program finds guest-physical memory in its own address space.
///
/// # Safety
///
/// A pointer that [`map`](Self::map) returns can be read and written for the whole range, with accesses of up to 8 bytes, from then on until the
/// program ends; it is aligned to 8 bytes where the range is; and no reference to this memory is ever made. Event registers must be
/// mapped as device memory or cacheable as the VM monitor maps them, never so that stores are held back or combined.
pub unsafe trait Hal {
    /// A pointer to the first byte of `range`, or `None` where this program cannot reach it.
    fn map(&self, range: PhysicalRange) -> Option<NonNull<u8>>;
}

/// The memory that a [`Hal`] maps.
#[derive(Debug, Clone, Copy, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Mapped<H>(H);

impl<H: Hal> Mapped<H> {
    /// What `hal` maps.
    pub const fn new(hal: H) -> Self {
        Self(hal)
    }
}

impl<H: Hal> PhysicalMemory for Mapped<H> {
    type Region = MappedRegion;

    fn region(&self, range: PhysicalRange) -> Option<MappedRegion> {
        let length = usize::try_from(range.length()).ok()?;
        let start = self.0.map(range)?;
        start.as_ptr().cast::<u64>().is_aligned().then_some(MappedRegion { start, length })
    }
}

/// A range of guest-physical memory that is mapped for good.
pub struct MappedRegion {
    start: NonNull<u8>,
    length: usize,
}

impl fmt::Debug for MappedRegion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MappedRegion({:p}, {:#x} bytes)", self.start, self.length)
    }
}

// SAFETY: the mapping belongs to the program, and lives until it ends.
unsafe impl Send for MappedRegion {}
// SAFETY: all accesses are single loads and stores of memory that is shared with others by nature; no reference to it is ever made.
unsafe impl Sync for MappedRegion {}

impl MappedRegion {
    /// Address of the word at `offset`, or `None` where not all of it lies in the region or it is not aligned.
    fn word<W>(&self, offset: usize) -> Option<NonNull<W>> {
        let end = offset.checked_add(size_of::<W>())?;
        if end > self.length || !offset.is_multiple_of(size_of::<W>()) {
            return None;
        }
        // SAFETY: `offset` plus the word's length is at most `length`, so the result points into the region.
        Some(unsafe { self.start.add(offset) }.cast())
    }
}

impl Words for MappedRegion {
    fn len(&self) -> usize {
        self.length
    }

    fn load<W: Word>(&self, offset: usize) -> Option<W> {
        let word = self.word::<W>(offset)?;
        // SAFETY: the word lies in the region (checked), which can be read (Hal); it is aligned, as `start` and `offset` are.
        Some(unsafe { <W as Plain>::load_from(word.as_ptr()) })
    }

    fn store<W: Word>(&self, offset: usize, value: W) -> Option<()> {
        let word = self.word::<W>(offset)?;
        // SAFETY: the word lies in the region (checked), which can be written (Hal); it is aligned; no reference to it exists (Hal).
        unsafe { <W as Plain>::store_to(word.as_ptr(), value) };
        Some(())
    }
}
