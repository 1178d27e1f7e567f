//! The number of a dataport.

use core::fmt;

use crate::spec::MAX_DATAPORTS;

/// Number of a dataport within its connection, from 0 on. Dataport 0 is the first BAR behind BAR 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct DataportIndex(u8);

impl DataportIndex {
    /// The first dataport.
    pub const FIRST: Self = Self(0);

    /// Dataport `index`.
    #[must_use]
    pub const fn new(index: u8) -> Self {
        Self(index)
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }

    /// All that a connection can have, in order.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        (0..=u8::MAX).take(MAX_DATAPORTS).map(Self)
    }
}

impl fmt::Display for DataportIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}
