//! One line from the peer, sampled.

use core::convert::Infallible;
use core::fmt;
use core::sync::atomic::{Ordering, fence};

use embedded_hal::digital::{InputPin, PinState};

use super::{PinError, Polarity};
use crate::{EventId, EventSet};

/// Reports its event at each poll that finds the line active.
///
/// Nothing is lost if the sender holds the line until it has been served (by an answer in a dataport or on another line): then a poll finds
/// it, whenever it comes. One activation is one event for each poll that finds it. A line that is active only between two polls is missed.
pub struct LevelSource<P> {
    pin: P,
    pub(super) polarity: Polarity,
    pub(super) event: EventId,
}

impl<P: InputPin> LevelSource<P> {
    /// Reports `event` while `pin` is active.
    #[must_use]
    pub const fn new(pin: P, polarity: Polarity, event: EventId) -> Self {
        Self { pin, polarity, event }
    }

    /// The event, if the line is active now; for [`CrossVm::consume`](crate::CrossVm::consume).
    ///
    /// # Errors
    /// [`PinError::Input`] where the pin failed.
    pub fn poll(&mut self) -> Result<EventSet, PinError<Infallible, P::Error>> {
        let level = PinState::from(self.pin.is_high().map_err(PinError::Input)?);
        fence(Ordering::SeqCst);
        Ok(if level == self.polarity.active() { EventSet::of(self.event) } else { EventSet::EMPTY })
    }

    /// Gives back the pin.
    #[must_use]
    pub fn release(self) -> P {
        self.pin
    }
}

impl<P> fmt::Debug for LevelSource<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LevelSource").field("polarity", &self.polarity).field("event", &self.event).finish_non_exhaustive()
    }
}

/// Which changes of a line are events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Edge {
    /// From low to high.
    Rising,
    /// From high to low.
    Falling,
    /// Both.
    Both,
}

/// Reports its event at each poll that finds the line changed since the poll before.
///
/// Changes between two polls are seen by their result alone: a pulse or a rest that starts and ends between them, and two toggles, are missed.
/// The first poll reports the event if the line's level is one that the edge leads
/// to: it may have come before. A poll that fails forgets nothing: the next one compares with the last sample that succeeded.
pub struct EdgeSource<P> {
    pin: P,
    pub(super) edge: Edge,
    pub(super) event: EventId,
    /// The last sample.
    last: Option<PinState>,
}

impl<P: InputPin> EdgeSource<P> {
    /// Reports `event` at `edge` of `pin`.
    #[must_use]
    pub const fn new(pin: P, edge: Edge, event: EventId) -> Self {
        Self { pin, edge, event, last: None }
    }

    /// The event, if the edge came since the last poll; for [`CrossVm::consume`](crate::CrossVm::consume).
    ///
    /// # Errors
    /// [`PinError::Input`] where the pin failed.
    pub fn poll(&mut self) -> Result<EventSet, PinError<Infallible, P::Error>> {
        let level = PinState::from(self.pin.is_high().map_err(PinError::Input)?);
        fence(Ordering::SeqCst);
        let changed = self.last.replace(level) != Some(level);
        let counts = match self.edge {
            Edge::Rising => level == PinState::High,
            Edge::Falling => level == PinState::Low,
            Edge::Both => true,
        };
        Ok(if changed && counts { EventSet::of(self.event) } else { EventSet::EMPTY })
    }

    /// Gives back the pin.
    #[must_use]
    pub fn release(self) -> P {
        self.pin
    }
}

impl<P> fmt::Debug for EdgeSource<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EdgeSource").field("edge", &self.edge).field("event", &self.event).finish_non_exhaustive()
    }
}
