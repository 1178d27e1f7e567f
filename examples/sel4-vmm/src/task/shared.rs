//! Pages that the root task shares with a program: the one place where it looks into memory by address.

use core::ptr::NonNull;

use crossvm_sel4::kernel::CPtr;
use sel4_guest::Mailbox;
use sel4_guest::peer::Exchange;

/// Bytes of a page.
pub const PAGE: usize = 4096;

/// A page of a program that the root task has mapped as well, read-write. [`System::unshare`](super::System::unshare) ends it.
#[derive(Debug)]
pub struct Shared {
    /// The capability by which it is mapped.
    pub(super) copy: CPtr,
    /// Where it is.
    pub(super) index: u8,
    page: NonNull<[u8; PAGE]>,
}

impl Shared {
    /// The page at `address`.
    ///
    /// # Safety
    ///
    /// A frame is mapped there through `copy`, read-write, until `System::unshare` takes this value back.
    pub(super) unsafe fn new(copy: CPtr, index: u8, address: usize) -> Option<Self> {
        Some(Self { copy, index, page: NonNull::new(core::ptr::with_exposed_provenance_mut(address))? })
    }

    /// Writes to the page before anybody else has it.
    pub fn fill(&mut self, bytes: &[u8]) {
        for (index, byte) in bytes.iter().take(PAGE).enumerate() {
            // SAFETY: within the page, which is mapped. Whoever shares it sees bytes change, no more.
            unsafe { self.page.cast::<u8>().add(index).write_volatile(*byte) };
        }
    }

    /// The page as a guest's mailbox.
    #[must_use]
    pub fn mailbox(&self) -> &Mailbox {
        // SAFETY: a page holds one, and is mapped for as long as `self` is there; the words in it are atomic.
        unsafe { self.page.cast().as_ref() }
    }

    /// The page as the beginning of a dataport.
    #[must_use]
    pub fn exchange(&self) -> &Exchange {
        // SAFETY: as for the mailbox.
        unsafe { self.page.cast().as_ref() }
    }
}
