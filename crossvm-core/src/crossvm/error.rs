//! What can fail, with the step and the backend's own error.

use core::fmt;

use crate::device::{MAX_DATAPORTS, Name};
use crate::{Backend, BarIndex, Bdf, Error, ErrorKind, ErrorType, Event, EventSet, GuestAddr, GuestRange};

type MemoryError<B> = <<B as Backend>::Memory as ErrorType>::Error;
type PciError<B> = <<B as Backend>::Pci as ErrorType>::Error;
type IrqError<B> = <<B as Backend>::Irqs as ErrorType>::Error;
type LineError<B> = <<B as Backend>::Interrupts as ErrorType>::Error;

/// Why a description of a connection is refused before any backend is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Invalid {
    /// The VM has as many connections as its [`CrossVm`](crate::CrossVm) can hold.
    Full {
        /// How many that are.
        capacity: usize,
    },
    /// Another connection of the VM has the name.
    NameTaken,
    /// Another connection of the VM has the event id.
    EventTaken(Event),
    /// A dataport has no frames.
    EmptyDataport(BarIndex),
    /// A dataport is larger than its BAR can be: 2 GiB with 32 bits.
    DataportTooLarge(BarIndex),
    /// The dataports need more BARs than there are: each takes one, each of 64 bits two.
    TooManyBars,
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full { capacity } => write!(f, "the VM has {capacity} connections already, as many as its CrossVm holds"),
            Self::NameTaken => write!(f, "another connection of the VM has this name"),
            Self::EventTaken(event) => write!(f, "another connection of the VM has {event}"),
            Self::EmptyDataport(bar) => {
                write!(f, "the dataport of {bar} has no frames (at most {MAX_DATAPORTS} dataports, each of one frame or more)")
            }
            Self::DataportTooLarge(bar) => write!(f, "the dataport of {bar} is larger than its address can be: with 32 bits 2 GiB"),
            Self::TooManyBars => write!(f, "the dataports need more than {MAX_DATAPORTS} BARs; one behind 64 bits takes two"),
        }
    }
}

/// Which step of an installation failed, with the backend's error.
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum InstallCause<B: Backend> {
    /// The description is refused.
    Invalid(Invalid),
    /// Reserving a window of the host bridge in the guest's address space.
    Reserve(GuestRange, MemoryError<B>),
    /// Allocating the interrupt line.
    Interrupt(IrqError<B>),
    /// Creating the event page.
    EventPage(MemoryError<B>),
    /// Inserting the PCI function.
    Pci(PciError<B>),
    /// Mapping a BAR into the guest.
    Map {
        /// The BAR.
        bar: BarIndex,
        /// Where it is decoded.
        at: GuestAddr,
        /// The backend's error.
        error: MemoryError<B>,
    },
}

impl<B: Backend> InstallCause<B> {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Invalid(Invalid::Full { .. }) => ErrorKind::Exhausted,
            Self::Invalid(Invalid::NameTaken | Invalid::EventTaken(_)) => ErrorKind::Overlap,
            Self::Invalid(Invalid::EmptyDataport(_) | Invalid::DataportTooLarge(_) | Invalid::TooManyBars) => ErrorKind::OutOfRange,
            Self::Reserve(_, error) | Self::EventPage(error) | Self::Map { error, .. } => error.kind(),
            Self::Interrupt(error) => error.kind(),
            Self::Pci(error) => error.kind(),
        }
    }
}

impl<B: Backend> fmt::Debug for InstallCause<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(invalid) => f.debug_tuple("Invalid").field(invalid).finish(),
            Self::Reserve(range, error) => f.debug_tuple("Reserve").field(range).field(error).finish(),
            Self::Interrupt(error) => f.debug_tuple("Interrupt").field(error).finish(),
            Self::EventPage(error) => f.debug_tuple("EventPage").field(error).finish(),
            Self::Pci(error) => f.debug_tuple("Pci").field(error).finish(),
            Self::Map { bar, at, error } => f.debug_struct("Map").field("bar", bar).field("at", at).field("error", error).finish(),
        }
    }
}

impl<B: Backend> fmt::Display for InstallCause<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(invalid) => invalid.fmt(f),
            Self::Reserve(range, error) => write!(f, "reserving the bridge's window {range}: {} ({error:?})", error.kind()),
            Self::Interrupt(error) => write!(f, "allocating an interrupt line: {} ({error:?})", error.kind()),
            Self::EventPage(error) => write!(f, "creating the event page: {} ({error:?})", error.kind()),
            Self::Pci(error) => write!(f, "inserting the PCI function: {} ({error:?})", error.kind()),
            Self::Map { bar, at, error } => write!(f, "mapping {bar} at {at}: {} ({error:?})", error.kind()),
        }
    }
}

/// Why [`install`](crate::CrossVm::install) failed. Nothing of the call is left behind.
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct InstallError<B: Backend> {
    /// Position of the connection in the call.
    pub position: usize,
    /// The connection's name.
    pub name: Name,
    /// The step that failed, and why.
    pub cause: InstallCause<B>,
}

impl<B: Backend> fmt::Debug for InstallError<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InstallError").field("position", &self.position).field("name", &self.name).field("cause", &self.cause).finish()
    }
}

impl<B: Backend> fmt::Display for InstallError<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "connection {} '{}': {}", self.position, self.name, self.cause)
    }
}

impl<B: Backend> core::error::Error for InstallError<B> {}

impl<B: Backend> Error for InstallError<B> {
    fn kind(&self) -> ErrorKind {
        self.cause.kind()
    }
}

/// A backend failed while an effect was applied. What could be applied is; [`refresh`](crate::CrossVm::refresh) tries the rest again.
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum ApplyError<B: Backend> {
    /// A BAR could not be mapped; the guest does not reach it.
    Map {
        /// The function.
        bdf: Bdf,
        /// The BAR.
        bar: BarIndex,
        /// Where it is decoded.
        at: GuestAddr,
        /// The backend's error.
        error: MemoryError<B>,
    },
    /// An interrupt line could not be set, or a message not be delivered.
    Interrupt(LineError<B>),
}

impl<B: Backend> fmt::Debug for ApplyError<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Map { bdf, bar, at, error } => {
                f.debug_struct("Map").field("bdf", bdf).field("bar", bar).field("at", at).field("error", error).finish()
            }
            Self::Interrupt(error) => f.debug_tuple("Interrupt").field(error).finish(),
        }
    }
}

impl<B: Backend> fmt::Display for ApplyError<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Map { bdf, bar, at, error } => write!(f, "mapping {bar} of {bdf} at {at}: {} ({error:?})", error.kind()),
            Self::Interrupt(error) => write!(f, "interrupting the guest: {} ({error:?})", error.kind()),
        }
    }
}

impl<B: Backend> core::error::Error for ApplyError<B> {}

impl<B: Backend> Error for ApplyError<B> {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Map { error, .. } => error.kind(),
            Self::Interrupt(error) => error.kind(),
        }
    }
}

/// The interrupt controller failed while events were consumed. All of them are counted all the same;
/// [`refresh`](crate::CrossVm::refresh) tries the interrupt again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ConsumeError<L> {
    /// The ids that belong to no connection, as [`consume`](crate::CrossVm::consume) gives them back.
    pub unknown: EventSet,
    /// The first failure.
    pub error: L,
}

impl<L: Error> fmt::Display for ConsumeError<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "interrupting the guest: {} ({:?})", self.error.kind(), self.error)
    }
}

impl<L: Error> core::error::Error for ConsumeError<L> {}

impl<L: Error> Error for ConsumeError<L> {
    fn kind(&self) -> ErrorKind {
        self.error.kind()
    }
}

/// A backend failed while a guest's access was served. The guest goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum ServeError<N, L> {
    /// The peer could not be signalled; the emit counts as dropped.
    Notify(N),
    /// The guest could not be interrupted, or its line not be lowered; [`refresh`](crate::CrossVm::refresh) tries again.
    Interrupt(L),
}

impl<N: Error, L: Error> fmt::Display for ServeError<N, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Notify(error) => write!(f, "signalling the peer: {} ({error:?})", error.kind()),
            Self::Interrupt(error) => write!(f, "interrupting the guest: {} ({error:?})", error.kind()),
        }
    }
}

impl<N: Error, L: Error> core::error::Error for ServeError<N, L> {}

impl<N: Error, L: Error> Error for ServeError<N, L> {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Notify(error) => error.kind(),
            Self::Interrupt(error) => error.kind(),
        }
    }
}
