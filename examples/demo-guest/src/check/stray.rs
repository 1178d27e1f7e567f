//! Stores that must have no effect, through the stock resource file as any program of the guest could make them: to a dataport that this
//! end may only read, and behind the end of one whose BAR is larger than it is. On arm64 also those to the event registers that the processor does not describe to a
//! hypervisor: a store pair, and one of a vector.
//!
//! The library refuses such stores, so this maps the BAR itself.

#![allow(unsafe_code)]

use std::fs::OpenOptions;
use std::ptr::NonNull;

use crossvm_guest::{DataportInfo, Endpoint};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

use crate::driver;

/// Length of the pages that are tried.
const PAGE: u64 = 4096;

/// A store to the first word of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Attempt {
    /// What the word was.
    before: u64,
    /// What it was after a store of the opposite.
    after: u64,
}

/// Tries to store to a read-only dataport, in its first page, in its middle, and in its last page.
pub(super) fn read_only(connection: &Endpoint, info: &DataportInfo) -> Result<u32, String> {
    let last = info.size().saturating_sub(PAGE);
    let mut pages = vec![0, last / 2 / PAGE * PAGE, last];
    pages.dedup();
    for page in &pages {
        let Attempt { before, after } = store(connection, info, *page)?;
        if before != after {
            return Err(format!("a store to the read-only dataport {} changed it at {page:#x}", info.index()));
        }
    }
    u32::try_from(pages.len()).map_err(|error| error.to_string())
}

/// Tries to store behind the end of a dataport, where its BAR goes on: that must read as zero all the same. Our own driver lets nobody
/// map what is there, nor the BAR itself.
pub(super) fn behind(connection: &Endpoint, info: &DataportInfo) -> Result<u32, String> {
    let mut tried = 0;
    if let Endpoint::Node(_) = connection {
        return Ok(tried);
    }
    for page in [info.size(), info.bar().size().saturating_sub(PAGE)] {
        if page < info.size() || page + PAGE > info.bar().size() {
            continue;
        }
        tried += 1;
        let attempt = store(connection, info, page)?;
        if attempt != (Attempt { before: 0, after: 0 }) {
            return Err(format!("behind the end of dataport {}, at {page:#x}, there is {attempt:x?}", info.index()));
        }
    }
    Ok(tried)
}

/// Where the event registers are not EMIT, not COUNT and not ACK: offsets in bytes, the last one at the end of the page.
#[cfg(target_arch = "aarch64")]
const UNDESCRIBED: [usize; 3] = [0x200, 0x7f0, 0xff0];

/// Stores 16 bytes to event registers that ignore them, by instructions that leave the hypervisor to guess. Gives how many it has survived: our own driver lets nobody map
/// the registers.
#[cfg(target_arch = "aarch64")]
pub(super) fn undescribed(connection: &Endpoint) -> Result<u32, String> {
    if let Endpoint::Node(_) = connection {
        return Ok(0);
    }
    let mapped = Page::of(connection, 0, 0)?;
    let mut tried = 0;
    for offset in UNDESCRIBED {
        // SAFETY: 16 bytes inside the page that is mapped, which no reference points into; that the stores change nothing is what is tried.
        unsafe {
            let at = mapped.start.as_ptr().cast::<u8>().add(offset);
            core::arch::asm!("stp xzr, xzr, [{}]", in(reg) at, options(nostack, preserves_flags));
            core::arch::asm!("movi v0.16b, #0xff", "str q0, [{}]", in(reg) at, out("v0") _, options(nostack, preserves_flags));
        }
        tried += 2;
    }
    Ok(tried)
}

/// Processors of other kinds describe all stores.
#[cfg(not(target_arch = "aarch64"))]
pub(super) fn undescribed(_connection: &Endpoint) -> Result<u32, String> {
    Ok(0)
}

/// A page of a BAR, mapped until it is dropped.
struct Page {
    start: NonNull<u64>,
    length: usize,
}

impl Page {
    /// That at `offset` of BAR `bar`.
    fn of(connection: &Endpoint, bar: usize, offset: u64) -> Result<Self, String> {
        let path = driver::folder(connection.address()).join(format!("resource{bar}"));
        let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
        let file = OpenOptions::new().read(true).write(true).open(&path).map_err(|error| failed(&error))?;
        let length = usize::try_from(PAGE).map_err(|error| error.to_string())?;
        // SAFETY: the kernel chooses the address, so no memory of this process is touched; the length is not zero.
        let map = unsafe { mmap(std::ptr::null_mut(), length, ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED, &file, offset) };
        let map = map.map_err(|error| failed(&error))?;
        NonNull::new(map.cast()).map(|start| Self { start, length }).ok_or_else(|| failed(&"mapped at zero"))
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        // SAFETY: exactly what `mmap` returned, unmapped once; nothing points into it any more. It fails for arguments that are none only.
        let _ = unsafe { munmap(self.start.as_ptr().cast(), self.length) };
    }
}

/// Stores the opposite of what stands there to the first word of the page at `offset` of the dataport's BAR.
fn store(connection: &Endpoint, info: &DataportInfo, offset: u64) -> Result<Attempt, String> {
    let page = Page::of(connection, info.bar().index(), offset)?;
    let word = page.start;
    // SAFETY: the first word of a mapping of one page, aligned to it; any bits are a u64, and no reference to it exists.
    unsafe {
        let before = word.read_volatile();
        word.write_volatile(!before);
        Ok(Attempt { before, after: word.read_volatile() })
    }
}
