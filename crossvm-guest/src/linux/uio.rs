//! A UIO device of the kernel's `uio_pci_generic`: the function's INTx as a file.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::linux::error::Error;
use crate::linux::wait::{InterruptLine, Wake};
use crate::spec::{COMMAND, Command};

/// An open `/dev/uioN` with the configuration space of its function.
///
/// The kernel's handler sets INTX_DISABLE in the command register; [`enable`](InterruptLine::enable) clears it through sysfs'
/// `config` file; [`sleep`](InterruptLine::sleep) is `poll` on the device, and reads the number of interrupts, which rearms it.
#[derive(Debug)]
pub struct Uio {
    path: PathBuf,
    device: File,
    config: File,
}

impl Uio {
    /// Opens the device at `device`, for this process alone, with the function's `config` file.
    ///
    /// # Errors
    ///
    /// [`Error::Busy`] where another process (or another `Uio`) has it, [`Error::NotPermitted`], [`Error::Io`].
    pub fn open(device: &Path, config: &Path) -> Result<Self, Error> {
        let open = |path: &Path| OpenOptions::new().read(true).write(true).open(path).map_err(|source| Error::io("opening", path, source));
        let path = device.to_owned();
        let device = open(device)?;
        // Two takers would count the same events twice.
        match flock(&device, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { device, config: open(config)?, path }),
            Err(Errno::WOULDBLOCK) => Err(Error::Busy { device: path }),
            Err(source) => Err(Error::io("locking", path, source.into())),
        }
    }

    fn failed(&self, doing: &'static str, source: io::Error) -> Error {
        // uio answers EIO where the function has no interrupt.
        match Errno::from_io_error(&source) {
            Some(Errno::IO) => Error::NoInterrupt { device: self.path.clone() },
            _ => Error::io(doing, &self.path, source),
        }
    }
}

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

    fn sleep(&mut self, timeout: Option<Duration>) -> Result<Wake, Error> {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        loop {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            let left = left.and_then(|left| Timespec::try_from(left).ok());
            match poll(&mut [PollFd::new(&self.device, PollFlags::IN)], left.as_ref()) {
                Ok(0) => return Ok(Wake::TimedOut),
                Ok(_) => break,
                Err(Errno::INTR) => {}
                Err(source) => return Err(self.failed("waiting on", source.into())),
            }
        }
        let mut interrupts = [0; size_of::<u32>()];
        self.device.read_exact(&mut interrupts).map_err(|source| self.failed("reading", source))?;
        Ok(Wake::Interrupt)
    }
}
