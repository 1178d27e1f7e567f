//! The interrupt controller of the machine.

use std::fmt;

use clap::ValueEnum;

/// Version of the machine's interrupt controller. The hypervisor gives its guests a virtual one of the same version.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Gic {
    /// GICv2, with a GICv2m frame for messages
    #[value(name = "2")]
    V2,
    /// GICv3, with message-based SPIs
    #[default]
    #[value(name = "3")]
    V3,
}

impl fmt::Display for Gic {
    /// The version's number, as QEMU and our flags take it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V2 => "2",
            Self::V3 => "3",
        })
    }
}
