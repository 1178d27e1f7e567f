//! Memory that the VMM touches: the one place of the library where an address becomes a reference.

use core::fmt;
use core::ptr;
use core::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

use crossvm_core::FrameSize;

use super::{HostAddr, HostRange};

/// Host-physical memory in the hands of one owner. Guests may have it mapped and change it at any time, so that it is read and
/// written atomically.
#[derive(Debug)]
pub struct PhysicalMemory {
    range: HostRange,
}

/// Bytes were asked for that the memory does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutOfRange;

impl fmt::Display for OutOfRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the range does not lie in the memory")
    }
}

impl core::error::Error for OutOfRange {}

impl PhysicalMemory {
    /// Takes possession of `range`. Its start must be a multiple of 4 KiB; what is behind its last whole 4 KiB is left alone.
    ///
    /// # Safety
    ///
    /// From now on and for ever, all of `range` is memory, mapped at the same virtual address, readable, writable, write-back
    /// cacheable, initialised, and no Rust reference to it exists but those that this value gives out.
    #[must_use]
    pub const unsafe fn new(range: HostRange) -> Self {
        Self { range }
    }

    /// Where the memory is.
    #[must_use]
    pub const fn range(&self) -> HostRange {
        self.range
    }

    /// The memory as bytes.
    #[must_use]
    pub const fn bytes(&self) -> &'static [AtomicU8] {
        // SAFETY: `new` promises that the range is initialised memory for ever, reached only through such slices. The length in
        // bytes is right as an `AtomicU8` has size and alignment 1.
        unsafe { core::slice::from_raw_parts(self.pointer().cast(), self.length()) }
    }

    /// The memory as words of 32 bits.
    #[must_use]
    pub const fn words(&self) -> &'static [AtomicU32] {
        // SAFETY: as in `bytes`; the start is 4 KiB aligned and the length is rounded down to whole words.
        unsafe { core::slice::from_raw_parts(self.pointer().cast(), self.length() / 4) }
    }

    /// The memory as words of 64 bits.
    #[must_use]
    pub const fn double_words(&self) -> &'static [AtomicU64] {
        // SAFETY: as in `bytes`; the start is 4 KiB aligned and the length is rounded down to whole words.
        unsafe { core::slice::from_raw_parts(self.pointer().cast(), self.length() / 8) }
    }

    /// Sets all of it to zero.
    pub fn clear(&self) {
        for word in self.double_words() {
            word.store(0, Ordering::Relaxed);
        }
    }

    /// Copies `from` to the bytes from `offset` on. For memory that no guest is using: the copy is not atomic.
    ///
    /// # Errors
    /// [`OutOfRange`] where the memory is too small; nothing is copied then.
    pub fn copy_from(&mut self, offset: u64, from: &[u8]) -> Result<(), OutOfRange> {
        let start = usize::try_from(offset).map_err(|_| OutOfRange)?;
        let end = start.checked_add(from.len()).ok_or(OutOfRange)?;
        let target = self.bytes().get(start..end).ok_or(OutOfRange)?;
        // SAFETY: `target` is memory of exactly this length that may be written through a shared reference (it is a slice of atomics),
        // and `from`, being borrowed from elsewhere as plain bytes, does not overlap it by the promise of `new`.
        unsafe { ptr::copy_nonoverlapping(from.as_ptr(), target.as_ptr().cast::<u8>().cast_mut(), from.len()) };
        Ok(())
    }

    const fn pointer(&self) -> *const u8 {
        self.range.start().pointer()
    }

    /// `usize` has 64 bits on every machine that runs the VMM, and on a smaller host no such memory exists.
    #[expect(clippy::cast_possible_truncation, reason = "see above")]
    const fn length(&self) -> usize {
        self.range.size() as usize
    }
}

/// A page of 4 KiB out of a [`PagePool`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    address: HostAddr,
}

impl Page {
    /// Where the page is.
    #[must_use]
    pub const fn address(self) -> HostAddr {
        self.address
    }
}

/// Most pages of a pool.
const POOL_PAGES: usize = 4096;
/// Pages of a word of the map.
const WORD: usize = 64;

/// Up to 16 MiB of pages for translation tables and event registers.
#[derive(Debug)]
pub struct PagePool {
    memory: PhysicalMemory,
    /// One bit for each page, set where it is in use.
    used: [u64; POOL_PAGES / WORD],
}

impl PagePool {
    /// Size of a page in bytes.
    pub const PAGE: u64 = 4096;
    /// Size in bytes of the pool of a guest without connections: room for tables.
    pub const SIZE: u64 = 2 << 20;

    /// Size in bytes of the pool of a guest with so many connections, whose event registers have this size: a multiple of 2 MiB.
    #[must_use]
    pub fn size_for(event_registers: FrameSize, connections: usize) -> u64 {
        let connections = u64::try_from(connections).unwrap_or(u64::MAX);
        let events = event_registers.bytes().saturating_mul(connections);
        Self::SIZE.saturating_add(events.checked_next_multiple_of(Self::SIZE).unwrap_or(events))
    }

    /// A pool of the pages of `memory`: as many as it has of 256 KiB, at most 16 MiB. All are free.
    #[must_use]
    pub const fn new(memory: PhysicalMemory) -> Self {
        Self { memory, used: [0; POOL_PAGES / WORD] }
    }

    /// A page, all zero, or `None` where none is left.
    pub fn allocate(&mut self) -> Option<Page> {
        self.allocate_block(FrameSize::KIB_4).map(|block| Page { address: block.start() })
    }

    /// As many pages as make `size`, side by side and aligned to it, all zero. `None` where there are none such, or where they are more than 64.
    pub fn allocate_block(&mut self, size: FrameSize) -> Option<HostRange> {
        let pages = u32::try_from(size.bytes() / Self::PAGE).ok().filter(|pages| (1..=64).contains(pages))?;
        let block = u64::MAX.checked_shr(64u32.checked_sub(pages)?)?;
        let step = usize::try_from(pages).ok()?;
        let at = |bits: u64| (0u32..64).step_by(step).find(|shift| bits & block.wrapping_shl(*shift) == 0);
        let words = usize::try_from(self.memory.range.size() / (64 * Self::PAGE)).ok()?;
        let (word, bits, shift) =
            (0u64..).zip(self.used.iter_mut().take(words)).find_map(|(word, bits)| at(*bits).map(|shift| (word, bits, shift)))?;
        let index = word.checked_mul(64)?.checked_add(u64::from(shift))?;
        let address = self.memory.range.start().checked_add(index.checked_mul(Self::PAGE)?)?;
        let range = HostRange::new(address, size.bytes())?;
        *bits |= block.checked_shl(shift)?;
        for word in words_of(&self.memory, range)? {
            word.store(0, Ordering::Relaxed);
        }
        Some(range)
    }

    /// Takes back what [`PagePool::allocate_block`] gave.
    pub fn release_block(&mut self, block: HostRange) {
        for offset in (0..block.size()).step_by(4096) {
            if let Some(address) = block.start().checked_add(offset) {
                self.release(Page { address });
            }
        }
    }

    /// Takes back a page.
    pub fn release(&mut self, page: Page) {
        let Some(index) = index(&self.memory, page) else { return };
        if let (Some(bits), Some(bit)) = (self.used.get_mut(index / 64), 1u64.checked_shl(u32::try_from(index % 64).unwrap_or(0))) {
            *bits &= !bit;
        }
    }

    /// The page at `address`, if it is one of this pool that is in use.
    #[must_use]
    pub fn page_at(&self, address: HostAddr) -> Option<Page> {
        let page = Page { address };
        let index = index(&self.memory, page)?;
        let used = self.used.get(index / 64)?.checked_shr(u32::try_from(index % 64).ok()?)? & 1 != 0;
        used.then_some(page)
    }

    /// The page as 512 words of 64 bits; empty if it is none of this pool.
    #[must_use]
    pub fn double_words(&self, page: Page) -> &'static [AtomicU64] {
        entries(&self.memory, page).unwrap_or_default()
    }

    /// A block of pages as words of 32 bits; empty if it is none of this pool.
    #[must_use]
    pub fn words(&self, block: HostRange) -> &'static [AtomicU32] {
        words_of(&self.memory, block).unwrap_or_default()
    }
}

fn index(memory: &PhysicalMemory, page: Page) -> Option<usize> {
    let offset = page.address.get().checked_sub(memory.range.start().get())?;
    let index = usize::try_from(offset / PagePool::PAGE).ok()?;
    (offset.is_multiple_of(PagePool::PAGE) && index < POOL_PAGES).then_some(index)
}

fn entries(memory: &PhysicalMemory, page: Page) -> Option<&'static [AtomicU64]> {
    let first = index(memory, page)?.checked_mul(512)?;
    memory.double_words().get(first..first.checked_add(512)?)
}

fn words_of(memory: &PhysicalMemory, block: HostRange) -> Option<&'static [AtomicU32]> {
    let first = usize::try_from(block.start().get().checked_sub(memory.range.start().get())?).ok()?;
    let end = first.checked_add(usize::try_from(block.size()).ok()?)?;
    memory.words().get(first / 4..end / 4)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Memory of the test's process in the role of host-physical memory: 2 MiB aligned, never freed.
    pub(crate) fn memory(size: u64) -> PhysicalMemory {
        let layout = std::alloc::Layout::from_size_align(usize::try_from(size).unwrap(), 2 << 20).unwrap();
        // SAFETY: the layout is not of size zero in any test.
        let pointer = unsafe { std::alloc::alloc_zeroed(layout) };
        let range = HostRange::new(HostAddr::new(pointer.expose_provenance() as u64), size).unwrap();
        // SAFETY: just allocated, zeroed, never freed and known to nobody else.
        unsafe { PhysicalMemory::new(range) }
    }

    #[test]
    fn a_page_is_zero_again_when_it_is_given_out_again() {
        let mut pool = PagePool::new(memory(PagePool::SIZE));
        let page = pool.allocate().unwrap();
        pool.double_words(page)[511].store(7, Ordering::Relaxed);
        assert_eq!(pool.page_at(page.address()), Some(page));
        pool.release(page);
        assert_eq!(pool.page_at(page.address()), None);
        assert_eq!(pool.allocate(), Some(page));
        assert!(pool.double_words(page).iter().all(|word| word.load(Ordering::Relaxed) == 0));
    }

    #[test]
    fn a_pool_gives_out_each_page_once_and_then_says_no() {
        let mut pool = PagePool::new(memory(PagePool::SIZE));
        let pages: std::collections::HashSet<u64> = std::iter::from_fn(|| pool.allocate()).map(|page| page.address().get()).collect();
        assert_eq!(pages.len(), 512);
        assert_eq!(pool.allocate(), None);
    }

    #[test]
    fn a_block_is_aligned_and_its_own() {
        let mut pool = PagePool::new(memory(PagePool::SIZE));
        let single = pool.allocate().unwrap();
        let block = pool.allocate_block(FrameSize::KIB_64).unwrap();
        assert!(block.start().get().is_multiple_of(64 << 10) && !block.overlaps(HostRange::new(single.address(), 4096).unwrap()));
        assert_eq!(pool.words(block).len(), 16 << 10);
        pool.words(block)[0x3fff].store(7, Ordering::Relaxed);
        let others: std::vec::Vec<_> = std::iter::from_fn(|| pool.allocate()).collect();
        assert_eq!(others.len(), 512 - 1 - 16);
        assert!(!others.iter().any(|page| block.overlaps(HostRange::new(page.address(), 4096).unwrap())));
        assert_eq!(pool.allocate_block(FrameSize::KIB_64), None);
        pool.release_block(block);
        assert_eq!(pool.allocate_block(FrameSize::KIB_64), Some(block));
        assert_eq!(pool.words(block)[0x3fff].load(Ordering::Relaxed), 0);
        assert_eq!(pool.allocate_block(FrameSize::MIB_2), None);
        // 40 connections with 64 KiB each, and the tables.
        assert_eq!(PagePool::size_for(FrameSize::KIB_64, 40), 6 << 20);
        assert_eq!(PagePool::size_for(FrameSize::KIB_4, 0), PagePool::SIZE);
    }

    #[test]
    fn a_copy_that_does_not_fit_copies_nothing() {
        let mut memory = memory(2 << 20);
        assert_eq!(memory.copy_from((2 << 20) - 3, b"abcd"), Err(OutOfRange));
        assert_eq!(memory.copy_from((2 << 20) - 4, b"abcd"), Ok(()));
        assert_eq!(memory.bytes().last().unwrap().load(Ordering::Relaxed), b'd');
        assert!(memory.bytes()[..(2 << 20) - 4].iter().all(|byte| byte.load(Ordering::Relaxed) == 0));
    }
}
