//! What the VMM can get wrong, and what local APICs report. A guest cannot cause the first.

use core::fmt;

use crossvm_core::ErrorKind;

/// What the VMM can get wrong. Nothing has changed then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Error {
    /// The IOAPIC has no such pin.
    NoSuchPin {
        /// The pin asked for.
        pin: u8,
        /// How many pins there are.
        count: usize,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchPin { pin, count } => write!(f, "there is no pin {pin}: the IOAPIC has {count}; give `IoApic` more"),
        }
    }
}

impl core::error::Error for Error {}

impl crossvm_core::Error for Error {
    fn kind(&self) -> ErrorKind {
        ErrorKind::OutOfRange
    }
}

/// Why a [`Chipset`](crate::Chipset) could not do what it was asked to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum ChipsetError<E> {
    /// No GSI has this number. 2 is none: the slave 8259 is there, and the timer's interrupt at pin 2 is GSI 0.
    NoSuchLine {
        /// The number asked for.
        gsi: u32,
        /// The first number that does not exist.
        end: u32,
    },
    /// The local APICs have not taken an interrupt.
    Apic(E),
}

impl<E: fmt::Display> fmt::Display for ChipsetError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchLine { gsi, end } => write!(f, "there is no GSI {gsi}: use one below {end} that is not 2"),
            Self::Apic(error) => write!(f, "the local APICs have not taken an interrupt: {error}"),
        }
    }
}

impl<E: core::error::Error> core::error::Error for ChipsetError<E> {}

impl<E: crossvm_core::Error> crossvm_core::Error for ChipsetError<E> {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NoSuchLine { .. } => ErrorKind::OutOfRange,
            Self::Apic(error) => error.kind(),
        }
    }
}
