//! Device memory that Linux maps for us.

use std::fs::File;
use std::io;
use std::ptr::NonNull;

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

use crate::rights::Rights;
use crate::words::{Word, Words};

/// A shared mapping of a file, unmapped when dropped.
#[derive(Debug)]
pub(crate) struct Map {
    /// Where the kernel put the mapping: the start of a page.
    pages: NonNull<u8>,
    /// Length of the mapping in bytes, from `pages` on.
    mapped: usize,
    /// First byte of what was asked for, aligned for any `Word`.
    start: NonNull<u8>,
    /// Length of what was asked for.
    len: usize,
}

// SAFETY: the mapping belongs to the process, not to a thread, and lives until the value is dropped.
unsafe impl Send for Map {}
// SAFETY: all accesses are single volatile loads and stores of memory that is shared with others by nature; no reference to it is
// ever made.
unsafe impl Sync for Map {}

/// What part of a file to map.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    /// Offset of the first page in the file.
    pub(crate) offset: u64,
    /// Bytes of that page in front of what is wanted.
    pub(crate) lead: usize,
    /// Length of what is wanted, in bytes.
    pub(crate) length: usize,
}

impl Map {
    /// Maps `place` of `file`.
    pub(crate) fn new(file: &File, place: Place, rights: Rights) -> io::Result<Self> {
        let Place { offset, lead, length: len } = place;
        let mapped = lead.checked_add(len).filter(|_| len > 0 && lead.is_multiple_of(align_of::<u64>()));
        let mapped = mapped.ok_or(io::ErrorKind::InvalidInput)?;
        let protection = match rights {
            Rights::None => ProtFlags::empty(),
            Rights::Read => ProtFlags::READ,
            Rights::Write => ProtFlags::WRITE,
            Rights::ReadWrite => ProtFlags::READ | ProtFlags::WRITE,
        };
        // SAFETY: the kernel chooses the address, so no memory of this process is touched; the length is not zero.
        let pages = unsafe { mmap(std::ptr::null_mut(), mapped, protection, MapFlags::SHARED, file, offset) }?;
        let pages = NonNull::new(pages.cast::<u8>()).ok_or(io::ErrorKind::AddrNotAvailable)?;
        // SAFETY: `lead` is less than `mapped`, the length of the mapping that begins at `pages`.
        let start = unsafe { pages.add(lead) };
        Ok(Self { pages, mapped, start, len })
    }

    /// The map as memory for a channel, where the processor caches it as usual.
    pub(crate) const fn shared(&self) -> crossvm_channel::Shared<'_> {
        // SAFETY: the mapping lives as long as `self`, which the result borrows; `start` is aligned for any `Word`; no reference into it is made. A
        // map with fewer rights than both would end this process at an access, and touch no memory: `Dataport` gives it to nobody.
        unsafe { crossvm_channel::Shared::new(self.start, self.len) }
    }

    /// Address of the word at `offset`, or `None` where not all of it lies in the map or it is not aligned.
    fn word<W: Word>(&self, offset: usize) -> Option<NonNull<W>> {
        let end = offset.checked_add(size_of::<W>())?;
        if end > self.len || !offset.is_multiple_of(align_of::<W>().max(size_of::<W>())) {
            return None;
        }
        // SAFETY: `offset` plus the word's length is at most `len`, so the result points into the mapping.
        Some(unsafe { self.start.add(offset) }.cast())
    }
}

impl Words for Map {
    fn len(&self) -> usize {
        self.len
    }

    fn load<W: Word>(&self, offset: usize) -> Option<W> {
        let word = self.word::<W>(offset)?;
        // SAFETY: the word lies in the mapping (checked), is aligned (`start` and `offset` are), and any bits are a `W`.
        Some(unsafe { word.read_volatile() })
    }

    fn store<W: Word>(&self, offset: usize, value: W) -> Option<()> {
        let word = self.word::<W>(offset)?;
        // SAFETY: the word lies in the mapping (checked), is aligned, and no reference to it exists.
        unsafe { word.write_volatile(value) };
        Some(())
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: exactly what `mmap` returned, unmapped once; no pointer into it outlives `self`.
        let unmapped = unsafe { munmap(self.pages.as_ptr().cast(), self.mapped) };
        debug_assert!(unmapped.is_ok(), "munmap of a mapping of our own failed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn file(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    #[test]
    fn accesses_outside_the_map_or_misaligned_are_not_made() {
        let map = Map::new(&file(&[0x5a; 4096]), Place { offset: 0, lead: 0, length: 20 }, Rights::ReadWrite).unwrap();
        assert_eq!(map.load::<u8>(19), Some(0x5a));
        assert_eq!(map.load::<u8>(20), None);
        assert_eq!(map.load::<u32>(16), Some(0x5a5a_5a5a));
        assert_eq!(map.load::<u32>(18), None, "misaligned");
        assert_eq!(map.load::<u64>(16), None, "ends behind the map");
        assert_eq!(map.load::<u64>(usize::MAX - 7), None, "offset + length wraps");
        assert_eq!(map.store::<u32>(20, 1), None);
        assert_eq!(map.store::<u32>(2, 1), None);
        assert_eq!(map.load::<u64>(8), Some(0x5a5a_5a5a_5a5a_5a5a), "nothing was stored");
    }

    #[test]
    fn a_map_may_begin_inside_a_page() {
        let mut bytes = [0; 4096];
        bytes[1024..1028].copy_from_slice(&0x1234_5678_u32.to_ne_bytes());
        let map = Map::new(&file(&bytes), Place { offset: 0, lead: 1024, length: 1024 }, Rights::Read).unwrap();
        assert_eq!(map.load::<u32>(0), Some(0x1234_5678));
        assert_eq!(map.load::<u32>(1024), None);
    }

    #[test]
    fn stores_reach_the_file() {
        use std::os::unix::fs::FileExt;
        let file = file(&[0; 4096]);
        let map = Map::new(&file, Place { offset: 0, lead: 0, length: 4096 }, Rights::ReadWrite).unwrap();
        map.store(4, 0x0102_0304_u32).unwrap();
        crate::raw::full_barrier();
        crate::raw::load_barrier();
        let mut bytes = [0; 4];
        file.read_exact_at(&mut bytes, 4).unwrap();
        assert_eq!(u32::from_ne_bytes(bytes), 0x0102_0304);
    }

    #[test]
    fn nothing_and_odd_starts_do_not_map() {
        let file = file(&[0; 4096]);
        assert!(Map::new(&file, Place { offset: 0, lead: 0, length: 0 }, Rights::Read).is_err());
        assert!(Map::new(&file, Place { offset: 0, lead: 4, length: 8 }, Rights::Read).is_err());
        assert!(Map::new(&file, Place { offset: 0, lead: 8, length: usize::MAX }, Rights::Read).is_err());
    }
}
