//! A connection on which this side and its peer take turns: one event each.

use std::time::Duration;

use crossvm_guest::{Connection, EventCount, Patience, Waiter};

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

    /// Signals the peer.
    pub(crate) fn emit(&self) {
        self.connection.emit();
    }

    /// Takes the peer's event, looking `spins` times before sleeping. `what` says what the event means, should it not come.
    pub(crate) fn event(&mut self, spins: u32, what: impl FnOnce() -> String) -> Result<(), String> {
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

    /// How many waits slept until an interrupt woke them.
    pub(crate) const fn slept(&self) -> u32 {
        self.sleeps
    }
}
