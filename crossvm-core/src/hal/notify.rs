//! One line to the peer: pulses and toggles.

use core::cell::RefCell;
use core::fmt;
use core::sync::atomic::{Ordering, fence};

use embedded_hal::delay::DelayNs;
use embedded_hal::digital::{OutputPin, PinState, StatefulOutputPin};

use super::PinError;
use crate::{ErrorType, Notifier};

/// Which level of a line means that something is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Polarity {
    /// High; low at rest.
    #[default]
    ActiveHigh,
    /// Low; high at rest.
    ActiveLow,
}

impl Polarity {
    pub(super) const fn active(self) -> PinState {
        match self {
            Self::ActiveHigh => PinState::High,
            Self::ActiveLow => PinState::Low,
        }
    }

    const fn rest(self) -> PinState {
        match self {
            Self::ActiveHigh => PinState::Low,
            Self::ActiveLow => PinState::High,
        }
    }
}

/// How long a pulse lasts: 1 to [`PulseWidth::MAX_NANOS`] nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PulseWidth(u32);

impl PulseWidth {
    /// The longest pulse: 100 microseconds. A guest's store waits for it.
    pub const MAX_NANOS: u32 = 100_000;

    /// A pulse of `nanoseconds`, or `None` for zero and for more than [`Self::MAX_NANOS`].
    #[must_use]
    pub const fn from_nanos(nanoseconds: u32) -> Option<Self> {
        if nanoseconds > 0 && nanoseconds <= Self::MAX_NANOS { Some(Self(nanoseconds)) } else { None }
    }

    /// The width in nanoseconds.
    #[must_use]
    pub const fn nanos(self) -> u32 {
        self.0
    }
}

/// Signals the peer with a pulse: the line is active for a width, and at rest for as long at least before the next pulse.
///
/// As a [`Notifier`], by clause:
///
/// 1. Holds where the receiver latches the edge that starts a pulse, or samples more often than once a width.
/// 2. Pulses that the receiver has not served yet coalesce there.
/// 3. It waits for nobody, but takes its time: twice the width for each signal, three times for the first and behind a failure. Where the guest must
///    not be held up for that long, take [`ToggleNotifier`].
/// 4. A fence comes before the pulse; see [the module](super#order-of-memory).
///
/// `notify` takes `&self`, so the pin is in a [`RefCell`]. It is borrowed without panicking: a pin or delay that calls the notifier it belongs
/// to gets [`PinError::Busy`]. There is nobody else to meet, since a `RefCell` is not shared between threads or with an interrupt handler; for
/// those, put the lock of the platform around it. (A `Cell<Option<P>>` would do as well, but loses the pin where the pin's driver panics.)
pub struct PulseNotifier<P, D> {
    line: RefCell<Line<P, D>>,
    pub(super) polarity: Polarity,
    pub(super) width: PulseWidth,
}

struct Line<P, D> {
    pin: P,
    delay: D,
    /// The line is known to have been at rest for a width.
    rested: bool,
}

impl<P: OutputPin, D: DelayNs> PulseNotifier<P, D> {
    /// Pulses of `width` on `pin`. The pin is not touched before the first signal: configure it to be at rest.
    #[must_use]
    pub const fn new(pin: P, delay: D, polarity: Polarity, width: PulseWidth) -> Self {
        Self { line: RefCell::new(Line { pin, delay, rested: false }), polarity, width }
    }

    /// Gives back pin and delay.
    #[must_use]
    pub fn release(self) -> (P, D) {
        let Line { pin, delay, .. } = self.line.into_inner();
        (pin, delay)
    }
}

impl<P, D> fmt::Debug for PulseNotifier<P, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PulseNotifier").field("polarity", &self.polarity).field("width", &self.width).finish_non_exhaustive()
    }
}

impl<P: OutputPin, D> ErrorType for PulseNotifier<P, D> {
    type Error = PinError<P::Error>;
}

impl<P: OutputPin, D: DelayNs> Notifier for PulseNotifier<P, D> {
    fn notify(&self) -> Result<(), Self::Error> {
        fence(Ordering::SeqCst);
        let Line { pin, delay, rested } = &mut *self.line.try_borrow_mut().map_err(|_| PinError::Busy)?;
        let mut drive = |state| {
            pin.set_state(state).map_err(PinError::Output)?;
            delay.delay_ns(self.width.0);
            Ok(())
        };
        // Without a rest before it, the pulse would have no edge.
        if !core::mem::replace(rested, false) {
            drive(self.polarity.rest())?;
        }
        drive(self.polarity.active())?;
        drive(self.polarity.rest())?;
        *rested = true;
        Ok(())
    }
}

/// Signals the peer by changing the line's level. It never waits.
///
/// As a [`Notifier`], by clause:
///
/// 1. Holds where the receiver latches both edges, faster than they can follow each other. Sampled, two toggles look like none:
///    use [`HandshakeNotifier`](super::HandshakeNotifier) there.
/// 2. Toggles that the receiver has not served yet coalesce there.
/// 3. Holds.
/// 4. A fence comes before the toggle; see [the module](super#order-of-memory).
///
/// The pin is asked which level it drives, so that a toggle that failed half way does not make the next one fall on the level that is there. For the
/// [`RefCell`], see [`PulseNotifier`].
pub struct ToggleNotifier<P> {
    pin: RefCell<P>,
}

impl<P: StatefulOutputPin> ToggleNotifier<P> {
    /// Toggles of `pin`, whatever its level is now.
    #[must_use]
    pub const fn new(pin: P) -> Self {
        Self { pin: RefCell::new(pin) }
    }

    /// Gives back the pin.
    #[must_use]
    pub fn release(self) -> P {
        self.pin.into_inner()
    }
}

impl<P> fmt::Debug for ToggleNotifier<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ToggleNotifier").finish_non_exhaustive()
    }
}

impl<P: StatefulOutputPin> ErrorType for ToggleNotifier<P> {
    type Error = PinError<P::Error>;
}

impl<P: StatefulOutputPin> Notifier for ToggleNotifier<P> {
    fn notify(&self) -> Result<(), Self::Error> {
        fence(Ordering::SeqCst);
        self.pin.try_borrow_mut().map_err(|_| PinError::Busy)?.toggle().map_err(PinError::Output)
    }
}
