//! What this end of a connection may do with a dataport.

use core::fmt;

use crate::spec::RightsRegister;

/// What this end of a connection may do with a dataport.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Rights {
    /// Neither read nor write.
    None,
    /// Read only.
    Read,
    /// Write only.
    Write,
    /// Read and write.
    ReadWrite,
}

impl Rights {
    /// Whether reading is allowed.
    #[must_use]
    pub const fn can_read(self) -> bool {
        matches!(self, Self::Read | Self::ReadWrite)
    }

    /// Whether writing is allowed.
    #[must_use]
    pub const fn can_write(self) -> bool {
        matches!(self, Self::Write | Self::ReadWrite)
    }
}

impl From<RightsRegister> for Rights {
    fn from(register: RightsRegister) -> Self {
        match (register.read(), register.write()) {
            (false, false) => Self::None,
            (true, false) => Self::Read,
            (false, true) => Self::Write,
            (true, true) => Self::ReadWrite,
        }
    }
}

impl fmt::Display for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::None => "--",
            Self::Read => "r-",
            Self::Write => "-w",
            Self::ReadWrite => "rw",
        })
    }
}
