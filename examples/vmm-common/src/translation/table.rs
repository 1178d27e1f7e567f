//! Walking, mapping and unmapping, over pages of plain memory.

use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering};

use super::descriptor::{Descriptor, LeafAttributes};
use crate::host::{HostAddr, Page, PagePool};

/// Levels of the tables, with the bits of address that one entry covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    One,
    Two,
    Three,
}

impl Level {
    /// Number of the lowest address bit that this level translates.
    const fn shift(self) -> u32 {
        match self {
            Self::One => 30,
            Self::Two => 21,
            Self::Three => 12,
        }
    }

    /// Bytes that one entry covers.
    const fn span(self) -> u64 {
        match self {
            Self::One => 1 << 30,
            Self::Two => 2 << 20,
            Self::Three => 4 << 10,
        }
    }

    const fn next(self) -> Option<Self> {
        match self {
            Self::One => Some(Self::Two),
            Self::Two => Some(Self::Three),
            Self::Three => None,
        }
    }

    const fn is_last(self) -> bool {
        matches!(self, Self::Three)
    }
}

/// Translation tables, their pages and the pool that they come from.
#[derive(Debug)]
pub struct Tables {
    pool: PagePool,
    root: Page,
}

/// Why a range could not be mapped. Nothing of it is mapped then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MapError {
    /// An address or the size is no multiple of 4 KiB, or the size is zero.
    Misaligned,
    /// The input address lies above what the tables cover.
    OutOfRange,
    /// Something is mapped there.
    Occupied,
    /// No page is left for a table.
    Exhausted,
}

impl fmt::Display for MapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Misaligned => "the address or size is no multiple of 4 KiB",
            Self::OutOfRange => "the address is beyond 512 GiB",
            Self::Occupied => "something is mapped there",
            Self::Exhausted => "no page is left for a translation table",
        })
    }
}

impl core::error::Error for MapError {}

/// What an address translates to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// The output address.
    pub target: HostAddr,
    /// The attributes of the block or page.
    pub attributes: LeafAttributes,
}

impl Tables {
    /// Highest input address plus one.
    pub const LIMIT: u64 = 1 << 39;

    /// Empty tables out of `pool`.
    ///
    /// # Errors
    /// [`MapError::Exhausted`] where the pool is empty.
    pub fn new(mut pool: PagePool) -> Result<Self, MapError> {
        let root = pool.allocate().ok_or(MapError::Exhausted)?;
        Ok(Self { pool, root })
    }

    /// Where the table of level 1 is: what goes into TTBR0_EL2 or VTTBR_EL2.
    #[must_use]
    pub const fn root(&self) -> HostAddr {
        self.root.address()
    }

    /// The pool, for pages of other use.
    #[must_use]
    pub const fn pool(&mut self) -> &mut PagePool {
        &mut self.pool
    }

    /// The pool, to look at.
    #[cfg(test)]
    pub(super) const fn pool_ref(&self) -> &PagePool {
        &self.pool
    }

    /// Maps `size` bytes from `at` to `to`, with the largest blocks that fit.
    ///
    /// New entries only: no TLB maintenance is needed but a barrier before the first use.
    ///
    /// # Errors
    /// See [`MapError`].
    pub fn map(&mut self, at: u64, to: HostAddr, size: u64, attributes: LeafAttributes) -> Result<(), MapError> {
        if size == 0 || [at, to.get(), size].into_iter().any(|number| !number.is_multiple_of(PagePool::PAGE)) {
            return Err(MapError::Misaligned);
        }
        let end = at.checked_add(size).filter(|end| *end <= Self::LIMIT).ok_or(MapError::OutOfRange)?;
        if !self.is_free(at, end) {
            return Err(MapError::Occupied);
        }
        let mut next = at;
        let mut target = to;
        while next < end {
            match self.map_one(next, target, end.saturating_sub(next), attributes) {
                Ok(span) => {
                    next = next.saturating_add(span);
                    target = target.checked_add(span).unwrap_or(target);
                }
                Err(error) => {
                    self.unmap(at, next.saturating_sub(at));
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Makes all entries that lie wholly inside the range invalid, and gives tables back to the pool that have no valid entry left. The caller
    /// invalidates the TLBs for the range, what they know of tables included, before anything else is taken out of the pool.
    pub fn unmap(&mut self, at: u64, size: u64) {
        let end = at.saturating_add(size);
        self.visit(at, end, |_, entry, start, level| {
            if start >= at && start.saturating_add(level.span()) <= end {
                entry.store(0, Ordering::Relaxed);
            }
        });
        // From below: a table of level 2 may have been kept by those of level 3 alone.
        self.release_empty(at, end, Level::Two);
        self.release_empty(at, end, Level::One);
    }

    /// Gives back the tables that entries of `level` lead to and that have no valid entry, as far as they have to do with the range.
    fn release_empty(&mut self, at: u64, end: u64, level: Level) {
        let mut next = at;
        while next < end.min(Self::LIMIT) {
            let (entry, met) = self.entry_at(next, level);
            if let Some(entry) = entry.filter(|_| met == level)
                && let Some((table, _)) = self.table_below(entry, level)
                && self.pool.double_words(table).iter().all(|entry| !load(entry).valid())
            {
                entry.store(0, Ordering::Release);
                self.pool.release(table);
            }
            next = (next & !met.span().saturating_sub(1)).saturating_add(met.span());
        }
    }

    /// What `at` translates to.
    #[must_use]
    pub fn find(&self, at: u64) -> Option<Found> {
        let mut found = None;
        self.visit(at, at.saturating_add(1), |descriptor, _, start, _| {
            let target = descriptor.target().checked_add(at.saturating_sub(start));
            found = target.map(|target| Found { target, attributes: descriptor.attributes() });
        });
        found
    }

    fn is_free(&self, at: u64, end: u64) -> bool {
        let mut free = true;
        self.visit(at, end, |_, _, _, _| free = false);
        free
    }

    /// Calls `leaf` for each valid block or page that touches the range, with its entry, its input address and its level.
    fn visit(&self, at: u64, end: u64, mut leaf: impl FnMut(Descriptor, &AtomicU64, u64, Level)) {
        let mut next = at;
        while next < end.min(Self::LIMIT) {
            let (entry, level) = self.walk(next);
            let start = next & !level.span().saturating_sub(1);
            if let Some(entry) = entry {
                let descriptor = load(entry);
                if descriptor.valid() {
                    leaf(descriptor, entry, start, level);
                }
            }
            next = start.saturating_add(level.span());
        }
    }

    /// The entry where the walk for `at` ends: a block, a page or nothing valid.
    fn walk(&self, at: u64) -> (Option<&'static AtomicU64>, Level) {
        self.entry_at(at, Level::Three)
    }

    /// The entry of `lowest` level for `at`; where the walk ends before, the one where it does.
    fn entry_at(&self, at: u64, lowest: Level) -> (Option<&'static AtomicU64>, Level) {
        let mut page = self.root;
        let mut level = Level::One;
        loop {
            let Some(entry) = self.entry(page, at, level) else { return (None, level) };
            match self.table_below(entry, level).filter(|_| level != lowest) {
                Some((below, next)) => (page, level) = (below, next),
                None => return (Some(entry), level),
            }
        }
    }

    /// Maps one block or page, the largest that fits, and returns what it covers.
    fn map_one(&mut self, at: u64, to: HostAddr, left: u64, attributes: LeafAttributes) -> Result<u64, MapError> {
        let mut page = self.root;
        let mut level = Level::One;
        loop {
            let entry = self.entry(page, at, level).ok_or(MapError::OutOfRange)?;
            if let Some((below, next)) = self.table_below(entry, level) {
                (page, level) = (below, next);
                continue;
            }
            let span = level.span();
            if level.is_last() || (span <= left && at.is_multiple_of(span) && to.get().is_multiple_of(span)) {
                entry.store(attributes.leaf(to, level.is_last()).into_bits(), Ordering::Release);
                return Ok(span);
            }
            let next = level.next().ok_or(MapError::OutOfRange)?;
            // A fresh table is all zero: nothing becomes valid but the way to it.
            let table = self.pool.allocate().ok_or(MapError::Exhausted)?;
            let entry = self.entry(page, at, level).ok_or(MapError::OutOfRange)?;
            entry.store(Descriptor::to_table(table.address()).into_bits(), Ordering::Release);
            (page, level) = (table, next);
        }
    }

    fn entry(&self, table: Page, at: u64, level: Level) -> Option<&'static AtomicU64> {
        let index = at.checked_shr(level.shift())? & 0x1ff;
        self.pool.double_words(table).get(usize::try_from(index).ok()?)
    }

    fn table_below(&self, entry: &AtomicU64, level: Level) -> Option<(Page, Level)> {
        let descriptor = load(entry);
        let next = level.next()?;
        if descriptor.valid() && descriptor.table_or_page() { Some((self.pool.page_at(descriptor.target())?, next)) } else { None }
    }
}

fn load(entry: &AtomicU64) -> Descriptor {
    Descriptor::from_bits(entry.load(Ordering::Relaxed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::tests::memory;
    use crate::translation::Stage2Attributes;

    const GIB: u64 = 1 << 30;
    const MIB: u64 = 1 << 20;

    fn tables() -> Tables {
        Tables::new(PagePool::new(memory(PagePool::SIZE))).unwrap()
    }

    fn ram() -> LeafAttributes {
        Stage2Attributes::Ram.into()
    }

    /// The hardware's walk, written down independently of the code under test: (output address, level).
    fn hardware_walk(tables: &Tables, at: u64) -> Option<(u64, u32)> {
        let mut table = tables.root().get();
        for (level, shift) in [(1, 30), (2, 21), (3, 12)] {
            let index = (at >> shift) & 0x1ff;
            let page = tables.pool.page_at(HostAddr::new(table))?;
            let descriptor = tables.pool.double_words(page)[usize::try_from(index).unwrap()].load(Ordering::Relaxed);
            let output = descriptor & 0xffff_ffff_f000;
            match (descriptor & 3, level) {
                (3, 1 | 2) => table = output,
                (1, 1 | 2) | (3, 3) => return Some((output | at & ((1 << shift) - 1), level)),
                _ => return None,
            }
        }
        None
    }

    #[test]
    fn the_largest_blocks_that_fit_are_used() {
        let mut tables = tables();
        tables.map(GIB, HostAddr::new(4 * GIB), 2 * GIB + 2 * MIB + 4096, ram()).unwrap();
        assert_eq!(hardware_walk(&tables, GIB + 5), Some((4 * GIB + 5, 1)));
        assert_eq!(hardware_walk(&tables, 3 * GIB - 1), Some((6 * GIB - 1, 1)));
        assert_eq!(hardware_walk(&tables, 3 * GIB + 3), Some((6 * GIB + 3, 2)));
        assert_eq!(hardware_walk(&tables, 3 * GIB + 2 * MIB + 4095), Some((6 * GIB + 2 * MIB + 4095, 3)));
        assert_eq!(hardware_walk(&tables, 3 * GIB + 2 * MIB + 4096), None);
        // Equal alignment of input and output is needed for a block.
        tables.map(8 * GIB, HostAddr::new(4096), 4 * MIB, ram()).unwrap();
        assert_eq!(hardware_walk(&tables, 8 * GIB + 2 * MIB), Some((4096 + 2 * MIB, 3)));
    }

    #[test]
    fn find_agrees_with_the_hardware_s_walk() {
        let mut tables = tables();
        tables.map(6 * MIB, HostAddr::new(0x4000_0000), 5 * MIB, ram()).unwrap();
        for at in (0..16 * MIB).step_by(0x7ff) {
            assert_eq!(tables.find(at).map(|found| found.target.get()), hardware_walk(&tables, at).map(|(target, _)| target), "{at:#x}");
        }
    }

    #[test]
    fn a_failed_map_changes_nothing() {
        let mut tables = tables();
        tables.map(10 * MIB, HostAddr::new(0), 4096, ram()).unwrap();
        assert_eq!(tables.map(8 * MIB, HostAddr::new(0), 4 * MIB, ram()), Err(MapError::Occupied));
        assert_eq!(hardware_walk(&tables, 8 * MIB), None);
        assert_eq!(tables.map(8 * MIB, HostAddr::new(1), 4096, ram()), Err(MapError::Misaligned));
        assert_eq!(tables.map(8 * MIB, HostAddr::new(0), 0, ram()), Err(MapError::Misaligned));
        assert_eq!(tables.map(Tables::LIMIT - 4096, HostAddr::new(0), 8192, ram()), Err(MapError::OutOfRange));
        assert_eq!(hardware_walk(&tables, Tables::LIMIT - 4096), None);
        // Pages run out in the middle of a range: what was mapped of it goes again.
        assert_eq!(tables.map(GIB + 4096, HostAddr::new(0), GIB, ram()), Err(MapError::Exhausted));
        assert!((0..GIB).step_by(4096).all(|offset| hardware_walk(&tables, GIB + 4096 + offset).is_none()));
    }

    #[test]
    fn unmap_takes_what_was_mapped_and_nothing_else() {
        let mut tables = tables();
        tables.map(4 * MIB, HostAddr::new(0), MIB, ram()).unwrap();
        tables.map(5 * MIB, HostAddr::new(0), 4096, ram()).unwrap();
        tables.map(6 * MIB, HostAddr::new(0), 2 * MIB, ram()).unwrap();
        tables.unmap(4 * MIB, MIB);
        assert_eq!(hardware_walk(&tables, 5 * MIB - 1), None);
        assert!(hardware_walk(&tables, 5 * MIB).is_some() && hardware_walk(&tables, 6 * MIB).is_some());
        // A block that is only touched stays.
        tables.unmap(6 * MIB, 4096);
        assert!(hardware_walk(&tables, 6 * MIB).is_some());
        tables.unmap(6 * MIB, 2 * MIB);
        assert_eq!(hardware_walk(&tables, 6 * MIB), None);
        tables.map(4 * MIB, HostAddr::new(0x20_0000), MIB, ram()).unwrap();
    }

    #[test]
    fn tables_that_nothing_needs_any_more_are_given_back() {
        let mut tables = tables();
        let free = |tables: &mut Tables| {
            let pages: std::vec::Vec<_> = core::iter::from_fn(|| tables.pool.allocate()).collect();
            pages.iter().for_each(|page| tables.pool.release(*page));
            pages.len()
        };
        let before = free(&mut tables);
        // Through all that the tables cover, with a page, a block and both: more than there are pages.
        for round in 0..2000 {
            let at = (round * (Tables::LIMIT / 2000)) & !(2 * MIB - 1);
            let size = [4096, 2 * MIB, 2 * MIB + 4096][usize::try_from(round % 3).unwrap()];
            tables.map(at, HostAddr::new(0), size, ram()).unwrap();
            assert!(hardware_walk(&tables, at).is_some());
            tables.unmap(at, size);
            assert_eq!(hardware_walk(&tables, at), None);
        }
        assert_eq!(free(&mut tables), before);
        // What is in use stays: a neighbour in the same table of level 3, one in the same table of level 2.
        tables.map(GIB, HostAddr::new(0), 4096, ram()).unwrap();
        tables.map(GIB + 4096, HostAddr::new(0), 4096, ram()).unwrap();
        tables.map(GIB + 2 * MIB, HostAddr::new(0), 4096, ram()).unwrap();
        tables.unmap(GIB, 4096);
        assert_eq!((hardware_walk(&tables, GIB + 4096), free(&mut tables)), (Some((0, 3)), before - 3));
        tables.unmap(GIB + 4096, 4096);
        assert_eq!((hardware_walk(&tables, GIB + 2 * MIB), free(&mut tables)), (Some((0, 3)), before - 2));
        tables.unmap(GIB + 2 * MIB, 4096);
        assert_eq!(free(&mut tables), before);
        // A range that has no room leaves none behind.
        assert_eq!(tables.map(GIB + 4096, HostAddr::new(0), GIB, ram()), Err(MapError::Exhausted));
        assert_eq!(free(&mut tables), before);
    }
}
