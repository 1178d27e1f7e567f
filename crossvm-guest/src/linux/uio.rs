//! A UIO device of the kernel's `uio_pci_generic`: the function's INTx as a file.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use rustix::io::Errno;

use crate::linux::descriptor::{Descriptor, descriptor_of_field};
use crate::linux::error::Error;
use crate::linux::wait::{InterruptLine, Wake};
use crate::spec::{COMMAND, Command};

/// An open `/dev/uioN` with the configuration space of its function.
///
/// The kernel's handler sets INTX_DISABLE in the command register; [`enable`](InterruptLine::enable) clears it through sysfs'
/// `config` file; [`sleep`](InterruptLine::sleep) is `poll` on the device, and [`acknowledge`](InterruptLine::acknowledge) reads the
/// number of interrupts, which rearms it.
#[derive(Debug)]
pub struct Uio {
    pub(crate) device: Descriptor,
    config: File,
}

impl Uio {
    /// Opens the device at `device`, for this process alone, with the function's `config` file.
    ///
    /// # Errors
    ///
    /// [`Error::Busy`] where another process (or another `Uio`) has it, [`Error::NotPermitted`], [`Error::Io`].
    pub fn open(device: &Path, config: &Path) -> Result<Self, Error> {
        let device = Descriptor::open(device).map_err(|source| Error::io("opening", device, source))?.lock()?;
        let opened = OpenOptions::new().read(true).write(true).open(config);
        Ok(Self { device, config: opened.map_err(|source| Error::io("opening", config, source))? })
    }

    fn failed(&self, doing: &'static str, source: io::Error) -> Error {
        let path = &self.device.path;
        // uio answers EIO where the function has no interrupt.
        match Errno::from_io_error(&source) {
            Some(Errno::IO) => Error::NoInterrupt { device: path.clone() },
            _ => Error::io(doing, path, source),
        }
    }
}

descriptor_of_field!(Uio, device);

impl InterruptLine for Uio {
    fn enable(&mut self) -> Result<(), Error> {
        let mut bytes = [0; size_of::<u16>()];
        self.config.read_exact_at(&mut bytes, COMMAND).map_err(|source| self.failed("reading the command register for", source))?;
        let command = Command::from_bits(u16::from_le_bytes(bytes));
        if command.intx_disable() {
            let bytes = command.with_intx_disable(false).into_bits().to_le_bytes();
            self.config.write_all_at(&bytes, COMMAND).map_err(|source| self.failed("enabling the interrupt of", source))?;
        }
        Ok(())
    }

    fn acknowledge(&mut self) -> Result<(), Error> {
        let interrupts = self.device.read::<{ size_of::<u32>() }>();
        interrupts.map(|_| ()).map_err(|source| self.failed("reading", source))
    }

    fn sleep(&mut self, timeout: Option<Duration>) -> Result<Wake, Error> {
        let wake = self.device.sleep(timeout).map_err(|source| self.failed("waiting on", source))?;
        if wake == Wake::Interrupt {
            self.acknowledge()?;
        }
        Ok(wake)
    }
}
