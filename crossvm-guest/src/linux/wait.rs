//! Waiting for events so that none is slept through.
//!
//! ```text
//!            ┌───────────────────────── spurious ◀────────────────────────┐
//!            ▼                                                            │
//!  take ─▶ let the interrupt through ─▶ take ─▶ sleep in poll ─▶ take ────┘
//!   │                                    │                        │
//!   └─ events: done                      └─ events: done          └─ events: done
//! ```
//!
//! `uio_pci_generic` disables the function's INTx on each interrupt. An event that comes before the line is enabled again is found
//! by the second take; one that comes later interrupts. The second take is what makes this right even where the device
//! interrupts on a new event only, and not as long as COUNT is not zero.

use std::time::{Duration, Instant};

use crate::count::EventCount;
use crate::linux::error::Error;

/// Something that counts events until they are taken: an [`EventPage`](crate::EventPage).
pub trait Counter {
    /// Takes the events that wait, at most `limit`: `None` where none waits.
    fn take(&self, limit: EventCount) -> Option<EventCount>;
}

/// Why a sleeper woke up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wake {
    /// The interrupt came. It may have come for another reason than an event.
    Interrupt,
    /// The time was over.
    TimedOut,
}

/// An interrupt that disables itself when it comes: a [`Uio`](crate::Uio) device.
pub trait InterruptLine {
    /// Lets the interrupt through again.
    ///
    /// # Errors
    ///
    /// What the kernel refuses.
    fn enable(&mut self) -> Result<(), Error>;

    /// Sleeps until the interrupt has come since the last sleep, or for `timeout`; without one, for ever.
    ///
    /// # Errors
    ///
    /// What the kernel refuses.
    fn sleep(&mut self, timeout: Option<Duration>) -> Result<Wake, Error>;
}

/// How long and for how many events to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    timeout: Option<Duration>,
    spins: u32,
    limit: EventCount,
}

impl Default for Patience {
    /// For ever, sleeping at once, and taking all events that wait.
    fn default() -> Self {
        Self { timeout: None, spins: 0, limit: EventCount::MAX }
    }
}

impl Patience {
    /// Give up after `timeout`.
    #[must_use]
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Look at COUNT `spins` times more before sleeping. A look does not leave the guest, a sleep does several times.
    #[must_use]
    pub const fn spins(mut self, spins: u32) -> Self {
        self.spins = spins;
        self
    }

    /// When to give up.
    pub(crate) const fn time_limit(&self) -> Option<Duration> {
        self.timeout
    }

    /// How often to look once more before sleeping.
    pub(crate) const fn looks(&self) -> u32 {
        self.spins
    }

    /// Take at most `limit` events at once. See [`EventPage::take`](crate::EventPage::take) for what a reference device does.
    #[must_use]
    pub const fn limit(mut self, limit: EventCount) -> Self {
        self.limit = limit;
        self
    }
}

/// What came of waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    /// How many events were taken: at least one.
    pub events: EventCount,
    /// How often the waiter slept for them.
    pub sleeps: u32,
}

/// Takes the events of `counter`, waiting for the first: `None` where none came in time.
///
/// # Errors
///
/// What the interrupt line reports.
pub fn wait_for(counter: &impl Counter, line: &mut impl InterruptLine, patience: Patience) -> Result<Option<Taken>, Error> {
    let deadline = patience.timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    let take = |sleeps| counter.take(patience.limit).map(|events| Taken { events, sleeps });
    for _ in 0..=patience.spins {
        if let Some(taken) = take(0) {
            return Ok(Some(taken));
        }
        std::hint::spin_loop();
    }
    let mut sleeps = 0_u32;
    loop {
        line.enable()?;
        if let Some(taken) = take(sleeps) {
            return Ok(Some(taken));
        }
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        sleeps = sleeps.saturating_add(1);
        let wake = line.sleep(left)?;
        if let Some(taken) = take(sleeps) {
            return Ok(Some(taken));
        }
        // An interrupt that comes again and again without an event must not keep the waiter beyond its time.
        if wake == Wake::TimedOut || left.is_some_and(|left| left.is_zero()) {
            return Ok(None);
        }
    }
}

#[cfg(test)]
#[path = "wait_tests.rs"]
mod tests;
