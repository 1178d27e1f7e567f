//! Memory as two processes or VMs share it: pages of a memfd.

use std::ptr::NonNull;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// How much memory a link has: two rings of nearly half of it.
pub(crate) const MEMORY: usize = 1 << 20;
/// How much the others have for each direction.
pub(crate) const CAPACITY: usize = MEMORY / 2;

/// A shared mapping, unmapped with the last that knows it.
#[derive(Debug)]
pub(crate) struct Mapping {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: it is an address and a length; what is done with the memory is its users' matter, who all use atomics or volatile copies.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// `len` bytes of a memfd, all of them there already.
    pub(crate) fn new(len: usize) -> Result<Arc<Self>> {
        let file = memfd_create("channel-bench", MemfdFlags::CLOEXEC).context("no memfd")?;
        ftruncate(&file, len as u64).context("no memory for the memfd")?;
        // SAFETY: a new mapping, of no address in particular.
        let start =
            unsafe { mmap(std::ptr::null_mut(), len, ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED | MapFlags::POPULATE, &file, 0) };
        let start = NonNull::new(start.context("the memfd cannot be mapped")?.cast()).context("a mapping at 0")?;
        Ok(Arc::new(Self { start, len }))
    }

    /// Its first byte, aligned to a page.
    pub(crate) const fn start(&self) -> NonNull<u8> {
        self.start
    }

    /// Its length in bytes.
    pub(crate) const fn len(&self) -> usize {
        self.len
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping of `new`; who uses it holds an `Arc` of it. That it could not be unmapped harms nobody.
        let _ = unsafe { munmap(self.start.as_ptr().cast(), self.len) };
    }
}
