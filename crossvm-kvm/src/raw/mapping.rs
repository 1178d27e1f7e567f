//! Shared mappings of files in this process.

use std::ffi::c_void;
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU8, AtomicU32};

use crossvm_core::Rights;
use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap, mmap_anonymous, mprotect, munmap};

use crate::error::{Call, CallError};

/// A part of a file, mapped shared, until it is dropped.
#[derive(Debug)]
pub(crate) struct HostMapping {
    start: NonNull<c_void>,
    bytes: usize,
    rights: Rights,
}

// SAFETY: the mapping belongs to the process, and all accesses through it are atomic.
unsafe impl Send for HostMapping {}
// SAFETY: as above.
unsafe impl Sync for HostMapping {}

impl HostMapping {
    /// Maps `bytes` bytes of `file` from `offset` on. The file must have them for good: see [`crate::Memfd`].
    pub(crate) fn new(file: BorrowedFd<'_>, offset: u64, bytes: usize, rights: Rights) -> Result<Self, CallError> {
        let protection = match rights {
            Rights::Read => ProtFlags::READ,
            Rights::ReadWrite => ProtFlags::READ | ProtFlags::WRITE,
        };
        // SAFETY: a new mapping, at an address that the kernel chooses, touches nothing that there is.
        let start = unsafe { mmap(std::ptr::null_mut(), bytes, protection, MapFlags::SHARED, file, offset) };
        let start = start.map_err(CallError::of(Call::Map))?;
        match NonNull::new(start) {
            Some(start) => Ok(Self { start, bytes, rights }),
            None => Err(CallError::new(Call::Map, rustix::io::Errno::NOMEM)),
        }
    }

    /// Address of its first byte.
    pub(crate) fn address(&self) -> *mut u8 {
        self.start.as_ptr().cast()
    }

    /// Its size.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Its bytes; `None` where they can only be read: an atomic type offers stores.
    pub(crate) fn as_bytes(&self) -> Option<&[AtomicU8]> {
        // SAFETY: the memory is there until `self` is dropped, can be written, and everybody who shares it is out of this process's reach or uses
        // atomics. `AtomicU8` has the size and alignment of a byte, and every value is valid.
        (self.rights == Rights::ReadWrite).then(|| unsafe { std::slice::from_raw_parts(self.start.as_ptr().cast(), self.bytes) })
    }

    /// Its words of 32 bits; `None` as with [`HostMapping::as_bytes`].
    pub(crate) fn as_words(&self) -> Option<&[AtomicU32]> {
        let words = self.bytes.checked_div(size_of::<AtomicU32>()).unwrap_or(0);
        // SAFETY: as in `as_bytes`; a mapping starts at a page, so it is aligned for words.
        (self.rights == Rights::ReadWrite).then(|| unsafe { std::slice::from_raw_parts(self.start.as_ptr().cast(), words) })
    }

    /// Puts other memory, which is nobody's, at the addresses: what had been reached through the mapping is out of reach then, for guests too, as KVM follows
    /// what is mapped. Ends the process where the kernel refuses both this and forbidding all access: a guest that keeps what was taken from it is worse.
    pub(super) fn replace(&mut self) {
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: the addresses are this mapping's own, which `&mut` says nobody borrows from; what takes their place has the same size.
        let replaced = unsafe {
            mmap_anonymous(self.start.as_ptr(), self.bytes, protection, MapFlags::PRIVATE | MapFlags::FIXED | MapFlags::NORESERVE)
        };
        if replaced.is_ok() {
            return;
        }
        self.rights = Rights::Read;
        // SAFETY: as above; nobody is left to be surprised by the missing right, as `as_bytes` gives nothing for `Rights::Read`.
        if unsafe { mprotect(self.start.as_ptr(), self.bytes, MprotectFlags::empty()) }.is_err() {
            std::process::abort();
        }
    }
}

impl Drop for HostMapping {
    fn drop(&mut self) {
        // SAFETY: the addresses are this mapping's own, and nobody borrows from it any more. It fails for arguments that are none only.
        let _ = unsafe { munmap(self.start.as_ptr(), self.bytes) };
    }
}
