//! What a connection is given by, and what is kept of it.

use core::fmt;

use heapless::Vec;

use super::{ApplyError, Backend, ConnectionId, CrossVm, EventRegisters};
use crate::device::{MAX_DATAPORTS, MESSAGE_BAR, MessageTable, Name};
use crate::{BarIndex, BarWidth, Bdf, Dataport, Event, FrameSize, GuestAddr, Irq, Rights};

/// How a connection interrupts its guest, as long as the guest does not use MSI-X.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum InterruptMode {
    /// A line of its own.
    #[default]
    OwnLine,
    /// One line for all connections of the VM that say so.
    SharedLine,
}

/// A dataport and what the guest may do with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct DataportEnd<D> {
    /// The memory.
    pub dataport: D,
    /// The guest's rights.
    pub rights: Rights,
    /// Width of its BAR's address.
    pub width: BarWidth,
}

/// A connection to install.
#[derive(Debug, Clone)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Connection<D, K> {
    /// The name that the guest reads.
    pub name: Name,
    /// The dataports: BAR1, BAR2, ….
    pub dataports: Vec<DataportEnd<D>, MAX_DATAPORTS>,
    /// Signals the peer when the guest writes EMIT. `None`: EMIT does nothing.
    pub emit: Option<K>,
    /// What the peer's events arrive under. `None`: none arrive.
    pub event: Option<Event>,
    /// How the guest is interrupted.
    pub interrupt: InterruptMode,
}

impl<D, K> Connection<D, K> {
    /// A connection with neither dataports nor events.
    #[must_use]
    pub const fn new(name: Name) -> Self {
        Self { name, dataports: Vec::new(), emit: None, event: None, interrupt: InterruptMode::OwnLine }
    }

    /// With one dataport more, behind a BAR of 32 bits: at most 2 GiB, below 4 GiB, where every driver can use it.
    ///
    /// # Errors
    /// [`TooManyDataports`] where there are [`MAX_DATAPORTS`] already.
    pub fn with_dataport(self, dataport: D, rights: Rights) -> Result<Self, TooManyDataports> {
        self.with_dataport_end(DataportEnd { dataport, rights, width: BarWidth::Bits32 })
    }

    /// With one dataport more, behind a BAR of 64 bits: above 4 GiB where the bridge has a window there. It counts as two; drivers that
    /// stop at the first BAR that is zero do not see what comes behind it.
    ///
    /// # Errors
    /// [`TooManyDataports`] where there are [`MAX_DATAPORTS`] already.
    pub fn with_wide_dataport(self, dataport: D, rights: Rights) -> Result<Self, TooManyDataports> {
        self.with_dataport_end(DataportEnd { dataport, rights, width: BarWidth::Bits64 })
    }

    /// With one dataport more.
    ///
    /// # Errors
    /// [`TooManyDataports`] where there are [`MAX_DATAPORTS`] already.
    pub fn with_dataport_end(mut self, end: DataportEnd<D>) -> Result<Self, TooManyDataports> {
        self.dataports.push(end).map_err(|_| TooManyDataports)?;
        Ok(self)
    }

    /// With EMIT signalling `notifier`.
    #[must_use]
    pub fn with_emit(mut self, notifier: K) -> Self {
        self.emit = Some(notifier);
        self
    }

    /// With the peer's events arriving under `event`: an [`EventId`](crate::EventId) or an [`ExactId`](crate::ExactId).
    #[must_use]
    pub fn with_event(mut self, event: impl Into<Event>) -> Self {
        self.event = Some(event.into());
        self
    }

    /// Interrupting as `mode` says.
    #[must_use]
    pub fn with_interrupt(mut self, mode: InterruptMode) -> Self {
        self.interrupt = mode;
        self
    }
}

/// A connection holds [`MAX_DATAPORTS`] dataports at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct TooManyDataports;

impl fmt::Display for TooManyDataports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a connection holds {MAX_DATAPORTS} dataports at most")
    }
}

impl core::error::Error for TooManyDataports {}

/// A connection that was removed.
#[derive(Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Removed<B: Backend, D, K> {
    /// What was installed.
    pub connection: Connection<D, K>,
    /// Whether the BARs of other connections that it hid could be mapped; [`CrossVm::refresh`] tries again.
    pub uncovered: Result<(), ApplyError<B>>,
}

/// A dataport behind its BAR.
#[derive(Debug)]
pub(super) struct Region<D> {
    pub(super) dataport: D,
    pub(super) rights: Rights,
    pub(super) width: BarWidth,
    pub(super) bar: BarIndex,
    /// The true size rounded up to a power of two.
    pub(super) bar_size: FrameSize,
    /// Where the frames are mapped now.
    pub(super) mapped_at: Option<GuestAddr>,
}

/// An installed connection.
#[derive(Debug)]
pub(super) struct Slot<P, D, K> {
    pub(super) name: Name,
    pub(super) bdf: Bdf,
    /// Index into the table of lines.
    pub(super) line: usize,
    pub(super) interrupt: InterruptMode,
    /// Whether this function asserts its line.
    pub(super) asserting: bool,
    pub(super) page: P,
    /// Where the event registers are mapped now.
    pub(super) events_at: Option<GuestAddr>,
    /// MSI-X, where the configuration offers it.
    pub(super) messages: Option<MessageTable>,
    /// Where the MSI-X table is decoded now.
    pub(super) messages_at: Option<GuestAddr>,
    pub(super) regions: Vec<Region<D>, MAX_DATAPORTS>,
    pub(super) emit: Option<K>,
    pub(super) event: Option<Event>,
    pub(super) emitted: u64,
    pub(super) received: u64,
    pub(super) dropped: u64,
    pub(super) messages_sent: u64,
}

/// Where a BAR of a connection is, for reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct BarStatus {
    /// The BAR.
    pub bar: BarIndex,
    /// Its size.
    pub size: FrameSize,
    /// Where the guest reaches it now; `None`: nowhere.
    pub mapped_at: Option<GuestAddr>,
}

/// What there is to tell about an installed connection.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Status {
    /// Its name.
    pub name: Name,
    /// Its PCI function.
    pub bdf: Bdf,
    /// Its interrupt line.
    pub irq: Option<Irq>,
    /// Emits of the guest that were delivered, since `install`.
    pub emitted: u64,
    /// Events of the peer that were counted, since `install`. Signals that coalesced on their way count as often as the VMM was told.
    pub received: u64,
    /// Emits of the guest that could not be delivered, since `install`.
    pub dropped: u64,
    /// Messages that interrupted the guest, since `install`.
    pub messages_sent: u64,
    /// The guest's COUNT register.
    pub count: u32,
    /// Its BARs: the event registers, the dataports, MSI-X.
    pub bars: Vec<BarStatus, 6>,
}

impl<B: Backend, D: Dataport, K, const N: usize> CrossVm<B, D, K, N> {
    /// What there is to tell about a connection, or `None` where there is none of this id.
    #[must_use]
    pub fn status(&self, id: ConnectionId) -> Option<Status> {
        let slot = self.slot(id)?;
        let events = BarStatus { bar: BarIndex::ALL[0], size: self.config.event_bar.size(), mapped_at: slot.events_at };
        let regions = slot.regions.iter().map(|region| BarStatus { bar: region.bar, size: region.bar_size, mapped_at: region.mapped_at });
        let messages = slot.messages.map(|_| BarStatus { bar: MESSAGE_BAR, size: FrameSize::KIB_4, mapped_at: slot.messages_at });
        let mut bars = Vec::new();
        for bar in core::iter::once(events).chain(regions).chain(messages) {
            // As many places as BARs.
            let _ = bars.push(bar);
        }
        Some(Status {
            name: slot.name,
            bdf: slot.bdf,
            irq: self.lines.get(slot.line).and_then(Option::as_ref).map(|line| line.irq),
            emitted: slot.emitted,
            received: slot.received,
            dropped: slot.dropped,
            messages_sent: slot.messages_sent,
            count: EventRegisters(&slot.page).count(),
            bars,
        })
    }
}
