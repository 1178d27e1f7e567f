//! The events of a connection, through whichever driver holds it.

use std::time::Duration;

use crossvm_guest::{Endpoint, EndpointWaiter, EventCount, Patience};

/// How often to look for an event before sleeping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Spins(pub(crate) u32);

impl Spins {
    /// Sleep at once.
    pub(crate) const NONE: Self = Self(0);
    /// How many loads of a register a system call is worth.
    const CALL: u32 = 64;
}

/// What a wait has taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Taken {
    /// How many events.
    pub(crate) events: u64,
    /// Whether it slept until an interrupt.
    pub(crate) slept: bool,
}

/// One end's events.
#[derive(Debug)]
pub(crate) struct Events<'endpoint> {
    endpoint: &'endpoint Endpoint,
    waiter: EndpointWaiter<'endpoint>,
}

impl<'endpoint> Events<'endpoint> {
    /// Takes hold of the events of `endpoint`.
    pub(crate) fn open(endpoint: &'endpoint Endpoint) -> Result<Self, String> {
        Ok(Self { endpoint, waiter: endpoint.waiter().map_err(|error| error.to_string())? })
    }

    /// Signals the peer `events` times.
    pub(crate) fn emit(&mut self, events: EventCount) -> Result<(), String> {
        self.endpoint.emit(events).map_err(|error| error.to_string())
    }

    /// Takes all events that there are, without waiting.
    pub(crate) fn take(&mut self) -> Result<u64, String> {
        match self.endpoint {
            // No system call.
            Endpoint::Registers(connection) => Ok(connection.events().take(EventCount::MAX).map_or(0, |events| events.get().into())),
            Endpoint::Node(_) | Endpoint::Uio(_) => Ok(self.wait(Duration::ZERO, Spins::NONE)?.map_or(0, |taken| taken.events)),
        }
    }

    /// Takes all events that there are, looking `spins` times before sleeping; `None` where none came in `timeout`.
    pub(crate) fn wait(&mut self, timeout: Duration, spins: Spins) -> Result<Option<Taken>, String> {
        let looks = match self.endpoint {
            Endpoint::Registers(_) => spins.0,
            Endpoint::Node(_) | Endpoint::Uio(_) => spins.0 / Spins::CALL,
        };
        let taken = self.waiter.wait(Patience::default().timeout(timeout).spins(looks)).map_err(|error| error.to_string())?;
        Ok(taken.map(|taken| Taken { events: taken.events.get().into(), slept: taken.sleeps > 0 }))
    }
}
