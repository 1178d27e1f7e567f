//! How many events, and which registers a device has.

use core::fmt;

/// A number of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct EventCount(u32);

impl EventCount {
    /// No event.
    pub const ZERO: Self = Self(0);
    /// One event.
    pub const ONE: Self = Self(1);
    /// As many as the register can hold.
    pub const MAX: Self = Self(u32::MAX);

    /// `count` events.
    #[must_use]
    pub const fn new(count: u32) -> Self {
        Self(count)
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for EventCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Which registers a device has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Profile {
    /// EMIT, COUNT and NAME only, as seL4's device. Events that come while COUNT is cleared are not counted (nobody sleeps
    /// through them, though).
    Reference,
    /// Also the registers from 0x40 on: counts are exact, sizes and rights are told.
    Extended {
        /// Version of the registers.
        version: u32,
    },
}
