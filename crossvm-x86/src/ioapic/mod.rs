//! The IOAPIC: what a guest programs, and when which message is due.

mod pin;
mod registers;
#[cfg(test)]
mod tests;

use crossvm_core::{Level, Message};

pub use self::pin::{Pin, Wire};

use self::pin::PinState;
use crate::Error;
use crate::message::{ApicMessage, LocalApics, Trigger};
use crate::spec::ioapic::{Identifier, RedirectionEntry};

/// Which IOAPIC a guest finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum IoApicVersion {
    /// 0x11: the 82093AA.
    #[default]
    V11,
    /// 0x20: with an end-of-interrupt register, as chipsets have it.
    V20,
}

impl IoApicVersion {
    const fn number(self) -> u8 {
        match self {
            Self::V11 => 0x11,
            Self::V20 => 0x20,
        }
    }
}

/// Whether a pin interrupts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Mask {
    /// It does.
    Clear,
    /// It interrupts nobody.
    Set,
}

/// What a pin's redirection entry says, for hypervisors that must know it before the pin interrupts: KVM with a split irqchip takes such
/// messages as routes of the pins, and derives from them the vectors whose end it tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct PinRoute {
    /// The message that the pin sends.
    pub message: Message,
    /// How it is triggered.
    pub trigger: Trigger,
    /// Whether it may be sent now.
    pub mask: Mask,
}

/// An 82093AA with `PINS` inputs, 1 to 240 (more or none do not compile).
///
/// Plain data. After each call that changes something, messages may be due: [`deliver`](Self::deliver) sends them, or a VMM asks
/// [`next_message`](Self::next_message) and says [`sent`](Self::sent). Each pin has at most one message due, which it keeps until it is sent,
/// so none is lost.
///
/// * A level interrupts while it is high, its pin is not masked and remote IRR is clear. Remote IRR is set when the message is sent, and cleared by
///   [`end_of_interrupt`](Self::end_of_interrupt) with the entry's vector: a level that is still high is due again at once. An entry that the
///   guest makes an edge loses remote IRR, which is how guests end an interrupt on version 0x11.
/// * An edge that comes while its pin is masked is ignored (82093AA, §3.2.4; KVM does the same). One that has come before is kept until it is
///   sent, even if the guest masks the pin meanwhile.
/// * SMI, NMI, INIT and `ExtINT` are edges, whatever the entry says. Reserved modes deliver nothing.
///
/// IOREGSEL has 8 bits, which reach 120 entries; with more pins it has 9.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct IoApic<const PINS: usize = 24> {
    version: IoApicVersion,
    id: Identifier,
    select: u16,
    pins: [PinState; PINS],
}

impl<const PINS: usize> IoApic<PINS> {
    /// Bytes of guest-physical addresses that an IOAPIC takes. Registers are in the first 0x50.
    pub const SIZE: u64 = 0x1000;

    /// At power-on, version 0x11, all lines low.
    #[must_use]
    pub const fn new() -> Self {
        const { assert!(PINS >= 1 && PINS <= Pin::COUNT, "an IOAPIC has 1 to 240 pins") };
        Self { version: IoApicVersion::V11, id: Identifier::new(), select: 0, pins: [const { PinState::new() }; PINS] }
    }

    /// Of another version.
    #[must_use]
    pub const fn with_version(mut self, version: IoApicVersion) -> Self {
        self.version = version;
        self
    }

    /// With a pin that is wired as `wire`.
    ///
    /// # Errors
    /// [`Error::NoSuchPin`].
    pub fn with_wire(mut self, pin: Pin, wire: Wire) -> Result<Self, Error> {
        self.pin_mut(pin)?.wire = wire;
        Ok(self)
    }

    /// Back to power-on, for a reset of the VM. Lines keep their levels: they belong to the devices. Messages that were due are forgotten.
    pub fn reset(&mut self) {
        (self.id, self.select) = (Identifier::new(), 0);
        self.pins.iter_mut().for_each(PinState::reset);
    }

    /// Sets the level of a pin's line: [`Level::High`] is asserted, whatever its polarity. Setting it to what it is has no effect.
    ///
    /// # Errors
    /// [`Error::NoSuchPin`].
    pub fn set_level(&mut self, pin: Pin, level: Level) -> Result<(), Error> {
        self.pin_mut(pin)?.set_line(level);
        Ok(())
    }

    /// The level of a pin's line as it was set last; low where there is no such pin.
    #[must_use]
    pub fn level(&self, pin: Pin) -> Level {
        self.pins.get(pin.index()).map_or(Level::Low, PinState::line)
    }

    /// One edge on a pin, as if its line rose and fell. A pin that the guest has level-triggered does not see it.
    ///
    /// # Errors
    /// [`Error::NoSuchPin`].
    pub fn pulse(&mut self, pin: Pin) -> Result<(), Error> {
        self.pin_mut(pin)?.strike();
        Ok(())
    }

    /// A local APIC has ended a level-triggered interrupt with this vector.
    pub fn end_of_interrupt(&mut self, vector: u8) {
        for pin in &mut self.pins {
            pin.end(vector);
        }
    }

    /// The redirection entry of a pin as the guest reads it.
    #[must_use]
    pub fn entry(&self, pin: Pin) -> Option<RedirectionEntry> {
        self.pins.get(pin.index()).map(PinState::entry)
    }

    /// What the redirection entry of a pin says now. It changes only where [`write`](Self::write) names the pin, and at
    /// [`reset`](Self::reset).
    #[must_use]
    pub fn route(&self, pin: Pin) -> Option<PinRoute> {
        let pin = self.pins.get(pin.index())?;
        let mask = if pin.is_masked() { Mask::Set } else { Mask::Clear };
        Some(PinRoute { message: pin.message().into(), trigger: pin.trigger(), mask })
    }

    /// The pins.
    pub fn pins(&self) -> impl Iterator<Item = Pin> + use<PINS> {
        Pin::FIRST.onwards().take(PINS)
    }

    /// The first message that is due, of the pins from `from` on.
    #[must_use]
    pub fn next_message(&self, from: Pin) -> Option<(Pin, ApicMessage)> {
        from.onwards().zip(self.pins.get(from.index()..)?).find(|(_, state)| state.waits()).map(|(pin, state)| (pin, state.message()))
    }

    /// The local APICs have taken the message of `pin` that [`next_message`](Self::next_message) gave.
    pub fn sent(&mut self, pin: Pin) {
        if let Some(pin) = self.pins.get_mut(pin.index()).filter(|pin| pin.waits()) {
            pin.sent();
        }
    }

    /// Delivers every message that is due. Those that are not taken stay due.
    ///
    /// # Errors
    /// The first of the errors; the others have been tried.
    pub fn deliver<A: LocalApics>(&mut self, apics: &mut A) -> Result<(), A::Error> {
        let mut result = Ok(());
        for pin in self.pins.iter_mut().filter(|pin| pin.waits()) {
            match apics.deliver(pin.message()) {
                Ok(()) => pin.sent(),
                Err(error) => result = result.and(Err(error)),
            }
        }
        result
    }

    /// Raises a line and delivers what is due then of its pin; where that fails, the line is not raised.
    pub(crate) fn raise<A: LocalApics>(&mut self, pin: Pin, apics: &mut A) -> Result<(), A::Error> {
        let Some(state) = self.pins.get_mut(pin.index()) else { return Ok(()) };
        let before = *state;
        state.set_line(Level::High);
        if state.waits() {
            if let Err(error) = apics.deliver(state.message()) {
                *state = before;
                return Err(error);
            }
            state.sent();
        }
        Ok(())
    }

    fn pin_mut(&mut self, pin: Pin) -> Result<&mut PinState, Error> {
        self.pins.get_mut(pin.index()).ok_or(Error::NoSuchPin { pin: pin.number(), count: PINS })
    }
}

impl<const PINS: usize> Default for IoApic<PINS> {
    fn default() -> Self {
        Self::new()
    }
}
