//! The guest's interrupts: lines and messages, each with a vector, and nothing else of a PC's controllers.
//!
//! A line is a level and interrupts for as long as it is high and the guest takes interrupts; there is no mask beside EFLAGS.IF, and no end of
//! interrupt. So a handler lowers its line (it clears COUNT) before it returns, as every handler of a level does. crossvm-x86 is to bring the
//! controllers that an operating system wants.

use core::fmt;

use crossvm_core::{Bdf, ErrorKind, ErrorType, InterruptController, Irq, IrqAllocator, Level, Message};

use super::spec::{DeliveryMode, MessageAddress, MessageData};

/// A vector that interrupts may have: 32 to 255, those below are the processor's exceptions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Vector(u8);

impl Vector {
    /// The first.
    pub const FIRST: Self = Self(32);

    /// The vector `number`, if interrupts may have it.
    #[must_use]
    pub const fn new(number: u8) -> Option<Self> {
        if number >= Self::FIRST.0 { Some(Self(number)) } else { None }
    }

    /// Its number.
    #[must_use]
    pub const fn number(self) -> u8 {
        self.0
    }
}

/// What the VMM can get wrong. A guest cannot cause it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum LineError {
    /// There is no such line.
    NoSuchLine {
        /// The line asked for.
        line: u32,
        /// How many lines there are.
        count: u8,
    },
    /// All lines are in use.
    NoneFree {
        /// How many lines there are.
        count: u8,
    },
}

impl fmt::Display for LineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchLine { line, count } => write!(f, "there is no line {line}: the guest has {count}"),
            Self::NoneFree { count } => write!(f, "all {count} lines are in use: share one, or use messages"),
        }
    }
}

impl core::error::Error for LineError {}

impl crossvm_core::Error for LineError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NoSuchLine { .. } => ErrorKind::OutOfRange,
            Self::NoneFree { .. } => ErrorKind::Exhausted,
        }
    }
}

/// A guest's lines and messages.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Lines {
    count: u8,
    first: Vector,
    high: u32,
    /// Vectors of messages that the guest has not taken, 32 in each word.
    messages: [u32; 8],
}

impl Lines {
    /// Most lines that there can be.
    pub const MOST: u8 = 32;

    /// `count` lines, at most [`Lines::MOST`] and as many as there are vectors, all low. Line 0 has the vector `first`, the others follow.
    #[must_use]
    pub const fn new(count: u8, first: Vector) -> Self {
        let vectors = u8::MAX.saturating_sub(first.0).saturating_add(1);
        let most = if vectors < Self::MOST { vectors } else { Self::MOST };
        Self { count: if count < most { count } else { most }, first, high: 0, messages: [0; 8] }
    }

    /// The vector of a line.
    ///
    /// # Errors
    /// [`LineError::NoSuchLine`].
    pub fn vector(&self, irq: Irq) -> Result<Vector, LineError> {
        let line = self.line(irq)?;
        self.first.0.checked_add(line).map(Vector).ok_or(LineError::NoSuchLine { line: irq.number(), count: self.count })
    }

    /// The line's number.
    fn line(&self, irq: Irq) -> Result<u8, LineError> {
        let none = LineError::NoSuchLine { line: irq.number(), count: self.count };
        u8::try_from(irq.number()).ok().filter(|line| *line < self.count).ok_or(none)
    }

    /// The highest vector that interrupts, if the guest takes interrupts.
    #[must_use]
    pub fn pending(&self) -> Option<Vector> {
        let line = highest(self.high).and_then(|line| self.first.0.checked_add(line));
        let message = (0..8_u8).zip(self.messages).filter_map(|(index, word)| index.checked_mul(32)?.checked_add(highest(word)?));
        line.into_iter().chain(message).max().map(Vector)
    }

    /// The guest takes a vector: what was a message is done, a line stays as it is. `true` where it was a message.
    pub fn take(&mut self, vector: Vector) -> bool {
        let Some(word) = self.messages.get_mut(usize::from(vector.0 / 32)) else { return false };
        let message = *word & bit(vector.0) != 0;
        *word &= !bit(vector.0);
        message
    }

    /// Keeps a message for the guest: a new one, or one that it has not taken after all.
    pub fn keep(&mut self, message: Vector) {
        if let Some(word) = self.messages.get_mut(usize::from(message.0 / 32)) {
            *word |= bit(message.0);
        }
    }

    /// As at power-on: all low, no message.
    pub fn reset(&mut self) {
        *self = Self::new(self.count, self.first);
    }
}

/// Number of the highest bit that is set.
fn highest(word: u32) -> Option<u8> {
    u8::try_from(word.checked_ilog2()?).ok()
}

/// The bit of a number in its word of 32.
const fn bit(number: u8) -> u32 {
    1 << (number & 31)
}

impl ErrorType for Lines {
    type Error = LineError;
}

impl InterruptController for Lines {
    fn set_level(&mut self, irq: Irq, level: Level) -> Result<(), LineError> {
        let bit = bit(self.line(irq)?);
        if level.is_high() {
            self.high |= bit;
        } else {
            self.high &= !bit;
        }
        Ok(())
    }

    /// Fixed delivery to the guest's one processor, whose identifier is 0, by that identifier; a message of another kind is dropped.
    fn deliver_msi(&mut self, _requester: Bdf, message: Message) -> Result<(), LineError> {
        let (address, data) = (MessageAddress::from_bits(message.address), MessageData::from_bits(message.data));
        let here = MessageAddress::new().with_base(MessageAddress::BASE);
        if address != here || !matches!(data.mode(), DeliveryMode::Fixed | DeliveryMode::LowestPriority) {
            return Ok(());
        }
        if let Some(vector) = Vector::new(data.vector()) {
            self.keep(vector);
        }
        Ok(())
    }
}

/// Hands out the lines of a guest.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct FreeLines {
    count: u8,
    used: u32,
}

impl FreeLines {
    /// All of `count` lines are free; at most [`Lines::MOST`].
    #[must_use]
    pub const fn new(count: u8) -> Self {
        Self { count: if count < Lines::MOST { count } else { Lines::MOST }, used: 0 }
    }
}

impl ErrorType for FreeLines {
    type Error = LineError;
}

impl IrqAllocator for FreeLines {
    fn allocate(&mut self) -> Result<Irq, LineError> {
        let free = u8::try_from(self.used.trailing_ones()).ok().filter(|line| *line < self.count);
        let line = free.ok_or(LineError::NoneFree { count: self.count })?;
        self.used |= bit(line);
        Ok(Irq::new(u32::from(line)))
    }

    fn release(&mut self, irq: Irq) {
        if let Some(line) = u8::try_from(irq.number()).ok().filter(|line| *line < self.count) {
            self.used &= !bit(line);
        }
    }
}
