//! Which driver holds which connection: chosen through sysfs' `driver_override`, so that one guest can use both.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crossvm_guest::PciAddress;

/// A driver of the connection device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Driver {
    /// The kernel's stock `uio_pci_generic`: INTx.
    Uio,
    /// crossvm's own: MSI-X where the device has it.
    CrossVm,
}

impl Driver {
    /// The driver's name in sysfs.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Uio => "uio_pci_generic",
            Self::CrossVm => "crossvm",
        }
    }

    /// Whether it is loaded.
    fn is_loaded(self) -> bool {
        Path::new("/sys/bus/pci/drivers").join(self.name()).exists()
    }

    /// Loads it, unless it is loaded.
    pub(crate) fn load(self) -> Result<(), String> {
        if self.is_loaded() {
            return Ok(());
        }
        let module = format!("/lib/modules/{}.ko", self.name());
        let output = Command::new("insmod").arg(&module).output().map_err(|error| format!("insmod {module}: {error}"))?;
        if output.status.success() && self.is_loaded() {
            return Ok(());
        }
        Err(format!("insmod {module}: {} {}", output.status, String::from_utf8_lossy(&output.stderr).trim_end()))
    }
}

/// Keeps every driver off the function at `address` until [`bind`].
pub(crate) fn reserve(address: PciAddress) -> Result<(), String> {
    set_override(address, "nobody-yet")
}

/// Gives the function at `address` to `driver`, loading that first.
pub(crate) fn bind(address: PciAddress, driver: Driver) -> Result<(), String> {
    // Before the driver is loaded: it would take all that is free.
    set_override(address, driver.name())?;
    driver.load()?;
    if bound(address).as_deref() == Some(driver.name()) {
        return Ok(());
    }
    write(&PathBuf::from("/sys/bus/pci/drivers_probe"), &address.to_string())?;
    match bound(address) {
        Some(name) if name == driver.name() => Ok(()),
        Some(name) => Err(format!("{address} is held by {name} instead of {}", driver.name())),
        None => Err(format!("{} did not take {address}; dmesg says why", driver.name())),
    }
}

/// The driver that holds the function at `address`.
pub(crate) fn bound(address: PciAddress) -> Option<String> {
    let link = fs::read_link(folder(address).join("driver")).ok()?;
    Some(link.file_name()?.to_str()?.to_owned())
}

/// The function's folder in sysfs.
pub(crate) fn folder(address: PciAddress) -> PathBuf {
    Path::new("/sys/bus/pci/devices").join(address.to_string())
}

fn set_override(address: PciAddress, name: &str) -> Result<(), String> {
    write(&folder(address).join("driver_override"), name)
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|error| format!("writing `{text}` to {}: {error}", path.display()))
}
