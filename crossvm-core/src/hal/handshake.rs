//! Two lines: a request that the sender holds until the receiver has acknowledged it.
//!
//! Levels carry no meaning, only their equality does: a signal is on its way while request and acknowledge differ (two-phase signalling). The
//! sender changes request only while they are equal; the receiver changes acknowledge only while they differ, to make them equal. So each
//! change of request is seen, at whatever rate either end samples.
//!
//! The receiver acknowledges before it hands out the event, and the sender does not take an event to be covered by a signal that was on its
//! way before it: it signals again behind it. Then nothing depends on how a pin's level and memory race between the two ends.

use core::cell::RefCell;
use core::fmt;
use core::sync::atomic::{Ordering, fence};

use embedded_hal::digital::{InputPin, OutputPin, PinState};

use super::PinError;
use crate::{ErrorType, EventId, EventSet, Notifier};

/// How far a [`HandshakeNotifier`] has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Handshake {
    /// All signals are acknowledged.
    Idle,
    /// A signal is on its way: the receiver will see it without further help.
    OnItsWay,
    /// A signal is on its way, and another one is to follow: [`HandshakeNotifier::poll`] sends it, once the first one is acknowledged.
    Waiting,
}

/// Signals the peer over a request line, and holds it until the peer's [`HandshakeSource`] has acknowledged.
///
/// As a [`Notifier`], by clause:
///
/// 1. Holds, whatever the rates at which both ends sample, as long as the VMM calls [`poll`](Self::poll) while that says
///    [`Handshake::Waiting`]: at each change of the acknowledge line, or now and then. (A signal that finds the line idle needs no poll, but
///    the first one, and one behind a failure.) A signal that failed is not forgotten: a later call sends it, so a peer may get an event
///    that was counted as dropped.
/// 2. Signals that come while one is on its way coalesce into one behind it. The first one, and one behind a failure, may arrive twice.
/// 3. Holds: the acknowledgement is looked at, never waited for.
/// 4. A fence comes before the request; see [the module](super#order-of-memory).
///
/// A connection takes the notifier by reference (`&T` of a [`Notifier`] is one), so that the VMM can poll it. The receiver may restart
/// while the sender goes on: no more comes of it than an event that nobody sent, if levels arrive before the receiver is up again. A sender
/// that restarts has forgotten what was on its way. For the [`RefCell`], see [`PulseNotifier`](super::PulseNotifier).
pub struct HandshakeNotifier<O, I> {
    lines: RefCell<Lines<O, I>>,
}

struct Lines<O, I> {
    request: O,
    acknowledge: I,
    /// The level of the request line; `None`: not known, at first and after a failure.
    requested: Option<PinState>,
    /// An event came that no change of the request line covers yet.
    waiting: bool,
}

impl<O: OutputPin, I: InputPin> HandshakeNotifier<O, I> {
    /// Drives `request` and samples `acknowledge`. No pin is touched before the first signal.
    #[must_use]
    pub const fn new(request: O, acknowledge: I) -> Self {
        Self { lines: RefCell::new(Lines { request, acknowledge, requested: None, waiting: false }) }
    }

    /// Sends the signal that waits, if there is one and the line is free, and tells how far it is. Never waits.
    ///
    /// # Errors
    /// [`PinError`] where a pin failed; what waits goes on waiting.
    pub fn poll(&self) -> Result<Handshake, PinError<O::Error, I::Error>> {
        self.lines.try_borrow_mut().map_err(|_| PinError::Busy)?.advance()
    }

    /// Gives back the pins: request and acknowledge.
    #[must_use]
    pub fn release(self) -> (O, I) {
        let Lines { request, acknowledge, .. } = self.lines.into_inner();
        (request, acknowledge)
    }
}

impl<O: OutputPin, I: InputPin> Lines<O, I> {
    fn advance(&mut self) -> Result<Handshake, PinError<O::Error, I::Error>> {
        let acknowledged = PinState::from(self.acknowledge.is_high().map_err(PinError::Input)?);
        let free = self.requested.is_none_or(|requested| requested == acknowledged);
        if free && self.waiting {
            let known = self.requested.take().is_some();
            self.request.set_state(!acknowledged).map_err(PinError::Output)?;
            self.requested = Some(!acknowledged);
            // Where its level was not known, the line may have been there already, and the receiver on its way to acknowledge that: one more
            // signal must follow.
            self.waiting = !known;
        } else if free {
            return Ok(Handshake::Idle);
        }
        Ok(if self.waiting { Handshake::Waiting } else { Handshake::OnItsWay })
    }
}

impl<O, I> fmt::Debug for HandshakeNotifier<O, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandshakeNotifier").finish_non_exhaustive()
    }
}

impl<O: OutputPin, I: InputPin> ErrorType for HandshakeNotifier<O, I> {
    type Error = PinError<O::Error, I::Error>;
}

impl<O: OutputPin, I: InputPin> Notifier for HandshakeNotifier<O, I> {
    fn notify(&self) -> Result<(), Self::Error> {
        fence(Ordering::SeqCst);
        let mut lines = self.lines.try_borrow_mut().map_err(|_| PinError::Busy)?;
        lines.waiting = true;
        lines.advance().map(|_| ())
    }
}

/// The receiving end of a [`HandshakeNotifier`].
///
/// No signal is lost, at whatever rate it is polled; those between two polls coalesce into one event, or two. The first poll always reports
/// the event: nobody knows what came before.
pub struct HandshakeSource<I, O> {
    request: I,
    acknowledge: O,
    pub(super) event: EventId,
    /// The level of the acknowledge line; `None`: not known, at first and after a failure.
    acknowledged: Option<PinState>,
}

impl<I: InputPin, O: OutputPin> HandshakeSource<I, O> {
    /// Samples `request`, drives `acknowledge`, and reports `event`. No pin is touched before the first poll.
    #[must_use]
    pub const fn new(request: I, acknowledge: O, event: EventId) -> Self {
        Self { request, acknowledge, event, acknowledged: None }
    }

    /// What came since the last poll, for [`CrossVm::consume`](crate::CrossVm::consume). It is acknowledged when this returns: consume it.
    ///
    /// # Errors
    /// [`PinError`] where a pin failed. The event is not lost: the next poll reports it.
    pub fn poll(&mut self) -> Result<EventSet, PinError<O::Error, I::Error>> {
        let requested = PinState::from(self.request.is_high().map_err(PinError::Input)?);
        if self.acknowledged == Some(requested) {
            return Ok(EventSet::EMPTY);
        }
        self.acknowledged = None;
        self.acknowledge.set_state(requested).map_err(PinError::Output)?;
        self.acknowledged = Some(requested);
        fence(Ordering::SeqCst);
        Ok(EventSet::of(self.event))
    }

    /// Gives back the pins: request and acknowledge.
    #[must_use]
    pub fn release(self) -> (I, O) {
        (self.request, self.acknowledge)
    }
}

impl<I, O> fmt::Debug for HandshakeSource<I, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandshakeSource").field("event", &self.event).finish_non_exhaustive()
    }
}
