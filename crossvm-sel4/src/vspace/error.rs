//! What can fail in a guest's address space.

use core::fmt;

use crossvm_core::{ErrorKind, GuestAddr, GuestRange};

use crate::kernel::KernelError;
use crate::objects::ObjectError;

/// Why an address space does not do what it was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
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
    /// A frame is not of the size that it is to be mapped with, or no such mapping or page can be.
    WrongSize,
    /// One of the tables of the [`VSpace`](super::VSpace) is full: ranges, mappings, translation tables, or places of its window.
    Full(Table),
    /// No slot, no memory.
    Objects(ObjectError),
    /// The kernel refused.
    Kernel(KernelError),
}

/// A table of fixed capacity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Table {
    /// Of ranges that are taken or reserved.
    Ranges,
    /// Of what is mapped.
    Mappings,
    /// Of translation tables that were made.
    Translation,
    /// Of pages in the VMM's window.
    Window,
}

impl From<ObjectError> for SpaceError {
    fn from(error: ObjectError) -> Self {
        Self::Objects(error)
    }
}

impl From<KernelError> for SpaceError {
    fn from(error: KernelError) -> Self {
        Self::Kernel(error)
    }
}

impl crossvm_core::Error for SpaceError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Taken(_) => ErrorKind::Overlap,
            Self::Unreachable(_) | Self::NotReserved(_) | Self::WrongSize => ErrorKind::OutOfRange,
            Self::Misaligned(_) => ErrorKind::Misaligned,
            Self::Full(_) => ErrorKind::Exhausted,
            Self::Objects(error) => error.kind(),
            Self::Kernel(error) => error.kind(),
        }
    }
}

impl fmt::Display for SpaceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Taken(range) => write!(f, "{range} is taken"),
            Self::Unreachable(range) => write!(f, "{range} is beyond what the guest can address"),
            Self::NotReserved(range) => write!(f, "{range} is not reserved"),
            Self::Misaligned(at) => write!(f, "{at} is not a multiple of the frame's size"),
            Self::WrongSize => f.write_str("the kernel has no frames of this size, or the frame has another one"),
            Self::Full(table) => write!(f, "the address space's table is full: raise its capacity ({table:?})"),
            Self::Objects(error) => error.fmt(f),
            Self::Kernel(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for SpaceError {}
