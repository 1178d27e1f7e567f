//! A connection that the driver of `guest/linux` holds: `/dev/crossvm/NAME`.
//!
//! Where the stock driver leaves the registers to user space, this one takes the events itself, each exactly once, and maps dataports
//! cacheable. What it tells of the connection stands in sysfs. `docs/linux-driver.md` describes the files.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::io::Errno;

use crate::count::{EventCount, Profile};
use crate::fault::Fault;
use crate::index::DataportIndex;
use crate::linux::address::PciAddress;
use crate::linux::dataport::{Caching, Dataport, DataportInfo};
use crate::linux::descriptor::{Descriptor, descriptor_of_field};
use crate::linux::error::Error;
use crate::linux::system::Function;
use crate::linux::wait::{CountingDescriptor, Patience, Prepared, Taken, Wake};
use crate::raw::{Map, Place};
use crate::rights::Rights;
use crate::spec::{MAX_DATAPORTS, NODE_DATAPORT_SHIFT, NODE_MAX_EMITS};

/// How events reach the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Interrupt {
    /// A line, perhaps shared with other functions.
    Intx,
    /// Messages of its own.
    Msix,
}

/// An opened connection of our own driver.
#[derive(Debug)]
pub struct Node {
    function: Function,
    device: Descriptor,
    folder: PathBuf,
    name: String,
    profile: Profile,
    interrupt: Interrupt,
    dataports: Vec<DataportInfo>,
}

impl Node {
    /// Opens the device node of `function`.
    ///
    /// # Errors
    ///
    /// [`Error::NoNode`] where our driver does not hold it, [`Error::NotPermitted`], [`Error::OddDevice`] where sysfs cannot be
    /// understood, [`Error::Gone`], [`Error::Io`].
    pub fn open(function: &Function) -> Result<Self, Error> {
        let address = function.address();
        let (path, folder) = function.node_and_folder().ok_or(Error::NoNode { address })?;
        let attributes = Attributes { folder, address };
        let profile = match attributes.text("profile")?.as_str() {
            "reference" => Profile::Reference,
            "extended" => Profile::Extended { version: attributes.number("version")? },
            _ => return Err(attributes.odd("profile")),
        };
        let interrupt = match attributes.text("interrupt")?.as_str() {
            "intx" => Interrupt::Intx,
            "msix" => Interrupt::Msix,
            _ => return Err(attributes.odd("interrupt")),
        };
        let count: usize = attributes.number("dataports")?;
        if count > MAX_DATAPORTS {
            return Err(attributes.odd("dataports"));
        }
        let name = attributes.name()?;
        let dataports = DataportIndex::all().take(count).map(|index| attributes.dataport(function, index));
        Ok(Self {
            name,
            profile,
            interrupt,
            dataports: dataports.collect::<Result<_, _>>()?,
            device: open(path)?,
            function: function.clone(),
            folder: folder.to_owned(),
        })
    }

    /// The connection's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where the function sits.
    #[must_use]
    pub const fn address(&self) -> PciAddress {
        self.function.address()
    }

    /// The function as it was when the node was opened.
    #[must_use]
    pub const fn function(&self) -> &Function {
        &self.function
    }

    /// The device node.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.device.path
    }

    /// Which registers the device has.
    #[must_use]
    pub const fn profile(&self) -> Profile {
        self.profile
    }

    /// How events reach this guest.
    #[must_use]
    pub const fn interrupt(&self) -> Interrupt {
        self.interrupt
    }

    /// The dataports, in order.
    #[must_use]
    pub fn dataports(&self) -> &[DataportInfo] {
        &self.dataports
    }

    /// Events that came and that nobody has taken yet.
    ///
    /// # Errors
    ///
    /// [`Error::OddDevice`], [`Error::Io`].
    pub fn pending(&self) -> Result<EventCount, Error> {
        let pending: u64 = self.attributes().number("pending")?;
        Ok(saturated(pending))
    }

    /// Emits of this end that could not be delivered; `None` in the reference profile, which does not count them.
    ///
    /// # Errors
    ///
    /// [`Error::OddDevice`], [`Error::Io`].
    pub fn dropped(&self) -> Result<Option<u32>, Error> {
        match self.profile {
            Profile::Reference => Ok(None),
            Profile::Extended { .. } => self.attributes().number("dropped").map(Some),
        }
    }

    /// Signals the peer `count` times. All that was written to the dataports before is there when the peer sees the events.
    ///
    /// # Errors
    ///
    /// [`Error::Gone`], [`Error::Io`].
    pub fn emit(&self, count: EventCount) -> Result<(), Error> {
        let mut left = u64::from(count.get());
        while left > 0 {
            let now = left.min(NODE_MAX_EMITS);
            match (&self.device.file).write(&now.to_ne_bytes()) {
                Ok(_) => left = left.saturating_sub(now),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.failed("writing to", error)),
            }
        }
        Ok(())
    }

    /// Maps dataport `index`, cacheable.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchDataport`], [`Error::Gone`], [`Error::Io`].
    pub fn dataport(&self, index: DataportIndex) -> Result<Dataport, Error> {
        let Some(info) = self.dataports.iter().find(|info| info.index == index) else {
            return Err(Error::NoSuchDataport { connection: self.name.clone(), index, count: self.dataports.len() });
        };
        let length = usize::try_from(info.size).map_err(|_| self.failed("mapping", io::ErrorKind::OutOfMemory.into()))?;
        let place = Place { offset: u64::from(index.get()) << NODE_DATAPORT_SHIFT, lead: 0, length };
        let map = Map::new(&self.device.file, place, info.rights).map_err(|error| self.failed("mapping", error))?;
        Ok(Dataport::new(map, info.rights, Caching::Cacheable))
    }

    /// Makes ready to wait for events. Only one waiter of this library can exist at a time, in all processes.
    ///
    /// # Errors
    ///
    /// [`Error::Busy`], [`Error::NotPermitted`], [`Error::Gone`], [`Error::Io`].
    pub fn waiter(&self) -> Result<NodeWaiter, Error> {
        Ok(NodeWaiter { device: open(&self.device.path)?.lock()? })
    }

    fn attributes(&self) -> Attributes<'_> {
        Attributes { folder: &self.folder, address: self.address() }
    }

    fn failed(&self, doing: &'static str, source: io::Error) -> Error {
        failed(doing, &self.device.path, source)
    }
}

/// The one who waits for the events of a [`Node`].
#[derive(Debug)]
pub struct NodeWaiter {
    pub(crate) device: Descriptor,
}

impl NodeWaiter {
    /// Takes the events that wait, waiting for the first as long as `patience` allows: `None` where none came.
    ///
    /// The driver hands over all events at once: the limit of `patience` has no effect. Each event is counted in one result, in that of
    /// whoever was first, and never forgotten; only a number beyond [`EventCount::MAX`] is cut to that.
    ///
    /// # Errors
    ///
    /// [`Error::Gone`] where the function was taken away, [`Error::Io`].
    pub fn wait(&mut self, patience: Patience) -> Result<Option<Taken>, Error> {
        CountingDescriptor::wait(self, patience)
    }

    /// Makes ready for a sleep until the descriptor is readable, or takes the events that are there: see [`wait`](crate::wait).
    ///
    /// # Errors
    ///
    /// As for [`wait`](Self::wait).
    pub fn prepare(&mut self) -> Result<Prepared, Error> {
        CountingDescriptor::prepare(self)
    }

    /// Takes the events that wait, without sleeping: `None` where none does.
    ///
    /// # Errors
    ///
    /// As for [`wait`](Self::wait).
    pub fn take(&mut self) -> Result<Option<EventCount>, Error> {
        CountingDescriptor::take(self)
    }
}

impl CountingDescriptor for NodeWaiter {
    fn take(&mut self) -> Result<Option<EventCount>, Error> {
        let events = self.device.read().map_err(|source| failed("reading", &self.device.path, source))?;
        Ok(events.map(|events| saturated(u64::from_ne_bytes(events))))
    }

    fn sleep(&mut self, timeout: Option<Duration>) -> Result<Wake, Error> {
        self.device.sleep(timeout).map_err(|source| failed("waiting on", &self.device.path, source))
    }
}

descriptor_of_field!(NodeWaiter, device);

fn open(path: &Path) -> Result<Descriptor, Error> {
    Descriptor::open(path).map_err(|source| failed("opening", path, source))
}

fn failed(doing: &'static str, path: &Path, source: io::Error) -> Error {
    match Errno::from_io_error(&source) {
        Some(Errno::NODEV | Errno::NXIO) => Error::Gone { device: path.to_owned() },
        _ => Error::io(doing, path, source),
    }
}

fn saturated(count: u64) -> EventCount {
    EventCount::new(u32::try_from(count).unwrap_or(u32::MAX))
}

/// The driver's files in sysfs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attributes<'a> {
    pub(crate) folder: &'a Path,
    pub(crate) address: PciAddress,
}

impl Attributes<'_> {
    fn text(&self, file: &str) -> Result<String, Error> {
        let path = self.folder.join(file);
        let text = fs::read_to_string(&path).map_err(|error| Error::io("reading", &path, error))?;
        Ok(text.strip_suffix('\n').unwrap_or(&text).to_owned())
    }

    /// The connection's name: printable ASCII.
    pub(crate) fn name(&self) -> Result<String, Error> {
        let name = self.text("name")?;
        match name.is_empty() || !name.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            true => Err(Error::OddDevice { address: self.address, fault: Fault::Name }),
            false => Ok(name),
        }
    }

    pub(crate) fn number<N: std::str::FromStr>(&self, file: &str) -> Result<N, Error> {
        self.text(file)?.parse().map_err(|_| self.odd(file))
    }

    fn dataport(&self, function: &Function, index: DataportIndex) -> Result<DataportInfo, Error> {
        let file = |name: &str| format!("dataport{index}/{name}");
        let number: usize = self.number(&file("bar"))?;
        let bar = function.bars()?.iter().find(|bar| bar.index() == number).ok_or_else(|| self.odd(&file("bar")))?;
        let rights = match self.text(&file("rights"))?.as_str() {
            "--" => Rights::None,
            "r-" => Rights::Read,
            "-w" => Rights::Write,
            "rw" => Rights::ReadWrite,
            _ => return Err(self.odd(&file("rights"))),
        };
        let size = self.number(&file("size"))?;
        if size == 0 || size > bar.size() {
            return Err(Error::OddDevice { address: self.address, fault: Fault::DataportSize { index, claimed: size, bar: bar.size() } });
        }
        Ok(DataportInfo { index, bar: *bar, size, rights })
    }

    fn odd(&self, file: &str) -> Error {
        Error::OddDevice { address: self.address, fault: Fault::Attribute { file: file.to_owned() } }
    }
}
