//! A connection on which this side and its peer take turns: one event each.

use std::time::Duration;

use crossvm_guest::{Dataport, Endpoint, Error, EventCount, PciAddress};

use crate::events::{Events, Spins};
use crate::interrupts;

/// One side of a conversation in which each side emits one event and then waits for the other's.
pub(crate) trait Turns {
    /// Signals the peer.
    fn emit(&mut self) -> Result<(), String>;

    /// Takes the peer's event, looking `spins` times before sleeping. `what` says what the event means, should it not come.
    fn event(&mut self, spins: Spins, what: impl FnOnce() -> String) -> Result<(), String>;

    /// What has happened so far.
    fn tally(&self) -> Tally;
}

/// What one side of a conversation has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Events that this side has emitted.
    pub(crate) emitted: u64,
    /// Events that it has taken.
    pub(crate) received: u64,
    /// Waits that slept until an interrupt woke them.
    pub(crate) slept: u64,
}

/// Memory that is shared with the peer.
pub(crate) trait Shared {
    /// Length in bytes.
    fn size(&self) -> usize;
    /// Reads from `offset` on.
    fn read(&self, offset: usize, buffer: &mut [u8]) -> Result<(), Error>;
    /// Writes from `offset` on.
    fn write(&self, offset: usize, bytes: &[u8]) -> Result<(), Error>;
}

impl Shared for Dataport {
    fn size(&self) -> usize {
        Self::size(self)
    }
    fn read(&self, offset: usize, buffer: &mut [u8]) -> Result<(), Error> {
        Self::read(self, offset, buffer)
    }
    fn write(&self, offset: usize, bytes: &[u8]) -> Result<(), Error> {
        Self::write(self, offset, bytes)
    }
}

/// One side of a connection on which at most one event is on its way in each direction.
///
/// So each wait must take exactly one event: fewer are a lost one, more are one that nobody sent.
#[derive(Debug)]
pub(crate) struct Link<'endpoint> {
    events: Events<'endpoint>,
    timeout: Duration,
    tally: Tally,
    /// The function whose interrupt has to come before its first event is taken.
    first: Option<PciAddress>,
}

impl<'endpoint> Link<'endpoint> {
    /// Takes hold of the events of `endpoint`.
    pub(crate) fn new(endpoint: &'endpoint Endpoint, timeout: Duration) -> Result<Self, String> {
        Ok(Self { events: Events::open(endpoint)?, timeout, tally: Tally::default(), first: None })
    }

    /// The same, on which no event is taken before the kernel was interrupted: it comes for certain, as the event waits so long. Without
    /// this an event that is taken at once may never be seen to interrupt.
    pub(crate) fn first_by_interrupt(mut self, address: PciAddress) -> Self {
        self.first = Some(address);
        self
    }
}

impl Turns for Link<'_> {
    fn emit(&mut self) -> Result<(), String> {
        self.tally.emitted += 1;
        self.events.emit(EventCount::ONE)
    }

    fn event(&mut self, spins: Spins, what: impl FnOnce() -> String) -> Result<(), String> {
        if let Some(address) = self.first.take() {
            interrupts::wait_for_first(address, self.timeout)?;
        }
        let Some(taken) = self.events.wait(self.timeout, spins)? else {
            return Err(format!("no {} within {} s", what(), self.timeout.as_secs()));
        };
        if taken.events != 1 {
            return Err(format!("{} events instead of 1 as {}", taken.events, what()));
        }
        self.tally.received += 1;
        // A wait may sleep more than once, for interrupts that bring no event: it is one wait that slept.
        self.tally.slept += u64::from(taken.slept);
        Ok(())
    }

    fn tally(&self) -> Tally {
        self.tally
    }
}

#[cfg(test)]
pub(crate) mod fake {
    //! The two sides of a conversation within one process.

    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::sync::{Arc, Mutex};

    use super::*;

    /// A side whose events go through a channel.
    pub(crate) struct Side {
        to: Sender<()>,
        from: Receiver<()>,
        tally: Tally,
    }

    /// Two sides that are each other's peer.
    pub(crate) fn sides() -> (Side, Side) {
        let ((to_second, from_first), (to_first, from_second)) = (channel(), channel());
        let side = |to, from| Side { to, from, tally: Tally { slept: u64::from(u32::MAX), ..Tally::default() } };
        (side(to_second, from_second), side(to_first, from_first))
    }

    impl Turns for Side {
        fn emit(&mut self) -> Result<(), String> {
            self.tally.emitted += 1;
            // A peer that is gone hears nothing.
            let _ = self.to.send(());
            Ok(())
        }

        fn event(&mut self, _: Spins, what: impl FnOnce() -> String) -> Result<(), String> {
            self.from.recv_timeout(Duration::from_secs(5)).map_err(|_| format!("no {}", what()))?;
            self.tally.received += 1;
            // One event at most is on its way: a second one breaks the rule of the conversation.
            if self.from.try_recv().is_ok() { Err("2 events instead of 1".to_owned()) } else { Ok(()) }
        }

        fn tally(&self) -> Tally {
            self.tally
        }
    }

    /// Memory that two threads share.
    #[derive(Clone)]
    pub(crate) struct Memory(Arc<Mutex<Vec<u8>>>);

    impl Memory {
        pub(crate) fn new(size: usize) -> Self {
            Self(Arc::new(Mutex::new(vec![0; size])))
        }
    }

    impl Shared for Memory {
        fn size(&self) -> usize {
            self.0.lock().unwrap().len()
        }
        fn read(&self, offset: usize, buffer: &mut [u8]) -> Result<(), Error> {
            buffer.copy_from_slice(&self.0.lock().unwrap()[offset..offset + buffer.len()]);
            Ok(())
        }
        fn write(&self, offset: usize, bytes: &[u8]) -> Result<(), Error> {
            self.0.lock().unwrap()[offset..offset + bytes.len()].copy_from_slice(bytes);
            Ok(())
        }
    }
}
