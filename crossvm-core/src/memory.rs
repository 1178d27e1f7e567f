//! Memory that is shared with a guest, and the guest's address space.

use core::sync::atomic::AtomicU32;

use crate::{ErrorType, FrameSize, GuestAddr, GuestRange};

/// What a guest may do with mapped memory. Nothing shared with a guest is ever executable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Rights {
    /// Loads only; stores trap to the VMM.
    Read,
    /// Loads and stores.
    ReadWrite,
}

/// Memory attributes of a region. They belong to the region: everyone who maps it, VMM, guest or component, uses the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum MemoryType {
    /// Normal memory, write-back cacheable, inner shareable.
    #[default]
    WriteBack,
}

/// How frames are mapped into a guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Mapping {
    /// Size of each frame.
    pub size: FrameSize,
    /// What the guest may do.
    pub rights: Rights,
    /// The region's attributes.
    pub memory_type: MemoryType,
}

/// Memory that can be shared with a guest. Frames are the backend's own handles: a seL4 frame capability, pages of a memfd,
/// host-physical pages.
///
/// # Contract
///
/// 1. `frames`, `frame_size` and `fixed_at` give the same answer for as long as the dataport lives.
/// 2. Frame `i` holds the bytes from `i * frame_size` on; the dataport's true size is the number of frames times their size.
/// 3. No byte of a frame belongs to anything else than this dataport.
/// 4. The frames live at least as long as the dataport, and the dataport as long as it is installed.
pub trait Dataport {
    /// The backend's handle of one frame.
    type Frame;

    /// Size of each frame.
    fn frame_size(&self) -> FrameSize;

    /// The frames, in the order of their addresses.
    fn frames(&self) -> &[Self::Frame];

    /// Memory attributes of the region.
    fn memory_type(&self) -> MemoryType {
        MemoryType::WriteBack
    }

    /// Where the guest has the region for good, on a backend that cannot map at run time; `None`: wherever [`GuestMemory::map`] puts it.
    fn fixed_at(&self) -> Option<GuestAddr> {
        None
    }
}

impl<T: Dataport + ?Sized> Dataport for &T {
    type Frame = T::Frame;

    fn frame_size(&self) -> FrameSize {
        T::frame_size(self)
    }

    fn frames(&self) -> &[Self::Frame] {
        T::frames(self)
    }

    fn memory_type(&self) -> MemoryType {
        T::memory_type(self)
    }

    fn fixed_at(&self) -> Option<GuestAddr> {
        T::fixed_at(self)
    }
}

/// A page of event registers: the guest reads it without an exit, the VMM writes it.
///
/// # Contract
///
/// 1. `words` and `frame` are the same memory: what the VMM stores in a word is what a guest that has the frame mapped loads once
///    [`EventPage::published`] has been called for it, in the order of the calls. A backend whose hardware does not keep the two coherent
///    cleans the line there.
/// 2. `words` covers the whole page, of the size that it was created with. A new page is all zero.
/// 3. Nobody but the VMM writes the page.
pub trait EventPage {
    /// The backend's handle of the page.
    type Frame;

    /// The page as the guest's address space maps it.
    fn frame(&self) -> &Self::Frame;

    /// The page as the VMM writes it, little-endian words.
    fn words(&self) -> &[AtomicU32];

    /// Called after each store of the VMM to word `word`: the place to clean the cache line where the guest may read past the cache.
    fn published(&self, word: usize) {
        let _ = word;
    }

    /// Where the guest has the page for good, on a backend that cannot map at run time; `None`: wherever [`GuestMemory::map`] puts it.
    fn fixed_at(&self) -> Option<GuestAddr> {
        None
    }
}

/// The guest's address space, as far as connections need it.
///
/// # Contract
///
/// 1. `reserve` fails with [`Overlap`](crate::ErrorKind::Overlap) where any byte of the range is guest RAM, a device or reserved already.
///    After `release` with the same range, the range can be reserved again.
/// 2. `map` makes the bytes of the frames appear from `at` on, one frame behind the other, with the rights given: a guest's store to what is
///    mapped [`Rights::Read`] traps to the VMM and changes nothing. `at` is a multiple of the frames' size, and all of it lies in a reserved range.
/// 3. A failed `map` leaves nothing mapped. `map` over something mapped fails with [`Overlap`](crate::ErrorKind::Overlap).
/// 4. `unmap` of the whole range that one `map` mapped cannot fail, and when it returns, no vCPU of the guest reaches the frames through
///    it any more. `unmap` is not called for anything else.
/// 5. The same frame may be mapped at several addresses and in several guests.
/// 6. `create_event_page` gives a page that satisfies [`EventPage`]; `destroy_event_page` takes back a page that is mapped nowhere.
/// 7. A backend whose mappings are made when the system is built says where they are: [`Dataport::fixed_at`], [`EventPage::fixed_at`]. There `map`
///    succeeds for such a region at its address with the rights that it was built with, and fails with
///    [`OutOfRange`](crate::ErrorKind::OutOfRange) for all else; the guest reaches the region before `map` and after `unmap` as well.
pub trait GuestMemory: ErrorType {
    /// The backend's handle of a frame.
    type Frame;
    /// The backend's event pages.
    type EventPage: EventPage<Frame = Self::Frame>;

    /// Takes a range of guest-physical addresses for connections.
    ///
    /// # Errors
    /// [`Overlap`](crate::ErrorKind::Overlap) where the range is not free, [`OutOfRange`](crate::ErrorKind::OutOfRange) where the
    /// guest's address space does not reach it.
    fn reserve(&mut self, range: GuestRange) -> Result<(), Self::Error>;

    /// Gives back a range taken by [`GuestMemory::reserve`].
    fn release(&mut self, range: GuestRange);

    /// Maps `frames` at `at`, one behind the other: all of them or none. There is at least one.
    ///
    /// # Errors
    /// By kind: [`Overlap`](crate::ErrorKind::Overlap), [`Misaligned`](crate::ErrorKind::Misaligned),
    /// [`Exhausted`](crate::ErrorKind::Exhausted) (no table, slot or capability left), [`OutOfRange`](crate::ErrorKind::OutOfRange) (clause 7), or
    /// what the hypervisor reports.
    fn map(&mut self, at: GuestAddr, frames: &[Self::Frame], mapping: Mapping) -> Result<(), Self::Error>;

    /// Unmaps what one [`GuestMemory::map`] mapped.
    fn unmap(&mut self, range: GuestRange);

    /// A new event page, all zero, mapped nowhere.
    ///
    /// # Errors
    /// [`Exhausted`](crate::ErrorKind::Exhausted) where no memory is left.
    fn create_event_page(&mut self, size: FrameSize) -> Result<Self::EventPage, Self::Error>;

    /// Takes back an event page.
    fn destroy_event_page(&mut self, page: Self::EventPage);
}

impl<T: GuestMemory + ?Sized> GuestMemory for &mut T {
    type Frame = T::Frame;
    type EventPage = T::EventPage;

    fn reserve(&mut self, range: GuestRange) -> Result<(), Self::Error> {
        T::reserve(self, range)
    }

    fn release(&mut self, range: GuestRange) {
        T::release(self, range);
    }

    fn map(&mut self, at: GuestAddr, frames: &[Self::Frame], mapping: Mapping) -> Result<(), Self::Error> {
        T::map(self, at, frames, mapping)
    }

    fn unmap(&mut self, range: GuestRange) {
        T::unmap(self, range);
    }

    fn create_event_page(&mut self, size: FrameSize) -> Result<Self::EventPage, Self::Error> {
        T::create_event_page(self, size)
    }

    fn destroy_event_page(&mut self, page: Self::EventPage) {
        T::destroy_event_page(self, page);
    }
}
