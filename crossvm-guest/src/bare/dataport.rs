//! Dataports: memory shared with the peer.

use crate::bare::Error;
use crate::memory::Ordered;
use crate::rights::Rights;
use crate::words::{Word, Words};

/// A dataport that can be accessed.
///
/// The peer may change it at any moment, and may mean harm: read a value once, into memory of your own, and check that copy. Copies are made of
/// aligned words, as device memory demands; words are in the byte order of this machine.
#[derive(Debug)]
pub struct Dataport<R> {
    region: R,
    rights: Rights,
}

impl<R: Words> Dataport<R> {
    pub(crate) const fn new(region: R, rights: Rights) -> Self {
        Self { region, rights }
    }

    /// True size in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        self.region.len()
    }

    /// What this end may do with it.
    #[must_use]
    pub const fn rights(&self) -> Rights {
        self.rights
    }

    /// Reads `buffer.len()` bytes from `offset` on.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfRange`] where they do not all lie in the dataport, [`Error::NoRight`] where this end may not read.
    pub fn read(&self, offset: usize, buffer: &mut [u8]) -> Result<(), Error> {
        self.check(Rights::Read)?;
        let length = buffer.len();
        self.region.copy_out(offset, buffer).ok_or(self.out_of_range(offset, length))
    }

    /// Writes `bytes` from `offset` on. The peer is sure to see them once it sees an event that was emitted afterwards.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfRange`] where they do not all fit, and then nothing is written; [`Error::NoRight`] where this end may not write.
    pub fn write(&self, offset: usize, bytes: &[u8]) -> Result<(), Error> {
        self.check(Rights::Write)?;
        self.region.copy_in(offset, bytes).ok_or(self.out_of_range(offset, bytes.len()))
    }

    /// Loads the word at `offset`.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfRange`] where it is not all in the dataport, or not aligned; [`Error::NoRight`] where this end may not read.
    pub fn load<W: Word>(&self, offset: usize) -> Result<W, Error> {
        self.check(Rights::Read)?;
        self.region.load(offset).ok_or(self.out_of_range(offset, size_of::<W>()))
    }

    /// Stores the word at `offset`.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfRange`] where it is not all in the dataport, or not aligned; [`Error::NoRight`] where this end may not write.
    pub fn store<W: Word>(&self, offset: usize, value: W) -> Result<(), Error> {
        self.check(Rights::Write)?;
        self.region.store(offset, value).ok_or(self.out_of_range(offset, size_of::<W>()))
    }

    /// The dataport as the memory of a message [channel](crate::channel), whose doorbell is the connection's
    /// [`EventRegisters`](crate::EventRegisters).
    ///
    /// # Errors
    ///
    /// [`Error::NoRight`] where this end may not both read and write.
    pub fn into_memory(self) -> Result<Ordered<R>, Error> {
        self.check(Rights::Read)?;
        self.check(Rights::Write)?;
        Ok(Ordered(self.region))
    }

    fn check(&self, needed: Rights) -> Result<(), Error> {
        let granted = self.rights;
        let enough = if needed.can_write() { granted.can_write() } else { granted.can_read() };
        if enough { Ok(()) } else { Err(Error::NoRight { needed, granted }) }
    }

    fn out_of_range(&self, offset: usize, length: usize) -> Error {
        Error::OutOfRange { offset, length, size: self.size() }
    }
}
