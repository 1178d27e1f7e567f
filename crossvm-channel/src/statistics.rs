//! How much went through a channel.

/// What went one way through one end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Traffic {
    /// Messages.
    pub messages: u64,
    /// Bytes in them.
    pub bytes: u64,
    /// How often the peer was rung because it slept for this: for a message that this end has sent, for the room of one that it has received.
    pub doorbells: u64,
}

impl Traffic {
    pub(crate) const NONE: Self = Self { messages: 0, bytes: 0, doorbells: 0 };

    #[inline]
    pub(crate) const fn add(&mut self, length: u32) {
        self.messages = self.messages.wrapping_add(1);
        self.bytes = self.bytes.wrapping_add(length as u64);
    }

    #[inline]
    pub(crate) const fn doorbells(&mut self, rung: bool) {
        self.doorbells = self.doorbells.wrapping_add(rung as u64);
    }

    pub(crate) const fn and(self, other: Self) -> Self {
        Self {
            messages: self.messages.wrapping_add(other.messages),
            bytes: self.bytes.wrapping_add(other.bytes),
            doorbells: self.doorbells.wrapping_add(other.doorbells),
        }
    }
}

/// What one end has sent and received since it was opened, over all sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Statistics {
    /// Sent.
    pub sent: Traffic,
    /// Received.
    pub received: Traffic,
    /// How often this end slept in a call of the channel's.
    pub sleeps: u64,
}

impl Statistics {
    /// How often the peer was rung for messages or room.
    #[must_use]
    pub const fn doorbells(&self) -> u64 {
        self.sent.doorbells.wrapping_add(self.received.doorbells)
    }
}
