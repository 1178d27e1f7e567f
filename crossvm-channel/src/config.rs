//! What an end of a channel may choose.

use crate::error::Protocol;
use crate::side::Side;
use crate::spec::{POLLING, SUPPRESSION};

/// What an end of a channel may choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Config {
    side: Side,
    protocol: Protocol,
    spins: u32,
    suppression: bool,
    polling: bool,
}

impl Config {
    /// The end `side`, with the protocol zero, without spinning, ringing only a peer that sleeps.
    #[must_use]
    pub const fn new(side: Side) -> Self {
        Self { side, protocol: Protocol(0), spins: 0, suppression: true, polling: false }
    }

    /// What the messages mean: two ends that do not agree do not connect.
    #[must_use]
    pub const fn protocol(mut self, protocol: Protocol) -> Self {
        self.protocol = protocol;
        self
    }

    /// Calls that may sleep look so many times more before they do. Worth it where the peer answers sooner than a sleep takes.
    #[must_use]
    pub const fn spins(mut self, spins: u32) -> Self {
        self.spins = spins;
        self
    }

    /// The peer rings always, and this end too: for a peer or a program that does not say when it sleeps.
    #[must_use]
    pub const fn always_ring(mut self) -> Self {
        self.suppression = false;
        self
    }

    /// This end looks by itself, again and again: the peer neither rings it for messages or room, nor looks whether it sleeps, which costs
    /// more than a short message. What waits at this end all the same must come back by itself.
    #[must_use]
    pub const fn polling(mut self) -> Self {
        self.polling = true;
        self
    }

    /// Which end.
    #[must_use]
    pub const fn side(&self) -> Side {
        self.side
    }

    /// What the messages mean.
    #[must_use]
    pub const fn spoken(&self) -> Protocol {
        self.protocol
    }

    pub(crate) const fn looks(&self) -> u32 {
        self.spins
    }

    pub(crate) const fn features(&self) -> u32 {
        let suppression = if self.suppression { SUPPRESSION } else { 0 };
        suppression | if self.polling { POLLING } else { 0 }
    }
}
