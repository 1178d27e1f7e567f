//! A device file that is read without ever sleeping in `read`: only `poll` knows of timeouts.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;

use crate::linux::error::Error;
use crate::linux::wait::Wake;

/// An open device file, readable and writable.
#[derive(Debug)]
pub(crate) struct Descriptor {
    pub(crate) file: File,
    pub(crate) path: PathBuf,
}

impl Descriptor {
    /// Opens the file at `path`.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        let nonblock = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or(0);
        options.read(true).write(true).custom_flags(nonblock);
        Ok(Self { file: options.open(path)?, path: path.to_owned() })
    }

    /// Keeps all others from [`lock`](Self::lock)ing it, in all processes, until it is closed: two takers would share the events, or
    /// count them twice.
    pub(crate) fn lock(self) -> Result<Self, Error> {
        match flock(&self.file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(self),
            Err(Errno::WOULDBLOCK) => Err(Error::Busy { device: self.path }),
            Err(source) => Err(Error::io("locking", self.path, source.into())),
        }
    }

    /// Reads one record of `N` bytes: `None` where there is none now.
    pub(crate) fn read<const N: usize>(&mut self) -> io::Result<Option<[u8; N]>> {
        let mut record = [0; N];
        loop {
            match self.file.read(&mut record) {
                Ok(read) if read == N => return Ok(Some(record)),
                Ok(_) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Sleeps until there is something to read or an error to be told, or for `timeout`; without one, for ever.
    pub(crate) fn sleep(&self, timeout: Option<Duration>) -> io::Result<Wake> {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        loop {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            let left = left.and_then(|left| Timespec::try_from(left).ok());
            match poll(&mut [PollFd::new(&self.file, PollFlags::IN)], left.as_ref()) {
                Ok(0) => return Ok(Wake::TimedOut),
                Ok(_) => return Ok(Wake::Interrupt),
                Err(Errno::INTR) => {}
                Err(source) => return Err(source.into()),
            }
        }
    }
}

impl AsFd for Descriptor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Gives a type the descriptor of one of its fields.
macro_rules! descriptor_of_field {
    ($type:ty, $field:ident) => {
        impl std::os::fd::AsFd for $type {
            fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
                std::os::fd::AsFd::as_fd(&self.$field)
            }
        }

        impl std::os::fd::AsRawFd for $type {
            fn as_raw_fd(&self) -> std::os::fd::RawFd {
                std::os::fd::AsFd::as_fd(self).as_raw_fd()
            }
        }
    };
}

pub(crate) use descriptor_of_field;
