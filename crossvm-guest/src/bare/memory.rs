//! Guest-physical memory.

use core::fmt;

use crate::words::Words;

/// A range of guest-physical addresses, at least one byte long.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PhysicalRange {
    start: u64,
    length: u64,
}

impl PhysicalRange {
    /// The `length` bytes from `start` on; `None` where there are none or they pass the end of the address space.
    #[must_use]
    pub const fn new(start: u64, length: u64) -> Option<Self> {
        if length == 0 || start.checked_add(length - 1).is_none() { None } else { Some(Self { start, length }) }
    }

    /// Address of the first byte.
    #[must_use]
    pub const fn start(self) -> u64 {
        self.start
    }

    /// Number of bytes.
    #[must_use]
    pub const fn length(self) -> u64 {
        self.length
    }

    /// Address of the last byte.
    #[must_use]
    pub const fn last(self) -> u64 {
        self.start.saturating_add(self.length - 1)
    }
}

impl fmt::Debug for PhysicalRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}..={:#x}", self.start, self.last())
    }
}

impl fmt::Display for PhysicalRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// How a program reaches guest-physical memory: [`Mapped`](super::Mapped) through pointers, or something that makes each access by other
/// means, as tests do.
pub trait PhysicalMemory {
    /// A range that can be accessed.
    type Region: Words;

    /// The region at `range`; `None` where it cannot be reached.
    fn region(&self, range: PhysicalRange) -> Option<Self::Region>;
}

impl<M: PhysicalMemory + ?Sized> PhysicalMemory for &M {
    type Region = M::Region;

    fn region(&self, range: PhysicalRange) -> Option<M::Region> {
        M::region(self, range)
    }
}
