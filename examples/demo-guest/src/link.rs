//! A connection on which this side and its peer take turns: one event each.

use std::time::Duration;

use crossvm_guest::{Connection, Dataport, Error, EventCount, Patience, Waiter};

/// One side of a conversation in which each side emits one event and then waits for the other's.
pub(crate) trait Turns {
    /// Signals the peer.
    fn emit(&mut self);

    /// Takes the peer's event, looking `spins` times before sleeping. `what` says what the event means, should it not come.
    fn event(&mut self, spins: u32, what: impl FnOnce() -> String) -> Result<(), String>;

    /// How many waits slept until an interrupt woke them.
    fn slept(&self) -> u32;
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
pub(crate) struct Link<'connection> {
    connection: &'connection Connection,
    waiter: Waiter<'connection>,
    timeout: Duration,
    sleeps: u32,
}

impl<'connection> Link<'connection> {
    /// Takes hold of the connection's events.
    pub(crate) fn new(connection: &'connection Connection, timeout: Duration) -> Result<Self, String> {
        let waiter = connection.waiter().map_err(|error| error.to_string())?;
        Ok(Self { connection, waiter, timeout, sleeps: 0 })
    }
}

impl Turns for Link<'_> {
    fn emit(&mut self) {
        self.connection.emit();
    }

    fn event(&mut self, spins: u32, what: impl FnOnce() -> String) -> Result<(), String> {
        let patience = Patience::default().timeout(self.timeout).spins(spins);
        let taken = match self.waiter.wait(patience) {
            Ok(Some(taken)) => taken,
            Ok(None) => return Err(format!("no {} within {} s", what(), self.timeout.as_secs())),
            Err(error) => return Err(error.to_string()),
        };
        if taken.events != EventCount::ONE {
            return Err(format!("{} events instead of 1 as {}", taken.events, what()));
        }
        // A wait may sleep more than once, for interrupts that bring no event: it is one wait that slept.
        self.sleeps += u32::from(taken.sleeps > 0);
        Ok(())
    }

    fn slept(&self) -> u32 {
        self.sleeps
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
    }

    /// Two sides that are each other's peer.
    pub(crate) fn sides() -> (Side, Side) {
        let ((to_second, from_first), (to_first, from_second)) = (channel(), channel());
        (Side { to: to_second, from: from_second }, Side { to: to_first, from: from_first })
    }

    impl Turns for Side {
        fn emit(&mut self) {
            // A peer that is gone hears nothing.
            let _ = self.to.send(());
        }

        fn event(&mut self, _: u32, what: impl FnOnce() -> String) -> Result<(), String> {
            self.from.recv_timeout(Duration::from_secs(5)).map_err(|_| format!("no {}", what()))?;
            // One event at most is on its way: a second one breaks the rule of the conversation.
            if self.from.try_recv().is_ok() { Err("2 events instead of 1".to_owned()) } else { Ok(()) }
        }

        fn slept(&self) -> u32 {
            u32::MAX
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
