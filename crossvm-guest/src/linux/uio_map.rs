//! The maps of a UIO device, as Linux lists them in sysfs.

use std::fs;
use std::path::Path;

use rustix::param::page_size;

use crate::linux::bar::Bar;
use crate::raw::Place;

/// Most maps of a UIO device (Linux, include/linux/uio_driver.h).
const MAX_MAPS: usize = 5;

/// A range of a function's memory that its UIO device maps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UioMap {
    index: usize,
    address: u64,
    offset: u64,
    size: u64,
}

impl UioMap {
    /// The maps that the folder `maps` of a UIO device lists, none where it does not exist; `None` where it cannot be understood.
    pub(crate) fn list(folder: &Path) -> Option<Vec<Self>> {
        // Their numbers have no gap.
        let folders = (0..MAX_MAPS).map(|index| (index, folder.join(format!("map{index}")))).take_while(|(_, folder)| folder.is_dir());
        folders.map(|(index, folder)| Self::read(index, &folder)).collect()
    }

    fn read(index: usize, folder: &Path) -> Option<Self> {
        let number = |file: &str| {
            let text = fs::read_to_string(folder.join(file)).ok()?;
            u64::from_str_radix(text.trim().strip_prefix("0x")?, 16).ok()
        };
        let (start, offset, length) = (number("addr")?, number("offset")?, number("size")?);
        let inside = offset < u64::try_from(page_size()).ok()?;
        let (address, size) = (start.checked_add(offset)?, length.checked_sub(offset)?);
        (inside && size > 0).then_some(Self { index, address, offset, size })
    }

    /// Its number: `mmap` of the UIO device finds it at as many pages.
    #[must_use]
    pub const fn index(&self) -> usize {
        self.index
    }

    /// Guest-physical address of its first byte, that of a BAR.
    #[must_use]
    pub const fn address(&self) -> u64 {
        self.address
    }

    /// Where its first byte lies in the first page that `mmap` gives: the `offset` of sysfs.
    #[must_use]
    pub const fn offset(&self) -> u64 {
        self.offset
    }

    /// Size in bytes, from its first byte on.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Whether it shows all of `bar`.
    pub(crate) const fn shows(&self, bar: &Bar) -> bool {
        self.address == bar.address() && self.size >= bar.size()
    }

    /// Where `mmap` finds the first `length` bytes; `None` where it has not as many.
    pub(crate) fn place(&self, length: u64) -> Option<Place> {
        let fits = length <= self.size;
        let offset = u64::try_from(page_size().checked_mul(self.index)?).ok()?;
        fits.then_some(Place { offset, lead: usize::try_from(self.offset).ok()?, length: usize::try_from(length).ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(maps: &[(&str, &str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (index, (address, offset, size)) in maps.iter().enumerate() {
            let map = folder.path().join(format!("map{index}"));
            fs::create_dir(&map).unwrap();
            for (file, text) in [("addr", address), ("offset", offset), ("size", size)] {
                fs::write(map.join(file), format!("{text}\n")).unwrap();
            }
        }
        folder
    }

    #[test]
    fn maps_lie_one_page_of_the_file_apart() {
        let folder = folder(&[("0x0000000010000000", "0x0", "0x0000000000001000"), ("0x10010000", "0x400", "0x1000")]);
        let maps = UioMap::list(folder.path()).unwrap();
        let told: Vec<_> = maps.iter().map(|map| (map.index(), map.address(), map.offset(), map.size())).collect();
        assert_eq!(told, [(0, 0x1000_0000, 0, 0x1000), (1, 0x1001_0400, 0x400, 0xc00)]);
        let place = maps[1].place(0xc00).unwrap();
        assert_eq!((place.offset, place.lead, place.length), (page_size() as u64, 0x400, 0xc00));
        assert!(maps[1].place(0xc01).is_none());
    }

    #[test]
    fn a_device_without_maps_has_none_and_more_than_linux_has_are_not_looked_at() {
        assert_eq!(UioMap::list(Path::new("/nowhere")), Some(Vec::new()));
        assert_eq!(UioMap::list(folder(&[("0x1000", "0x0", "0x1000"); 7]).path()).unwrap().len(), MAX_MAPS);
    }

    #[test]
    fn odd_maps_are_refused() {
        for odd in [
            ("", "0x0", "0x1000"),
            ("10000000", "0x0", "0x1000"),
            ("0x1000", "0x0", "0x0"),
            ("0x1000", "0x800", "0x800"),
            ("0x1000", "0x100000000", "0x200000000"),
            ("0xffffffffffffffff", "0x10", "0x1000"),
            ("0x1000", "0x0", "0x10000000000000000"),
        ] {
            assert_eq!(UioMap::list(folder(&[odd]).path()), None, "{odd:?}");
        }
    }
}
