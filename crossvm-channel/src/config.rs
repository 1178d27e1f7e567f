//! What an end of a channel may choose.

use crate::error::Protocol;
use crate::side::Side;

/// What an end of a channel may choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Config {
    side: Side,
    protocol: Protocol,
    spins: u32,
    suppression: bool,
}

impl Config {
    /// The end `side`, with the protocol zero, without spinning, ringing only a peer that sleeps.
    #[must_use]
    pub const fn new(side: Side) -> Self {
        Self { side, protocol: Protocol(0), spins: 0, suppression: true }
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
        if self.suppression { crate::spec::SUPPRESSION } else { 0 }
    }
}
