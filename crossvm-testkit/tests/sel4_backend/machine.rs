//! A VMM's slots and memory on a simulated kernel, and a guest's address space.

use std::cell::RefCell;

use crossvm_core::{ErrorType, FrameSize, GuestAddr, GuestMemory, GuestRange, Mapping};
use crossvm_sel4::kernel::{Attributes, CPtr, CapRights, Kernel, Object, Space};
use crossvm_sel4::vspace::{SharedPage, SpaceError};
use crossvm_sel4::{Frame, FrameKind, ObjectPool, Objects, VSpace};
use crossvm_testkit::conformance::guest_memory::GuestView;
use crossvm_testkit::sel4::{Arch, SimKernel, SimWindow, SimWords};
use crossvm_testkit::{RAM, WINDOW, range};

/// 2048 slots, 512 of them for pieces of memory.
pub(crate) type Pool = ObjectPool<SimKernel, 32, 512>;
pub(crate) type Guest = VSpace<SimKernel, &'static RefCell<Pool>, SimWindow>;

/// The kinds of address spaces that guests have.
pub(crate) const ALL: [(Arch, Kind); 5] = [
    (Arch::X86_64_5_0_0, Kind::Thread),
    (Arch::X86_64_5_0_0, Kind::Ept),
    (Arch::X86_64, Kind::Thread),
    (Arch::X86_64, Kind::Ept),
    (Arch::Aarch64, Kind::Thread),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Thread,
    Ept,
}

/// A kernel with untyped memory of 8 MiB and 4 GiB, all in a pool.
pub(crate) fn pool(arch: Arch) -> (SimKernel, &'static RefCell<Pool>) {
    let kernel = SimKernel::new(arch, [23, 32]);
    let mut pool = Pool::new(kernel.clone(), kernel.first_free(), 2048).unwrap();
    for (index, bits) in [23, 32].into_iter().enumerate() {
        pool.add_untyped(SimKernel::UNTYPED.offset(index as u64), bits).unwrap();
    }
    (kernel, Box::leak(Box::new(RefCell::new(pool))))
}

/// The root of a new address space.
pub(crate) fn root(kernel: &SimKernel, mut pool: &RefCell<Pool>, kind: Kind) -> Space {
    let slot = pool.allocate_slots(1).unwrap();
    let object = if kind == Kind::Ept { Object::EptRoot } else { Object::VSpace };
    pool.create(object, slot).unwrap();
    kernel.assign_asid(SimKernel::ASID_POOL, slot).unwrap();
    if kind == Kind::Ept { Space::Ept(slot) } else { Space::Virtual(slot) }
}

/// Maps the first page of the guest's RAM, with all tables that it takes.
pub(crate) fn map_ram(kernel: &SimKernel, mut pool: &RefCell<Pool>, root: Space) {
    let frame = pool.allocate_slots(1).unwrap();
    pool.create(Object::SmallFrame, frame).unwrap();
    for bits in [39, 30, 21] {
        let table = pool.allocate_slots(1).unwrap();
        let object = if let Space::Ept(_) = root { Object::EptTable(bits) } else { Object::Table(bits) };
        pool.create(object, table).unwrap();
        kernel.map_table(table, bits, root, RAM.0).unwrap();
    }
    kernel.map_frame(frame, root, RAM.0, CapRights::READ_WRITE, Attributes::Memory).unwrap();
}

/// A guest's address space, with the guest, whose RAM is there already.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) kernel: SimKernel,
    pub(crate) pool: &'static RefCell<Pool>,
    pub(crate) root: Space,
    pub(crate) guest: Guest,
}

impl Machine {
    pub(crate) fn new((arch, kind): (Arch, Kind)) -> Self {
        let (kernel, pool) = pool(arch);
        Self::with(kernel, pool, kind, 0x1000_0000)
    }

    /// A guest of the VMM, with its own window.
    pub(crate) fn with(kernel: SimKernel, pool: &'static RefCell<Pool>, kind: Kind, window: u64) -> Self {
        let root = root(&kernel, pool, kind);
        map_ram(&kernel, pool, root);
        let window = SimWindow::new(kernel.clone(), window, 0x20_0000);
        let guest = Guest::new(kernel.clone(), pool, root, window).unwrap().with_taken(range(RAM)).unwrap().with_address_bits(47);
        Self { kernel, pool, root, guest }
    }

    /// What is mapped for connections, lowest first.
    pub(crate) fn mappings(&self) -> Vec<crossvm_testkit::sel4::Mapping> {
        self.kernel.mappings(self.root).into_iter().filter(|mapping| mapping.at != RAM.0).collect()
    }

    /// Free slots and free bytes.
    pub(crate) fn left(&self) -> (usize, u64) {
        (self.pool.borrow().free_slots(), self.pool.borrow().free_bytes())
    }

    /// An empty slot.
    pub(crate) fn slot(&self) -> CPtr {
        self.pool.borrow_mut().allocate_slots(1).unwrap()
    }

    pub(crate) fn make(&self, object: Object) -> CPtr {
        let slot = self.slot();
        self.pool.borrow_mut().create(object, slot).unwrap();
        slot
    }

    pub(crate) fn frame(&mut self, kind: FrameKind) -> Frame {
        Frame::new(self.make(kind.object()), kind)
    }

    pub(crate) fn load(&self, at: GuestAddr) -> Option<u32> {
        let bytes = self.kernel.load(self.root, at.get(), 4).ok()?;
        Some(u32::from_le_bytes(bytes.try_into().unwrap()))
    }

    pub(crate) fn store(&self, at: GuestAddr, value: u32) -> bool {
        self.kernel.store(self.root, at.get(), &value.to_le_bytes()).is_ok()
    }
}

impl ErrorType for Machine {
    type Error = SpaceError;
}

impl GuestMemory for Machine {
    type Frame = Frame;
    type EventPage = SharedPage<SimWords>;

    fn reserve(&mut self, range: GuestRange) -> Result<(), SpaceError> {
        self.guest.reserve(range)
    }
    fn release(&mut self, range: GuestRange) {
        self.guest.release(range);
    }
    fn map(&mut self, at: GuestAddr, frames: &[Frame], mapping: Mapping) -> Result<(), SpaceError> {
        self.guest.map(at, frames, mapping)
    }
    fn unmap(&mut self, range: GuestRange) {
        self.guest.unmap(range);
    }
    fn create_event_page(&mut self, size: FrameSize) -> Result<Self::EventPage, SpaceError> {
        self.guest.create_event_page(size)
    }
    fn destroy_event_page(&mut self, page: Self::EventPage) {
        self.guest.destroy_event_page(page);
    }
}

impl GuestView for Machine {
    fn free_range(&self) -> GuestRange {
        GuestRange::new(GuestAddr::new(WINDOW.0), 0x1_0000).unwrap()
    }
    fn ram_range(&self) -> GuestRange {
        range(RAM)
    }
    fn new_frame(&mut self, size: FrameSize) -> Frame {
        self.frame(FrameKind::of_size(size).unwrap())
    }
    fn guest_load(&mut self, at: GuestAddr) -> Option<u32> {
        self.load(at)
    }
    fn guest_store(&mut self, at: GuestAddr, value: u32) -> bool {
        self.store(at, value)
    }
}
