//! A guest's physical address space: what [`crossvm_core::GuestMemory`] asks for, on translation tables.

use core::sync::atomic::AtomicU32;

use crossvm_core::{Error, ErrorKind, ErrorType, EventPage, FrameSize, GuestAddr, GuestMemory, GuestRange, Mapping, Rights};
use heapless::Vec;

use super::Stage2Attributes;
use super::table::{MapError, Tables};
use crate::host::{HostAddr, HostRange, Page, PagePool};
use crate::platform::Platform;

/// Most regions of a guest's address space that are not free: RAM, devices, reserved windows.
const MAX_REGIONS: usize = 12;

/// Memory of the host that can be mapped into guests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame(HostAddr);

impl Frame {
    /// The frame that starts at `address`.
    #[must_use]
    pub const fn new(address: HostAddr) -> Self {
        Self(address)
    }
}

/// Why the guest's address space could not be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage2Error {
    /// The range is RAM, a device or reserved.
    Taken(GuestRange),
    /// The range is not reserved for mappings.
    NotReserved(GuestRange),
    /// More regions than the VMM keeps track of.
    TooManyRegions,
    /// An event page has 4 KiB here.
    EventPageSize(FrameSize),
    /// No page is left for event registers.
    NoPage,
    /// The translation tables cannot hold it.
    Map(MapError),
    /// The range would pass the end of the address space.
    OutOfRange,
}

impl Error for Stage2Error {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Taken(_) | Self::Map(MapError::Occupied) => ErrorKind::Overlap,
            Self::NotReserved(_) | Self::OutOfRange | Self::Map(MapError::OutOfRange) => ErrorKind::OutOfRange,
            Self::TooManyRegions | Self::NoPage | Self::Map(MapError::Exhausted) => ErrorKind::Exhausted,
            Self::EventPageSize(_) => ErrorKind::Unsupported,
            Self::Map(MapError::Misaligned) => ErrorKind::Misaligned,
        }
    }
}

/// What a region of the guest's address space is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GuestRegion {
    /// The guest's RAM.
    Ram,
    /// A device that the VMM emulates: nothing is ever mapped there.
    Device,
    /// Reserved for connections.
    Window,
}

/// A guest's physical address space.
#[derive(Debug)]
pub struct Stage2<P> {
    tables: Tables,
    regions: Vec<(GuestRange, GuestRegion), MAX_REGIONS>,
    platform: P,
}

/// A page of event registers.
#[derive(Debug)]
pub struct Stage2EventPage<P> {
    page: Page,
    frame: Frame,
    words: &'static [AtomicU32],
    platform: P,
}

impl<P: Platform> EventPage for Stage2EventPage<P> {
    type Frame = Frame;

    fn size(&self) -> FrameSize {
        FrameSize::KIB_4
    }

    fn frame(&self) -> &Frame {
        &self.frame
    }

    fn words(&self) -> &[AtomicU32] {
        self.words
    }

    /// The guest may read with other attributes than the VMM writes with (Linux maps a sysfs resource as Device memory), which stage 2
    /// cannot overrule without FEAT_S2FWB: so each store is cleaned to the point of coherency.
    fn published(&self, word: usize) {
        let offset = u64::try_from(word).ok().and_then(|word| word.checked_mul(4));
        let address = offset.and_then(|offset| self.page.address().checked_add(offset));
        if let Some(range) = address.and_then(|address| HostRange::new(address, 4)) {
            self.platform.clean(range);
        }
    }
}

impl<P: Platform> Stage2<P> {
    /// An empty address space with its tables in `pool`.
    ///
    /// # Errors
    /// [`Stage2Error::Map`] where the pool is empty.
    pub fn new(pool: PagePool, platform: P) -> Result<Self, Stage2Error> {
        Ok(Self { tables: Tables::new(pool).map_err(Stage2Error::Map)?, regions: Vec::new(), platform })
    }

    /// Where the tables start, for VTTBR_EL2.
    #[must_use]
    pub const fn root(&self) -> HostAddr {
        self.tables.root()
    }

    /// Maps guest RAM: readable, writable, executable.
    ///
    /// # Errors
    /// [`Stage2Error`] where the range is taken or cannot be mapped.
    pub fn add_ram(&mut self, range: GuestRange, memory: HostRange) -> Result<(), Stage2Error> {
        self.take(range, GuestRegion::Ram)?;
        let mapped = self.tables.map(range.start().get(), memory.start(), range.size().min(memory.size()), Stage2Attributes::Ram.into());
        if let Err(error) = mapped {
            self.regions.retain(|region| *region != (range, GuestRegion::Ram));
            return Err(Stage2Error::Map(error));
        }
        self.platform.publish_tables();
        Ok(())
    }

    /// Keeps a range free of mappings, for an emulated device.
    ///
    /// # Errors
    /// [`Stage2Error`] where the range is taken.
    pub fn add_device(&mut self, range: GuestRange) -> Result<(), Stage2Error> {
        self.take(range, GuestRegion::Device)
    }

    /// What lies at `address`.
    #[must_use]
    pub fn region_at(&self, address: GuestAddr) -> Option<GuestRegion> {
        self.regions.iter().find(|(range, _)| range.contains(address)).map(|(_, region)| *region)
    }

    fn take(&mut self, range: GuestRange, region: GuestRegion) -> Result<(), Stage2Error> {
        if let Some((taken, _)) = self.regions.iter().find(|(taken, _)| taken.overlaps(range)) {
            return Err(Stage2Error::Taken(*taken));
        }
        if range.last().get() >= Tables::LIMIT {
            return Err(Stage2Error::OutOfRange);
        }
        self.regions.push((range, region)).map_err(|_| Stage2Error::TooManyRegions)
    }
}

impl<P> ErrorType for Stage2<P> {
    type Error = Stage2Error;
}

impl<P: Platform> GuestMemory for Stage2<P> {
    type Frame = Frame;
    type EventPage = Stage2EventPage<P>;

    fn reserve(&mut self, range: GuestRange) -> Result<(), Stage2Error> {
        self.take(range, GuestRegion::Window)
    }

    fn release(&mut self, range: GuestRange) {
        self.regions.retain(|region| *region != (range, GuestRegion::Window));
    }

    fn map(&mut self, at: GuestAddr, frame: &Frame, mapping: Mapping) -> Result<(), Stage2Error> {
        let range = GuestRange::new(at, mapping.size.bytes()).ok_or(Stage2Error::OutOfRange)?;
        if !at.is_aligned(mapping.size.bytes()) {
            return Err(Stage2Error::Map(MapError::Misaligned));
        }
        if !self.regions.iter().any(|(window, region)| *region == GuestRegion::Window && window.covers(range)) {
            return Err(Stage2Error::NotReserved(range));
        }
        let attributes = match mapping.rights {
            Rights::Read => Stage2Attributes::Read,
            Rights::ReadWrite => Stage2Attributes::ReadWrite,
        };
        self.tables.map(at.get(), frame.0, range.size(), attributes.into()).map_err(Stage2Error::Map)?;
        self.platform.publish_tables();
        Ok(())
    }

    fn unmap(&mut self, at: GuestAddr, size: FrameSize) {
        self.tables.unmap(at.get(), size.bytes());
        if let Some(range) = GuestRange::new(at, size.bytes()) {
            self.platform.invalidate_stage2(range);
        }
    }

    fn create_event_page(&mut self, size: FrameSize) -> Result<Stage2EventPage<P>, Stage2Error> {
        if size != FrameSize::KIB_4 {
            return Err(Stage2Error::EventPageSize(size));
        }
        let pool = self.tables.pool();
        let page = pool.allocate().ok_or(Stage2Error::NoPage)?;
        let words = pool.words(page);
        if let Some(range) = HostRange::new(page.address(), PagePool::PAGE) {
            self.platform.clean(range);
        }
        Ok(Stage2EventPage { page, frame: Frame(page.address()), words, platform: self.platform })
    }

    fn destroy_event_page(&mut self, page: Stage2EventPage<P>) {
        self.tables.pool().release(page.page);
    }
}
