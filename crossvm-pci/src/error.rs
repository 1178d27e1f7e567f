//! What can go wrong, all of it the VMM's doing.

use core::fmt;

use crossvm_core::{BarIndex, Bdf, Error, ErrorKind, GuestAddr, GuestRange};

/// Why the bus could not do what the VMM asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum PciError {
    /// The bus holds as many functions as its type has room for.
    Capacity(usize),
    /// Every function number that the function's interrupt line allows is taken.
    NoNumber,
    /// No window has a free place for the BAR.
    NoAddress(BarIndex),
    /// The BAR's fixed address is no multiple of its size, or outside of every window, or above 4 GiB with 32 bits.
    BadAddress(BarIndex, GuestAddr),
    /// The BAR's fixed address is another's.
    AddressTaken(BarIndex, GuestAddr),
    /// The BAR's description makes no sense: larger than its address can reach, or behind a BAR of 64 bits.
    BadBar(BarIndex),
    /// The description of MSI-X makes no sense: no vectors or more than 2048, or a table or pending bits that are not aligned to 8 bytes or not
    /// wholly inside a BAR.
    BadMsix,
    /// There is no such function.
    NotFound(Bdf),
    /// A window overlaps another, or there are two already.
    BadWindow(GuestRange),
    /// The device number is wired to another line, or out of range.
    LineTaken(u8),
}

impl Error for PciError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Capacity(_) | Self::NoNumber | Self::NoAddress(_) => ErrorKind::Exhausted,
            Self::BadBar(_) | Self::BadMsix | Self::BadAddress(..) => ErrorKind::OutOfRange,
            Self::NotFound(_) => ErrorKind::NotFound,
            Self::BadWindow(_) | Self::LineTaken(_) | Self::AddressTaken(..) => ErrorKind::Overlap,
        }
    }
}

impl fmt::Display for PciError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Capacity(capacity) => write!(f, "the bus has {capacity} functions already, as many as it has room for"),
            Self::NoNumber => write!(f, "no function number is left for this interrupt line"),
            Self::NoAddress(bar) => write!(f, "no window of the bridge has room for {bar}"),
            Self::BadAddress(bar, at) => {
                write!(f, "{bar} cannot be at {at}: no multiple of its size, outside of every window of the bridge, or out of its reach")
            }
            Self::AddressTaken(bar, at) => write!(f, "{bar} cannot be at {at}: another BAR is there, or was at power-on"),
            Self::BadBar(bar) => write!(f, "{bar} cannot be: too large for its address, or behind a BAR of 64 bits"),
            Self::BadMsix => write!(f, "MSI-X needs 1 to 2048 vectors, and its table and pending bits in a BAR, at multiples of 8 bytes"),
            Self::NotFound(bdf) => write!(f, "there is no function {bdf}"),
            Self::BadWindow(window) => write!(f, "the window {window} overlaps another, or there are two already"),
            Self::LineTaken(device) => write!(f, "device number {device} has another interrupt line, or is none of 1 to 31"),
        }
    }
}

impl core::error::Error for PciError {}
