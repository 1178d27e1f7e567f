//! Stores that must have no effect, through the stock resource file as any program of the guest could make them: to a dataport that this
//! end may only read, and behind the end of one whose BAR is larger than it is.
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

/// Stores the opposite of what stands there to the first word of the page at `offset` of the dataport's BAR.
fn store(connection: &Endpoint, info: &DataportInfo, offset: u64) -> Result<Attempt, String> {
    let path = driver::folder(connection.address()).join(format!("resource{}", info.bar().index()));
    let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let file = OpenOptions::new().read(true).write(true).open(&path).map_err(|error| failed(&error))?;
    let length = usize::try_from(PAGE).map_err(|error| error.to_string())?;
    // SAFETY: the kernel chooses the address, so no memory of this process is touched; the length is not zero.
    let map = unsafe { mmap(std::ptr::null_mut(), length, ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED, &file, offset) };
    let map = map.map_err(|error| failed(&error))?;
    let Some(word) = NonNull::new(map.cast::<u64>()) else { return Err(failed(&"mapped at zero")) };
    // SAFETY: the first word of a mapping of one page, aligned to it; any bits are a u64, and no reference to it exists.
    let attempt = unsafe {
        let before = word.read_volatile();
        word.write_volatile(!before);
        Attempt { before, after: word.read_volatile() }
    };
    // SAFETY: exactly what `mmap` returned, unmapped once; nothing points into it any more.
    unsafe { munmap(map, length) }.map_err(|error| failed(&error))?;
    Ok(attempt)
}
