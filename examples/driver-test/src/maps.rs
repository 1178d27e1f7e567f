//! Check `maps`: dataports are mapped as ordinary memory, whole or in part, with the rights that this end has, and not otherwise.
//!
//! All unsafe code of this program is here.

use std::ffi::c_void;
use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::ptr;

use crossvm_guest::System;
use rustix::io::Errno;
use rustix::mm::{MapFlags, MprotectFlags, MremapFlags, ProtFlags, mmap, mmap_anonymous, mprotect, mremap, munmap};

use crate::calls::{Reads, open, refused};
use crate::report::{Failure, Report};
use crate::{events, open as open_node};

const PAGE: usize = 4096;
/// Where in the file dataport i begins.
const fn at(dataport: u64, offset: u64) -> u64 {
    (dataport << 40) + offset
}

const READ: ProtFlags = ProtFlags::READ;
const WRITE: ProtFlags = ProtFlags::WRITE;
const EXECUTE: ProtFlags = ProtFlags::EXEC;
const BOTH: ProtFlags = READ.union(WRITE);

/// A map, taken down when dropped.
#[derive(Debug)]
pub(crate) struct Map {
    start: *mut c_void,
    length: usize,
}

impl Map {
    /// Maps `length` bytes of `file` from `offset` on.
    pub(crate) fn new(file: &File, offset: u64, length: usize, protection: ProtFlags, flags: MapFlags) -> io::Result<Self> {
        // SAFETY: the kernel chooses the address: no memory of this program is touched.
        let start = unsafe { mmap(ptr::null_mut(), length, protection, flags, file, offset) }?;
        Ok(Self { start, length })
    }

    /// A shared map that can be written.
    pub(crate) fn shared(file: &File, offset: u64, length: usize) -> io::Result<Self> {
        Self::new(file, offset, length, BOTH, MapFlags::SHARED)
    }

    fn byte(&self, offset: usize) -> *mut u8 {
        assert!(offset < self.length, "inside the map");
        // SAFETY: inside the map, as was just checked.
        unsafe { self.start.cast::<u8>().add(offset) }
    }

    /// Loads a byte.
    pub(crate) fn load(&self, offset: usize) -> u8 {
        // SAFETY: `byte` gives a place in the map, which is readable: this program makes no others but to see them refused.
        unsafe { self.byte(offset).read_volatile() }
    }

    /// Loads a word, wherever it begins.
    fn load_word(&self, offset: usize) -> u64 {
        self.byte(offset + size_of::<u64>() - 1);
        // SAFETY: first and last byte lie in the map. A copy, not one load: the kind of memory must stand what `memcpy` does.
        unsafe { self.byte(offset).cast::<u64>().read_unaligned() }
    }

    /// Fills a part with one value, as `memset` does: on arm64 with `dc zva` for zeros.
    fn fill(&self, offset: usize, length: usize, value: u8) {
        self.byte(offset + length - 1);
        // SAFETY: first and last byte lie in the map, which is writable.
        unsafe { ptr::write_bytes(self.byte(offset), value, length) };
    }

    /// Copies `bytes` to `offset`.
    fn store(&self, offset: usize, bytes: &[u8]) {
        self.byte(offset + bytes.len() - 1);
        // SAFETY: first and last byte lie in the map, which is writable; `bytes` is memory of this program, and so elsewhere.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), self.byte(offset), bytes.len()) };
    }

    /// Has the kernel copy all of it to the end of `file`.
    pub(crate) fn copy_to(&self, file: &File) -> io::Result<()> {
        // SAFETY: memory of this program for as long as the map lives. Only the kernel looks into it, and answers where there is nothing left.
        let bytes = unsafe { std::slice::from_raw_parts(self.start.cast::<u8>(), self.length) };
        match rustix::io::write(file, bytes)? {
            copied if copied == self.length => Ok(()),
            // It went in the middle.
            _ => Err(Errno::FAULT.into()),
        }
    }

    fn bytes(&self) -> Vec<u8> {
        (0..self.length).map(|offset| self.load(offset)).collect()
    }

    fn protect(&self, flags: MprotectFlags) -> io::Result<()> {
        // SAFETY: of this map alone, to which there are no references.
        Ok(unsafe { mprotect(self.start, self.length, flags) }?)
    }

    fn grow(&self, length: usize) -> io::Result<()> {
        // SAFETY: of this map alone; it stays where it is, and this program does not use what would be added.
        unsafe { mremap(self.start, self.length, length, MremapFlags::empty()) }?;
        Ok(())
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: what `mmap` returned, once; nothing points into it.
        let _ = unsafe { munmap(self.start, self.length) };
    }
}

/// Reads from `file` to where nothing can be written.
pub(crate) fn read_into_read_only(file: &File) -> io::Result<usize> {
    // SAFETY: the kernel chooses the address.
    let start = unsafe { mmap_anonymous(ptr::null_mut(), PAGE, READ, MapFlags::PRIVATE) }?;
    let map = Map { start, length: PAGE };
    // SAFETY: memory of this function alone, for as long as `map` lives. Only the kernel tries to write to it.
    let buffer = unsafe { std::slice::from_raw_parts_mut(map.start.cast::<MaybeUninit<u8>>(), 8) };
    let (read, _) = rustix::io::read(file, buffer)?;
    Ok(read.len())
}

pub(crate) fn check(system: &System) -> Result<(), Failure> {
    let run = || {
        mirror(system)?;
        sum(system)?;
        feed(system)?;
        refusals(system)
    };
    let refusals = run().map_err(|reason: String| Failure::new("maps", reason))?;
    Report::new("maps").with("refused", refusals).pass();
    Ok(())
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// All of a dataport can be written and read, in every way that ordinary memory can, and the peer sees it.
fn mirror(system: &System) -> Result<(), String> {
    let node = open_node(system, "mirror")?;
    let file = open(node.path(), Reads::DoNotSleep).map_err(text)?;
    let map = Map::shared(&file, at(0, 0), 16 * PAGE).map_err(text)?;
    let again = Map::shared(&file, at(0, PAGE as u64), PAGE).map_err(text)?;
    map.fill(0, 16 * PAGE, 0x5a);
    map.fill(100, 3 * PAGE, 0);
    map.store(PAGE + 3, &0x0123_4567_89ab_cdef_u64.to_ne_bytes());
    if map.load_word(PAGE + 3) != 0x0123_4567_89ab_cdef || again.load_word(3) != 0x0123_4567_89ab_cdef {
        return Err("two maps of one dataport do not show the same".to_owned());
    }
    if map.load(99) != 0x5a || map.load(100) != 0 || map.load(3 * PAGE + 99) != 0 || map.load(3 * PAGE + 100) != 0x5a {
        return Err("a part that was filled with zeros has others around it, or not in it".to_owned());
    }
    for question in ["crossvm", "a dataport through our own driver"] {
        map.store(0, format!("{question}\n").as_bytes());
        events::emit(&node, 1)?;
        events::take(&node, 1)?;
        let answer: Vec<u8> = map.bytes().into_iter().skip(8 * PAGE).take(question.len()).rev().collect();
        if answer != question.as_bytes() {
            return Err(format!("the mirror answers {} to {question}", String::from_utf8_lossy(&answer)));
        }
    }
    Ok(())
}

/// The peer sees every byte of a dataport whose size is no power of two; its answer comes in one that this end may only read.
fn sum(system: &System) -> Result<(), String> {
    let node = open_node(system, "sum")?;
    let file = open(node.path(), Reads::DoNotSleep).map_err(text)?;
    let data = Map::shared(&file, at(0, 0), 3 * PAGE).map_err(text)?;
    let answer = Map::new(&file, at(1, 0), PAGE, READ, MapFlags::SHARED).map_err(text)?;
    for seed in 0..3_u8 {
        let bytes: Vec<u8> = (0_u32..).take(3 * PAGE).map(|index| index.wrapping_mul(0x9e37_79b9).to_be_bytes()[0] ^ seed).collect();
        data.store(0, &bytes);
        events::emit(&node, 1)?;
        events::take(&node, 1)?;
        let found = answer.bytes();
        let found = u32::from_le_bytes([found[0], found[1], found[2], found[3]]);
        if found != crc32(&bytes) {
            return Err(format!("the sum is {found:#x} instead of {:#x}", crc32(&bytes)));
        }
    }
    Ok(())
}

/// What the peer writes anew for each event is seen, in every word.
fn feed(system: &System) -> Result<(), String> {
    let node = open_node(system, "feed")?;
    let file = File::open(node.path()).map_err(text)?;
    let map = Map::new(&file, at(0, 0), 2 * PAGE, READ, MapFlags::SHARED).map_err(text)?;
    let mut seeds = Vec::new();
    for _ in 0..3 {
        events::emit(&node, 1)?;
        events::take(&node, 1)?;
        let bytes = map.bytes();
        let words = bytes.as_chunks::<4>().0.iter().zip(0_u32..).map(|(word, index)| u32::from_le_bytes(*word) ^ index);
        let mut words: Vec<u32> = words.collect();
        words.dedup();
        let [seed] = words[..] else { return Err("the feed is not of one event".to_owned()) };
        seeds.push(seed);
    }
    if seeds[1].wrapping_sub(seeds[0]) != 0x9e37_79b9 || seeds[2].wrapping_sub(seeds[1]) != 0x9e37_79b9 {
        return Err(format!("the feed of three events has the seeds {seeds:x?}"));
    }
    Ok(())
}

/// Returns how many ways to map were refused, as they must be.
fn refusals(system: &System) -> Result<usize, String> {
    let sum = open(open_node(system, "sum")?.path(), Reads::DoNotSleep).map_err(text)?;
    let reader = File::open(open_node(system, "sum")?.path()).map_err(text)?;
    let page = PAGE as u64;
    let shared = MapFlags::SHARED;
    let maps = [
        ("to write what this end may only read", &sum, at(1, 0), PAGE, BOTH, shared, Errno::ACCESS),
        ("to write only", &sum, at(1, 0), PAGE, WRITE, shared, Errno::ACCESS),
        ("to write through a file that is open for reading", &reader, at(0, 0), PAGE, BOTH, shared, Errno::ACCESS),
        ("to execute", &sum, at(0, 0), PAGE, READ.union(EXECUTE), shared, Errno::ACCESS),
        ("privately", &sum, at(0, 0), PAGE, BOTH, MapFlags::PRIVATE, Errno::INVAL),
        ("privately, to read", &sum, at(1, 0), PAGE, READ, MapFlags::PRIVATE, Errno::INVAL),
        ("a page more than there is", &sum, at(0, 0), 4 * PAGE, BOTH, shared, Errno::NXIO),
        ("a page behind the end", &sum, at(0, 3 * page), PAGE, BOTH, shared, Errno::NXIO),
        ("over the end", &sum, at(0, page), 3 * PAGE, BOTH, shared, Errno::NXIO),
        ("a dataport that there is not", &sum, at(2, 0), PAGE, READ, shared, Errno::NXIO),
        ("the last dataport that there could be", &sum, at(4, 0), PAGE, READ, shared, Errno::NXIO),
        ("far behind all dataports", &sum, at(1 << 22, 0), PAGE, READ, shared, Errno::NXIO),
        ("from one dataport into the next", &sum, at(1, 0) - page, 2 * PAGE, READ, shared, Errno::NXIO),
    ];
    let count = maps.len() + 4;
    for (what, file, offset, length, protection, flags, wanted) in maps {
        refused(&format!("mapping {what}"), Map::new(file, offset, length, protection, flags), wanted)?;
    }
    let read_only = Map::new(&sum, at(1, 0), PAGE, READ, shared).map_err(text)?;
    refused("writing after mprotect", read_only.protect(MprotectFlags::READ | MprotectFlags::WRITE), Errno::ACCESS)?;
    refused("executing after mprotect", read_only.protect(MprotectFlags::READ | MprotectFlags::EXEC), Errno::ACCESS)?;
    let through_reader = Map::new(&reader, at(0, 0), PAGE, READ, shared).map_err(text)?;
    refused("writing after mprotect", through_reader.protect(MprotectFlags::READ | MprotectFlags::WRITE), Errno::ACCESS)?;
    refused("growing", read_only.grow(2 * PAGE), Errno::FAULT)?;
    Ok(count)
}

/// CRC-32 (ISO-HDLC), bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    let step =
        |sum: u32, byte: &u8| (0..8).fold(sum ^ u32::from(*byte), |sum, _| if sum & 1 == 1 { sum >> 1 ^ 0xedb8_8320 } else { sum >> 1 });
    !bytes.iter().fold(u32::MAX, step)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_sum_has_its_check_value() {
        assert_eq!(super::crc32(b"123456789"), 0xcbf4_3926);
    }
}
