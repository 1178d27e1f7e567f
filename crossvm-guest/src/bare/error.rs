//! What can go wrong, said so that the reader knows what to do.

use core::fmt;

use crate::bare::{PhysicalRange, VectorIndex};
use crate::fault::Fault;
use crate::index::DataportIndex;
use crate::rights::Rights;

/// Why an operation failed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Error {
    /// The device holds something that no connection may hold.
    OddDevice(Fault),
    /// A BAR does not fit into what is left of the window.
    WindowFull {
        /// Size of the BAR in bytes.
        size: u64,
    },
    /// The program cannot reach a range of guest-physical memory.
    Unreachable {
        /// The range.
        range: PhysicalRange,
    },
    /// The connection has no such dataport.
    NoSuchDataport {
        /// What was asked for.
        index: DataportIndex,
        /// How many there are.
        count: usize,
    },
    /// The function has no such vector.
    NoSuchVector {
        /// What was asked for.
        vector: VectorIndex,
        /// How many there are.
        count: u16,
    },
    /// A range does not lie in the dataport, or a word in it is not aligned.
    OutOfRange {
        /// First byte of the range.
        offset: usize,
        /// Length of the range in bytes.
        length: usize,
        /// Size of the dataport in bytes.
        size: usize,
    },
    /// This end of the connection may not do that with the dataport.
    NoRight {
        /// What is missing.
        needed: Rights,
        /// What this end has.
        granted: Rights,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OddDevice(fault) => write!(f, "not used: {fault}"),
            Self::WindowFull { size } => write!(f, "a BAR of {size:#x} bytes does not fit into the window: give a larger one"),
            Self::Unreachable { range } => write!(f, "guest-physical memory at {range} cannot be reached: the Hal must map it"),
            Self::NoSuchDataport { index, count } => write!(f, "there is no dataport {index}: the connection has {count}"),
            Self::NoSuchVector { vector, count } => write!(f, "there is no vector {vector}: the function has {count}"),
            Self::OutOfRange { offset, length, size } => {
                write!(f, "{length} bytes from offset {offset} on do not lie in the dataport of {size} bytes, or are not aligned")
            }
            Self::NoRight { needed, granted } => {
                write!(f, "this needs the right {needed} on the dataport, and this end has {granted}: the VM monitor decides it")
            }
        }
    }
}

impl core::error::Error for Error {}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        Self::OddDevice(fault)
    }
}
