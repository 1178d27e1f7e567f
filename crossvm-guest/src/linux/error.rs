//! What can go wrong, said so that the reader knows what to do.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::fault::Fault;
use crate::index::DataportIndex;
use crate::linux::address::PciAddress;
use crate::rights::Rights;
use crate::spec;

/// Why an operation failed. `Display` says what to do about it.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// No PCI function of this VM is a connection.
    NoConnections,
    /// No connection has this name.
    NoSuchConnection {
        /// What was asked for.
        name: String,
        /// The names that exist.
        existing: Vec<String>,
        /// Functions whose name could not be read, and why.
        unreadable: Vec<String>,
    },
    /// More than one connection has this name.
    AmbiguousName {
        /// The name.
        name: String,
        /// The functions that bear it.
        addresses: Vec<PciAddress>,
    },
    /// The connection has no such dataport.
    NoSuchDataport {
        /// Name of the connection.
        connection: String,
        /// What was asked for.
        index: DataportIndex,
        /// How many dataports there are.
        count: usize,
    },
    /// A range does not lie in the dataport.
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
    /// The dataport is too small for a message channel.
    TooSmall {
        /// Size of the dataport in bytes.
        size: usize,
    },
    /// The function has no `/dev/uio` device, so nobody can wait for its events.
    NotBound {
        /// The function.
        address: PciAddress,
        /// The driver that holds it, if any.
        driver: Option<String>,
    },
    /// Our own driver holds the function, and lets nobody else at its registers.
    HasNode {
        /// The function.
        address: PciAddress,
        /// Its device node.
        device: PathBuf,
    },
    /// A UIO driver holds the function that answers interrupts itself, and would take the events away.
    HasMaps {
        /// The function.
        address: PciAddress,
        /// The driver.
        driver: String,
    },
    /// No UIO driver holds the function that answers interrupts itself and maps its memory.
    NoMaps {
        /// The function.
        address: PciAddress,
        /// The driver that holds it, if any.
        driver: Option<String>,
    },
    /// Our own driver does not hold the function, so it has no `/dev/crossvm` node.
    NoNode {
        /// The function.
        address: PciAddress,
    },
    /// The function was taken away while its device node was open.
    Gone {
        /// The device node.
        device: PathBuf,
    },
    /// The kernel has not switched the function's memory on.
    MemoryOff {
        /// The function.
        address: PciAddress,
    },
    /// The driver is not in the kernel.
    DriverMissing,
    /// The driver was told to take the function and did not.
    BindFailed {
        /// The function.
        address: PciAddress,
        /// What the kernel answered, where it answered with an error.
        source: Option<io::Error>,
    },
    /// The kernel has given the function no interrupt.
    NoInterrupt {
        /// The function's UIO device.
        device: PathBuf,
    },
    /// Another process waits for the events of this connection.
    Busy {
        /// The function's UIO device.
        device: PathBuf,
    },
    /// The operation needs root.
    NotPermitted {
        /// What may not be opened or written.
        path: PathBuf,
    },
    /// A device holds something that no connection may hold.
    OddDevice {
        /// The function.
        address: PciAddress,
        /// What is wrong with it.
        fault: Fault,
    },
    /// The text is not a PCI address.
    BadAddress {
        /// The text.
        text: String,
    },
    /// The kernel refused something.
    Io {
        /// What was being done.
        doing: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the kernel answered.
        source: io::Error,
    },
}

impl Error {
    /// Makes an error of a failed access to `path`: a missing right and all else apart.
    pub(crate) fn io(doing: &'static str, path: impl Into<PathBuf>, source: io::Error) -> Self {
        let path = path.into();
        match source.kind() {
            io::ErrorKind::PermissionDenied => Self::NotPermitted { path },
            _ => Self::Io { doing, path, source },
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoConnections => {
                let (vendor, device) = (spec::VENDOR, spec::DEVICE);
                write!(f, "this VM has no connections: no PCI function is {vendor:04x}:{device:04x}; the VM monitor must install one")
            }
            Self::NoSuchConnection { name, existing, unreadable } => {
                write!(f, "no connection is named '{}'; ", name.escape_default())?;
                match existing.as_slice() {
                    [] => f.write_str("none has a readable name")?,
                    names => write!(f, "there are: {}", names.join(", "))?,
                }
                unreadable.iter().try_for_each(|line| write!(f, "; {line}"))
            }
            Self::AmbiguousName { name, addresses } => {
                write!(f, "more than one connection is named '{name}': give the PCI address instead:")?;
                addresses.iter().try_for_each(|address| write!(f, " {address}"))
            }
            Self::NoSuchDataport { connection, index, count } => match count {
                0 => write!(f, "connection '{connection}' has no dataport, only events"),
                1 => write!(f, "connection '{connection}' has no dataport {index}: its only one is 0"),
                _ => write!(f, "connection '{connection}' has no dataport {index}: it has 0 to {}", count.saturating_sub(1)),
            },
            Self::OutOfRange { offset, length, size } => {
                write!(f, "{length} bytes from offset {offset} on do not lie in the dataport, which has {size} bytes")
            }
            Self::NoRight { needed, granted } => {
                write!(f, "this needs the right {needed} on the dataport, and this end has {granted}: the VM monitor decides it")
            }
            Self::TooSmall { size } => {
                write!(f, "the dataport has {size} bytes, and a message channel takes {}", crossvm_channel::spec::MIN_SIZE)
            }
            Self::NotBound { address, driver: None } => {
                write!(f, "{address} has no driver, so its events cannot be waited for: run `crossvm bind` as root")
            }
            Self::NotBound { address, driver: Some(driver) } => {
                write!(f, "{address} is held by driver '{driver}', which gives no UIO device: run `crossvm bind --all` as root")
            }
            Self::HasNode { address, device } => {
                write!(f, "{address} is held by the driver 'crossvm': use {}", device.display())
            }
            Self::HasMaps { address, driver } => write!(
                f,
                "{address} is held by the driver '{driver}', which answers its interrupts: use it through that driver, or run `crossvm bind --all` as \
                 root"
            ),
            Self::NoMaps { address, driver } => {
                let driver = driver.as_deref().unwrap_or("none");
                write!(f, "{address} has no UIO device that maps its memory and answers its interrupts (driver: {driver})")
            }
            Self::NoNode { address } => write!(f, "{address} is not held by the driver 'crossvm': load its module (crossvm.ko) as root"),
            Self::Gone { device } => write!(f, "{}: the connection was removed, or unbound from its driver", device.display()),
            Self::MemoryOff { address } => write!(f, "the kernel has not switched on {address}: run `crossvm bind` as root"),
            Self::DriverMissing => f.write_str("the kernel module is not loaded: run `modprobe uio_pci_generic` as root"),
            Self::BindFailed { address, source } => {
                write!(f, "uio_pci_generic did not take {address}")?;
                if let Some(source) = source {
                    write!(f, " ({source})")?;
                }
                f.write_str(": dmesg says why")
            }
            Self::NoInterrupt { device } => {
                let device = device.display();
                write!(f, "{device} has no interrupt: the kernel found no route for the function's pin A; the VM monitor must describe one")
            }
            Self::Busy { device } => {
                write!(f, "another process waits for the events of {}: only one may, end it first", device.display())
            }
            Self::NotPermitted { path } => {
                write!(f, "not permitted to use {}: run as root (a locked-down kernel refuses root too)", path.display())
            }
            Self::OddDevice { address, fault } => write!(f, "{address} is not used: {fault}"),
            Self::BadAddress { text } => {
                write!(f, "'{}' is not a PCI address: it looks like 0000:00:01.0", text.escape_default())
            }
            Self::Io { doing, path, source } => write!(f, "{doing} {}: {source}", path.display()),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        // `Display` already shows the sources, and a reader should not see them twice.
        None
    }
}
