//! A guest's physical address space: what [`crossvm_core::GuestMemory`] asks for, on translation tables.

use core::sync::atomic::AtomicU32;

use crossvm_core::{Error, ErrorKind, ErrorType, EventPage, FrameSize, GuestAddr, GuestMemory, GuestRange, Mapping, Rights};
use heapless::Vec;

use super::Stage2Attributes;
use super::table::{Found, MapError, Tables};
use crate::host::{HostAddr, HostRange, PagePool};
use crate::platform::Platform;
use crate::space::{GuestRegion, GuestSpace};

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
            Self::Map(MapError::Misaligned) => ErrorKind::Misaligned,
        }
    }
}

/// What of a CPU's caches knows about translation tables.
///
/// # Contract
///
/// 1. `invalidate_stage2` acts on the guest whose translation tables the calling CPU has loaded. When it returns, no CPU uses a
///    translation of the range that the tables do not have any more.
/// 2. `publish_tables` makes entries that were invalid until now visible to the walks of the calling CPU.
pub trait TranslationCaches: Platform {
    /// Drops cached translations of a range of the running guest.
    fn invalidate_stage2(&self, range: GuestRange);

    /// Completes stores to translation tables.
    fn publish_tables(&self);
}

/// A guest's physical address space.
#[derive(Debug)]
pub struct Stage2<P> {
    tables: Tables,
    regions: Vec<(GuestRange, GuestRegion), MAX_REGIONS>,
    platform: P,
}

/// A page of event registers: one page of the tables' granule or several, side by side.
#[derive(Debug)]
pub struct Stage2EventPage<P> {
    block: HostRange,
    frame: Frame,
    words: &'static [AtomicU32],
    platform: P,
}

impl<P: Platform> EventPage for Stage2EventPage<P> {
    type Frame = Frame;

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
        let address = offset.and_then(|offset| self.block.start().checked_add(offset));
        if let Some(range) = address.and_then(|address| HostRange::new(address, 4)) {
            self.platform.clean(range);
        }
    }
}

impl<P: TranslationCaches> Stage2<P> {
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

    fn add(&mut self, range: GuestRange, region: GuestRegion, to: HostRange, attributes: Stage2Attributes) -> Result<(), Stage2Error> {
        self.take(range, region)?;
        let mapped = self.tables.map(range.start().get(), to.start(), range.size().min(to.size()), attributes.into());
        if let Err(error) = mapped {
            self.regions.retain(|taken| *taken != (range, region));
            return Err(Stage2Error::Map(error));
        }
        self.platform.publish_tables();
        Ok(())
    }

    /// Where the guest's accesses to `address` go, and what they may do; `None`: they trap.
    #[must_use]
    pub fn find(&self, address: GuestAddr) -> Option<Found> {
        self.tables.find(address.get())
    }

    /// The words of a page of event registers.
    #[cfg(test)]
    pub(crate) fn words_at(&self, page: HostAddr) -> &'static [AtomicU32] {
        let pool = self.tables.pool_ref();
        pool.page_at(page).and_then(|page| HostRange::new(page.address(), PagePool::PAGE)).map(|page| pool.words(page)).unwrap_or_default()
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

impl<P: TranslationCaches> GuestMemory for Stage2<P> {
    type Frame = Frame;
    type EventPage = Stage2EventPage<P>;

    fn reserve(&mut self, range: GuestRange) -> Result<(), Stage2Error> {
        self.take(range, GuestRegion::Window)
    }

    fn release(&mut self, range: GuestRange) {
        self.regions.retain(|region| *region != (range, GuestRegion::Window));
    }

    fn map(&mut self, at: GuestAddr, frames: &[Frame], mapping: Mapping) -> Result<(), Stage2Error> {
        let size = mapping.size.bytes();
        let count = u64::try_from(frames.len()).ok().and_then(|count| count.checked_mul(size));
        let range = count.and_then(|bytes| GuestRange::new(at, bytes)).ok_or(Stage2Error::OutOfRange)?;
        if !at.is_aligned(size) {
            return Err(Stage2Error::Map(MapError::Misaligned));
        }
        if !self.regions.iter().any(|(window, region)| *region == GuestRegion::Window && window.covers(range)) {
            return Err(Stage2Error::NotReserved(range));
        }
        let attributes = match mapping.rights {
            Rights::Read => Stage2Attributes::Read,
            Rights::ReadWrite => Stage2Attributes::ReadWrite,
        };
        let mut next = at;
        for frame in frames {
            if let Err(error) = self.tables.map(next.get(), frame.0, size, attributes.into()) {
                if let Some(done) = next.offset_from(at).and_then(|bytes| GuestRange::new(at, bytes)) {
                    self.tables.unmap(done.start().get(), done.size());
                }
                // The guest may have seen them already, and the beginning of this one, whose tables are back in the pool.
                self.platform.invalidate_stage2(range);
                return Err(Stage2Error::Map(error));
            }
            next = next.checked_add(size).unwrap_or(next);
        }
        self.platform.publish_tables();
        Ok(())
    }

    fn unmap(&mut self, range: GuestRange) {
        self.tables.unmap(range.start().get(), range.size());
        self.platform.invalidate_stage2(range);
    }

    fn create_event_page(&mut self, size: FrameSize) -> Result<Stage2EventPage<P>, Stage2Error> {
        let pool = self.tables.pool();
        let block = pool.allocate_block(size).ok_or(Stage2Error::NoPage)?;
        let words = pool.words(block);
        self.platform.clean(block);
        Ok(Stage2EventPage { block, frame: Frame(block.start()), words, platform: self.platform })
    }

    fn destroy_event_page(&mut self, page: Stage2EventPage<P>) {
        self.tables.pool().release_block(page.block);
    }
}

impl<P: TranslationCaches> GuestSpace for Stage2<P> {
    fn add_ram(&mut self, range: GuestRange, memory: HostRange) -> Result<(), Stage2Error> {
        self.add(range, GuestRegion::Ram, memory, Stage2Attributes::Ram)
    }

    fn add_registers(&mut self, range: GuestRange, registers: HostRange) -> Result<(), Stage2Error> {
        self.add(range, GuestRegion::Device, registers, Stage2Attributes::Device)
    }

    fn add_device(&mut self, range: GuestRange) -> Result<(), Stage2Error> {
        self.take(range, GuestRegion::Device)
    }

    fn region_at(&self, address: GuestAddr) -> Option<GuestRegion> {
        self.regions.iter().find(|(range, _)| range.contains(address)).map(|(_, region)| *region)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::PhysicalMemory;
    use crate::host::tests::memory;
    use crate::platform::tests::Recorder;
    use crossvm_testkit::conformance::guest_memory::{self, GuestView};
    use std::sync::atomic::Ordering;
    use std::vec::Vec;

    const RAM: (u64, u64) = (0x4000_0000, 2 << 20);
    const DEVICE: (u64, u64) = (0x0900_0000, 0x1000);

    fn range((start, size): (u64, u64)) -> GuestRange {
        GuestRange::new(GuestAddr::new(start), size).unwrap()
    }

    /// An address space with the guest's eyes: it sees what the tables say.
    struct Seen {
        stage2: Stage2<Recorder>,
        memories: Vec<PhysicalMemory>,
        platform: Recorder,
    }

    impl Seen {
        fn new() -> Self {
            let platform = Recorder::new();
            let mut stage2 = Stage2::new(PagePool::new(memory(PagePool::SIZE)), platform).unwrap();
            let ram = memory(RAM.1);
            stage2.add_ram(range(RAM), ram.range()).unwrap();
            stage2.add_device(range(DEVICE)).unwrap();
            Self { stage2, memories: [ram].into(), platform }
        }

        fn word(&self, target: HostAddr) -> &AtomicU32 {
            let find = |memory: &PhysicalMemory| {
                let offset = target.get().checked_sub(memory.range().start().get())?;
                memory.words().get(usize::try_from(offset / 4).unwrap())
            };
            let page = HostAddr::new(target.get() & !0xfff);
            let own = || self.stage2.words_at(page).get(usize::try_from((target.get() & 0xfff) / 4).unwrap());
            self.memories.iter().find_map(find).or_else(own).unwrap()
        }
    }

    impl ErrorType for Seen {
        type Error = Stage2Error;
    }

    impl GuestMemory for Seen {
        type Frame = Frame;
        type EventPage = Stage2EventPage<Recorder>;

        fn reserve(&mut self, range: GuestRange) -> Result<(), Stage2Error> {
            self.stage2.reserve(range)
        }
        fn release(&mut self, range: GuestRange) {
            self.stage2.release(range);
        }
        fn map(&mut self, at: GuestAddr, frames: &[Frame], mapping: Mapping) -> Result<(), Stage2Error> {
            self.stage2.map(at, frames, mapping)
        }
        fn unmap(&mut self, range: GuestRange) {
            let before = self.platform.invalidated().len();
            self.stage2.unmap(range);
            let invalidated = self.platform.invalidated();
            assert_eq!(invalidated[before..], [range], "no translation survives");
        }
        fn create_event_page(&mut self, size: FrameSize) -> Result<Self::EventPage, Stage2Error> {
            self.stage2.create_event_page(size)
        }
        fn destroy_event_page(&mut self, page: Self::EventPage) {
            self.stage2.destroy_event_page(page);
        }
    }

    impl GuestView for Seen {
        fn free_range(&self) -> GuestRange {
            range((0x1000_0000, 0x100_0000))
        }
        fn ram_range(&self) -> GuestRange {
            range(RAM)
        }
        fn new_frame(&mut self, size: FrameSize) -> Frame {
            self.memories.push(memory(size.bytes()));
            Frame::new(self.memories.last().unwrap().range().start())
        }
        fn guest_load(&mut self, at: GuestAddr) -> Option<u32> {
            let found = self.stage2.find(at)?;
            Some(self.word(found.target).load(Ordering::Relaxed))
        }
        fn guest_store(&mut self, at: GuestAddr, value: u32) -> bool {
            let Some(found) = self.stage2.find(at) else { return false };
            let writable = [Stage2Attributes::ReadWrite, Stage2Attributes::Ram].map(Into::into).contains(&found.attributes);
            if writable {
                self.word(found.target).store(value, Ordering::Relaxed);
            }
            writable
        }
    }

    #[test]
    fn behaves_as_the_contract_says() {
        guest_memory::all(Seen::new);
    }

    #[test]
    fn nothing_is_mapped_over_ram_or_a_device_or_where_nothing_is_reserved() {
        let mut seen = Seen::new();
        let frame = seen.new_frame(FrameSize::KIB_4);
        let mapping = Mapping { size: FrameSize::KIB_4, rights: Rights::ReadWrite, memory_type: crossvm_core::MemoryType::WriteBack };
        for at in [RAM.0, DEVICE.0, 0x1000_0000, !0xfff] {
            assert!(seen.map(GuestAddr::new(at), &[frame], mapping).is_err(), "{at:#x}");
        }
        assert_eq!(seen.guest_load(GuestAddr::new(DEVICE.0)), None);
        assert_eq!(seen.stage2.add_device(range((0x4010_0000, 0x1000))), Err(Stage2Error::Taken(range(RAM))));
        assert_eq!(seen.reserve(range(((1 << 39) - 0x1000, 0x2000))), Err(Stage2Error::OutOfRange));
    }
}
