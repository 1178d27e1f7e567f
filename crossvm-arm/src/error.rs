//! What the VMM can get wrong. A guest cannot cause an error.

use core::fmt;

use crossvm_core::ErrorKind;

/// Why an interrupt could not be injected. Nothing has changed then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Error {
    /// The distributor has no SPI with this INTID.
    NoSuchInterrupt {
        /// The INTID asked for.
        intid: u32,
        /// The first INTID that does not exist.
        end: u32,
    },
    /// The SPI is for messages: it has no line and no physical interrupt.
    ForMessages {
        /// The INTID asked for.
        intid: u32,
    },
    /// The VM has no such vCPU.
    NoSuchVcpu {
        /// The vCPU's index.
        index: usize,
        /// The number of vCPUs.
        count: usize,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchInterrupt { intid, end } => {
                write!(f, "there is no SPI with INTID {intid}: use one from 32 to {}, or give `Vgic` more SPI words", end.saturating_sub(1))
            }
            Self::ForMessages { intid } => {
                write!(f, "SPI {intid} is for messages and has no line: use one outside of the range given to `Vgic::with_messages`")
            }
            Self::NoSuchVcpu { index, count } => write!(f, "there is no vCPU {index}: the VM has {count}; give `Vgic` more vCPUs"),
        }
    }
}

impl core::error::Error for Error {}

impl crossvm_core::Error for Error {
    fn kind(&self) -> ErrorKind {
        ErrorKind::OutOfRange
    }
}
