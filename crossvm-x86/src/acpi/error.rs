//! What the tables cannot say.

use core::fmt;

use crossvm_core::{ErrorKind, GuestAddr, GuestRange};

use super::{Machine, Tables};

/// What the tables cannot say of a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum AcpiError {
    /// There are no vCPUs, or more than local APICs have identifiers: 1 to 254.
    Vcpus {
        /// How many.
        vcpus: u8,
    },
    /// The IOAPIC is not below 4 GiB.
    IoApicTooHigh {
        /// Where it is.
        at: GuestAddr,
    },
    /// A region of configuration space has 1 to 256 buses.
    Buses {
        /// How many it has.
        buses: u16,
    },
    /// A window is of all addresses, whose size no descriptor can say.
    Window {
        /// The window.
        window: GuestRange,
    },
    /// The tables are not aligned to 64 bytes.
    Misaligned {
        /// Where they would be.
        at: GuestAddr,
    },
    /// The tables are not below 4 GiB.
    TooHigh {
        /// Where they would be.
        at: GuestAddr,
    },
    /// A table is longer than its length says.
    TooLong,
}

impl fmt::Display for AcpiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Vcpus { vcpus } => write!(f, "{vcpus} vCPUs: ACPI tables are for 1 to 254"),
            Self::IoApicTooHigh { at } => write!(f, "the IOAPIC at {at} is not below 4 GiB"),
            Self::Buses { buses } => write!(f, "configuration space of {buses} buses: 1 to 256 can be described"),
            Self::Window { window } => write!(f, "the window {window} is of all addresses"),
            Self::Misaligned { at } => write!(f, "ACPI tables at {at}: use a multiple of {}", Tables::ALIGNMENT),
            Self::TooHigh { at } => write!(f, "ACPI tables at {at} are not below 4 GiB"),
            Self::TooLong => f.write_str("a table of 4 GiB or more"),
        }
    }
}

impl core::error::Error for AcpiError {}

impl crossvm_core::Error for AcpiError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Misaligned { .. } => ErrorKind::Misaligned,
            _ => ErrorKind::OutOfRange,
        }
    }
}

/// What can be said before anything is made.
pub(super) fn check(machine: &Machine<'_>, at: GuestAddr) -> Result<(), AcpiError> {
    if !(1..=254).contains(&machine.vcpus) {
        return Err(AcpiError::Vcpus { vcpus: machine.vcpus });
    }
    if !at.is_aligned(Tables::ALIGNMENT) {
        return Err(AcpiError::Misaligned { at });
    }
    Ok(())
}
