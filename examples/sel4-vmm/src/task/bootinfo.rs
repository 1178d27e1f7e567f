//! What the kernel tells the root task (seL4 manual, "System Bootstrapping").

use core::ops::Range;

/// Slot of the root task's own thread.
pub const INIT_TCB: u64 = 1;
/// Slot of its CNode.
pub const INIT_CNODE: u64 = 2;
/// Slot of its address space.
pub const INIT_VSPACE: u64 = 3;
/// Slot of the pool in which address spaces get their identifiers.
pub const INIT_ASID_POOL: u64 = 6;

/// `seL4_SlotRegion`.
#[derive(Debug, Clone, Copy)]
#[repr(C, packed)]
struct Slots {
    start: u64,
    end: u64,
}

impl Slots {
    const fn range(self) -> Range<u64> {
        self.start..self.end
    }
}

/// `seL4_BootInfo` up to the list of untyped memory. All words have 64 bits.
#[derive(Debug, Clone, Copy)]
#[repr(C, packed)]
struct Head {
    extra_length: u64,
    node: u64,
    nodes: u64,
    io_page_table_levels: u64,
    ipc_buffer: u64,
    empty: Slots,
    shared_frames: Slots,
    image_frames: Slots,
    image_tables: Slots,
    io_space: Slots,
    extra_pages: Slots,
    cnode_bits: CnodeBits,
    domain: u64,
    #[cfg(sel4_5)]
    architecture: u64,
    untyped: Slots,
}

/// One byte in seL4 5.0.0, where the structure is packed; a word today.
#[cfg(sel4_5)]
type CnodeBits = u8;
#[cfg(not(sel4_5))]
type CnodeBits = u64;

/// `seL4_UntypedDesc`.
#[derive(Debug, Clone, Copy)]
#[repr(C, packed)]
struct Description {
    address: u64,
    #[cfg(sel4_5)]
    padding: u16,
    bits: u8,
    device: u8,
    #[cfg(not(sel4_5))]
    padding: [u8; 6],
}

/// Untyped memory that the kernel has left to the root task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Untyped {
    /// The slot of its capability.
    pub slot: u64,
    /// Its physical address.
    pub address: u64,
    /// Its size: 2^this bytes.
    pub bits: u8,
    /// What is there.
    pub kind: Kind,
}

/// What lies at a physical address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Memory.
    Memory,
    /// Registers of devices, or nothing: the kernel keeps no object there.
    Device,
}

/// The boot information.
#[derive(Debug, Clone, Copy)]
pub struct BootInfo {
    head: &'static Head,
}

impl BootInfo {
    /// The boot information at `address`.
    ///
    /// # Safety
    ///
    /// `address` is what the kernel has given to the root task, and the page there stays mapped.
    #[must_use]
    pub unsafe fn new(address: *const u8) -> Self {
        // SAFETY: the caller's promise; the structure is packed, and nobody writes to it.
        Self { head: unsafe { &*address.cast() } }
    }

    /// Slots of the root task's CNode in which nothing is.
    #[must_use]
    pub const fn empty(&self) -> Range<u64> {
        self.head.empty.range()
    }

    /// Slots of the frames that the root task's program lies in, in the order of their addresses.
    #[must_use]
    pub const fn image_frames(&self) -> Range<u64> {
        self.head.image_frames.range()
    }

    /// Address of the root task's IPC buffer.
    #[must_use]
    pub const fn ipc_buffer(&self) -> u64 {
        self.head.ipc_buffer
    }

    /// All untyped memory.
    pub fn untyped(&self) -> impl Iterator<Item = Untyped> + use<> {
        let list = core::ptr::from_ref(self.head).wrapping_add(1).cast::<Description>();
        (0_usize..).zip(self.head.untyped.range()).map(move |(index, slot)| {
            // SAFETY: the list follows the head, and is as long as the slots of its capabilities.
            let description = unsafe { *list.wrapping_add(index) };
            let kind = if description.device == 0 { Kind::Memory } else { Kind::Device };
            Untyped { slot, address: description.address, bits: description.bits, kind }
        })
    }
}
