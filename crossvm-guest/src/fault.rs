//! What can be wrong with a device.

use core::fmt;

use crate::index::DataportIndex;

/// What is wrong with a device's contents.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Fault {
    /// The NAME register is empty, or holds more than printable ASCII and the padding behind it.
    Name,
    /// The `resource` file of sysfs cannot be understood.
    #[cfg(all(feature = "linux", target_os = "linux"))]
    Resources,
    /// BAR 0 is missing, has no address, or is smaller than the event registers.
    EventPage,
    /// VERSION is 0.
    Version,
    /// DATAPORTS counts more dataports than there are BARs for them.
    TooManyDataports {
        /// What DATAPORTS says.
        claimed: u32,
        /// How many BARs there are.
        bars: usize,
    },
    /// A dataport's true size is zero or more than its BAR's.
    DataportSize {
        /// Which dataport.
        index: DataportIndex,
        /// What its size register says.
        claimed: u64,
        /// Size of its BAR.
        bar: u64,
    },
    /// A BAR has no address, or under Linux the file that maps it is shorter than the BAR.
    ShortBar {
        /// Which BAR.
        bar: usize,
    },
    /// The table or the pending bits of MSI-X do not lie in a BAR.
    Msix,
    /// A BAR is of a kind that PCI does not have.
    BarKind {
        /// Which BAR.
        bar: usize,
    },
    /// The maps of its UIO device cannot be understood, or are not those of its BARs.
    #[cfg(all(feature = "linux", target_os = "linux"))]
    Maps,
    /// A file that our driver shows in sysfs cannot be understood.
    #[cfg(all(feature = "linux", target_os = "linux"))]
    Attribute {
        /// Which file.
        #[cfg_attr(feature = "defmt", defmt(Debug2Format))]
        file: std::string::String,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name => f.write_str("its NAME register is empty or holds more than printable ASCII padded with zeros"),
            #[cfg(all(feature = "linux", target_os = "linux"))]
            Self::Resources => f.write_str("its sysfs file `resource` cannot be understood"),
            Self::EventPage => {
                f.write_str("BAR 0 is missing, has no address, or is too small for the event registers; under Linux, see dmesg")
            }
            Self::Version => f.write_str("it has the extended signature, but VERSION is 0"),
            Self::TooManyDataports { claimed, bars } => write!(f, "it claims {claimed} dataports and has BARs for {bars}"),
            Self::DataportSize { index, claimed, bar } => {
                write!(f, "dataport {index} claims {claimed} bytes, which is zero or more than its BAR's {bar}")
            }
            #[cfg(all(feature = "linux", target_os = "linux"))]
            Self::Attribute { file } => write!(f, "its sysfs file `crossvm/NAME/{file}` cannot be understood: is the driver a newer one?"),
            #[cfg(all(feature = "linux", target_os = "linux"))]
            Self::Maps => f.write_str("the `maps` of its UIO device in sysfs cannot be understood, or do not show its BARs"),
            Self::ShortBar { bar } => write!(f, "BAR {bar} has no address, or (under Linux) its file is shorter than the BAR; see dmesg"),
            Self::Msix => f.write_str("the table or the pending bits of its MSI-X do not lie in a BAR"),
            Self::BarKind { bar } => write!(f, "BAR {bar} is of a kind that PCI does not have"),
        }
    }
}
