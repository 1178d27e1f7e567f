//! One input of an IOAPIC: its line, its redirection entry, and what it has to deliver.

use crossvm_core::Level;

use crate::message::{ApicMessage, Destination, Trigger};
use crate::spec::ioapic::RedirectionEntry;

/// Number of an IOAPIC's input, 0 to 239.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Pin(u8);

impl Pin {
    /// How many pins there can be.
    pub const COUNT: usize = 240;

    /// The first.
    pub const FIRST: Self = Self(0);

    /// The pin `number`, if there can be one.
    #[must_use]
    pub const fn new(number: u32) -> Option<Self> {
        #[expect(clippy::cast_possible_truncation, reason = "below 240")]
        if number < 240 { Some(Self(number as u8)) } else { None }
    }

    /// Its number.
    #[must_use]
    pub const fn number(self) -> u8 {
        self.0
    }

    pub(crate) const fn index(self) -> usize {
        self.0 as usize
    }

    /// All, from this one on.
    pub(crate) fn onwards(self) -> impl Iterator<Item = Self> {
        (self.0..240).map(Self)
    }
}

/// How a device is wired to its pin, for guests that get the polarity wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Wire {
    /// As the guest has programmed it: what the device asserts is what the IOAPIC sees. KVM and QEMU know only this.
    #[default]
    AsProgrammed,
    /// High while the device asserts it. A guest that programs an active-low pin finds it asserted while it is not.
    ActiveHigh,
    /// Low while the device asserts it. A guest that programs an active-high pin finds it asserted while it is not.
    ActiveLow,
}

/// A pin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub(crate) struct PinState {
    /// Without delivery status, which is made when it is read.
    entry: RedirectionEntry,
    pub(crate) wire: Wire,
    line: Level,
    /// An edge has come, and its message is not sent.
    edge: bool,
}

impl PinState {
    pub(crate) const fn new() -> Self {
        Self { entry: RedirectionEntry::RESET, wire: Wire::AsProgrammed, line: Level::Low, edge: false }
    }

    /// Back to power-on. Line and wire are the device's.
    pub(crate) const fn reset(&mut self) {
        self.entry = RedirectionEntry::RESET;
        self.edge = false;
    }

    pub(crate) const fn line(&self) -> Level {
        self.line
    }

    /// Whether the IOAPIC sees the pin asserted.
    const fn asserted(&self) -> bool {
        match self.wire {
            Wire::AsProgrammed => self.line.is_high(),
            Wire::ActiveHigh => self.line.is_high() != self.entry.active_low(),
            Wire::ActiveLow => self.line.is_high() == self.entry.active_low(),
        }
    }

    /// What triggers the pin: modes without a vector are edges, whatever the entry says (§3.2.4).
    pub(crate) const fn trigger(&self) -> Trigger {
        Trigger::from_level_bit(self.entry.level() && self.entry.mode().has_vector())
    }

    /// Whether a message is to be sent.
    pub(crate) const fn waits(&self) -> bool {
        let due = match self.trigger() {
            Trigger::Level => self.asserted() && !self.entry.remote_irr(),
            Trigger::Edge => self.edge,
        };
        due && !self.entry.masked()
    }

    /// The entry as the guest reads it.
    pub(crate) const fn entry(&self) -> RedirectionEntry {
        self.entry.with_delivery_status(self.waits())
    }

    /// The guest writes the bits of `mask` of the entry. `true` where it changes what is delivered, to whom or whether.
    pub(crate) const fn write(&mut self, value: u64, mask: u64) -> bool {
        let mask = mask & RedirectionEntry::WRITABLE;
        let old = self.entry.into_bits();
        let new = old & !mask | value & mask;
        self.entry = RedirectionEntry::from_bits(new);
        match self.trigger() {
            // What is high is seen without the edge.
            Trigger::Level => self.edge = false,
            // Guests end a level interrupt so where there is no end-of-interrupt register.
            Trigger::Edge => self.entry.set_remote_irr(false),
        }
        if self.entry.mode().is_reserved() {
            self.edge = false;
        }
        old != new
    }

    /// The device sets its line.
    pub(crate) const fn set_line(&mut self, level: Level) {
        let before = self.asserted();
        self.line = level;
        if self.asserted() && !before {
            self.strike();
        }
    }

    /// An edge comes. One that comes while the pin is masked is ignored (§3.2.4).
    pub(crate) const fn strike(&mut self) {
        if matches!(self.trigger(), Trigger::Edge) && !self.entry.masked() && !self.entry.mode().is_reserved() {
            self.edge = true;
        }
    }

    /// The message that the entry stands for, whether due or not.
    pub(crate) const fn message(&self) -> ApicMessage {
        let trigger = self.trigger();
        ApicMessage {
            destination: Destination::new(self.entry.logical(), self.entry.destination()),
            redirection_hint: false,
            mode: self.entry.mode(),
            vector: self.entry.vector(),
            trigger,
            level: Level::from_asserted(trigger.is_level()),
        }
    }

    /// The local APICs have taken the message.
    pub(crate) const fn sent(&mut self) {
        match self.trigger() {
            Trigger::Level => self.entry.set_remote_irr(true),
            Trigger::Edge => self.edge = false,
        }
    }

    /// The end of an interrupt is told. `true` where it was this pin's.
    pub(crate) const fn end(&mut self, vector: u8) -> bool {
        let ours = self.entry.remote_irr() && self.entry.vector() == vector;
        if ours {
            self.entry.set_remote_irr(false);
        }
        ours
    }

    pub(crate) const fn is_masked(&self) -> bool {
        self.entry.masked()
    }
}
