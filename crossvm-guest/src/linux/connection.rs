//! An opened connection.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::param::page_size;

use crate::count::EventCount;
use crate::fault::Fault;
use crate::index::DataportIndex;
use crate::linux::address::PciAddress;
use crate::linux::bar::Bar;
use crate::linux::dataport::{Caching, Dataport, DataportInfo};
use crate::linux::descriptor::descriptor_of_field;
use crate::linux::error::Error;
use crate::linux::event_page::EventPage;
use crate::linux::system::Function;
use crate::linux::uio::Uio;
use crate::linux::wait::{self, Patience, Prepared, Taken, wait_for};
use crate::raw::{Map, Place};
use crate::rights::Rights;
use crate::spec::{COMMAND, Command};

/// An opened connection: its event registers are mapped and its contents were checked.
#[derive(Debug)]
pub struct Connection {
    function: Function,
    events: EventPage,
    dataports: Vec<DataportInfo>,
}

impl Connection {
    /// Opens the connection that `function` is. It needs root, and the function's memory switched on, which a driver does.
    ///
    /// # Errors
    ///
    /// [`Error::HasNode`] where our own driver holds it, [`Error::HasMaps`] where one that answers interrupts itself, [`Error::NotPermitted`], [`Error::MemoryOff`], [`Error::OddDevice`] where the
    /// device's contents cannot be, [`Error::Io`].
    pub fn open(function: &Function) -> Result<Self, Error> {
        let address = function.address();
        // The kernel lets nobody map what our driver uses.
        if let Some(node) = function.node() {
            return Err(Error::HasNode { address, device: node.to_owned() });
        }
        // It would race for COUNT.
        if function.mapping_uio().is_some() {
            return Err(Error::HasMaps { address, driver: function.driver().unwrap_or_default().to_owned() });
        }
        let odd = |fault| Error::OddDevice { address, fault };
        let bars = function.bars()?;
        let event_bar = bars.event_page().ok_or(odd(Fault::EventPage))?;
        memory_is_on(function)?;
        let (map, _) = map_bar(function, event_bar, event_bar.size(), Rights::ReadWrite, &[Caching::Device])?;
        let events = EventPage::new(map, bars.dataports().len()).map_err(odd)?;
        let dataports = dataports(bars.dataports(), &events).map_err(odd)?;
        Ok(Self { function: function.clone(), events, dataports })
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

    /// The event registers.
    #[must_use]
    pub const fn events(&self) -> &EventPage {
        &self.events
    }

    /// Signals the peer: [`EventPage::emit`].
    pub fn emit(&self) {
        self.events.emit();
    }

    /// The dataports, in order.
    #[must_use]
    pub fn dataports(&self) -> &[DataportInfo] {
        &self.dataports
    }

    /// Maps dataport `index`: write combining where the kernel offers it.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchDataport`], [`Error::NotPermitted`], [`Error::OddDevice`], [`Error::Io`].
    pub fn dataport(&self, index: DataportIndex) -> Result<Dataport, Error> {
        let Some(info) = self.dataports.iter().find(|info| info.index == index) else {
            return Err(Error::NoSuchDataport { connection: self.name().to_owned(), index, count: self.dataports.len() });
        };
        let (map, caching) = map_bar(&self.function, &info.bar, info.size, info.rights, &[Caching::WriteCombining, Caching::Device])?;
        Ok(Dataport::new(map, info.rights, caching))
    }

    /// Takes hold of the interrupt, to wait for events. Only one waiter can exist at a time, in all processes.
    ///
    /// # Errors
    ///
    /// [`Error::NotBound`] where no UIO driver holds the function, [`Error::Busy`], [`Error::NotPermitted`], [`Error::Io`].
    pub fn waiter(&self) -> Result<Waiter<'_>, Error> {
        let function = &self.function;
        let not_bound = || Error::NotBound { address: function.address(), driver: function.driver().map(str::to_owned) };
        let device = function.uio().ok_or_else(not_bound)?;
        Ok(Waiter { events: &self.events, line: Uio::open(device, &function.file("config"))? })
    }
}

/// The one who waits for a connection's events.
#[derive(Debug)]
pub struct Waiter<'connection> {
    events: &'connection EventPage,
    pub(crate) line: Uio,
}

impl Waiter<'_> {
    /// Takes the events that wait, waiting for the first as long as `patience` allows: `None` where none came.
    ///
    /// # Errors
    ///
    /// [`Error::NoInterrupt`] where the kernel has given the function none, [`Error::Io`].
    pub fn wait(&mut self, patience: Patience) -> Result<Option<Taken>, Error> {
        wait_for(self.events, &mut self.line, patience)
    }

    /// Makes ready for a sleep until the descriptor is readable, or takes the events that are there, at most `limit`: see
    /// [`wait`](crate::wait).
    ///
    /// # Errors
    ///
    /// As for [`wait`](Self::wait).
    pub fn prepare(&mut self, limit: EventCount) -> Result<Prepared, Error> {
        wait::prepare(self.events, &mut self.line, limit)
    }

    /// Takes the events that wait, at most `limit`, after the descriptor became readable: `None` where none waits. It does not sleep.
    ///
    /// # Errors
    ///
    /// As for [`wait`](Self::wait).
    pub fn take(&mut self, limit: EventCount) -> Result<Option<EventCount>, Error> {
        wait::take(self.events, &mut self.line, limit)
    }
}

descriptor_of_field!(Waiter<'_>, line);

/// Fails where the function does not decode its memory: a load from a BAR would end this process, or worse.
pub(crate) fn memory_is_on(function: &Function) -> Result<(), Error> {
    if command(function)?.memory() { Ok(()) } else { Err(Error::MemoryOff { address: function.address() }) }
}

/// The function's command register.
fn command(function: &Function) -> Result<Command, Error> {
    let path = function.file("config");
    let mut bytes = [0; size_of::<u16>()];
    let read = File::open(&path).and_then(|file| file.read_exact_at(&mut bytes, COMMAND));
    read.map_err(|error| Error::io("reading", path, error))?;
    Ok(Command::from_bits(u16::from_le_bytes(bytes)))
}

/// The dataports that the BARs show, with true sizes and rights where the device tells them.
pub(crate) fn dataports(bars: &[Bar], events: &EventPage) -> Result<Vec<DataportInfo>, Fault> {
    let reference = matches!(events.profile(), crate::count::Profile::Reference);
    let mut dataports = Vec::new();
    for (position, (index, bar)) in DataportIndex::all().zip(bars).enumerate() {
        let (size, rights) = match events.records().get(position) {
            Some(record) => (record.size, record.rights),
            None if reference => (bar.size(), Rights::ReadWrite),
            None => break,
        };
        if size == 0 || size > bar.size() {
            return Err(Fault::DataportSize { index, claimed: size, bar: bar.size() });
        }
        dataports.push(DataportInfo { index, bar: *bar, size, rights });
    }
    Ok(dataports)
}

/// Maps the first `size` bytes of `bar` in the first way of `cachings` that the kernel offers.
fn map_bar(function: &Function, bar: &Bar, size: u64, rights: Rights, cachings: &[Caching]) -> Result<(Map, Caching), Error> {
    let short = Error::OddDevice { address: function.address(), fault: Fault::ShortBar { bar: bar.index() } };
    let mut path = PathBuf::new();
    for caching in cachings {
        path = resource_file(function, bar, *caching);
        // Read-write always: the kernel refuses a shared mapping of a file that is open for writing only.
        let file = match OpenOptions::new().read(true).write(rights.can_write()).open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(Error::io("opening", path, error)),
        };
        let length = file.metadata().map_err(|error| Error::io("reading the size of", &path, error))?.len();
        let (Ok(size), true) = (usize::try_from(size), bar.size() <= length) else { return Err(short) };
        // The file's first byte is the start of the page in which the BAR begins; a BAR smaller than a page may begin inside.
        let page = u64::try_from(page_size()).unwrap_or(u64::MAX);
        let Ok(lead) = usize::try_from(bar.address() % page) else { return Err(short) };
        let map = Map::new(&file, Place { offset: 0, lead, length: size }, rights).map_err(|error| Error::io("mapping", &path, error))?;
        return Ok((map, *caching));
    }
    Err(Error::io("opening", path, io::ErrorKind::NotFound.into()))
}

/// The sysfs file that maps `bar` in the given way.
fn resource_file(function: &Function, bar: &Bar, caching: Caching) -> PathBuf {
    let suffix = match caching {
        Caching::WriteCombining => "_wc",
        Caching::Device | Caching::Cacheable => "",
    };
    function.file(&format!("resource{}{suffix}", bar.index()))
}

/// Whether `path` exists; a broken link does not.
pub(crate) fn exists(path: &Path) -> bool {
    path.metadata().is_ok()
}
