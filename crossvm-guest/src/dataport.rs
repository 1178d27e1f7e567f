//! Dataports: memory shared with the peer.

use std::fmt;

use crate::error::Error;
use crate::map::{Map, Words};
use crate::rights::Rights;
use crate::spec::MAX_DATAPORTS;
use crate::words::{copy_in, copy_out};

/// Number of a dataport within its connection, from 0 on. Dataport 0 is the first BAR behind BAR 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
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

/// How the guest's processor maps a dataport.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Caching {
    /// Not cached, writes combined: `resourceN_wc` (arm64: Normal non-cacheable).
    WriteCombining,
    /// Neither cached nor combined: `resourceN` (arm64: Device), where the kernel offers nothing better.
    Device,
    /// Cached, as the peer's own view is: through our own driver (arm64: Normal write-back).
    Cacheable,
}

/// A dataport as `list` shows it, not mapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DataportInfo {
    pub(crate) index: DataportIndex,
    pub(crate) bar: crate::bar::Bar,
    pub(crate) size: u64,
    pub(crate) rights: Rights,
}

impl DataportInfo {
    /// Number of the dataport.
    #[must_use]
    pub const fn index(&self) -> DataportIndex {
        self.index
    }

    /// The BAR that shows it. Its size is the true size rounded up to a power of two.
    #[must_use]
    pub const fn bar(&self) -> &crate::bar::Bar {
        &self.bar
    }

    /// True size in bytes; the BAR's size in the reference profile, which does not tell it.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// What this end may do with it; all in the reference profile, which does not tell it.
    #[must_use]
    pub const fn rights(&self) -> Rights {
        self.rights
    }
}

/// A mapped dataport.
///
/// The peer may change it at any moment, and may mean harm: read a value once, into memory of your own, and check that copy.
#[derive(Debug)]
pub struct Dataport {
    map: Map,
    rights: Rights,
    caching: Caching,
}

impl Dataport {
    pub(crate) const fn new(map: Map, rights: Rights, caching: Caching) -> Self {
        Self { map, rights, caching }
    }

    /// True size in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        self.map.len()
    }

    /// What this end may do with it.
    #[must_use]
    pub const fn rights(&self) -> Rights {
        self.rights
    }

    /// How it is mapped.
    #[must_use]
    pub const fn caching(&self) -> Caching {
        self.caching
    }

    /// Reads `buffer.len()` bytes from `offset` on.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfRange`] where they do not all lie in the dataport, [`Error::NoRight`] where this end may not read.
    pub fn read(&self, offset: usize, buffer: &mut [u8]) -> Result<(), Error> {
        if !self.rights.can_read() {
            return Err(Error::NoRight { needed: Rights::Read, granted: self.rights });
        }
        let length = buffer.len();
        copy_out(&self.map, offset, buffer).ok_or_else(|| Error::OutOfRange { offset, length, size: self.size() })
    }

    /// Writes `bytes` from `offset` on. The peer is sure to see them once it sees an event that was emitted afterwards.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfRange`] where they do not all fit, and then nothing is written; [`Error::NoRight`] where this end may not
    /// write.
    pub fn write(&self, offset: usize, bytes: &[u8]) -> Result<(), Error> {
        if !self.rights.can_write() {
            return Err(Error::NoRight { needed: Rights::Write, granted: self.rights });
        }
        let length = bytes.len();
        copy_in(&self.map, offset, bytes).ok_or_else(|| Error::OutOfRange { offset, length, size: self.size() })
    }
}
