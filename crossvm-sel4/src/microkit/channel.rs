//! Channels as notifiers and as events.

use core::convert::Infallible;
use core::fmt;
use core::sync::atomic::{Ordering, fence};

use crossvm_core::{ErrorType, EventId, Notifier};

use super::MicrokitCalls;

/// A channel of a protection domain, by its `id` in the system description, 0–61.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Channel(u8);

impl Channel {
    /// Channel `id`, or `None` from 62 on.
    #[must_use]
    pub const fn new(id: u8) -> Option<Self> {
        if id < 62 { Some(Self(id)) } else { None }
    }

    /// The id.
    #[must_use]
    pub const fn id(self) -> u8 {
        self.0
    }

    /// The event that a signal of this channel is: the one of the same number. Microkit calls `notified` once for each channel that was signalled, so it
    /// serves the set of this one event.
    #[must_use]
    pub const fn event(self) -> Option<EventId> {
        EventId::new(self.0)
    }
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Signals the other end of a channel.
///
/// As a [`Notifier`], by clause: signals that the other end has not taken yet coalesce (1, 2); `microkit_notify` never blocks (3); a fence comes before
/// it (4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ChannelNotifier<C> {
    calls: C,
    channel: Channel,
}

impl<C: MicrokitCalls> ChannelNotifier<C> {
    /// Signals `channel`.
    #[must_use]
    pub const fn new(calls: C, channel: Channel) -> Self {
        Self { calls, channel }
    }
}

impl<C> ErrorType for ChannelNotifier<C> {
    type Error = Infallible;
}

impl<C: MicrokitCalls> Notifier for ChannelNotifier<C> {
    fn notify(&self) -> Result<(), Infallible> {
        fence(Ordering::SeqCst);
        self.calls.notify(self.channel);
        Ok(())
    }
}
