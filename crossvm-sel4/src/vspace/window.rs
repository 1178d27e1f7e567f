//! Where event pages appear in the VMM's own address space.

use crossvm_core::FrameSize;
use heapless::Vec;

use super::error::{SpaceError, Table};
use super::own::{Place, WindowSpace};
use super::tables::Tables;
use crate::kernel::{CapRights, Kernel, Object, Space};
use crate::objects::Objects;

/// Most places of a window: one for each event page.
const PLACES: usize = 64;
/// Most translation tables that a window takes.
const TABLES: usize = 16;
/// A page, in bytes.
const PAGE: u64 = FrameSize::KIB_4.bytes();
/// What the lowest translation table covers: 2 MiB on all architectures of 64 bits.
const TABLE_BYTES: u64 = FrameSize::MIB_2.bytes();

/// Pages of the window.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
struct Pages {
    first: u64,
    count: u64,
}

impl Pages {
    fn end(&self) -> u64 {
        self.first.saturating_add(self.count)
    }

    fn overlaps(&self, other: &Self) -> bool {
        self.first < other.end() && other.first < self.end()
    }
}

/// A window with its translation tables, which are made when it is opened: afterwards, pages that come and go take nothing but themselves.
#[derive(Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub(super) struct Window<W> {
    own: W,
    tables: Tables<TABLES>,
    /// Pages in use.
    used: Vec<Pages, PLACES>,
}

impl<W: WindowSpace> Window<W> {
    pub(super) fn open(kernel: &impl Kernel, objects: &mut impl Objects, own: W) -> Result<Self, SpaceError> {
        let mut window = Self { tables: Tables::new(Space::Virtual(own.root())), own, used: Vec::new() };
        match window.make_tables(kernel, objects) {
            Ok(()) => Ok(window),
            Err(error) => {
                window.close(objects);
                Err(error)
            }
        }
    }

    pub(super) fn close(mut self, objects: &mut impl Objects) {
        self.tables.truncate(objects, 0);
    }

    /// Maps a page in each part of the window that a table covers, and takes it away again.
    fn make_tables(&mut self, kernel: &impl Kernel, objects: &mut impl Objects) -> Result<(), SpaceError> {
        let (start, bytes) = self.own.window();
        let end = start.checked_add(bytes).ok_or(SpaceError::WrongSize)?;
        let mut at = start;
        while at < end {
            let slot = objects.allocate_slots(1)?;
            let mapped = match objects.create(Object::SmallFrame, slot) {
                Ok(()) => {
                    let mapped = self.tables.map(kernel, objects, slot, at, CapRights::READ_WRITE);
                    objects.destroy(slot);
                    mapped
                }
                Err(error) => Err(error.into()),
            };
            objects.release_slots(slot, 1);
            mapped?;
            at = (at | TABLE_BYTES.wrapping_sub(1)).checked_add(1).ok_or(SpaceError::WrongSize)?;
        }
        Ok(())
    }

    /// The space that pages are mapped in.
    pub(super) fn space(&self) -> Space {
        Space::Virtual(self.own.root())
    }

    /// Takes the lowest place for `size`.
    pub(super) fn take(&mut self, size: FrameSize) -> Result<Place, SpaceError> {
        let (start, bytes) = self.own.window();
        let pages = |first, bytes: u64| Pages { first, count: bytes.wrapping_div(PAGE) };
        let free = |place: &Pages| place.end() <= bytes.wrapping_div(PAGE) && !self.used.iter().any(|used| used.overlaps(place));
        // It begins where the window does or where another one ends.
        let ends = self.used.iter().map(Pages::end).chain([0]);
        let lowest = ends.map(|first| pages(first, size.bytes())).filter(free).min_by_key(|place| place.first);
        let place = lowest.ok_or(SpaceError::Full(Table::Window))?;
        let bytes = usize::try_from(size.bytes()).map_err(|_| SpaceError::WrongSize)?;
        self.used.push(place).map_err(|_| SpaceError::Full(Table::Window))?;
        Ok(Place { address: start.saturating_add(place.first.saturating_mul(PAGE)), bytes })
    }

    pub(super) fn words(&self, place: &Place) -> W::Words {
        self.own.words(place)
    }

    /// Gives back a place, where nothing is mapped any more.
    pub(super) fn give_back(&mut self, place: Place) {
        let first = place.address.saturating_sub(self.own.window().0).wrapping_div(PAGE);
        if let Some(index) = self.used.iter().position(|used| used.first == first) {
            self.used.swap_remove(index);
        }
    }
}
