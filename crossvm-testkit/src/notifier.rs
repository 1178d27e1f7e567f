//! Events on their way from one VM to another.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crossvm_core::{ErrorType, EventId, EventSet, Notifier};

/// The events that wait for one VM: many signals of one id coalesce into one, as with a seL4 notification.
#[derive(Debug, Clone, Default)]
pub struct Doorbell(Arc<AtomicU64>);

impl Doorbell {
    /// A notifier that signals `event` here.
    #[must_use]
    pub fn notifier(&self, event: EventId) -> FakeNotifier {
        FakeNotifier { doorbell: self.clone(), event }
    }

    /// Takes all events that wait.
    #[must_use]
    pub fn take(&self) -> EventSet {
        EventSet::from_word(self.0.swap(0, Ordering::Acquire))
    }
}

/// Signals one event at a [`Doorbell`].
#[derive(Debug, Clone)]
pub struct FakeNotifier {
    doorbell: Doorbell,
    event: EventId,
}

impl ErrorType for FakeNotifier {
    type Error = Infallible;
}

impl Notifier for FakeNotifier {
    fn notify(&self) -> Result<(), Infallible> {
        self.doorbell.0.fetch_or(EventSet::of(self.event).word(), Ordering::Release);
        Ok(())
    }
}
