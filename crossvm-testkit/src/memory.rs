//! A guest address space that knows what is mapped where.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crossvm_core::{Dataport, ErrorKind, ErrorType, EventPage, FrameSize, GuestAddr, GuestMemory, GuestRange, Mapping, Rights};

use crate::conformance::guest_memory::GuestView;

/// A frame: memory that several guests may map. Clones are handles of the same memory.
#[derive(Debug, Clone)]
pub struct FakeFrame(Arc<[AtomicU32]>);

impl FakeFrame {
    /// A frame of zeros.
    ///
    /// # Panics
    /// Where the frame does not fit in this machine's memory.
    #[must_use]
    pub fn new(size: FrameSize) -> Self {
        let words = usize::try_from(size.bytes() / 4).expect("a frame of the fakes fits in memory");
        Self((0..words).map(|_| AtomicU32::new(0)).collect())
    }

    /// Whether both are handles of the same memory.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    fn load(&self, offset: usize) -> u8 {
        self.0[offset / 4].load(Ordering::Acquire).to_le_bytes()[offset % 4]
    }

    fn store(&self, offset: usize, value: u8) {
        let word = &self.0[offset / 4];
        let mut bytes = word.load(Ordering::Acquire).to_le_bytes();
        bytes[offset % 4] = value;
        word.store(u32::from_le_bytes(bytes), Ordering::Release);
    }
}

/// A dataport in this process's memory. Clones share the memory, as the two ends of a connection do.
#[derive(Debug, Clone)]
pub struct FakeDataport {
    frames: Arc<[FakeFrame]>,
    size: FrameSize,
    fixed: Option<GuestAddr>,
}

impl FakeDataport {
    /// A dataport of `bytes` bytes, rounded up to frames of 4 KiB.
    #[must_use]
    pub fn new(bytes: u64) -> Self {
        Self::of_frames(FrameSize::KIB_4, bytes.div_ceil(FrameSize::KIB_4.bytes()))
    }

    /// A dataport of `count` frames of `size`.
    #[must_use]
    pub fn of_frames(size: FrameSize, count: u64) -> Self {
        Self { frames: (0..count).map(|_| FakeFrame::new(size)).collect(), size, fixed: None }
    }

    /// The same memory for a guest that has it at `at` for good.
    #[must_use]
    pub fn fixed(&self, at: GuestAddr) -> Self {
        Self { fixed: Some(at), ..self.clone() }
    }

    /// The `length` bytes at `offset`, as a native component reads them.
    ///
    /// # Panics
    /// Beyond the dataport's end.
    #[must_use]
    pub fn load(&self, offset: u64, length: u64) -> Vec<u8> {
        (offset..offset + length).map(|at| self.frame(at).0.load(self.frame(at).1)).collect()
    }

    /// Writes `bytes` at `offset`, as a native component does.
    ///
    /// # Panics
    /// Beyond the dataport's end.
    pub fn store(&self, offset: u64, bytes: &[u8]) {
        for (at, byte) in (offset..).zip(bytes) {
            let (frame, offset) = self.frame(at);
            frame.store(offset, *byte);
        }
    }

    fn frame(&self, at: u64) -> (&FakeFrame, usize) {
        let index = usize::try_from(at / self.size.bytes()).expect("an offset fits in memory");
        let offset = usize::try_from(at % self.size.bytes()).expect("an offset fits in memory");
        (&self.frames[index], offset)
    }
}

impl Dataport for FakeDataport {
    type Frame = FakeFrame;

    fn frame_size(&self) -> FrameSize {
        self.size
    }

    fn frames(&self) -> &[FakeFrame] {
        &self.frames
    }

    fn fixed_at(&self) -> Option<GuestAddr> {
        self.fixed
    }
}

/// An event page in this process's memory, on a machine without coherent caches: the guest sees a word as it was when it was last published.
#[derive(Debug)]
pub struct FakePage {
    /// What the VMM sees.
    words: FakeFrame,
    /// What the guest sees.
    frame: FakeFrame,
    fixed: Option<GuestAddr>,
}

impl EventPage for FakePage {
    type Frame = FakeFrame;

    fn frame(&self) -> &FakeFrame {
        &self.frame
    }

    fn words(&self) -> &[AtomicU32] {
        &self.words.0
    }

    fn published(&self, word: usize) {
        self.frame.0[word].store(self.words.0[word].load(Ordering::Acquire), Ordering::Release);
    }

    fn fixed_at(&self) -> Option<GuestAddr> {
        self.fixed
    }
}

/// Why a guest's access traps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GuestFault {
    /// Nothing is mapped at the address.
    NotMapped(GuestAddr),
    /// A store to what is mapped read-only.
    ReadOnly(GuestAddr),
}

/// A guest's address space: RAM that is taken, reservations, and what is mapped where.
#[derive(Debug, Default)]
pub struct FakeMemory {
    ram: Vec<GuestRange>,
    reserved: Vec<GuestRange>,
    mapped: BTreeMap<GuestAddr, (FakeFrame, Mapping)>,
    /// What each call of `map` mapped: `unmap` must name the same.
    ranges: Vec<GuestRange>,
    event_pages: usize,
    /// Where the next event pages are for good, the last one first.
    fixed_pages: Vec<GuestAddr>,
}

impl FakeMemory {
    /// An address space with RAM (or devices) in these ranges.
    #[must_use]
    pub fn new(ram: impl IntoIterator<Item = GuestRange>) -> Self {
        Self { ram: ram.into_iter().collect(), ..Self::default() }
    }

    /// With event pages that are at these addresses for good, the last one taken first. Further ones go wherever they are mapped.
    #[must_use]
    pub fn with_fixed_pages(mut self, pages: impl IntoIterator<Item = GuestAddr>) -> Self {
        self.fixed_pages.extend(pages);
        self
    }

    /// What is mapped, lowest address first.
    pub fn mappings(&self) -> impl Iterator<Item = (GuestRange, Mapping)> + '_ {
        self.mapped.iter().map(|(at, (_, mapping))| (frame_range(*at, mapping.size), *mapping))
    }

    /// The frame mapped at `at`, where a frame starts there.
    #[must_use]
    pub fn frame_at(&self, at: GuestAddr) -> Option<&FakeFrame> {
        self.mapped.get(&at).map(|(frame, _)| frame)
    }

    /// The ranges that are reserved.
    #[must_use]
    pub fn reserved(&self) -> &[GuestRange] {
        &self.reserved
    }

    /// How many event pages exist.
    #[must_use]
    pub fn event_pages(&self) -> usize {
        self.event_pages
    }

    /// Loads as the guest.
    ///
    /// # Errors
    /// [`GuestFault::NotMapped`] with the first byte that is not mapped.
    pub fn load(&self, at: GuestAddr, length: u64) -> Result<Vec<u8>, GuestFault> {
        (0..length).map(|index| self.find(at, index).map(|(frame, offset, _)| frame.load(offset))).collect()
    }

    /// Stores as the guest. Bytes in front of one that traps are stored.
    ///
    /// # Errors
    /// [`GuestFault`] of the first byte that traps.
    pub fn store(&mut self, at: GuestAddr, bytes: &[u8]) -> Result<(), GuestFault> {
        for (index, byte) in (0..).zip(bytes) {
            let (frame, offset, rights) = self.find(at, index)?;
            if rights == Rights::Read {
                return Err(GuestFault::ReadOnly(at.checked_add(index).unwrap_or(at)));
            }
            frame.store(offset, *byte);
        }
        Ok(())
    }

    fn find(&self, at: GuestAddr, index: u64) -> Result<(&FakeFrame, usize, Rights), GuestFault> {
        let at = at.checked_add(index).ok_or(GuestFault::NotMapped(at))?;
        let (start, (frame, mapping)) = self.mapped.range(..=at).next_back().ok_or(GuestFault::NotMapped(at))?;
        let offset = at.offset_from(*start).filter(|offset| *offset < mapping.size.bytes()).ok_or(GuestFault::NotMapped(at))?;
        Ok((frame, usize::try_from(offset).expect("an offset fits in memory"), mapping.rights))
    }
}

fn frame_range(at: GuestAddr, size: FrameSize) -> GuestRange {
    GuestRange::new(at, size.bytes()).expect("a mapped frame ends inside the address space")
}

impl ErrorType for FakeMemory {
    type Error = ErrorKind;
}

impl GuestMemory for FakeMemory {
    type Frame = FakeFrame;
    type EventPage = FakePage;

    fn reserve(&mut self, range: GuestRange) -> Result<(), ErrorKind> {
        if self.ram.iter().chain(&self.reserved).any(|taken| taken.overlaps(range)) {
            return Err(ErrorKind::Overlap);
        }
        self.reserved.push(range);
        Ok(())
    }

    fn release(&mut self, range: GuestRange) {
        assert!(!self.mappings().any(|(mapped, _)| mapped.overlaps(range)), "released {range} with something mapped in it");
        let index = self.reserved.iter().position(|reserved| *reserved == range);
        self.reserved.swap_remove(index.unwrap_or_else(|| panic!("released {range}, which was not reserved")));
    }

    fn map(&mut self, at: GuestAddr, frames: &[FakeFrame], mapping: Mapping) -> Result<(), ErrorKind> {
        assert!(!frames.is_empty(), "mapped no frames at {at}");
        if !at.is_aligned(mapping.size.bytes()) {
            return Err(ErrorKind::Misaligned);
        }
        let range = GuestRange::new(at, mapping.size.bytes() * frames.len() as u64).ok_or(ErrorKind::OutOfRange)?;
        if self.mappings().any(|(mapped, _)| mapped.overlaps(range)) {
            return Err(ErrorKind::Overlap);
        }
        assert!(self.reserved.iter().any(|reserved| reserved.covers(range)), "mapped {range}, which is not reserved");
        let addresses = (at.get()..).step_by(usize::try_from(mapping.size.bytes()).expect("a frame of the fakes fits in memory"));
        self.mapped.extend(addresses.zip(frames).map(|(at, frame)| (GuestAddr::new(at), (frame.clone(), mapping))));
        self.ranges.push(range);
        Ok(())
    }

    fn unmap(&mut self, range: GuestRange) {
        let index = self.ranges.iter().position(|mapped| *mapped == range);
        self.ranges.swap_remove(index.unwrap_or_else(|| panic!("unmapped {range}, which was not mapped as a whole")));
        self.mapped.retain(|at, _| !range.contains(*at));
    }

    fn create_event_page(&mut self, size: FrameSize) -> Result<FakePage, ErrorKind> {
        self.event_pages += 1;
        Ok(FakePage { words: FakeFrame::new(size), frame: FakeFrame::new(size), fixed: self.fixed_pages.pop() })
    }

    fn destroy_event_page(&mut self, page: FakePage) {
        let mapped = self.mapped.values().any(|(frame, _)| frame.is(&page.frame));
        assert!(!mapped, "destroyed an event page that is mapped");
        self.event_pages -= 1;
        self.fixed_pages.extend(page.fixed);
    }
}

impl GuestView for FakeMemory {
    /// The first 64 KiB that are neither RAM nor reserved.
    fn free_range(&self) -> GuestRange {
        let free = |range: &GuestRange| !self.ram.iter().chain(&self.reserved).any(|taken| taken.overlaps(*range));
        let mut candidates = (0..).step_by(0x1_0000).map_while(|start| GuestRange::new(GuestAddr::new(start), 0x1_0000));
        candidates.find(free).expect("the address space is larger than what is taken")
    }

    fn ram_range(&self) -> GuestRange {
        *self.ram.first().expect("give the suite an address space with RAM")
    }

    fn new_frame(&mut self, size: FrameSize) -> FakeFrame {
        FakeFrame::new(size)
    }

    fn guest_load(&mut self, at: GuestAddr) -> Option<u32> {
        Some(u32::from_le_bytes(self.load(at, 4).ok()?.try_into().ok()?))
    }

    fn guest_store(&mut self, at: GuestAddr, value: u32) -> bool {
        self.store(at, &value.to_le_bytes()).is_ok()
    }
}
