//! The event registers, mapped by Linux.

use crate::count::{EventCount, Profile};
use crate::fault::Fault;
use crate::linux::wait::Counter;
use crate::raw::Map;
use crate::registers::{DataportRecord, EventRegisters};

/// The event registers of one connection, mapped.
///
/// Reads do not leave the guest; a write to EMIT, COUNT or ACK does. Every access is one aligned 32-bit word.
#[derive(Debug)]
pub struct EventPage(EventRegisters<Map>);

impl EventPage {
    /// Takes a map of BAR 0 and checks what stands in it. `bars` is the number of BARs that may be dataports.
    pub(crate) fn new(map: Map, bars: usize) -> Result<Self, Fault> {
        EventRegisters::new(map, bars).map(Self)
    }

    /// Which registers the device has.
    #[must_use]
    pub const fn profile(&self) -> Profile {
        self.0.profile()
    }

    /// The connection's name: printable ASCII.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.name()
    }

    /// Signals the peer: [`EventRegisters::emit`].
    pub fn emit(&self) {
        self.0.emit();
    }

    /// How many events wait to be taken: [`EventRegisters::count`].
    #[must_use]
    pub fn count(&self) -> EventCount {
        self.0.count()
    }

    /// Takes the events that wait, at most `limit`: [`EventRegisters::take`].
    #[must_use]
    pub fn take(&self, limit: EventCount) -> Option<EventCount> {
        self.0.take(limit)
    }

    /// Emits of this end that could not be delivered; `None` in the reference profile, which does not count them.
    #[must_use]
    pub fn dropped(&self) -> Option<u32> {
        self.0.dropped()
    }

    /// What the extended registers say about the dataports; empty in the reference profile.
    pub(crate) fn records(&self) -> &[DataportRecord] {
        self.0.records()
    }
}

impl Counter for EventPage {
    fn take(&self, limit: EventCount) -> Option<EventCount> {
        Self::take(self, limit)
    }
}
