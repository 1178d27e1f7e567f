//! The VMM's own address space: the one place of this crate with unsafe code.
//!
//! The VMM writes event pages, so they appear in its own address space as well, in a window of addresses that it sets aside. The backend maps them
//! there by the kernel; that what is mapped can be written through a Rust reference, nobody but the VMM can promise.
#![allow(unsafe_code)]

use core::ptr::{NonNull, with_exposed_provenance_mut};
use core::sync::atomic::AtomicU32;

use crate::kernel::CPtr;

/// A place in the window where memory is mapped for the VMM to write. Made by the backend alone.
#[derive(Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Place {
    pub(crate) address: u64,
    pub(crate) bytes: usize,
}

impl Place {
    /// Its first address, in the VMM's address space.
    #[must_use]
    pub const fn address(&self) -> u64 {
        self.address
    }

    /// How many words of 32 bits it holds.
    #[must_use]
    pub const fn words(&self) -> usize {
        self.bytes.wrapping_shr(2)
    }
}

/// Words in the VMM's window.
pub trait WindowWords {
    /// All of them.
    fn words(&self) -> &[AtomicU32];

    /// Called after the VMM has stored word `word`: where the guest may read past the caches, the place to clean the line. See
    /// [`EventPage::published`](crossvm_core::EventPage::published).
    fn published(&self, word: usize) {
        let _ = word;
    }
}

/// The address space that a VMM runs in, with a window of addresses for the backend.
///
/// On the machine it is [`OwnSpace`]. On a simulated kernel nothing runs, and the simulation has the words.
///
/// # Contract
///
/// 1. `root` and `window` are the same at each call. The window's start and size are multiples of 4096, and not 0.
/// 2. `words` gives what is mapped at a place: as many words as the place has.
pub trait WindowSpace {
    /// Memory of the window.
    type Words: WindowWords;

    /// The root of the address space.
    fn root(&self) -> CPtr;

    /// The window: its first address, and its size in bytes.
    fn window(&self) -> (u64, u64);

    /// The memory at a place where the backend has mapped some. It has no use for it any more when it unmaps it.
    fn words(&self, place: &Place) -> Self::Words;
}

/// The address space that this program runs in.
#[derive(Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct OwnSpace {
    root: CPtr,
    start: u64,
    bytes: u64,
}

impl OwnSpace {
    /// The address space with this root, and a window of `bytes` bytes from `start` on; `None` where they are 0 or no multiples of 4096.
    ///
    /// # Safety
    ///
    /// `root` is the root of the address space that the program runs in. Nothing else lies in the window, nor is mapped there, as long as the backend has it:
    /// no other [`OwnSpace`], no stack, no heap. [`WindowSpace::words`] is left to the backend: what it gives ends with the place.
    #[must_use]
    pub const unsafe fn new(root: CPtr, start: u64, bytes: u64) -> Option<Self> {
        if start == 0 || bytes == 0 || !start.is_multiple_of(4096) || !bytes.is_multiple_of(4096) || start.checked_add(bytes).is_none() {
            return None;
        }
        Some(Self { root, start, bytes })
    }
}

impl WindowSpace for OwnSpace {
    type Words = OwnWords;

    fn root(&self) -> CPtr {
        self.root
    }

    fn window(&self) -> (u64, u64) {
        (self.start, self.bytes)
    }

    fn words(&self, place: &Place) -> OwnWords {
        // No program of seL4 has more addresses than a pointer.
        let start = usize::try_from(place.address)
            .map_or(NonNull::dangling(), |address| NonNull::new(with_exposed_provenance_mut(address)).unwrap_or(NonNull::dangling()));
        OwnWords { start, count: place.words() }
    }
}

/// Words in the program's own address space.
#[derive(Debug)]
pub struct OwnWords {
    start: NonNull<AtomicU32>,
    count: usize,
}

#[cfg(feature = "defmt")]
impl defmt::Format for OwnWords {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "OwnWords {{ count: {=usize}, .. }}", self.count);
    }
}

impl WindowWords for OwnWords {
    fn words(&self) -> &[AtomicU32] {
        // SAFETY: the backend has mapped memory with the right to read and write there, page-aligned and as long as this is, and takes this value
        // back before it unmaps it. Nothing else of the program lies in the window, by the promise to `OwnSpace::new`. Whoever shares the
        // memory may change it at any time: the words are atomic.
        unsafe { core::slice::from_raw_parts(self.start.as_ptr(), self.count) }
    }
}

// SAFETY: it is a reference to atomic words that are there in every thread of the program.
unsafe impl Send for OwnWords {}
// SAFETY: see `Send`.
unsafe impl Sync for OwnWords {}

#[cfg(test)]
mod tests {
    use core::sync::atomic::Ordering;

    use super::*;

    /// Stands for what the backend has mapped in the window.
    #[repr(C, align(4096))]
    struct Pages([AtomicU32; 2048]);

    static PAGES: Pages = Pages([const { AtomicU32::new(0) }; 2048]);

    #[test]
    fn words_are_what_is_mapped_at_the_place() {
        let start = PAGES.0.as_ptr().expose_provenance() as u64;
        // SAFETY: nothing else has to do with the window, whose memory is there for good.
        let own = unsafe { OwnSpace::new(CPtr::new(3), start, 8192) }.unwrap();
        assert_eq!((own.root(), own.window()), (CPtr::new(3), (start, 8192)));
        let words = own.words(&Place { address: start + 4096, bytes: 4096 });
        assert_eq!(words.words().len(), 1024);
        words.words()[7].store(9, Ordering::Release);
        words.published(7);
        assert_eq!((PAGES.0[1031].load(Ordering::Acquire), PAGES.0[7].load(Ordering::Acquire)), (9, 0));
    }

    #[test]
    fn a_window_is_of_whole_pages_and_not_at_0() {
        for (start, bytes) in [(0, 4096), (4096, 0), (4097, 4096), (4096, 4095), (u64::MAX - 4095, 8192)] {
            // SAFETY: nothing is ever mapped there.
            assert!(unsafe { OwnSpace::new(CPtr::new(3), start, bytes) }.is_none(), "{start:#x} {bytes:#x}");
        }
    }
}
