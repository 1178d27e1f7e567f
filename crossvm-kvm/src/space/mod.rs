//! The guest's address space: memory slots of a VM.
//!
//! ```text
//!   guest-physical addresses      memory slots of the VM                    files in memory
//!   ┌──────────────┐
//!   │ RAM          │◀── add_ram ── slot ── the VMM's own mapping
//!   │ device       │    add_device: no slot, every access is an exit
//!   │ event page   │◀── map ── slot, read-only ── mapping, read-only ───── memfd ── mapping ──▶ words() of the VMM
//!   │ dataport     │◀── map ── slot, its rights ── mapping, its rights ─── memfd ── mapping ──▶ bytes() of components
//!   └──────────────┘                                                         └── SCM_RIGHTS ──▶ another VMM
//! ```
//!
//! Frames that follow each other in one file share a slot. A guest's store to a read-only slot is an exit (`KVM_EXIT_MMIO`), or signals an ioeventfd: see
//! [`EmitFds`](crate::EmitFds).
//!
//! # When KVM does not give back a slot
//!
//! Deleting a slot takes KVM a small allocation, which can fail. [`GuestMemory::unmap`] must not. So each slot has a mapping of its own; where the slot
//! cannot be deleted, other memory takes the place of the mapping, which revokes the guest's access at once, and the slot, which leads nowhere now, is
//! deleted with a later call. Until then, its addresses cannot be mapped.

mod error;
mod event_page;

use std::collections::BTreeSet;
use std::os::fd::AsFd;
use std::sync::Arc;

use crossvm_core::{ErrorType, FrameSize, GuestAddr, GuestMemory, GuestRange, Mapping, MemoryType, Rights};
use kvm_ioctls::{Cap, VmFd};
use vm_memory::{Address, GuestMemoryRegion, GuestRegionMmap};

use crate::dataport::Frame;
use crate::error::CallError;
use crate::raw::{Backing, HostMapping, Memslot};

pub use error::SpaceError;
pub use event_page::SharedPage;

/// Slots that every KVM has had, for one that does not tell.
const SLOTS: u32 = 32;

/// The guest-physical memory of one VM. All memory slots of the VM are made through it.
#[derive(Debug)]
pub struct GuestSpace {
    vm: Arc<VmFd>,
    slots: SlotNumbers,
    page: u64,
    address_bits: u8,
    taken: Vec<GuestRange>,
    ram: Vec<Memslot>,
    reserved: Vec<GuestRange>,
    mapped: Vec<Memslot>,
    /// Slots that could not be deleted; their memory is nobody's.
    stuck: Vec<Memslot>,
}

impl GuestSpace {
    /// The empty address space of `vm`.
    ///
    /// # Errors
    /// [`SpaceError::Call`] where this KVM has no read-only memory (`KVM_CAP_READONLY_MEM`).
    pub fn new(vm: Arc<VmFd>) -> Result<Self, SpaceError> {
        if !vm.check_extension(Cap::ReadonlyMem) {
            return Err(CallError::new(crate::Call::CreateSlot, rustix::io::Errno::OPNOTSUPP).into());
        }
        let limit = u32::try_from(vm.check_extension_int(Cap::NrMemslots)).ok().filter(|limit| *limit > 0).unwrap_or(SLOTS);
        Ok(Self {
            vm,
            slots: SlotNumbers { limit, next: 0, free: BTreeSet::new() },
            page: rustix::param::page_size() as u64,
            address_bits: 64,
            taken: Vec::new(),
            ram: Vec::new(),
            reserved: Vec::new(),
            mapped: Vec::new(),
            stuck: Vec::new(),
        })
    }

    /// For a guest that addresses 2^`bits` bytes: what its CPUID tells, or the size of the VM's intermediate physical addresses.
    #[must_use]
    pub fn with_address_bits(mut self, bits: u8) -> Self {
        self.address_bits = bits;
        self
    }

    /// With at most `limit` memory slots, where the VMM wants to keep some.
    #[must_use]
    pub fn with_slot_limit(mut self, limit: u32) -> Self {
        self.slots.limit = self.slots.limit.min(limit);
        self
    }

    /// Gives the guest RAM, which is kept alive as long as the guest can reach it.
    ///
    /// # Errors
    /// [`SpaceError::Taken`], [`SpaceError::Unreachable`], [`SpaceError::NoSlot`], [`SpaceError::Call`]. Nothing has changed then.
    pub fn add_ram(&mut self, region: Arc<GuestRegionMmap>) -> Result<GuestRange, SpaceError> {
        let at = GuestAddr::new(region.start_addr().raw_value());
        let range = GuestRange::new(at, region.len()).ok_or(SpaceError::WrongCount(0))?;
        self.check_free(range)?;
        let slot = self.create_slot(at, Backing::Ram(region), Rights::ReadWrite)?;
        self.ram.push(slot);
        self.taken.push(range);
        Ok(range)
    }

    /// Says that a device is there, whose accesses are exits: nothing is reserved or mapped there.
    ///
    /// # Errors
    /// [`SpaceError::Taken`], [`SpaceError::Unreachable`].
    pub fn add_device(&mut self, range: GuestRange) -> Result<(), SpaceError> {
        self.check_free(range)?;
        self.taken.push(range);
        Ok(())
    }

    /// How many memory slots are in use.
    #[must_use]
    pub fn slots_in_use(&self) -> usize {
        self.ram.len().saturating_add(self.mapped.len()).saturating_add(self.stuck.len())
    }

    /// The VM.
    #[must_use]
    pub const fn vm(&self) -> &Arc<VmFd> {
        &self.vm
    }

    fn check_free(&self, range: GuestRange) -> Result<(), SpaceError> {
        if self.address_bits < 64 && range.last().get().wrapping_shr(self.address_bits.into()) != 0 {
            return Err(SpaceError::Unreachable(range));
        }
        match self.taken.iter().chain(&self.reserved).find(|taken| taken.overlaps(range)) {
            Some(taken) => Err(SpaceError::Taken(*taken)),
            None => Ok(()),
        }
    }

    fn create_slot(&mut self, at: GuestAddr, backing: Backing, rights: Rights) -> Result<Memslot, SpaceError> {
        let number = self.slots.take()?;
        let slot = Memslot::create(&self.vm, number, at, backing, rights);
        if slot.is_err() {
            self.slots.give_back(number);
        }
        Ok(slot?)
    }

    /// Takes a slot away from the guest.
    fn delete_slot(&mut self, mut slot: Memslot) {
        match slot.delete() {
            Ok(()) => self.slots.give_back(slot.number()),
            Err(_) => self.stuck.push(slot),
        }
    }

    /// Tries again to delete the slots that could not be.
    fn retry_stuck(&mut self) {
        for slot in std::mem::take(&mut self.stuck) {
            self.delete_slot(slot);
        }
    }

    /// Whether the frames can be mapped there; gives the range.
    fn check(&self, at: GuestAddr, frames: &[Frame], mapping: Mapping) -> Result<GuestRange, SpaceError> {
        let size = mapping.size;
        let fits = |frame: &Frame| frame.size() == size;
        if mapping.memory_type != MemoryType::WriteBack || !frames.iter().all(fits) || !size.bytes().is_multiple_of(self.page) {
            return Err(SpaceError::WrongSize(size));
        }
        if mapping.rights == Rights::ReadWrite && frames.iter().any(|frame| frame.rights() == Rights::Read) {
            return Err(SpaceError::ReadOnly);
        }
        if !at.is_aligned(size.bytes()) {
            return Err(SpaceError::Misaligned(at));
        }
        let bytes = u64::try_from(frames.len()).ok().and_then(|count| count.checked_mul(size.bytes()));
        let range = bytes.and_then(|bytes| GuestRange::new(at, bytes)).ok_or(SpaceError::WrongCount(frames.len()))?;
        if let Some(slot) = self.mapped.iter().chain(&self.stuck).find(|slot| slot.range().overlaps(range)) {
            return Err(SpaceError::Taken(slot.range()));
        }
        if self.reserved.iter().any(|reserved| reserved.covers(range)) { Ok(range) } else { Err(SpaceError::NotReserved(range)) }
    }

    /// Maps the frames; what is mapped stays where it fails.
    fn map_frames(&mut self, mut at: GuestAddr, frames: &[Frame], rights: Rights) -> Result<(), SpaceError> {
        for run in frames.chunk_by(Frame::is_followed_by) {
            let Some(first) = run.first() else { continue };
            let bytes = (run.len() as u64).checked_mul(first.size().bytes()).and_then(|bytes| usize::try_from(bytes).ok());
            let bytes = bytes.ok_or(SpaceError::WrongCount(run.len()))?;
            let memory = HostMapping::new(first.memfd().as_fd(), first.offset(), bytes, rights)?;
            let slot = self.create_slot(at, Backing::Mapping(memory), rights)?;
            self.mapped.push(slot);
            at = at.checked_add(bytes as u64).ok_or(SpaceError::WrongCount(frames.len()))?;
        }
        Ok(())
    }
}

impl ErrorType for GuestSpace {
    type Error = SpaceError;
}

impl GuestMemory for GuestSpace {
    type Frame = Frame;
    type EventPage = SharedPage;

    fn reserve(&mut self, range: GuestRange) -> Result<(), SpaceError> {
        self.check_free(range)?;
        self.reserved.push(range);
        Ok(())
    }

    fn release(&mut self, range: GuestRange) {
        if let Some(index) = self.reserved.iter().position(|reserved| *reserved == range) {
            self.reserved.swap_remove(index);
        }
    }

    fn map(&mut self, at: GuestAddr, frames: &[Frame], mapping: Mapping) -> Result<(), SpaceError> {
        self.retry_stuck();
        self.check(at, frames, mapping)?;
        let before = self.mapped.len();
        let result = self.map_frames(at, frames, mapping.rights);
        if result.is_err() {
            for slot in self.mapped.split_off(before) {
                self.delete_slot(slot);
            }
        }
        result
    }

    fn unmap(&mut self, range: GuestRange) {
        let (gone, kept) = std::mem::take(&mut self.mapped).into_iter().partition(|slot| range.covers(slot.range()));
        self.mapped = kept;
        for slot in Vec::into_iter(gone) {
            self.delete_slot(slot);
        }
    }

    fn create_event_page(&mut self, size: FrameSize) -> Result<SharedPage, SpaceError> {
        SharedPage::create(size)
    }

    fn destroy_event_page(&mut self, page: SharedPage) {
        drop(page);
    }
}

/// Numbers of memory slots that are not in use: the lowest first.
#[derive(Debug)]
struct SlotNumbers {
    limit: u32,
    /// From here on, none has been taken.
    next: u32,
    free: BTreeSet<u32>,
}

impl SlotNumbers {
    fn take(&mut self) -> Result<u32, SpaceError> {
        if let Some(number) = self.free.pop_first() {
            return Ok(number);
        }
        if self.next >= self.limit {
            return Err(SpaceError::NoSlot(self.limit));
        }
        let number = self.next;
        self.next = number.saturating_add(1);
        Ok(number)
    }

    fn give_back(&mut self, number: u32) {
        self.free.insert(number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slot_numbers_are_taken_once_and_run_out() {
        let mut numbers = SlotNumbers { limit: 3, next: 0, free: BTreeSet::new() };
        assert_eq!([numbers.take(), numbers.take(), numbers.take()], [Ok(0), Ok(1), Ok(2)]);
        assert_eq!(numbers.take(), Err(SpaceError::NoSlot(3)));
        numbers.give_back(1);
        numbers.give_back(0);
        assert_eq!([numbers.take(), numbers.take()], [Ok(0), Ok(1)]);
        assert_eq!(numbers.take(), Err(SpaceError::NoSlot(3)));
    }
}
