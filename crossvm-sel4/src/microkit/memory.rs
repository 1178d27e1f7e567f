//! A guest's address space that was mapped when the system was built.

use core::fmt;
use core::sync::atomic::{AtomicU32, Ordering};

use crossvm_core::{ErrorKind, ErrorType, EventPage, FrameSize, GuestAddr, GuestMemory, GuestRange, Mapping, Rights};
use heapless::Vec;

use super::Part;
use crate::vspace::{Place, WindowSpace, WindowWords};

/// Most ranges that are taken by RAM and devices, and most that are reserved.
const RANGES: usize = 16;
/// Most event pages: as many as there are connections with an event each.
const PAGES: usize = 64;

/// What one call of `map` was for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
struct Region {
    range: GuestRange,
    rights: Rights,
    in_use: bool,
}

/// The event pages of a guest: one region, which the monitor writes and the guest reads.
#[derive(Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
struct Pages<W> {
    own: W,
    guest: GuestAddr,
    size: FrameSize,
    /// A bit for each page: whether it exists for a connection, and whether that has it mapped.
    taken: u64,
    mapped: u64,
}

/// The guest-physical memory of a guest whose maps the system description has made, with room for `REGIONS` dataports.
///
/// `map` and `unmap` change nothing: a guest reaches what it was given from the start to the end. What they are asked for is compared with what there is,
/// so that a monitor that was told otherwise than the description fails at `install`.
#[derive(Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct FixedMemory<W, const REGIONS: usize = 64> {
    pages: Pages<W>,
    regions: Vec<Region, REGIONS>,
    taken: Vec<GuestRange, RANGES>,
    reserved: Vec<GuestRange, RANGES>,
}

impl<W: WindowSpace, const REGIONS: usize> FixedMemory<W, REGIONS> {
    /// The memory of a guest with event pages of `size` at `guest`, which the monitor has in the window of `own`, all of them. Nobody asks for the
    /// root of `own`.
    pub fn new(own: W, guest: GuestAddr, size: FrameSize) -> Self {
        let pages = Pages { own, guest, size, taken: 0, mapped: 0 };
        Self { pages, regions: Vec::new(), taken: Vec::new(), reserved: Vec::new() }
    }

    /// With a memory region that the guest has at `range` with these rights.
    ///
    /// # Errors
    /// [`FixedError::Taken`] where another one is there, [`FixedError::Full`] where there are too many.
    pub fn with_region(mut self, range: GuestRange, rights: Rights) -> Result<Self, FixedError> {
        if let Some(other) = self.regions.iter().find(|other| other.range.overlaps(range)) {
            return Err(FixedError::Taken(other.range));
        }
        self.regions.push(Region { range, rights, in_use: false }).map_err(|_| FixedError::Full)?;
        Ok(self)
    }

    /// With RAM or a device in this range: nothing is reserved there.
    ///
    /// # Errors
    /// [`FixedError::Full`] where there are too many.
    pub fn with_taken(mut self, range: GuestRange) -> Result<Self, FixedError> {
        self.taken.push(range).map_err(|_| FixedError::Full)?;
        Ok(self)
    }
}

impl<W: WindowSpace> Pages<W> {
    fn count(&self) -> usize {
        let (_, bytes) = self.own.window();
        usize::try_from(bytes.checked_div(self.size.bytes()).unwrap_or(0)).map_or(PAGES, |count| count.min(PAGES))
    }

    fn offset(&self, index: usize) -> u64 {
        self.size.bytes().saturating_mul(index as u64)
    }

    /// The page that starts at `at`, as a bit.
    fn at(&self, at: GuestAddr) -> Option<u64> {
        let index = (0..self.count()).find(|index| self.guest.checked_add(self.offset(*index)) == Some(at))?;
        Some(bit(index))
    }

    fn create(&mut self, size: FrameSize) -> Result<FixedPage<W::Words>, FixedError> {
        if size != self.size {
            return Err(FixedError::PageSize(self.size));
        }
        let index = (0..self.count()).find(|index| self.taken & bit(*index) == 0).ok_or(FixedError::NoPage)?;
        let (start, _) = self.own.window();
        let bytes = usize::try_from(size.bytes()).map_err(|_| FixedError::PageSize(self.size))?;
        let place = Place { address: start.saturating_add(self.offset(index)), bytes };
        let at = self.guest.checked_add(self.offset(index)).ok_or(FixedError::NoPage)?;
        let words = self.own.words(&place);
        // It may have been another connection's.
        for (number, word) in words.words().iter().enumerate() {
            word.store(0, Ordering::Release);
            words.published(number);
        }
        self.taken |= bit(index);
        Ok(FixedPage { words, at })
    }
}

/// There are [`PAGES`] bits.
const fn bit(index: usize) -> u64 {
    #[expect(clippy::cast_possible_truncation, reason = "it is below 64")]
    if index < PAGES { 1u64.wrapping_shl(index as u32) } else { 0 }
}

impl<W, const REGIONS: usize> ErrorType for FixedMemory<W, REGIONS> {
    type Error = FixedError;
}

impl<W: WindowSpace, const REGIONS: usize> GuestMemory for FixedMemory<W, REGIONS> {
    type Frame = Part;
    type EventPage = FixedPage<W::Words>;

    fn reserve(&mut self, range: GuestRange) -> Result<(), FixedError> {
        if let Some(taken) = self.taken.iter().chain(&self.reserved).find(|taken| taken.overlaps(range)) {
            return Err(FixedError::Taken(*taken));
        }
        self.reserved.push(range).map_err(|_| FixedError::Full)
    }

    fn release(&mut self, range: GuestRange) {
        if let Some(index) = self.reserved.iter().position(|reserved| *reserved == range) {
            self.reserved.swap_remove(index);
        }
    }

    fn map(&mut self, at: GuestAddr, frames: &[Part], mapping: Mapping) -> Result<(), FixedError> {
        if !at.is_aligned(mapping.size.bytes()) {
            return Err(FixedError::Misaligned(at));
        }
        let bytes = mapping.size.bytes().checked_mul(frames.len() as u64);
        let range = bytes.and_then(|bytes| GuestRange::new(at, bytes)).ok_or(FixedError::NotThere(at))?;
        if !self.reserved.iter().any(|reserved| reserved.covers(range)) {
            return Err(FixedError::NotReserved(range));
        }
        if let (Some(page), true) = (self.pages.at(at), range.size() == self.pages.size.bytes()) {
            return match mapping.rights {
                Rights::ReadWrite => Err(FixedError::Rights(at)),
                Rights::Read if self.pages.mapped & page != 0 => Err(FixedError::Taken(range)),
                Rights::Read => {
                    self.pages.mapped |= page;
                    Ok(())
                }
            };
        }
        let region = self.regions.iter_mut().find(|region| region.range == range).ok_or(FixedError::NotThere(at))?;
        if region.rights != mapping.rights {
            return Err(FixedError::Rights(at));
        }
        if region.in_use {
            return Err(FixedError::Taken(range));
        }
        region.in_use = true;
        Ok(())
    }

    fn unmap(&mut self, range: GuestRange) {
        if let Some(page) = self.pages.at(range.start()) {
            self.pages.mapped &= !page;
        }
        for region in self.regions.iter_mut().filter(|region| region.range == range) {
            region.in_use = false;
        }
    }

    fn create_event_page(&mut self, size: FrameSize) -> Result<Self::EventPage, FixedError> {
        self.pages.create(size)
    }

    fn destroy_event_page(&mut self, page: Self::EventPage) {
        if let Some(page) = self.pages.at(page.at) {
            self.pages.taken &= !page;
        }
    }
}

/// An event page that the guest has at its address for good.
#[derive(Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct FixedPage<T> {
    words: T,
    at: GuestAddr,
}

impl<T: WindowWords> EventPage for FixedPage<T> {
    type Frame = Part;

    fn frame(&self) -> &Part {
        &Part
    }

    fn words(&self) -> &[AtomicU32] {
        self.words.words()
    }

    fn published(&self, word: usize) {
        self.words.published(word);
    }

    fn fixed_at(&self) -> Option<GuestAddr> {
        Some(self.at)
    }
}

/// Why there is not what was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum FixedError {
    /// Something is there already.
    Taken(GuestRange),
    /// What is to be mapped does not lie in one reserved range.
    NotReserved(GuestRange),
    /// Not a multiple of the frames' size.
    Misaligned(GuestAddr),
    /// The system description has no such region at this address of the guest.
    NotThere(GuestAddr),
    /// The system description gives the guest other rights there.
    Rights(GuestAddr),
    /// The event pages have this size.
    PageSize(FrameSize),
    /// There are as many connections as event pages.
    NoPage,
    /// A table of the [`FixedMemory`] is full.
    Full,
}

impl crossvm_core::Error for FixedError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Taken(_) => ErrorKind::Overlap,
            Self::Misaligned(_) => ErrorKind::Misaligned,
            Self::NotReserved(_) | Self::NotThere(_) | Self::Rights(_) | Self::PageSize(_) => ErrorKind::OutOfRange,
            Self::NoPage | Self::Full => ErrorKind::Exhausted,
        }
    }
}

impl fmt::Display for FixedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Taken(range) => write!(f, "something is at {range} already"),
            Self::NotReserved(range) => write!(f, "{range} does not lie in the bridge's windows"),
            Self::Misaligned(at) => write!(f, "{at} is no multiple of the frames' size"),
            Self::NotThere(at) => {
                write!(f, "the guest has no such region at {at}: name it by `with_region`, as it is in the system description")
            }
            Self::Rights(at) => write!(f, "the guest has other rights at {at}: name them as they are in the system description"),
            Self::PageSize(size) => write!(f, "the event pages of this guest have {size}; configure the connections so"),
            Self::NoPage => write!(f, "no event page is left: the system description has fewer than there are connections"),
            Self::Full => write!(f, "more regions or ranges than the memory's type has room for"),
        }
    }
}

impl core::error::Error for FixedError {}
