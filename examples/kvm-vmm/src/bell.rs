//! Bells: each end of a connection has one, which the other end rings.
//!
//! ```text
//!   guest ──EMIT──▶ KVM ──ioeventfd──┐                                            counted when they are taken:
//!     └─ exit ─▶ CrossVm ─▶ Ringer ──┴─▶ eventfd ──▶ the other end takes them     `emitted` of one end is `rung` of the other's bell
//! ```
//!
//! A store to EMIT that KVM signals by itself is no exit, so that nobody here counts it. What was emitted is what the receiver has taken out of the
//! eventfd, and what is still in it.

use std::fmt;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crossvm_core::{ErrorKind, ErrorType, Notifier};
use crossvm_kvm::{EventNotifier, NotifierError};
use vmm_sys_util::eventfd::EventFd;

use crate::link::Tally;

/// A bell of one end of a connection.
#[derive(Debug)]
pub(crate) struct Bell {
    event: EventNotifier,
    /// How often it was rung, as far as that was taken here.
    taken: Mutex<u64>,
    /// Who else must know how much was taken, or knows it.
    far: Far,
    /// Whether anyone listens. Whoever rings a closed bell is told that the event is dropped.
    open: AtomicBool,
    /// Wakes who rings it, to look whether anyone listens.
    ringer: Mutex<Option<EventFd>>,
}

/// What another process has to do with a bell.
#[derive(Debug)]
enum Far {
    /// Nothing.
    Nothing,
    /// It rings: what is taken here is told there.
    Rings(Tally),
    /// It listens: it tells what it takes. The number was told before this process was here.
    Listens(Tally, u64),
}

impl Bell {
    /// A bell that nobody has rung, with somebody who listens.
    ///
    /// # Errors
    /// Where there is no eventfd.
    pub(crate) fn new() -> Result<Arc<Self>, NotifierError> {
        Ok(Self::with(EventNotifier::new()?, 0, Far::Nothing))
    }

    /// A bell that another process rings.
    pub(crate) fn rung_elsewhere(event: EventNotifier, tally: Tally) -> Arc<Self> {
        Self::with(event, 0, Far::Rings(tally))
    }

    /// A bell that is heard in another process.
    pub(crate) fn heard_elsewhere(event: EventNotifier, tally: Tally) -> Arc<Self> {
        let before = tally.get().saturating_add(pending(event.event().as_raw_fd()).unwrap_or(0));
        Self::with(event, 0, Far::Listens(tally, before))
    }

    fn with(event: EventNotifier, taken: u64, far: Far) -> Arc<Self> {
        Arc::new(Self { event, taken: Mutex::new(taken), far, open: AtomicBool::new(true), ringer: Mutex::new(None) })
    }

    /// Its eventfd.
    pub(crate) const fn event(&self) -> &EventNotifier {
        &self.event
    }

    /// The descriptor, to wait for.
    pub(crate) fn fd(&self) -> RawFd {
        self.event.event().as_raw_fd()
    }

    /// Whether anyone listens.
    pub(crate) fn is_open(&self) -> bool {
        self.open.load(Ordering::Acquire)
    }

    /// From now on somebody listens, or nobody does. Who rings it is woken, to bring its ioeventfds to that.
    pub(crate) fn set_open(&self, open: bool) {
        self.open.store(open, Ordering::Release);
        if let Some(ringer) = &*self.ringer.lock().unwrap_or_else(PoisonError::into_inner) {
            // A full counter: it is awake.
            let _ = ringer.write(1);
        }
    }

    /// Takes how often it was rung since the last time.
    pub(crate) fn take(&self) -> u64 {
        let mut taken = self.lock();
        // An eventfd that cannot be read has nothing to tell.
        let count = self.event.take().unwrap_or(0);
        *taken = taken.saturating_add(count);
        if let Far::Rings(tally) = &self.far
            && count > 0
        {
            tally.set(tally.get().saturating_add(count));
        }
        count
    }

    /// How often it was rung, taken or not, since this process is here. Where another one listens, that is what it tells.
    pub(crate) fn rung(&self) -> u64 {
        let taken = self.lock();
        let rung = |taken: u64| taken.saturating_add(pending(self.fd()).unwrap_or(0));
        match &self.far {
            Far::Listens(tally, before) => rung(tally.get()).saturating_sub(*before),
            Far::Nothing | Far::Rings(_) => rung(*taken),
        }
    }

    /// The count only grows: a thread that has panicked has left a right one.
    fn lock(&self) -> MutexGuard<'_, u64> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is in an eventfd, without taking it (proc(5), fdinfo: `eventfd-count`, in hexadecimal).
fn pending(fd: RawFd) -> Option<u64> {
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).ok()?;
    let count = info.lines().find_map(|line| line.strip_prefix("eventfd-count:"))?;
    u64::from_str_radix(count.trim(), 16).ok()
}

/// Rings a bell of the other end.
#[derive(Debug, Clone)]
pub(crate) struct Ringer(pub(crate) Arc<Bell>);

/// An event was not delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RingError {
    /// Nobody listens.
    Closed,
    /// The eventfd fails.
    Notifier(NotifierError),
}

impl fmt::Display for RingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("nobody is at the other end"),
            Self::Notifier(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for RingError {}

impl crossvm_core::Error for RingError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Closed => ErrorKind::NotFound,
            Self::Notifier(error) => error.kind(),
        }
    }
}

impl ErrorType for Ringer {
    type Error = RingError;
}

impl Notifier for Ringer {
    fn notify(&self) -> Result<(), RingError> {
        if !self.0.is_open() {
            return Err(RingError::Closed);
        }
        self.0.event.notify().map_err(RingError::Notifier)
    }
}

impl Ringer {
    /// Rings `bell`. `control` is written to when somebody comes to listen, or leaves.
    ///
    /// # Errors
    /// Where there is no descriptor left.
    pub(crate) fn new(bell: Arc<Bell>, control: &EventFd) -> std::io::Result<Self> {
        *bell.ringer.lock().unwrap_or_else(PoisonError::into_inner) = Some(control.try_clone()?);
        Ok(Self(bell))
    }

    /// Rings `count` times.
    ///
    /// # Errors
    /// [`RingError`]; nothing is delivered then.
    pub(crate) fn ring(&self, count: u64) -> Result<(), RingError> {
        if !self.0.is_open() {
            return Err(RingError::Closed);
        }
        // One at a time would be as many calls.
        let added = self.0.event.event().write(count);
        // A full counter: the other end has more waiting than it can count.
        match added {
            Err(error) if error.kind() != std::io::ErrorKind::WouldBlock => Err(RingError::Closed),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_rung_is_counted_whether_it_was_taken_or_not() {
        let bell = Bell::new().unwrap();
        let ringer = Ringer(Arc::clone(&bell));
        assert_eq!((bell.take(), bell.rung()), (0, 0));
        ringer.notify().unwrap();
        ringer.ring(41).unwrap();
        assert_eq!(bell.rung(), 42);
        assert_eq!((bell.take(), bell.rung()), (42, 42));
        // As an ioeventfd does it.
        bell.event().event().write(1).unwrap();
        assert_eq!((bell.rung(), bell.take(), bell.rung()), (43, 1, 43));
    }

    #[test]
    fn what_another_process_takes_it_tells() {
        use crate::link::share::tests::topology;
        use crossvm_manifest::Peer;
        let wire = crate::link::wires::Wire::create(&topology(2, &[[Peer::Vm(0), Peer::Vm(1)]]), 0).unwrap();
        let heard = || Bell::rung_elsewhere(wire.signal(true).clone(), wire.tally(true));
        let (near, far) = (Ringer(Bell::heard_elsewhere(wire.signal(true).clone(), wire.tally(true))), heard());
        near.ring(5).unwrap();
        assert_eq!((near.0.rung(), far.take(), near.0.rung()), (5, 5, 5));
        near.ring(2).unwrap();
        // Both come back one after the other.
        let far = heard();
        assert_eq!((near.0.rung(), far.take(), far.rung(), near.0.rung()), (7, 2, 2, 7));
        near.ring(1).unwrap();
        let near = Ringer(Bell::heard_elsewhere(wire.signal(true).clone(), wire.tally(true)));
        assert_eq!((near.0.rung(), far.take(), near.0.rung()), (0, 1, 0), "what its predecessor emitted is not its own");
    }

    #[test]
    fn a_closed_bell_refuses() {
        let bell = Bell::new().unwrap();
        let ringer = Ringer(Arc::clone(&bell));
        bell.set_open(false);
        assert_eq!((ringer.notify(), ringer.ring(2)), (Err(RingError::Closed), Err(RingError::Closed)));
        bell.set_open(true);
        assert_eq!((ringer.notify(), bell.take()), (Ok(()), 1));
    }
}
