//! Memory that the root task shares with guests and components.

use core::ptr::with_exposed_provenance;
use core::sync::atomic::{AtomicU8, AtomicU32, Ordering};

/// Shared memory, mapped for good. Others may change it at any time: every access is a relaxed atomic one.
#[derive(Debug, Clone, Copy)]
pub struct View {
    bytes: &'static [AtomicU8],
}

impl View {
    /// The memory of `length` bytes at `address`; `None` where a program cannot have such.
    ///
    /// # Safety
    ///
    /// It is mapped with the right to read and write, for good, and no reference of the program's own data lies in it.
    #[must_use]
    pub unsafe fn new(address: u64, length: u64) -> Option<Self> {
        let (address, length) = (usize::try_from(address).ok()?, usize::try_from(length).ok()?);
        if address == 0 || !address.is_multiple_of(4096) {
            return None;
        }
        // SAFETY: the caller's promise; bytes have no alignment, and these are atomic.
        Some(Self { bytes: unsafe { core::slice::from_raw_parts(with_exposed_provenance(address), length) } })
    }

    /// Its length in bytes.
    #[must_use]
    pub const fn length(&self) -> usize {
        self.bytes.len()
    }

    /// Fills `into` from `offset` on; `false` where not all of it lies in the memory.
    #[must_use]
    pub fn read(&self, offset: usize, into: &mut [u8]) -> bool {
        let bytes = self.part(offset, into.len());
        bytes.is_some_and(|bytes| {
            for (byte, into) in bytes.iter().zip(into) {
                *into = byte.load(Ordering::Relaxed);
            }
            true
        })
    }

    /// Writes `from` at `offset`; `false` where not all of it lies in the memory.
    #[must_use]
    pub fn write(&self, offset: usize, from: &[u8]) -> bool {
        let bytes = self.part(offset, from.len());
        bytes.is_some_and(|bytes| {
            for (byte, from) in bytes.iter().zip(from) {
                byte.store(*from, Ordering::Relaxed);
            }
            true
        })
    }

    fn part(&self, offset: usize, length: usize) -> Option<&'static [AtomicU8]> {
        self.bytes.get(offset..offset.checked_add(length)?)
    }

    /// A structure of atomic words at `offset`, which is a multiple of 4; `None` where it does not lie in the memory.
    #[must_use]
    pub fn words<T: Words>(&self, offset: usize) -> Option<&'static T> {
        let bytes = self.part(offset, size_of::<T>())?;
        let pointer = bytes.as_ptr().cast::<T>();
        if !pointer.is_aligned() {
            return None;
        }
        // SAFETY: the memory is there for good, large enough and aligned; any bytes are a `T`, and it is changed by atomic accesses alone.
        Some(unsafe { &*pointer })
    }
}

/// A structure of atomic words.
///
/// # Safety
///
/// Every bit pattern is one, and there is nothing in it but atomic integers.
pub unsafe trait Words {}

// SAFETY: it is an atomic integer.
unsafe impl Words for AtomicU32 {}
// SAFETY: atomic words alone.
unsafe impl Words for sel4_guest::Mailbox {}
// SAFETY: atomic words alone.
unsafe impl Words for sel4_guest::peer::Exchange {}
