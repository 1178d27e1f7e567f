//! The guest's address space.
//!
//! ```text
//!   guest-physical addresses                      capability slots of the VMM                      the VMM's window
//!   ┌──────────────┐
//!   │ event page   │◀── map, read-only ── copy ◀── copy ── frames of the event page ── map, read-write ──▶ words()
//!   │ dataport     │◀── map, its rights ── copy ◀── copy ── frames of the dataport (the peer has capabilities of its own)
//!   └──────────────┘
//!     translation tables: made where the kernel misses them, destroyed when nothing is left in them
//! ```
//!
//! What is unmapped is out of the guest's reach as far as the kernel takes care of the processor's translation caches. It does on Arm. On x86 with VT-x, seL4's
//! invalidation of cached EPT translations is known not to take effect: there, on hardware that caches them, a guest may reach what was unmapped
//! until its vCPU's translations are dropped otherwise.

mod error;
mod event_page;
mod own;
mod tables;
mod window;

use crossvm_core::{ErrorType, FrameSize, GuestAddr, GuestMemory, GuestRange, Mapping, MemoryType};
use heapless::Vec;

use crate::frame::{Frame, FrameKind};
use crate::kernel::{CPtr, CapRights, Kernel, Space};
use crate::objects::Objects;

pub use error::{SpaceError, Table};
pub use event_page::SharedPage;
pub use own::{OwnSpace, OwnWords, Place, WindowSpace, WindowWords};
use tables::Tables;
use window::Window;

/// Most ranges that are taken, and most that are reserved.
const RANGES: usize = 32;

/// Copies of capabilities, in slots one behind the other, that map frames one behind the other.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
struct Mapped {
    range: GuestRange,
    first: CPtr,
    count: usize,
}

/// The guest-physical memory of one guest: a thread's address space, which on Arm is a vCPU's second stage, or an EPT.
///
/// RAM and devices are the VMM's to map; it names them by [`with_taken`](Self::with_taken). `MAPS` is how many mappings there can be at a time: one for each
/// BAR, and some more for those whose capabilities find no slots in a row. `TABLES` is how many translation tables.
///
/// Every frame that is mapped takes a capability slot, every translation table a slot and a page of untyped memory. What `unmap` leaves empty is given back, so
/// that a guest can move its BARs for ever. Tables whose reach includes something taken stay, once made: the VMM may have come to rely on them when it
/// mapped that. So map RAM and devices first: then those tables are there, and a failed `install` leaves every slot and byte as it was.
#[derive(Debug)]
pub struct VSpace<K, O, W, const MAPS: usize = 64, const TABLES: usize = 64> {
    kernel: K,
    objects: O,
    tables: Tables<TABLES>,
    window: Window<W>,
    address_bits: u8,
    taken: Vec<GuestRange, RANGES>,
    reserved: Vec<GuestRange, RANGES>,
    mapped: Vec<Mapped, MAPS>,
}

impl<K: Kernel, O: Objects, W: WindowSpace, const MAPS: usize, const TABLES: usize> VSpace<K, O, W, MAPS, TABLES> {
    /// The address space `space` of a guest, with a window of the VMM's own address space for its event pages. Makes the window's translation tables.
    ///
    /// # Errors
    /// [`SpaceError`] where there are no slots or is no memory for them; nothing is left behind then.
    pub fn new(kernel: K, mut objects: O, space: Space, own: W) -> Result<Self, SpaceError> {
        let window = Window::open(&kernel, &mut objects, own)?;
        Ok(Self {
            kernel,
            objects,
            tables: Tables::new(space),
            window,
            address_bits: 64,
            taken: Vec::new(),
            reserved: Vec::new(),
            mapped: Vec::new(),
        })
    }

    /// With RAM or a device in this range: nothing is reserved there.
    ///
    /// # Errors
    /// [`SpaceError::Full`] where there are too many.
    pub fn with_taken(mut self, range: GuestRange) -> Result<Self, SpaceError> {
        self.taken.push(range).map_err(|_| SpaceError::Full(Table::Ranges))?;
        Ok(self)
    }

    /// For a guest that addresses 2^`bits` bytes: 39 or 40 where the processor's second stage has three levels, 48 where it has four.
    #[must_use]
    pub fn with_address_bits(mut self, bits: u8) -> Self {
        self.address_bits = bits;
        self
    }

    /// Where capability slots and objects come from.
    pub fn objects(&mut self) -> &mut O {
        &mut self.objects
    }

    /// Takes everything that connections have mapped away, gives back every table and the window's, and ends. Event pages are destroyed before.
    pub fn close(mut self) -> O {
        self.unmap_behind(0);
        self.tables.truncate(&mut self.objects, 0);
        self.window.close(&mut self.objects);
        self.objects
    }

    /// Maps copies of `frames`, which are of one kind; what is mapped and made stays where it fails.
    fn map_frames(&mut self, at: GuestAddr, kind: FrameKind, frames: &[Frame], rights: CapRights) -> Result<(), SpaceError> {
        let bytes = kind.size().bytes();
        let mut parts = frames.iter().flat_map(|frame| frame.parts());
        let each = frames.first().map_or(0, |frame| frame.count());
        let mut left = usize::try_from(each).ok().and_then(|each| each.checked_mul(frames.len())).ok_or(SpaceError::WrongSize)?;
        let mut at = at.get();
        while left > 0 {
            let (first, count) = self.slots(left)?;
            let range = GuestRange::new(GuestAddr::new(at), bytes.saturating_mul(count as u64));
            if range.is_none_or(|range| self.mapped.push(Mapped { range, first, count }).is_err()) {
                self.objects.release_slots(first, count);
                return Err(SpaceError::Full(Table::Mappings));
            }
            for (index, part) in (0..count as u64).zip(&mut parts) {
                let copy = first.offset(index);
                self.kernel.copy(part, copy, rights)?;
                self.tables.map(&self.kernel, &mut self.objects, copy, at, rights)?;
                at = at.saturating_add(bytes);
            }
            left = left.saturating_sub(count);
        }
        Ok(())
    }

    /// As many slots in a row as there are, but no more than `count`; not less than one.
    fn slots(&mut self, mut count: usize) -> Result<(CPtr, usize), SpaceError> {
        loop {
            match self.objects.allocate_slots(count) {
                Ok(first) => return Ok((first, count)),
                Err(error) if count <= 1 => return Err(error.into()),
                Err(_) => count = count.wrapping_shr(1),
            }
        }
    }

    /// Takes away all mappings behind the first `count`.
    fn unmap_behind(&mut self, count: usize) {
        while self.mapped.len() > count {
            if let Some(mapped) = self.mapped.pop() {
                self.drop_copies(mapped);
            }
        }
    }

    /// Takes frames out of the address space, and deletes the copies that have mapped them.
    fn drop_copies(&mut self, mapped: Mapped) {
        for index in 0..mapped.count {
            let copy = mapped.first.offset(index as u64);
            // seL4 5.0.0 leaves what a copy has mapped where it is when the copy is deleted. Neither fails, but for a copy that was not made.
            let _ = self.kernel.unmap_frame(copy);
            let _ = self.kernel.delete(copy);
        }
        self.objects.release_slots(mapped.first, mapped.count);
    }

    /// Whether the frames can be mapped there; gives their kind.
    fn check(&self, at: GuestAddr, frames: &[Frame], mapping: Mapping) -> Result<FrameKind, SpaceError> {
        let kind = frames.first().ok_or(SpaceError::WrongSize)?.kind();
        let fits = |frame: &Frame| frame.size() == mapping.size && frame.kind() == kind;
        if mapping.memory_type != MemoryType::WriteBack || !frames.iter().all(fits) {
            return Err(SpaceError::WrongSize);
        }
        if !at.is_aligned(mapping.size.bytes()) {
            return Err(SpaceError::Misaligned(at));
        }
        let bytes = u64::try_from(frames.len()).ok().and_then(|count| count.checked_mul(mapping.size.bytes()));
        let range = bytes.and_then(|bytes| GuestRange::new(at, bytes)).ok_or(SpaceError::WrongSize)?;
        if self.mapped.iter().any(|mapped| mapped.range.overlaps(range)) {
            return Err(SpaceError::Taken(range));
        }
        if self.reserved.iter().any(|reserved| reserved.covers(range)) { Ok(kind) } else { Err(SpaceError::NotReserved(range)) }
    }
}

impl<K, O, W, const MAPS: usize, const TABLES: usize> ErrorType for VSpace<K, O, W, MAPS, TABLES> {
    type Error = SpaceError;
}

impl<K: Kernel, O: Objects, W: WindowSpace, const MAPS: usize, const TABLES: usize> GuestMemory for VSpace<K, O, W, MAPS, TABLES> {
    type Frame = Frame;
    type EventPage = SharedPage<W::Words>;

    fn reserve(&mut self, range: GuestRange) -> Result<(), SpaceError> {
        if self.address_bits < 64 && range.last().get().wrapping_shr(self.address_bits.into()) != 0 {
            return Err(SpaceError::Unreachable(range));
        }
        if let Some(taken) = self.taken.iter().chain(&self.reserved).find(|taken| taken.overlaps(range)) {
            return Err(SpaceError::Taken(*taken));
        }
        self.reserved.push(range).map_err(|_| SpaceError::Full(Table::Ranges))
    }

    fn release(&mut self, range: GuestRange) {
        if let Some(index) = self.reserved.iter().position(|reserved| *reserved == range) {
            self.reserved.swap_remove(index);
        }
    }

    fn map(&mut self, at: GuestAddr, frames: &[Frame], mapping: Mapping) -> Result<(), SpaceError> {
        let kind = self.check(at, frames, mapping)?;
        let before = (self.mapped.len(), self.tables.len());
        let result = self.map_frames(at, kind, frames, mapping.rights.into());
        if result.is_err() {
            self.unmap_behind(before.0);
            // Made by this call, so nobody else can have come to rely on them.
            self.tables.truncate(&mut self.objects, before.1);
        }
        result
    }

    fn unmap(&mut self, range: GuestRange) {
        while let Some(index) = self.mapped.iter().position(|mapped| range.covers(mapped.range)) {
            let mapped = self.mapped.swap_remove(index);
            self.drop_copies(mapped);
        }
        let Self { tables, objects, mapped, taken, .. } = self;
        let needed = |table: GuestRange| mapped.iter().map(|mapped| &mapped.range).chain(&*taken).any(|other| other.overlaps(table));
        tables.give_back(objects, range, needed);
    }

    fn create_event_page(&mut self, size: FrameSize) -> Result<Self::EventPage, SpaceError> {
        SharedPage::create(&self.kernel, &mut self.objects, &mut self.window, size)
    }

    fn destroy_event_page(&mut self, page: Self::EventPage) {
        page.destroy(&mut self.objects, &mut self.window);
    }
}
