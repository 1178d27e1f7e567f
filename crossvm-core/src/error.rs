//! Errors with a kind: generic code decides on the kind, a backend keeps its own detail.

use core::fmt::{self, Debug};

/// What kind of failure an error is. More kinds may come: match with a wildcard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum ErrorKind {
    /// No interrupt number, slot, frame, memory or address space is left.
    Exhausted,
    /// The range overlaps guest RAM, a device, or something reserved or mapped before.
    Overlap,
    /// An address or size is not aligned as it must be.
    Misaligned,
    /// An address, number or size lies outside what the backend can serve.
    OutOfRange,
    /// There is no such thing.
    NotFound,
    /// The backend cannot do this at all, or not at run time.
    Unsupported,
    /// The backend lacks the right to do this.
    Denied,
    /// The hypervisor below refused or failed.
    Hypervisor,
    /// Something else.
    Other,
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Exhausted => "nothing of the kind is left",
            Self::Overlap => "the range is taken",
            Self::Misaligned => "not aligned",
            Self::OutOfRange => "out of range",
            Self::NotFound => "not found",
            Self::Unsupported => "not supported by the backend",
            Self::Denied => "not permitted",
            Self::Hypervisor => "the hypervisor failed",
            Self::Other => "failed",
        })
    }
}

/// An error of a backend.
pub trait Error: Debug {
    /// The kind that generic code decides on.
    fn kind(&self) -> ErrorKind;
}

impl Error for core::convert::Infallible {
    fn kind(&self) -> ErrorKind {
        match *self {}
    }
}

impl Error for ErrorKind {
    fn kind(&self) -> ErrorKind {
        *self
    }
}

/// Names the error type of a backend trait's implementation.
pub trait ErrorType {
    /// The error type.
    type Error: Error;
}

impl<T: ErrorType + ?Sized> ErrorType for &T {
    type Error = T::Error;
}

impl<T: ErrorType + ?Sized> ErrorType for &mut T {
    type Error = T::Error;
}
