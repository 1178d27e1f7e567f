//! A guest's physical address space: crossvm-sel4's, with RAM and devices added.

use core::cell::RefCell;
use core::sync::atomic::AtomicU32;

use crossvm_core::{ErrorType, EventPage, FrameSize, GuestAddr, GuestMemory, GuestRange, Mapping};
use crossvm_sel4::kernel::{Attributes, CPtr, CapRights, Kernel as _, Space};
use crossvm_sel4::libsel4::Libsel4;
use crossvm_sel4::objects::Objects as _;
use crossvm_sel4::vspace::{SharedPage, SpaceError, Table, VSpace};
use crossvm_sel4::{Frame, OwnSpace, WindowSpace};
use heapless::Vec;
use vmm_common::host::HostRange;
use vmm_common::map;
use vmm_common::space::{GuestRegion, GuestSpace};

use super::map::{Objectry, map};
use super::memory::Memory;

/// Most regions that are not free.
const REGIONS: usize = 12;

/// An event page whose stores are cleaned: the guest may read past the caches (Linux maps a sysfs resource as Device memory).
#[derive(Debug)]
pub(super) struct CleanedPage {
    page: SharedPage<<OwnSpace as WindowSpace>::Words>,
    kernel: Libsel4,
}

impl EventPage for CleanedPage {
    type Frame = Frame;

    fn frame(&self) -> &Frame {
        self.page.frame()
    }

    fn words(&self) -> &[AtomicU32] {
        self.page.words()
    }

    fn published(&self, word: usize) {
        let bytes = FrameSize::KIB_4.bytes();
        // Its frames are small ones, one behind the other.
        let part = (word as u64).wrapping_mul(4).wrapping_div(bytes);
        // The memory is the kernel's own until it is made a frame, so it can be cleaned.
        let _ = self.kernel.clean_frame(self.frame().capability().offset(part), bytes);
    }
}

/// A guest's address space on seL4.
#[derive(Debug)]
pub(super) struct GuestPhysical {
    connections: VSpace<Libsel4, Objectry, OwnSpace, 256, 64>,
    kernel: Libsel4,
    objects: Objectry,
    memory: &'static RefCell<Memory>,
    root: CPtr,
    regions: Vec<(GuestRange, GuestRegion), REGIONS>,
}

impl GuestPhysical {
    /// The address space `root`, of a guest with `ram` bytes of RAM. Its event pages appear in `window`.
    pub(super) fn new(
        kernel: Libsel4,
        objects: Objectry,
        memory: &'static RefCell<Memory>,
        root: CPtr,
        ram: u64,
        window: OwnSpace,
    ) -> Result<Self, SpaceError> {
        let space = VSpace::new(kernel, objects, Space::Virtual(root), window)?.with_address_bits(40);
        // What is mapped here, whose tables the connections may come to share.
        let ram = GuestRange::new(map::RAM_BASE, ram).ok_or(SpaceError::WrongSize)?;
        let connections = space.with_taken(ram)?.with_taken(map::CPU_INTERFACE)?;
        Ok(Self { connections, kernel, objects, memory, root, regions: Vec::new() })
    }

    /// The root of its translation tables.
    pub(super) const fn root(&self) -> CPtr {
        self.root
    }

    fn add(&mut self, range: GuestRange, region: GuestRegion) -> Result<(), SpaceError> {
        if let Some((taken, _)) = self.regions.iter().find(|(taken, _)| taken.overlaps(range)) {
            return Err(SpaceError::Taken(*taken));
        }
        self.regions.push((range, region)).map_err(|_| SpaceError::Full(Table::Ranges))
    }

    /// Maps copies of the frames of `host`.
    fn map_frames(&mut self, range: GuestRange, host: HostRange, attributes: Attributes) -> Result<(), SpaceError> {
        let memory = self.memory;
        for (frame, address, _) in memory.borrow().frames_in(host) {
            let offset = address.checked_sub(host.start().get()).ok_or(SpaceError::WrongSize)?;
            let at = range.start().checked_add(offset).ok_or(SpaceError::WrongSize)?;
            let copy = self.objects.allocate_slots(1)?;
            self.kernel.copy(frame, copy, CapRights::READ_WRITE)?;
            map(self.kernel, self.objects, copy, self.root, at.get(), CapRights::READ_WRITE, attributes)?;
        }
        Ok(())
    }
}

impl ErrorType for GuestPhysical {
    type Error = SpaceError;
}

impl GuestSpace for GuestPhysical {
    fn add_ram(&mut self, range: GuestRange, memory: HostRange) -> Result<(), SpaceError> {
        self.add(range, GuestRegion::Ram)?;
        self.map_frames(range, memory, Attributes::Code)
    }

    fn add_registers(&mut self, range: GuestRange, registers: HostRange) -> Result<(), SpaceError> {
        self.add(range, GuestRegion::Device)?;
        let page = HostRange::new(registers.start(), range.size()).ok_or(SpaceError::WrongSize)?;
        self.map_frames(range, page, Attributes::Device)
    }

    fn add_device(&mut self, range: GuestRange) -> Result<(), SpaceError> {
        self.add(range, GuestRegion::Device)
    }

    fn region_at(&self, address: GuestAddr) -> Option<GuestRegion> {
        self.regions.iter().find(|(range, _)| range.contains(address)).map(|(_, region)| *region)
    }
}

impl GuestMemory for GuestPhysical {
    type Frame = Frame;
    type EventPage = CleanedPage;

    fn reserve(&mut self, range: GuestRange) -> Result<(), SpaceError> {
        self.add(range, GuestRegion::Window)?;
        let reserved = self.connections.reserve(range);
        if reserved.is_err() {
            self.regions.retain(|region| *region != (range, GuestRegion::Window));
        }
        reserved
    }

    fn release(&mut self, range: GuestRange) {
        self.regions.retain(|region| *region != (range, GuestRegion::Window));
        self.connections.release(range);
    }

    fn map(&mut self, at: GuestAddr, frames: &[Frame], mapping: Mapping) -> Result<(), SpaceError> {
        self.connections.map(at, frames, mapping)
    }

    fn unmap(&mut self, range: GuestRange) {
        self.connections.unmap(range);
    }

    fn create_event_page(&mut self, size: FrameSize) -> Result<Self::EventPage, SpaceError> {
        let page = self.connections.create_event_page(size)?;
        Ok(CleanedPage { page, kernel: self.kernel })
    }

    fn destroy_event_page(&mut self, page: Self::EventPage) {
        self.connections.destroy_event_page(page.page);
    }
}
