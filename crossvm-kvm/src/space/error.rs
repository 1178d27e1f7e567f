//! What can fail in a guest's address space.

use std::fmt;

use crossvm_core::{ErrorKind, FrameSize, GuestAddr, GuestRange};

use crate::error::CallError;
use crate::memfd::MemfdError;

/// Why an address space does not do what it was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SpaceError {
    /// Something is there already.
    Taken(GuestRange),
    /// The guest's addresses do not reach so far.
    Unreachable(GuestRange),
    /// What is to be mapped does not lie in one reserved range.
    NotReserved(GuestRange),
    /// Not a multiple of the frames' size.
    Misaligned(GuestAddr),
    /// A frame is not of the size that it is to be mapped with, or no multiple of this machine's pages.
    WrongSize(FrameSize),
    /// There is nothing to map, or too much.
    WrongCount(usize),
    /// The frames are those of an end that may only read.
    ReadOnly,
    /// The VM has no memory slot left, of so many.
    NoSlot(u32),
    /// No event page.
    Page(MemfdError),
    /// A call failed.
    Call(CallError),
}

impl From<CallError> for SpaceError {
    fn from(error: CallError) -> Self {
        Self::Call(error)
    }
}

impl From<MemfdError> for SpaceError {
    fn from(error: MemfdError) -> Self {
        Self::Page(error)
    }
}

impl crossvm_core::Error for SpaceError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Taken(_) => ErrorKind::Overlap,
            Self::Unreachable(_) | Self::NotReserved(_) | Self::WrongSize(_) | Self::WrongCount(_) => ErrorKind::OutOfRange,
            Self::Misaligned(_) => ErrorKind::Misaligned,
            Self::ReadOnly => ErrorKind::Denied,
            Self::NoSlot(_) => ErrorKind::Exhausted,
            Self::Page(error) => error.kind(),
            Self::Call(error) => error.kind(),
        }
    }
}

impl fmt::Display for SpaceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Taken(range) => write!(f, "{range} is taken"),
            Self::Unreachable(range) => write!(f, "{range} is beyond what the guest can address"),
            Self::NotReserved(range) => write!(f, "{range} is not reserved"),
            Self::Misaligned(at) => write!(f, "{at} is not a multiple of the frame's or the page's size"),
            Self::WrongSize(size) => write!(f, "frames of {size} are mapped with another size, or are no whole pages of this machine"),
            Self::WrongCount(count) => write!(f, "{count} frames cannot be mapped at once"),
            Self::ReadOnly => f.write_str("the dataport's end may only read, and is to be mapped for writing"),
            Self::NoSlot(limit) => write!(f, "all {limit} memory slots of the VM are in use"),
            Self::Page(error) => write!(f, "event page: {error}"),
            Self::Call(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for SpaceError {}
