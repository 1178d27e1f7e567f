//! Giving connections to the kernel's `uio_pci_generic`.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::linux::address::PciAddress;
use crate::linux::connection::exists;
use crate::linux::error::Error;
use crate::linux::system::{Function, STOCK_DRIVER, System};
use crate::spec;

/// Which functions to bind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Those without a driver.
    Free,
    /// All: those that another driver holds are taken from it.
    All,
}

/// A function that `uio_pci_generic` holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bound {
    /// The function.
    pub address: PciAddress,
    /// Its UIO device.
    pub device: PathBuf,
}

impl System {
    /// Makes `uio_pci_generic` take the connections of this VM, and returns those it holds then. Binding twice does no harm.
    ///
    /// # Errors
    ///
    /// [`Error::NoConnections`], [`Error::DriverMissing`] where the module is not loaded, [`Error::NotPermitted`],
    /// [`Error::BindFailed`] where the driver refuses, [`Error::Io`].
    pub fn bind(&self, scope: Scope) -> Result<Vec<Bound>, Error> {
        let functions = self.functions()?;
        if functions.is_empty() {
            return Err(Error::NoConnections);
        }
        let driver = self.driver(STOCK_DRIVER);
        if !exists(&driver) {
            return Err(Error::DriverMissing);
        }
        // From now on the driver takes the functions that have none, those that are plugged in later too.
        let id = format!("{:04x} {:04x}", spec::VENDOR, spec::DEVICE);
        match write(&driver.join("new_id"), &id) {
            // The driver has the id already.
            Err(Error::Io { source, .. }) if Errno::from_io_error(&source) == Some(Errno::EXIST) => {}
            other => other?,
        }
        for function in self.functions()? {
            match (function.driver(), scope) {
                (Some(STOCK_DRIVER), _) => continue,
                (Some(_), Scope::Free) => continue,
                (Some(_), Scope::All) => write(&function.file("driver/unbind"), &function.address().to_string())?,
                // It was unbound by hand before: a known id does not bring it back.
                (None, _) => {}
            }
            match write(&driver.join("bind"), &function.address().to_string()) {
                Err(Error::Io { source, .. }) => return Err(Error::BindFailed { address: function.address(), source: Some(source) }),
                other => other?,
            }
        }
        let functions = self.functions()?;
        let left_alone = |function: &Function| scope == Scope::Free && function.driver().is_some_and(|driver| driver != STOCK_DRIVER);
        functions.iter().filter(|function| !left_alone(function)).map(bound).collect()
    }
}

/// The function as bound, or an error where another driver, or none, holds it.
fn bound(function: &Function) -> Result<Bound, Error> {
    let address = function.address();
    let device = function.uio().filter(|device| function.driver() == Some(STOCK_DRIVER) && exists(device));
    device.map(|device| Bound { address, device: device.to_owned() }).ok_or(Error::BindFailed { address, source: None })
}

/// Writes `text` to a file of sysfs, which takes it as one command.
fn write(path: &Path, text: &str) -> Result<(), Error> {
    let file = OpenOptions::new().write(true).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes())).map_err(|error| Error::io("writing to", path, error))
}
