//! One access of a guest to an address that traps.

use core::fmt;

use crate::{GuestAddr, GuestRange};

/// Width of an access: 1, 2, 4 or 8 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Width {
    /// 1 byte.
    U8,
    /// 2 bytes.
    U16,
    /// 4 bytes.
    U32,
    /// 8 bytes.
    U64,
}

impl Width {
    /// All widths, narrowest first.
    pub const ALL: [Self; 4] = [Self::U8, Self::U16, Self::U32, Self::U64];

    /// The width of `bytes`, or `None` for another number than 1, 2, 4 and 8.
    #[must_use]
    pub const fn from_bytes(bytes: u64) -> Option<Self> {
        match bytes {
            1 => Some(Self::U8),
            2 => Some(Self::U16),
            4 => Some(Self::U32),
            8 => Some(Self::U64),
            _ => None,
        }
    }

    /// Number of bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        match self {
            Self::U8 => 1,
            Self::U16 => 2,
            Self::U32 => 4,
            Self::U64 => 8,
        }
    }

    /// A value with all bits of the width set.
    #[must_use]
    pub const fn mask(self) -> u64 {
        match self {
            Self::U8 => 0xff,
            Self::U16 => 0xffff,
            Self::U32 => 0xffff_ffff,
            Self::U64 => u64::MAX,
        }
    }
}

/// What a guest did at an address that traps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GuestAccess {
    /// A load. The VMM gives the value of [`Outcome::Read`](crate::Outcome::Read) to the guest.
    Read {
        /// First byte.
        at: GuestAddr,
        /// Number of bytes.
        width: Width,
    },
    /// A store.
    Write {
        /// First byte.
        at: GuestAddr,
        /// Number of bytes.
        width: Width,
        /// The value, little endian; bits beyond the width are ignored.
        value: u64,
    },
    /// A store whose width or value the hardware does not report (Arm: ISV = 0, such as a store pair or a vector store). The
    /// range is what the instruction may have covered.
    UndecodedWrite(GuestRange),
    /// A load whose width or register the hardware does not report.
    UndecodedRead(GuestRange),
}

impl GuestAccess {
    /// The first byte accessed.
    #[must_use]
    pub const fn address(self) -> GuestAddr {
        match self {
            Self::Read { at, .. } | Self::Write { at, .. } => at,
            Self::UndecodedWrite(range) | Self::UndecodedRead(range) => range.start(),
        }
    }
}

impl fmt::Display for GuestAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read { at, width } => write!(f, "read of {} bytes at {at}", width.bytes()),
            Self::Write { at, width, value } => write!(f, "write of {value:#x} ({} bytes) at {at}", width.bytes()),
            Self::UndecodedWrite(range) => write!(f, "undecoded write at {range}"),
            Self::UndecodedRead(range) => write!(f, "undecoded read at {range}"),
        }
    }
}
