//! IOAPIC and 8259 pair with the lines of a PC: an interrupt controller as connections want it.

use crossvm_core::{Bdf, ErrorType, InterruptController, Irq, Level, Message, Width};

use crate::message::{ApicMessage, LocalApics};
use crate::{ChipsetError, Inputs, IoApic, Pic, PicIrq, Pin, Routing};

/// The interrupt controllers of a PC without the local APICs, which are `A`: hardware, a hypervisor's, or a model.
///
/// A line of [`InterruptController`] is a GSI. Its level goes to a pin of the IOAPIC and to an input of the 8259 pair, as [`Routing`] says, and the
/// guest decides which of them it uses. A message goes to the local APICs.
///
/// Interrupts of the IOAPIC and messages are delivered at once. For the 8259 pair, the VMM asks [`interrupt_pending`](Self::interrupt_pending) after
/// each call, and calls [`acknowledge`](Self::acknowledge) when the vCPU that it is wired to takes the interrupt.
///
/// # What cannot be delivered
///
/// A [`set_level`](InterruptController::set_level) that fails leaves the level as it was, and a message that fails is the caller's to send again:
/// connections do both. Where the guest makes something due (an entry unmasked, an end of interrupt) or a pulse does, and the local APICs refuse
/// it, it stays due: the call reports the error, and each later call tries again, as [`retry`](Self::retry) does.
///
/// Contract clauses 2 and 3 of [`InterruptController`] hold for lines whose guest has them level-triggered. For an edge, hardware has other rules:
/// see [`IoApic`] and [`Pic`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Chipset<A, const PINS: usize = 24> {
    ioapic: IoApic<PINS>,
    pic: Pic,
    routing: Routing,
    /// Levels of the GSIs, 32 in each word.
    levels: [u32; 8],
    apics: A,
}

impl<A, const PINS: usize> Chipset<A, PINS> {
    /// At power-on, all lines low. The IOAPIC may have been made with another version or wires.
    #[must_use]
    pub const fn new(ioapic: IoApic<PINS>, routing: Routing, apics: A) -> Self {
        Self { ioapic, pic: Pic::new(), routing, levels: [0; 8], apics }
    }

    /// The IOAPIC: for its [routes](IoApic::route).
    #[must_use]
    pub const fn ioapic(&self) -> &IoApic<PINS> {
        &self.ioapic
    }

    /// The 8259 pair.
    #[must_use]
    pub const fn pic(&self) -> &Pic {
        &self.pic
    }

    /// Where the lines end.
    #[must_use]
    pub const fn routing(&self) -> &Routing {
        &self.routing
    }

    /// The local APICs.
    #[must_use]
    pub const fn apics(&self) -> &A {
        &self.apics
    }

    /// The local APICs, to change.
    #[must_use]
    pub const fn apics_mut(&mut self) -> &mut A {
        &mut self.apics
    }

    /// Back to power-on, for a reset of the VM. Lines keep their levels: they belong to the devices. The local APICs are the VMM's to reset.
    pub fn reset(&mut self) {
        self.ioapic.reset();
        self.pic.reset();
    }

    /// The level of a GSI as it was set last.
    #[must_use]
    pub fn level(&self, gsi: Irq) -> Level {
        let word = self.levels.get(word(gsi)).copied().unwrap_or(0);
        Level::from_asserted(word & bit(gsi) != 0)
    }

    /// The guest loads `width` at `offset` from the IOAPIC's first byte: see [`IoApic::read`].
    #[must_use]
    pub fn ioapic_read(&self, offset: u32, width: Width) -> u64 {
        self.ioapic.read(offset, width)
    }

    /// Whether the 8259 pair asserts its wire to the processor (INTR, or LINT0 of the local APIC).
    #[must_use]
    pub fn interrupt_pending(&self) -> bool {
        self.pic.interrupt_pending()
    }

    /// The processor acknowledges the interrupt of the 8259 pair. Gives its vector.
    pub fn acknowledge(&mut self) -> u8 {
        self.pic.acknowledge()
    }

    /// The guest reads a byte at `port`; `None` where the port is none of the 8259 pair's.
    #[must_use]
    pub fn pic_read(&mut self, port: u16) -> Option<u8> {
        self.pic.read(port)
    }

    /// The guest writes a byte at `port`; `false` where the port is none of the 8259 pair's.
    pub fn pic_write(&mut self, port: u16, value: u8) -> bool {
        self.pic.write(port, value)
    }

    fn keep(&mut self, gsi: Irq, level: Level) {
        if let Some(word) = self.levels.get_mut(word(gsi)) {
            *word = if level.is_high() { *word | bit(gsi) } else { *word & !bit(gsi) };
        }
    }

    /// Brings an input of the 8259 pair to the level of all lines that end there.
    fn drive_pic(&mut self, irq: PicIrq) {
        let high = self.routing.gsis(irq).any(|gsi| self.level(gsi).is_high());
        self.pic.set_level(irq, Level::from_asserted(high));
    }
}

impl<A: LocalApics, const PINS: usize> Chipset<A, PINS> {
    /// The guest stores `width` at `offset` from the IOAPIC's first byte: see [`IoApic::write`]. Gives the pin whose entry has changed.
    ///
    /// # Errors
    /// What the local APICs report of interrupts that the store has made due; they stay due. The pin is [`Unsent::changed`] then.
    pub fn ioapic_write(&mut self, offset: u32, width: Width, value: u64) -> Result<Option<Pin>, Unsent<A::Error>> {
        let changed = self.ioapic.write(offset, width, value);
        self.retry().map(|()| changed).map_err(|error| Unsent { changed, error })
    }

    /// A local APIC has ended a level-triggered interrupt with this vector. A line that is still high interrupts again at once.
    ///
    /// # Errors
    /// What the local APICs report; what they refused stays due.
    pub fn end_of_interrupt(&mut self, vector: u8) -> Result<(), A::Error> {
        self.ioapic.end_of_interrupt(vector);
        self.retry()
    }

    /// One edge on a line, for a device that does not hold it: where the guest has the line edge-triggered, it interrupts once.
    ///
    /// # Errors
    /// [`ChipsetError::NoSuchLine`]; [`ChipsetError::Apic`] where the local APICs refused, and the edge stays due.
    pub fn pulse(&mut self, gsi: Irq) -> Result<(), ChipsetError<A::Error>> {
        let Inputs { ioapic, pic } = self.inputs(gsi)?;
        if let Some(pin) = ioapic {
            // The pin exists: the routing has looked.
            let _ = self.ioapic.pulse(pin);
        }
        if let Some(irq) = pic {
            self.pic.pulse(irq);
        }
        self.retry().map_err(ChipsetError::Apic)
    }

    /// Delivers again what the local APICs refused.
    ///
    /// # Errors
    /// What they report; what they refused stays due.
    pub fn retry(&mut self) -> Result<(), A::Error> {
        self.ioapic.deliver(&mut self.apics)
    }

    fn inputs(&self, gsi: Irq) -> Result<Inputs, ChipsetError<A::Error>> {
        self.routing.inputs(gsi, PINS).ok_or(ChipsetError::NoSuchLine { gsi: gsi.number(), end: Self::END })
    }

    /// The first GSI that does not exist.
    #[expect(clippy::cast_possible_truncation, reason = "at most 240")]
    const END: u32 = if PINS < 24 { 24 } else { PINS as u32 };
}

/// An interrupt that the local APICs refused when the guest wrote to the IOAPIC. It stays due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Unsent<E> {
    /// The pin whose redirection entry has changed all the same.
    pub changed: Option<Pin>,
    /// What the local APICs report.
    pub error: E,
}

impl<E: core::fmt::Display> core::fmt::Display for Unsent<E> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "the local APICs have not taken an interrupt: {}", self.error)
    }
}

impl<E: core::error::Error> core::error::Error for Unsent<E> {}

impl<E: crossvm_core::Error> crossvm_core::Error for Unsent<E> {
    fn kind(&self) -> crossvm_core::ErrorKind {
        self.error.kind()
    }
}

impl<A: LocalApics, const PINS: usize> ErrorType for Chipset<A, PINS> {
    type Error = ChipsetError<A::Error>;
}

impl<A: LocalApics, const PINS: usize> InterruptController for Chipset<A, PINS> {
    fn set_level(&mut self, gsi: Irq, level: Level) -> Result<(), Self::Error> {
        let Inputs { ioapic, pic } = self.inputs(gsi)?;
        match (ioapic, level) {
            (Some(pin), Level::High) => self.ioapic.raise(pin, &mut self.apics).map_err(ChipsetError::Apic)?,
            // The pin exists: the routing has looked. A lowered line never fails.
            (Some(pin), Level::Low) => drop(self.ioapic.set_level(pin, level)),
            (None, _) => {}
        }
        self.keep(gsi, level);
        if let Some(irq) = pic {
            self.drive_pic(irq);
        }
        // Of other pins, whose error has been reported.
        let _ = self.retry();
        Ok(())
    }

    fn deliver_msi(&mut self, _requester: Bdf, message: Message) -> Result<(), Self::Error> {
        let sent = match ApicMessage::from_message(message) {
            Some(message) => self.apics.deliver(message).map_err(ChipsetError::Apic),
            None => Ok(()),
        };
        // Of pins, whose error has been reported.
        let _ = self.retry();
        sent
    }
}

const fn word(gsi: Irq) -> usize {
    (gsi.number() >> 5) as usize
}

const fn bit(gsi: Irq) -> u32 {
    1 << (gsi.number() & 31)
}
