//! A connection that another UIO driver holds, as seL4's own driver for Linux: `/dev/uioN`, its maps, and its count of interrupts.
//!
//! Where `uio_pci_generic` leaves the registers to user space, such a driver answers the interrupt itself: its handler reads COUNT and clears
//! it. So COUNT tells user space nothing. What is left is the number that UIO counts, that of the interrupts.
//!
//! ```text
//!  /dev/uioN   mmap at 0 pages ──▶ event registers: NAME, and EMIT to signal the peer
//!              mmap at i pages ──▶ dataport i - 1
//!              poll, read      ──▶ how many interrupts there have been; readable when more have come than were read
//!  sysfs       uio/uioN/maps   ──▶ where the maps are and how large
//!              uio/uioN/event  ──▶ how many interrupts there have been, without taking them
//! ```

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::io::Errno;

use crate::count::{EventCount, Profile};
use crate::fault::Fault;
use crate::index::DataportIndex;
use crate::linux::address::PciAddress;
use crate::linux::bar::Bar;
use crate::linux::connection::{dataports, exists, memory_is_on};
use crate::linux::dataport::{Caching, Dataport, DataportInfo};
use crate::linux::descriptor::{Descriptor, descriptor_of_field};
use crate::linux::error::Error;
use crate::linux::event_page::EventPage;
use crate::linux::system::Function;
use crate::linux::wait::{CountingDescriptor, Patience, Prepared, Taken, Wake};
use crate::raw::{Map, full_barrier};
use crate::rights::Rights;

/// The name of seL4's driver. It maps memory as its kernel's own memory is mapped; UIO offers other drivers uncached maps only.
const REFERENCE_DRIVER: &str = "connector";

/// An opened connection of a UIO driver that answers interrupts itself, as seL4's does.
///
/// # What is counted
///
/// Interrupts, not events: the driver clears COUNT and keeps no sum. One interrupt stands for one event or for many, and after an event that was
/// emitted when all earlier ones had been taken there is at least one interrupt. So a program is woken up for every event, and must find out
/// in the dataport what there is to do; a protocol that waits for an answer before it emits again is exact here too. Interrupts that came before
/// this value was opened are not counted: look into the dataport once before the first wait.
#[derive(Debug)]
pub struct UioConnection {
    function: Function,
    device: Descriptor,
    /// What sysfs tells of the UIO device.
    folder: PathBuf,
    events: EventPage,
    dataports: Vec<DataportInfo>,
    /// How many interrupts there had been when they were last taken. UIO's count wraps, and so does this.
    taken: AtomicU32,
}

impl UioConnection {
    /// Opens the connection that `function` is.
    ///
    /// # Errors
    ///
    /// [`Error::NoMaps`] where no such driver holds it, [`Error::NotPermitted`], [`Error::MemoryOff`], [`Error::OddDevice`] where the device's
    /// contents cannot be or its maps are not those of its BARs, [`Error::Io`].
    pub fn open(function: &Function) -> Result<Self, Error> {
        let address = function.address();
        let odd = |fault| Error::OddDevice { address, fault };
        let (path, folder) =
            function.mapping_uio().ok_or_else(|| Error::NoMaps { address, driver: function.driver().map(str::to_owned) })?;
        let bars = function.bars()?;
        let event_bar = bars.event_page().ok_or(odd(Fault::EventPage))?;
        memory_is_on(function)?;
        let device = Descriptor::open(path).map_err(|error| Error::io("opening", path, error))?;
        let map = map(function, &device, event_bar, event_bar.size(), Rights::ReadWrite)?;
        let events = EventPage::new(map, bars.dataports().len()).map_err(odd)?;
        let mut dataports = dataports(bars.dataports(), &events).map_err(odd)?;
        // UIO has five maps at most, and seL4's driver makes none behind a BAR of 64 bits.
        let maps = function.uio_maps()?;
        dataports.retain(|info| maps.iter().any(|map| map.address() == info.bar.address()));
        let taken = interrupts(folder)?.into();
        Ok(Self { function: function.clone(), device, folder: folder.to_owned(), events, dataports, taken })
    }

    /// The connection's name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.events.name()
    }

    /// Where the function sits.
    #[must_use]
    pub const fn address(&self) -> PciAddress {
        self.function.address()
    }

    /// The function as it was when the connection was opened.
    #[must_use]
    pub const fn function(&self) -> &Function {
        &self.function
    }

    /// The UIO device.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.device.path
    }

    /// Which registers the device has. Whichever: the driver knows those of the reference profile only.
    #[must_use]
    pub const fn profile(&self) -> Profile {
        self.events.profile()
    }

    /// The dataports that the driver maps, in order: not more than four, and none behind one of 64 bits.
    #[must_use]
    pub fn dataports(&self) -> &[DataportInfo] {
        &self.dataports
    }

    /// Interrupts that came since this was opened and that nobody has taken from it yet.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    pub fn pending(&self) -> Result<EventCount, Error> {
        let now = interrupts(&self.folder)?;
        Ok(EventCount::new(now.wrapping_sub(self.taken.load(Ordering::Relaxed))))
    }

    /// Emits of this end that could not be delivered; `None` in the reference profile, which does not count them.
    #[must_use]
    pub fn dropped(&self) -> Option<u32> {
        self.events.dropped()
    }

    /// Signals the peer: [`EventPage::emit`].
    pub fn emit(&self) {
        self.events.emit();
    }

    /// Maps dataport `index`.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchDataport`], [`Error::OddDevice`] where its map is shorter than its BAR, [`Error::Io`].
    pub fn dataport(&self, index: DataportIndex) -> Result<Dataport, Error> {
        let Some(info) = self.dataports.iter().find(|info| info.index == index) else {
            return Err(Error::NoSuchDataport { connection: self.name().to_owned(), index, count: self.dataports.len() });
        };
        let map = map(&self.function, &self.device, &info.bar, info.size, info.rights)?;
        let caching = if self.function.driver() == Some(REFERENCE_DRIVER) { Caching::Cacheable } else { Caching::Device };
        Ok(Dataport::new(map, info.rights, caching))
    }

    /// Makes ready to wait for interrupts. Only one waiter of this library can exist at a time, in all processes.
    ///
    /// # Errors
    ///
    /// [`Error::Busy`], [`Error::NotPermitted`], [`Error::Io`].
    pub fn waiter(&self) -> Result<UioWaiter<'_>, Error> {
        let path = &self.device.path;
        let device = Descriptor::open(path).map_err(|error| Error::io("opening", path, error))?.lock()?;
        Ok(UioWaiter { connection: self, device, early: true })
    }
}

/// The one who waits for the interrupts of a [`UioConnection`].
#[derive(Debug)]
pub struct UioWaiter<'connection> {
    connection: &'connection UioConnection,
    pub(crate) device: Descriptor,
    /// Interrupts may have come before `device` was opened, which it does not tell of.
    early: bool,
}

impl UioWaiter<'_> {
    /// Takes the interrupts that came, waiting for the first as long as `patience` allows: `None` where none came.
    ///
    /// Their number is no number of events: see [`UioConnection`]. All are taken at once: the limit of `patience` has no effect.
    ///
    /// # Errors
    ///
    /// [`Error::NoInterrupt`] where the kernel has given the function none, [`Error::Gone`] where it was taken from the driver, [`Error::Io`].
    pub fn wait(&mut self, patience: Patience) -> Result<Option<Taken>, Error> {
        CountingDescriptor::wait(self, patience)
    }

    /// Makes ready for a sleep until the descriptor is readable, or takes the interrupts that came: see [`wait`](crate::wait).
    ///
    /// # Errors
    ///
    /// As for [`wait`](Self::wait).
    pub fn prepare(&mut self) -> Result<Prepared, Error> {
        CountingDescriptor::prepare(self)
    }

    /// Takes the interrupts that came, without sleeping: `None` where none did.
    ///
    /// # Errors
    ///
    /// As for [`wait`](Self::wait).
    pub fn take(&mut self) -> Result<Option<EventCount>, Error> {
        CountingDescriptor::take(self)
    }

    fn failed(&self, doing: &'static str, source: io::Error) -> Error {
        let device = self.device.path.clone();
        // uio answers EIO where the function has no interrupt, and where it is no longer the driver's.
        match Errno::from_io_error(&source) {
            Some(Errno::IO) if !exists(&self.connection.folder) => Error::Gone { device },
            Some(Errno::IO) => Error::NoInterrupt { device },
            _ => Error::io(doing, device, source),
        }
    }
}

impl CountingDescriptor for UioWaiter<'_> {
    fn take(&mut self) -> Result<Option<EventCount>, Error> {
        let read = self.device.read().map_err(|source| self.failed("reading", source))?;
        // What is read is never less than what sysfs told before. So an interrupt that sysfs tells of is taken once, and the descriptor
        // is readable for it once more than needed.
        let now = match read {
            Some(count) => u32::from_ne_bytes(count),
            None if self.early => interrupts(&self.connection.folder)?,
            None => return Ok(None),
        };
        self.early = false;
        let new = now.wrapping_sub(self.connection.taken.swap(now, Ordering::Relaxed));
        // The driver has read COUNT: nothing of the dataports is read before.
        full_barrier();
        Ok((new != 0).then_some(EventCount::new(new)))
    }

    fn sleep(&mut self, timeout: Option<Duration>) -> Result<Wake, Error> {
        self.device.sleep(timeout).map_err(|source| self.failed("waiting on", source))
    }
}

descriptor_of_field!(UioWaiter<'_>, device);

/// Maps the first `size` bytes of `bar`.
fn map(function: &Function, device: &Descriptor, bar: &Bar, size: u64, rights: Rights) -> Result<Map, Error> {
    let odd = Error::OddDevice { address: function.address(), fault: Fault::Maps };
    let place = function.uio_maps()?.iter().find(|map| map.shows(bar)).and_then(|map| map.place(size)).ok_or(odd)?;
    Map::new(&device.file, place, rights).map_err(|error| Error::io("mapping", &device.path, error))
}

/// How many interrupts there have been, by the UIO device's `folder` in sysfs.
fn interrupts(folder: &Path) -> Result<u32, Error> {
    let path = folder.join("event");
    let text = fs::read_to_string(&path).map_err(|error| Error::io("reading", &path, error))?;
    text.trim().parse().map_err(|_| Error::io("reading", path, io::ErrorKind::InvalidData.into()))
}
