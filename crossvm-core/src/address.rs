//! Guest-physical addresses, ranges and sizes.

use core::fmt;

/// A guest-physical address (Arm: intermediate physical address), in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct GuestAddr(u64);

impl GuestAddr {
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

    /// The address `bytes` above this one, or `None` where it would not fit in 64 bits.
    #[must_use]
    pub const fn checked_add(self, bytes: u64) -> Option<Self> {
        match self.0.checked_add(bytes) {
            Some(sum) => Some(Self(sum)),
            None => None,
        }
    }

    /// How far this address lies above `base` in bytes, or `None` where it lies below.
    #[must_use]
    pub const fn offset_from(self, base: Self) -> Option<u64> {
        self.0.checked_sub(base.0)
    }

    /// Whether the address is a multiple of `alignment` bytes. Zero aligns nothing.
    #[must_use]
    pub const fn is_aligned(self, alignment: u64) -> bool {
        self.0.is_multiple_of(alignment)
    }
}

impl fmt::Display for GuestAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl fmt::LowerHex for GuestAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::LowerHex::fmt(&self.0, f)
    }
}

/// A range of guest-physical addresses: not empty, and its last byte is an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct GuestRange {
    start: GuestAddr,
    last: GuestAddr,
}

impl GuestRange {
    /// The `size` bytes from `start` on, or `None` where `size` is zero or the range would pass the end of the address space.
    #[must_use]
    pub const fn new(start: GuestAddr, size: u64) -> Option<Self> {
        let Some(above) = size.checked_sub(1) else { return None };
        match start.checked_add(above) {
            Some(last) => Some(Self { start, last }),
            None => None,
        }
    }

    /// First byte.
    #[must_use]
    pub const fn start(self) -> GuestAddr {
        self.start
    }

    /// Last byte.
    #[must_use]
    pub const fn last(self) -> GuestAddr {
        self.last
    }

    /// Length in bytes. The one range of 2^64 bytes reports `u64::MAX`.
    #[must_use]
    pub const fn size(self) -> u64 {
        self.last.0.saturating_sub(self.start.0).saturating_add(1)
    }

    /// Whether `address` lies in the range.
    #[must_use]
    pub const fn contains(self, address: GuestAddr) -> bool {
        self.start.0 <= address.0 && address.0 <= self.last.0
    }

    /// Whether all of `other` lies in the range.
    #[must_use]
    pub const fn covers(self, other: Self) -> bool {
        self.contains(other.start) && self.contains(other.last)
    }

    /// Whether the ranges have a byte in common.
    #[must_use]
    pub const fn overlaps(self, other: Self) -> bool {
        self.start.0 <= other.last.0 && other.start.0 <= self.last.0
    }
}

impl fmt::Display for GuestRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}..={:#x}", self.start.0, self.last.0)
    }
}

/// Size of a frame or an event page: a power of two of bytes, at least 4 KiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FrameSize(u8);

impl FrameSize {
    /// 4 KiB, the smallest.
    pub const KIB_4: Self = Self(12);
    /// 16 KiB.
    pub const KIB_16: Self = Self(14);
    /// 64 KiB.
    pub const KIB_64: Self = Self(16);
    /// 2 MiB.
    pub const MIB_2: Self = Self(21);
    /// 1 GiB.
    pub const GIB_1: Self = Self(30);

    /// The frame size of `bytes`, or `None` where that is no power of two or less than 4 KiB.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "the exponent of a u64 is at most 63")]
    pub const fn from_bytes(bytes: u64) -> Option<Self> {
        if bytes.is_power_of_two() && bytes >= 4096 { Some(Self(bytes.trailing_zeros() as u8)) } else { None }
    }

    /// Size in bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        // The exponent is 12..=63 by construction.
        1u64.wrapping_shl(self.0 as u32)
    }
}

impl fmt::Display for FrameSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_never_empty_and_never_wraps() {
        let at = GuestAddr::new;
        assert!(GuestRange::new(at(0x1000), 0).is_none());
        assert!(GuestRange::new(at(u64::MAX), 2).is_none());
        let last = GuestRange::new(at(u64::MAX), 1).unwrap();
        assert!(last.contains(at(u64::MAX)) && !last.contains(at(u64::MAX - 1)));
        let range = GuestRange::new(at(0x1000), 0x1000).unwrap();
        assert_eq!(range.size(), 0x1000);
        assert!(range.contains(at(0x1fff)) && !range.contains(at(0x2000)));
        assert!(!range.overlaps(GuestRange::new(at(0x2000), 1).unwrap()));
        assert!(range.overlaps(GuestRange::new(at(0x1fff), 2).unwrap()));
    }

    #[test]
    fn a_frame_size_is_a_power_of_two_of_at_least_4_kib() {
        assert_eq!(FrameSize::from_bytes(4096), Some(FrameSize::KIB_4));
        assert_eq!(FrameSize::from_bytes(1 << 63).map(FrameSize::bytes), Some(1 << 63));
        for bad in [0, 1, 2048, 4097, 12288] {
            assert_eq!(FrameSize::from_bytes(bad), None, "{bad}");
        }
    }
}
