//! Event ids and sets of them.

use core::fmt;

/// Number of a connection's event within one VM: a bit of an [`EventSet`].
///
/// On seL4 it is the bit of the badge that the notification carries; elsewhere the VMM numbers its events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId(u8);

impl EventId {
    /// How many ids there are: one for each bit of a set.
    pub const COUNT: usize = 64;

    /// The id of bit `bit`, or `None` from 64 on.
    #[must_use]
    pub const fn new(bit: u8) -> Option<Self> {
        if bit < 64 { Some(Self(bit)) } else { None }
    }

    /// The bit's number.
    #[must_use]
    pub const fn bit(self) -> u8 {
        self.0
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A value that names a connection's event within one VM, and that is compared as a whole: an eventfd's number, a badge of a notification
/// that nothing else signals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExactId(u64);

impl ExactId {
    /// The id `value`: every value is one.
    #[must_use]
    pub const fn new(value: u64) -> Self {
        Self(value)
    }

    /// The value.
    #[must_use]
    pub const fn value(self) -> u64 {
        self.0
    }
}

impl fmt::Display for ExactId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

/// What a peer's events arrive under.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Event {
    /// A bit of an [`EventSet`]: events of several connections may coalesce into one set.
    Bit(EventId),
    /// A value of its own.
    Exact(ExactId),
}

impl From<EventId> for Event {
    fn from(id: EventId) -> Self {
        Self::Bit(id)
    }
}

impl From<ExactId> for Event {
    fn from(id: ExactId) -> Self {
        Self::Exact(id)
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bit(id) => write!(f, "event id {id}"),
            Self::Exact(id) => write!(f, "exact event id {id}"),
        }
    }
}

/// A set of event ids, as one word: what remains of many signals that coalesced (seL4 ORs the badges of a notification).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct EventSet(u64);

impl EventSet {
    /// No id.
    pub const EMPTY: Self = Self(0);

    /// The set of the ids whose bits are set in `word`.
    #[must_use]
    pub const fn from_word(word: u64) -> Self {
        Self(word)
    }

    /// The set as a word.
    #[must_use]
    pub const fn word(self) -> u64 {
        self.0
    }

    /// Whether no id is in the set.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether `id` is in the set.
    #[must_use]
    pub const fn contains(self, id: EventId) -> bool {
        self.0 & Self::of(id).0 != 0
    }

    /// The set that holds just `id`.
    #[must_use]
    pub const fn of(id: EventId) -> Self {
        Self(1u64.wrapping_shl(id.0 as u32))
    }

    /// This set with `id` in it.
    #[must_use]
    pub const fn with(self, id: EventId) -> Self {
        Self(self.0 | Self::of(id).0)
    }

    /// Takes the lowest id out of the set.
    #[expect(clippy::cast_possible_truncation, reason = "a u64 has at most 64 trailing zeros")]
    pub const fn take_lowest(&mut self) -> Option<EventId> {
        let bit = self.0.trailing_zeros();
        // Clears the lowest bit that is set; an empty set stays empty.
        self.0 &= self.0.wrapping_sub(1);
        EventId::new(bit as u8)
    }
}

impl FromIterator<EventId> for EventSet {
    fn from_iter<I: IntoIterator<Item = EventId>>(ids: I) -> Self {
        ids.into_iter().fold(Self::EMPTY, Self::with)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taking_the_lowest_visits_each_id_once_in_order() {
        let ids = [0u8, 1, 31, 32, 63].map(|bit| EventId::new(bit).unwrap());
        let mut set: EventSet = ids.into_iter().collect();
        for id in ids {
            assert!(set.contains(id));
            assert_eq!(set.take_lowest(), Some(id));
            assert!(!set.contains(id));
        }
        assert_eq!(set.take_lowest(), None);
        assert_eq!(EventId::new(64), None);
    }
}
