//! Dataports: memory shared with the peer.

use crate::index::DataportIndex;
use crate::linux::error::Error;
use crate::raw::Map;
use crate::rights::Rights;
use crate::words::Words;

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
    pub(crate) bar: crate::linux::bar::Bar,
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
    pub const fn bar(&self) -> &crate::linux::bar::Bar {
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

    /// The map.
    pub(crate) const fn map(&self) -> &Map {
        &self.map
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
        self.map.copy_out(offset, buffer).ok_or_else(|| Error::OutOfRange { offset, length, size: self.size() })
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
        self.map.copy_in(offset, bytes).ok_or_else(|| Error::OutOfRange { offset, length, size: self.size() })
    }
}
