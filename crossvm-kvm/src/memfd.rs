//! Files in memory, of a size that nobody can change.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crossvm_core::ErrorKind;
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, fstat, fstatfs, ftruncate, memfd_create};
use rustix::io::Errno;

use crate::error::{Call, CallError};

/// What a file must be sealed against. The last one keeps a peer from sealing it against writes later, which would take the memory from us.
const SEALS: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW).union(SealFlags::SEAL);

/// What `fstatfs` calls the file system of memfds that are not made of huge pages.
const TMPFS_MAGIC: i64 = 0x0102_1994;

/// A file in memory whose size is sealed: it can be mapped without the fear that a peer process cuts it short, and so ends this one by SIGBUS.
///
/// Another process gets it by `SCM_RIGHTS` ([`Memfd::as_fd`]), and takes it in by [`Memfd::from_fd`].
#[derive(Debug)]
pub struct Memfd {
    fd: OwnedFd,
    bytes: u64,
}

impl Memfd {
    /// A new file of `bytes` bytes, all zero. `name` is for people to read, in `/proc`.
    ///
    /// # Errors
    /// [`MemfdError::Size`] for no bytes; else [`MemfdError::Call`].
    pub fn create(name: &str, bytes: u64) -> Result<Self, MemfdError> {
        if bytes == 0 || i64::try_from(bytes).is_err() {
            return Err(MemfdError::Size { expected: bytes, found: 0 });
        }
        let fd = memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).map_err(CallError::of(Call::MemfdCreate))?;
        ftruncate(&fd, bytes).map_err(CallError::of(Call::Truncate))?;
        fcntl_add_seals(&fd, SEALS).map_err(CallError::of(Call::AddSeals))?;
        Ok(Self { fd, bytes })
    }

    /// Takes in what another process sent, which may mean harm: it must be a file in memory of `bytes` bytes whose size is sealed, and which can be written.
    ///
    /// # Errors
    /// [`MemfdError::NoMemfd`], [`MemfdError::Seals`], [`MemfdError::Size`], [`MemfdError::Call`].
    pub fn from_fd(fd: OwnedFd, bytes: u64) -> Result<Self, MemfdError> {
        let seals = fcntl_get_seals(&fd).map_err(|errno| match errno {
            Errno::INVAL => MemfdError::NoMemfd,
            errno => CallError::new(Call::GetSeals, errno).into(),
        })?;
        // Huge pages can run out under a mapping, which is a SIGBUS too.
        #[allow(clippy::useless_conversion, clippy::unnecessary_cast, reason = "the type differs between C libraries")]
        let magic = fstatfs(&fd).map_err(CallError::of(Call::Stat))?.f_type as i64;
        if magic != TMPFS_MAGIC {
            return Err(MemfdError::NoMemfd);
        }
        let missing = SEALS.difference(seals);
        if !missing.is_empty() || seals.intersects(SealFlags::WRITE | SealFlags::FUTURE_WRITE) {
            return Err(MemfdError::Seals { found: seals.bits() });
        }
        let found = fstat(&fd).map_err(CallError::of(Call::Stat))?.st_size;
        let found = u64::try_from(found).unwrap_or(0);
        if found != bytes || bytes == 0 {
            return Err(MemfdError::Size { expected: bytes, found });
        }
        Ok(Self { fd, bytes })
    }

    /// Its size.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl AsFd for Memfd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Why there is no file, or why one that was sent is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum MemfdError {
    /// It is no file in memory, or one of huge pages.
    NoMemfd,
    /// Its seals (`F_SEAL_*`) do not fix its size for good, or forbid writing.
    Seals {
        /// Those that it has.
        found: u32,
    },
    /// It does not have the size in bytes that it should have.
    Size {
        /// What it should have.
        expected: u64,
        /// What it has.
        found: u64,
    },
    /// A call failed.
    Call(CallError),
}

impl From<CallError> for MemfdError {
    fn from(error: CallError) -> Self {
        Self::Call(error)
    }
}

impl crossvm_core::Error for MemfdError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NoMemfd | Self::Seals { .. } => ErrorKind::Denied,
            Self::Size { .. } => ErrorKind::OutOfRange,
            Self::Call(error) => error.kind(),
        }
    }
}

impl fmt::Display for MemfdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoMemfd => f.write_str("the descriptor is no file in memory (memfd, without huge pages)"),
            Self::Seals { found } => {
                write!(
                    f,
                    "the memfd's seals are {found:#x}: its size is not sealed for good (F_SEAL_SHRINK, F_SEAL_GROW, F_SEAL_SEAL), or it cannot be written"
                )
            }
            Self::Size { expected, found } => write!(f, "the memfd has {found} bytes instead of {expected}"),
            Self::Call(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for MemfdError {}
