//! From the badge of a notification to the events of connections.

use crossvm_core::{Backend, ConnectionId, ConsumeError, CrossVm, Dataport, ErrorType, Event, EventSet, ExactId, Notifier};

use crate::kernel::Badge;

/// Which bits of a notification's badge are events of connections. The others are the VMM's own: timers, device interrupts, faults.
///
/// seL4 ORs the badges of signals that coalesce. Each connection has a bit of its own therefore, that of its [`EventId`](crossvm_core::EventId), and every
/// event whose bit is in a received badge is served.
///
/// A notification that one connection alone signals may have any badge: [`consume_exact`] compares it as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct BadgeSet {
    connections: EventSet,
}

type InterruptError<B> = <<B as Backend>::Interrupts as ErrorType>::Error;

impl BadgeSet {
    /// Every bit is an event.
    pub const ALL: Self = Self::new(EventSet::from_word(u64::MAX));

    /// The bits of `connections` are events.
    #[must_use]
    pub const fn new(connections: EventSet) -> Self {
        Self { connections }
    }

    /// The events in a received badge.
    #[must_use]
    pub const fn events(self, badge: Badge) -> EventSet {
        EventSet::from_word(badge.value() & self.connections.word())
    }

    /// The bits of a received badge that are none.
    #[must_use]
    pub const fn others(self, badge: Badge) -> Badge {
        Badge::new(badge.value() & !self.connections.word())
    }

    /// Serves the events of a received badge, and gives back what is left for the VMM: its own bits, and events that belong to no connection.
    ///
    /// # Errors
    /// See [`CrossVm::consume`]: every event is counted all the same. The VMM's own bits are [`others`](Self::others).
    pub fn consume<B: Backend, D: Dataport, N: Notifier, const COUNT: usize>(
        self,
        connections: &mut CrossVm<B, D, N, COUNT>,
        backend: &mut B,
        badge: Badge,
    ) -> Result<Badge, ConsumeError<InterruptError<B>>> {
        let unknown = connections.consume(backend, self.events(badge))?;
        Ok(Badge::new(self.others(badge).value() | unknown.word()))
    }
}

/// Serves the connection whose event is this badge as a whole ([`Event::Exact`]), for a notification that nothing else signals: a badge that was OR-ed with
/// another one is found no more. Gives the connection, or `None` where it is nobody's.
///
/// # Errors
/// See [`CrossVm::consume_counted`].
pub fn consume_exact<B: Backend, D: Dataport, N: Notifier, const COUNT: usize>(
    connections: &mut CrossVm<B, D, N, COUNT>,
    backend: &mut B,
    badge: Badge,
) -> Result<Option<ConnectionId>, InterruptError<B>> {
    connections.consume_counted(backend, Event::Exact(ExactId::new(badge.value())), 1)
}

#[cfg(test)]
mod tests {
    use crossvm_core::EventId;

    use super::*;

    #[test]
    fn the_bits_of_connections_are_parted_from_the_vmms_own() {
        let set = BadgeSet::new([0, 3, 27].map(|bit| EventId::new(bit).unwrap()).into_iter().collect());
        let badge = Badge::new(1 << 27 | 1 << 4 | 1);
        assert_eq!((set.events(badge).word(), set.others(badge).value()), (1 << 27 | 1, 1 << 4));
        assert_eq!((BadgeSet::ALL.events(badge).word(), BadgeSet::ALL.others(badge)), (badge.value(), Badge::NONE));
    }
}
