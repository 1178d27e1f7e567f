//! Eventfds as signals between the ends of a connection.

use std::fmt;
use std::io::IoSliceMut;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};

use crossvm_core::{ErrorKind, ErrorType, Notifier};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::{Errno, ReadWriteFlags};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use crate::error::{Call, CallError};
use crate::raw::{borrow_event, event_of};

/// An eventfd: one end signals it, the other waits for it to become readable and takes the count. Clones are the same eventfd.
///
/// As a [`Notifier`], by clause: signals add up in the counter until they are taken (1, 2), and where the counter is full, the peer has one waiting (1);
/// the descriptor does not block, and nothing is called (3); writing orders like any system call, and a fence comes before it (4).
///
/// `take` does not block whatever a process does that has the same eventfd. `notify` blocks where such a process has made the descriptor blocking and filled the
/// counter; a signal to the thread ends that. Where the peer is another process that is not trusted, let KVM signal ([`EmitFds`](crate::EmitFds)): that
/// never blocks.
#[derive(Clone)]
pub struct EventNotifier {
    event: Arc<EventFd>,
}

impl fmt::Debug for EventNotifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventNotifier").field("fd", &self.event.as_raw_fd()).finish()
    }
}

impl EventNotifier {
    /// A new eventfd, with nothing signalled. It is closed where the process executes another program.
    ///
    /// # Errors
    /// [`NotifierError::Call`].
    pub fn new() -> Result<Self, NotifierError> {
        let event = EventFd::new(EFD_NONBLOCK | libc::EFD_CLOEXEC).map_err(CallError::of_io(Call::EventFd))?;
        Ok(Self { event: Arc::new(event) })
    }

    /// Takes in what another process sent: it must be an eventfd.
    ///
    /// # Errors
    /// [`NotifierError::NoEventFd`], [`NotifierError::Call`].
    pub fn from_fd(fd: OwnedFd) -> Result<Self, NotifierError> {
        let link = rustix::fs::readlink(format!("/proc/self/fd/{}", fd.as_raw_fd()), Vec::new()).map_err(CallError::of(Call::ReadLink))?;
        if link.as_bytes() != b"anon_inode:[eventfd]" {
            return Err(NotifierError::NoEventFd);
        }
        let flags = fcntl_getfl(&fd).map_err(CallError::of(Call::SetFlags))?;
        fcntl_setfl(&fd, flags | OFlags::NONBLOCK).map_err(CallError::of(Call::SetFlags))?;
        Ok(Self { event: Arc::new(event_of(fd)) })
    }

    /// Takes what was signalled: how often, or 0 where nothing was. Never blocks.
    ///
    /// # Errors
    /// [`NotifierError::Call`].
    pub fn take(&self) -> Result<u64, NotifierError> {
        let mut count = [0; size_of::<u64>()];
        // An offset of -1 is none. A kernel before 5.8 does not know the flag for eventfds.
        let taken = match rustix::io::preadv2(self, &mut [IoSliceMut::new(&mut count)], u64::MAX, ReadWriteFlags::NOWAIT) {
            Err(Errno::OPNOTSUPP) => rustix::io::read(self, &mut count),
            other => other,
        };
        fence(Ordering::SeqCst);
        match taken {
            Ok(_) => Ok(u64::from_ne_bytes(count)),
            Err(Errno::AGAIN) => Ok(0),
            Err(errno) => Err(CallError::new(Call::ReadEvent, errno).into()),
        }
    }

    /// The eventfd.
    #[must_use]
    pub fn event(&self) -> &EventFd {
        &self.event
    }

    /// Whether both are the same object, and so the same eventfd.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.event, &other.event)
    }
}

impl AsFd for EventNotifier {
    fn as_fd(&self) -> BorrowedFd<'_> {
        borrow_event(&self.event)
    }
}

impl ErrorType for EventNotifier {
    type Error = NotifierError;
}

impl Notifier for EventNotifier {
    fn notify(&self) -> Result<(), NotifierError> {
        fence(Ordering::SeqCst);
        match rustix::io::write(self, &1u64.to_ne_bytes()) {
            // A full counter: the peer has signals waiting, and this one with them.
            Ok(_) | Err(Errno::AGAIN) => Ok(()),
            Err(errno) => Err(CallError::new(Call::WriteEvent, errno).into()),
        }
    }
}

/// Why there is no signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotifierError {
    /// The descriptor is no eventfd.
    NoEventFd,
    /// A call failed.
    Call(CallError),
}

impl From<CallError> for NotifierError {
    fn from(error: CallError) -> Self {
        Self::Call(error)
    }
}

impl crossvm_core::Error for NotifierError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NoEventFd => ErrorKind::Denied,
            Self::Call(error) => error.kind(),
        }
    }
}

impl fmt::Display for NotifierError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoEventFd => f.write_str("the descriptor is no eventfd"),
            Self::Call(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for NotifierError {}
