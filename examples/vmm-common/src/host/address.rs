//! Host-physical addresses and ranges.

use core::fmt;

/// A host-physical address, in bytes. The VMM maps all memory that it uses at the same virtual address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostAddr(u64);

impl HostAddr {
    /// The address `address`.
    #[must_use]
    pub const fn new(address: u64) -> Self {
        Self(address)
    }

    /// The address as a number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The address as a pointer: memory of the VMM is mapped where it is.
    ///
    /// `usize` has 64 bits on every machine that runs the VMM; on a smaller host no such memory exists.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "see above")]
    pub const fn pointer(self) -> *const u8 {
        core::ptr::with_exposed_provenance(self.0 as usize)
    }

    /// The address `bytes` above this one, or `None` where it would not fit in 64 bits.
    #[must_use]
    pub const fn checked_add(self, bytes: u64) -> Option<Self> {
        match self.0.checked_add(bytes) {
            Some(sum) => Some(Self(sum)),
            None => None,
        }
    }
}

impl fmt::Display for HostAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

/// A range of host-physical addresses: not empty, and its last byte is an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct HostRange {
    start: u64,
    last: u64,
}

impl HostRange {
    /// The `size` bytes from `start` on, or `None` where `size` is zero or the range would pass the end of the address space.
    #[must_use]
    pub const fn new(start: HostAddr, size: u64) -> Option<Self> {
        let Some(above) = size.checked_sub(1) else { return None };
        Self::inclusive(start.0, start.0.checked_add(above))
    }

    /// The bytes from `start` up to `last`, `last` included; `None` where there is none.
    pub(super) const fn inclusive(start: u64, last: Option<u64>) -> Option<Self> {
        match last {
            Some(last) if start <= last => Some(Self { start, last }),
            _ => None,
        }
    }

    /// First byte.
    #[must_use]
    pub const fn start(self) -> HostAddr {
        HostAddr(self.start)
    }

    /// Last byte.
    #[must_use]
    pub const fn last(self) -> HostAddr {
        HostAddr(self.last)
    }

    /// Length in bytes. The one range of 2^64 bytes reports `u64::MAX`.
    #[must_use]
    pub const fn size(self) -> u64 {
        self.last.saturating_sub(self.start).saturating_add(1)
    }

    /// Whether the ranges have a byte in common.
    #[must_use]
    pub const fn overlaps(self, other: Self) -> bool {
        self.start <= other.last && other.start <= self.last
    }

    /// Whether all of `other` lies in this range.
    #[must_use]
    pub const fn covers(self, other: Self) -> bool {
        self.start <= other.start && other.last <= self.last
    }

    /// The smallest range of whole `alignment` blocks that covers this one, or `None` where there is none. `alignment` is a power of two.
    #[must_use]
    pub const fn widened(self, alignment: u64) -> Option<Self> {
        let Some(below) = alignment.checked_sub(1) else { return None };
        Self::inclusive(self.start & !below, Some(self.last | below))
    }
}

impl fmt::Display for HostRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}..={:#x}", self.start, self.last)
    }
}
