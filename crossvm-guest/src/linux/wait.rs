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
//!
//! # Two steps, for those who wait for more than one thing
//!
//! An event loop sleeps in a `poll`, `epoll` or io_uring of its own. Each waiter of this library is a descriptor for it
//! ([`AsFd`](std::os::fd::AsFd)) that becomes readable, and two steps around the sleep, neither of which sleeps itself:
//!
//! ```text
//!  prepare ──┬─ Ready: events, do not sleep                      ┌─ Some: events
//!            └─ Armed ──▶ poll the descriptor ──▶ readable: take ┤
//!      ▲                                                         └─ None: spurious
//!      └───────────────────────────── again ◀────────────────────────────┘
//! ```
//!
//! `prepare` lets the interrupt through, and looks for events before and after: what it does not find makes the descriptor readable. So no
//! event is slept through as long as each sleep follows a `prepare` that said [`Prepared::Armed`]. A descriptor may be readable without an
//! event; `take` finds out.
//!
//! ```no_run
//! use crossvm_guest::{EventCount, Prepared, System};
//! use rustix::event::{PollFd, PollFlags, Timespec, poll};
//!
//! fn serve(events: EventCount) { /* read the dataport */ }
//! fn input(from: &std::io::Stdin) { /* read what was typed */ }
//!
//! let endpoint = System::default().endpoint("reverse")?;
//! let mut waiter = endpoint.waiter()?;
//! let stdin = std::io::stdin();
//! loop {
//!     let timeout = match waiter.prepare(EventCount::MAX)? {
//!         Prepared::Armed => None,
//!         Prepared::Ready(events) => {
//!             serve(events);
//!             // More may have come: look whether others are ready, and do not sleep.
//!             Some(Timespec { tv_sec: 0, tv_nsec: 0 })
//!         }
//!     };
//!     let mut descriptors = [PollFd::new(&waiter, PollFlags::IN), PollFd::new(&stdin, PollFlags::IN)];
//!     poll(&mut descriptors, timeout.as_ref())?;
//!     let [event, typed] = descriptors.map(|descriptor| !descriptor.revents().is_empty());
//!     if event && let Some(events) = waiter.take(EventCount::MAX)? {
//!         serve(events);
//!     }
//!     if typed {
//!         input(&stdin);
//!     }
//! }
//! # #[allow(unreachable_code)]
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Under tokio, `AsyncWaiter` (feature `tokio`) is this loop.

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

    /// Forgets that the interrupt has come, so that the next one is told. It never sleeps, and does no harm where none has come.
    ///
    /// # Errors
    ///
    /// What the kernel refuses.
    fn acknowledge(&mut self) -> Result<(), Error>;

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

/// What came of preparing to sleep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prepared {
    /// So many events were there, at least one, and were taken. Prepare again before sleeping.
    Ready(EventCount),
    /// There are none, and the next will make the descriptor readable: sleep.
    Armed,
}

/// Makes ready for a sleep elsewhere, or takes the events of `counter` that are there, at most `limit`.
///
/// # Errors
///
/// What the interrupt line reports.
pub fn prepare(counter: &impl Counter, line: &mut impl InterruptLine, limit: EventCount) -> Result<Prepared, Error> {
    if let Some(events) = counter.take(limit) {
        return Ok(Prepared::Ready(events));
    }
    line.enable()?;
    Ok(counter.take(limit).map_or(Prepared::Armed, Prepared::Ready))
}

/// Takes the events of `counter`, at most `limit`, after the descriptor of `line` became readable: `None` where none was there.
///
/// # Errors
///
/// What the interrupt line reports.
pub fn take(counter: &impl Counter, line: &mut impl InterruptLine, limit: EventCount) -> Result<Option<EventCount>, Error> {
    // In this order: an interrupt that comes in between is told once more.
    line.acknowledge()?;
    Ok(counter.take(limit))
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

/// A descriptor that counts events itself, so that taking is reading it: nothing has to be enabled, and it is readable as long as there
/// is something to take.
pub(crate) trait CountingDescriptor {
    /// Takes the events that wait, without sleeping.
    fn take(&mut self) -> Result<Option<EventCount>, Error>;

    /// Sleeps until there may be something to take, or for `timeout`.
    fn sleep(&mut self, timeout: Option<Duration>) -> Result<Wake, Error>;

    /// As [`wait_for`].
    fn wait(&mut self, patience: Patience) -> Result<Option<Taken>, Error> {
        let deadline = patience.timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        for _ in 0..=patience.spins {
            if let Some(events) = self.take()? {
                return Ok(Some(Taken { events, sleeps: 0 }));
            }
            std::hint::spin_loop();
        }
        let mut sleeps = 0_u32;
        loop {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            sleeps = sleeps.saturating_add(1);
            let wake = self.sleep(left)?;
            if let Some(events) = self.take()? {
                return Ok(Some(Taken { events, sleeps }));
            }
            if wake == Wake::TimedOut || left.is_some_and(|left| left.is_zero()) {
                return Ok(None);
            }
        }
    }

    /// As [`prepare`].
    fn prepare(&mut self) -> Result<Prepared, Error> {
        Ok(self.take()?.map_or(Prepared::Armed, Prepared::Ready))
    }
}

#[cfg(test)]
#[path = "wait_tests.rs"]
mod tests;
