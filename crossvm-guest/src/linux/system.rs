//! The connections of this VM as Linux lists them: sysfs and the device folder.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::fault::Fault;
use crate::linux::address::PciAddress;
use crate::linux::bar::Bars;
use crate::linux::connection::Connection;
use crate::linux::endpoint::Endpoint;
use crate::linux::error::Error;
use crate::linux::observation::Observation;
use crate::linux::uio_map::UioMap;
use crate::spec;

/// The kernel's driver that serves any PCI function.
pub(crate) const STOCK_DRIVER: &str = "uio_pci_generic";
/// The driver of `guest/linux`.
const OWN_DRIVER: &str = "crossvm";

/// Where the kernel shows its devices: `/sys` and `/dev`, or a copy of them elsewhere.
#[derive(Debug, Clone)]
pub struct System {
    sysfs: PathBuf,
    devices: PathBuf,
}

impl Default for System {
    fn default() -> Self {
        Self::at("/sys", "/dev")
    }
}

/// A PCI function that is a connection, found but not opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Function {
    address: PciAddress,
    folder: PathBuf,
    driver: Option<String>,
    uio: Option<Uio>,
    node: Option<Node>,
    bars: Option<Bars>,
}

/// A UIO device.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Uio {
    device: PathBuf,
    /// What sysfs tells of it.
    folder: PathBuf,
    /// Its maps, where its driver answers interrupts itself; `None` where they cannot be understood.
    maps: Option<Vec<UioMap>>,
}

/// The device node of our own driver.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Node {
    device: PathBuf,
    /// What sysfs tells of it.
    folder: PathBuf,
}

impl Function {
    /// Where it sits.
    #[must_use]
    pub const fn address(&self) -> PciAddress {
        self.address
    }

    /// The driver that holds it.
    #[must_use]
    pub fn driver(&self) -> Option<&str> {
        self.driver.as_deref()
    }

    /// Its UIO device, as `/dev/uio0`.
    #[must_use]
    pub fn uio(&self) -> Option<&Path> {
        self.uio.as_ref().map(|uio| uio.device.as_path())
    }

    /// The maps of its UIO device, where a driver holds it that answers interrupts itself, as seL4's own does: the first shows the event
    /// registers, the next ones dataports. Empty where another driver holds it: what `uio_pci_generic` may map is not needed.
    ///
    /// # Errors
    ///
    /// [`Error::OddDevice`] where sysfs' folder `maps` cannot be understood.
    pub fn uio_maps(&self) -> Result<&[UioMap], Error> {
        match &self.uio {
            Some(uio) => uio.maps.as_deref().ok_or(Error::OddDevice { address: self.address, fault: Fault::Maps }),
            None => Ok(&[]),
        }
    }

    /// The UIO device of such a driver, and the folder in sysfs that tells about it.
    pub(crate) fn mapping_uio(&self) -> Option<(&Path, &Path)> {
        let uio = self.uio.as_ref().filter(|uio| uio.maps.as_ref().is_none_or(|maps| !maps.is_empty()))?;
        Some((&uio.device, &uio.folder))
    }

    /// Its device node where our own driver holds it, as `/dev/crossvm/NAME`.
    #[must_use]
    pub fn node(&self) -> Option<&Path> {
        self.node.as_ref().map(|node| node.device.as_path())
    }

    /// The same, and the folder in sysfs that tells about it.
    pub(crate) fn node_and_folder(&self) -> Option<(&Path, &Path)> {
        self.node.as_ref().map(|node| (node.device.as_path(), node.folder.as_path()))
    }

    /// Its memory BARs.
    ///
    /// # Errors
    ///
    /// [`Error::OddDevice`] where sysfs' `resource` file cannot be understood.
    pub fn bars(&self) -> Result<&Bars, Error> {
        self.bars.as_ref().ok_or(Error::OddDevice { address: self.address, fault: Fault::Resources })
    }

    /// A file of its sysfs folder.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

impl System {
    /// A system whose sysfs is at `sysfs` and whose device files are in `devices`.
    #[must_use]
    pub fn at(sysfs: impl Into<PathBuf>, devices: impl Into<PathBuf>) -> Self {
        Self { sysfs: sysfs.into(), devices: devices.into() }
    }

    /// Where sysfs is.
    pub(crate) fn sysfs(&self) -> &Path {
        &self.sysfs
    }

    /// The folder of the driver `name`, which exists while it is loaded.
    pub(crate) fn driver(&self, name: &str) -> PathBuf {
        self.sysfs.join("bus/pci/drivers").join(name)
    }

    /// All functions that are connections, in the order of their addresses.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] where sysfs cannot be read (is it mounted?).
    pub fn functions(&self) -> Result<Vec<Function>, Error> {
        let folder = self.sysfs.join("bus/pci/devices");
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            // A kernel without a PCI bus has no such folder, as long as sysfs is mounted at all.
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.sysfs.join("bus").is_dir() => return Ok(Vec::new()),
            Err(error) => return Err(Error::io("listing (is sysfs mounted?)", folder, error)),
        };
        let mut functions = Vec::new();
        for entry in entries {
            let folder = entry.map_err(|error| Error::io("listing", &folder, error))?.path();
            let address = folder.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse().ok());
            if let Some(address) = address
                && is_connection(&folder)
            {
                functions.push(self.function(address, folder));
            }
        }
        functions.sort_by_key(Function::address);
        Ok(functions)
    }

    fn function(&self, address: PciAddress, folder: PathBuf) -> Function {
        let driver = fs::read_link(folder.join("driver")).ok();
        let driver = driver.and_then(|driver| Some(driver.file_name()?.to_str()?.to_owned()));
        let uio = fs::read_dir(folder.join("uio")).into_iter().flatten().flatten();
        let uio = uio.map(|entry| entry.path()).find(|folder| folder.file_name().is_some_and(|name| name.as_bytes().starts_with(b"uio")));
        let uio = uio.and_then(|folder| {
            let leaves_events = matches!(driver.as_deref(), None | Some(STOCK_DRIVER | OWN_DRIVER));
            let maps = if leaves_events { Some(Vec::new()) } else { UioMap::list(&folder.join("maps")) };
            Some(Uio { device: self.devices.join(folder.file_name()?), maps, folder })
        });
        let node = fs::read_dir(folder.join("crossvm")).into_iter().flatten().flatten().next();
        let node = node.map(|entry| Node { device: self.devices.join("crossvm").join(entry.file_name()), folder: entry.path() });
        let bars = fs::read_to_string(folder.join("resource")).ok().and_then(|text| Bars::parse(&text));
        Function { address, driver, uio, node, bars, folder }
    }

    /// Opens the connection called `name`, which no driver that takes events itself must hold. A PCI address will do as a name, too.
    ///
    /// # Errors
    ///
    /// [`Error::NoConnections`], [`Error::NoSuchConnection`], [`Error::AmbiguousName`], or what [`Connection::open`] reports.
    pub fn open(&self, name: &str) -> Result<Connection, Error> {
        self.search(name, Connection::open, Connection::name)
    }

    /// Opens the connection called `name`, whichever driver holds it. A PCI address will do as a name, too.
    ///
    /// # Errors
    ///
    /// [`Error::NoConnections`], [`Error::NoSuchConnection`], [`Error::AmbiguousName`], or what [`Endpoint::open`] reports.
    pub fn endpoint(&self, name: &str) -> Result<Endpoint, Error> {
        self.search(name, Endpoint::open, Endpoint::name)
    }

    /// Finds the connection called `name` without opening more than [`Function::observe`] must. A PCI address will do as a name, too.
    ///
    /// # Errors
    ///
    /// [`Error::NoConnections`], [`Error::NoSuchConnection`], [`Error::AmbiguousName`], or what [`Function::observe`] reports.
    pub fn observe(&self, name: &str) -> Result<(Function, Observation), Error> {
        self.search(name, |function| Ok((function.clone(), function.observe()?)), |(_, observation)| &observation.name)
    }

    fn search<T>(&self, name: &str, open: impl Fn(&Function) -> Result<T, Error>, name_of: impl Fn(&T) -> &str) -> Result<T, Error> {
        let functions = self.functions()?;
        if functions.is_empty() {
            return Err(Error::NoConnections);
        }
        if let Some(function) = name.parse().ok().and_then(|address| functions.iter().find(|function| function.address == address)) {
            return open(function);
        }
        let mut found = Vec::new();
        let mut addresses = Vec::new();
        let mut existing = Vec::new();
        let mut failures = Vec::new();
        for function in &functions {
            match open(function) {
                Ok(connection) if name_of(&connection) == name => {
                    found.push(connection);
                    addresses.push(function.address);
                }
                Ok(connection) => existing.push(name_of(&connection).to_owned()),
                Err(error) => failures.push(error),
            }
        }
        match (found.pop(), found.is_empty()) {
            (Some(connection), true) => Ok(connection),
            (Some(_), false) => Err(Error::AmbiguousName { name: name.to_owned(), addresses }),
            // Where no connection could be opened at all, the first reason says more than a list of no names.
            (None, _) if existing.is_empty() && !failures.is_empty() => Err(failures.swap_remove(0)),
            (None, _) => {
                let unreadable = failures.iter().map(ToString::to_string).collect();
                Err(Error::NoSuchConnection { name: name.to_owned(), existing, unreadable })
            }
        }
    }
}

/// Whether the function in `folder` has our vendor and device id.
fn is_connection(folder: &Path) -> bool {
    let id = |file: &str| {
        let text = fs::read_to_string(folder.join(file)).ok()?;
        u16::from_str_radix(text.trim().strip_prefix("0x")?, 16).ok()
    };
    id("vendor") == Some(spec::VENDOR) && id("device") == Some(spec::DEVICE)
}
