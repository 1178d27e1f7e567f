//! The two ends.

use crate::spec::SIDE;

/// One of the two ends of a channel. The two programs agree on who is who.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Side {
    /// The first.
    A,
    /// The second.
    B,
}

impl Side {
    /// The other end.
    #[must_use]
    pub const fn peer(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }

    /// Where its words are: the word at `offset` from the side's start.
    pub(crate) const fn word(self, offset: u32) -> usize {
        match self {
            Self::A => offset as usize,
            Self::B => SIDE.wrapping_add(offset) as usize,
        }
    }
}
