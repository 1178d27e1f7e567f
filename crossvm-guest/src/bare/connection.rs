//! An opened connection.

use heapless::Vec;
use pci_types::PciAddress;

use crate::bare::{Bar, Bars, Dataport, Error, PhysicalMemory};
use crate::count::Profile;
use crate::fault::Fault;
use crate::index::DataportIndex;
use crate::registers::EventRegisters;
use crate::rights::Rights;
use crate::spec::MAX_DATAPORTS;
use crate::words::Words;

/// A dataport of a connection, not mapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct DataportInfo {
    /// Its number.
    pub index: DataportIndex,
    /// The BAR that shows it. Its size is the true size rounded up to a power of two.
    pub bar: Bar,
    /// True size in bytes; the BAR's size in the reference profile, which does not tell it.
    pub size: u64,
    /// What this end may do with it; all in the reference profile, which does not tell it.
    pub rights: Rights,
}

/// An opened connection: its contents were checked.
///
/// It stays valid while its BARs stay where they are: who [places](crate::bare::Bus::place) them anew opens it again.
#[derive(Debug)]
pub struct Connection<R> {
    address: PciAddress,
    events: EventRegisters<R>,
    dataports: Vec<DataportInfo, MAX_DATAPORTS>,
}

impl<R: Words> Connection<R> {
    pub(crate) fn new(address: PciAddress, region: R, bars: &Bars) -> Result<Self, Error> {
        let events = EventRegisters::new(region, bars.dataports().count())?;
        let mut dataports = Vec::new();
        for (position, (index, bar)) in DataportIndex::all().zip(bars.dataports()).enumerate() {
            let (size, rights) = match (events.records().get(position), events.profile()) {
                (Some(record), _) => (record.size, record.rights),
                (None, Profile::Reference) => (bar.size(), Rights::ReadWrite),
                (None, Profile::Extended { .. }) => break,
            };
            if size == 0 || size > bar.size() {
                return Err(Error::OddDevice(Fault::DataportSize { index, claimed: size, bar: bar.size() }));
            }
            // There are as many places as indices.
            let _ = dataports.push(DataportInfo { index, bar: *bar, size, rights });
        }
        Ok(Self { address, events, dataports })
    }

    /// Where its function is.
    #[must_use]
    pub const fn address(&self) -> PciAddress {
        self.address
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.events.name()
    }

    /// The event registers.
    #[must_use]
    pub const fn events(&self) -> &EventRegisters<R> {
        &self.events
    }

    /// The dataports, in order.
    #[must_use]
    pub fn dataports(&self) -> &[DataportInfo] {
        &self.dataports
    }

    /// Dataport `index`, through `memory`.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchDataport`], [`Error::Unreachable`], [`Error::OddDevice`] where its BAR has no address.
    pub fn dataport<M: PhysicalMemory>(&self, memory: &M, index: DataportIndex) -> Result<Dataport<M::Region>, Error> {
        let missing = Error::NoSuchDataport { index, count: self.dataports.len() };
        let info = self.dataports.iter().find(|info| info.index == index).ok_or(missing)?;
        let range = info.bar.range(info.size)?;
        let region = memory.region(range).ok_or(Error::Unreachable { range })?;
        Ok(Dataport::new(region, info.rights))
    }
}
