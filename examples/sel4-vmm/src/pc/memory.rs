//! Slots, objects and mappings of the root task.

use core::cell::RefCell;
use core::fmt;

use crossvm_sel4::kernel::{Attributes, Badge, CPtr, CapRights, Code, Kernel, KernelError, Object, Space};
use crossvm_sel4::libsel4::{Libsel4, slots};
use crossvm_sel4::objects::ObjectError;
use crossvm_sel4::{ObjectPool, Objects};

use super::View;
use crate::task::Root;

/// The root task's slots and untyped memory: 4,096 slots, and 512 pieces of memory.
pub type Pool = ObjectPool<Libsel4, 64, 512>;

/// How many slots the pool has.
const SLOTS: usize = 4096;

/// First address of the root task's views of memory: behind its image, in tables of their own.
const VIEWS: u64 = 0x2000_0000;

/// What the root task could not do.
#[derive(Debug)]
pub enum Failure {
    /// There is no slot or no memory, or the kernel refused an object.
    Object(ObjectError),
    /// The kernel refused a call.
    Kernel(KernelError),
    /// Something is too large for its place, or not what it should be.
    Shape(&'static str),
}

impl From<ObjectError> for Failure {
    fn from(error: ObjectError) -> Self {
        Self::Object(error)
    }
}

impl From<KernelError> for Failure {
    fn from(error: KernelError) -> Self {
        Self::Kernel(error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Object(error) => error.fmt(f),
            Self::Kernel(error) => error.fmt(f),
            Self::Shape(what) => f.write_str(what),
        }
    }
}

/// The kernel's handle and the objects, for everyone in the root task.
#[derive(Debug, Clone, Copy)]
pub struct System<'a> {
    /// The kernel.
    pub kernel: Libsel4,
    /// Slots and memory.
    pub objects: &'a RefCell<Pool>,
}

impl System<'_> {
    /// All the memory that is free, and slots.
    ///
    /// # Errors
    /// [`Failure::Object`].
    pub fn pool(root: &Root) -> Result<Pool, Failure> {
        let empty = root.boot.empty();
        let count = usize::try_from(empty.end.saturating_sub(empty.start)).unwrap_or(0).min(SLOTS);
        let mut pool = Pool::new(root.kernel, CPtr::new(empty.start), count)?;
        for untyped in root.boot.untyped().filter(|untyped| !untyped.device) {
            pool.add_untyped(untyped.slot, untyped.bits)?;
        }
        Ok(pool)
    }

    /// A new object in a slot of its own.
    ///
    /// # Errors
    /// [`Failure::Object`].
    pub fn create(&self, object: Object) -> Result<CPtr, Failure> {
        let mut objects = self.objects;
        let slot = objects.allocate_slots(1)?;
        objects.create(object, slot)?;
        Ok(slot)
    }

    /// A copy of a capability in a slot of its own.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn copy(&self, from: CPtr, rights: CapRights) -> Result<CPtr, Failure> {
        let mut objects = self.objects;
        let slot = objects.allocate_slots(1)?;
        self.kernel.copy(from, slot, rights)?;
        Ok(slot)
    }

    /// A capability that signals a notification with this badge, in a slot of its own.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn badged(&self, notification: CPtr, badge: Badge) -> Result<CPtr, Failure> {
        let mut objects = self.objects;
        let slot = objects.allocate_slots(1)?;
        self.kernel.mint(notification, slot, CapRights::WRITE, badge)?;
        Ok(slot)
    }
}

/// Maps frames into an address space, and makes the tables that it takes. Nothing of it is ever taken back.
#[derive(Debug)]
pub struct SpaceMap<'a> {
    system: System<'a>,
    space: Space,
    /// Where the next view goes; for the root task's own space.
    next: u64,
}

/// What tables cover, the largest first.
const LEVELS: [u8; 3] = [39, 30, 21];

impl<'a> SpaceMap<'a> {
    /// Of an address space.
    #[must_use]
    pub const fn new(system: System<'a>, space: Space) -> Self {
        Self { system, space, next: VIEWS }
    }

    /// Of the root task's own.
    #[must_use]
    pub const fn own(system: System<'a>) -> Self {
        Self::new(system, Space::Virtual(slots::VSPACE))
    }

    /// The space.
    #[must_use]
    pub const fn space(&self) -> Space {
        self.space
    }

    /// Maps a frame.
    ///
    /// # Errors
    /// What the kernel says, or no memory for a table.
    pub fn map(&mut self, frame: CPtr, at: u64, rights: CapRights, attributes: Attributes) -> Result<(), Failure> {
        for _ in LEVELS {
            match self.system.kernel.map_frame(frame, self.space, at, rights, attributes) {
                Err(KernelError { code: Code::FailedLookup, .. }) => self.make_table(at)?,
                result => return Ok(result?),
            }
        }
        Ok(self.system.kernel.map_frame(frame, self.space, at, rights, attributes)?)
    }

    /// Makes the largest table around `at` that is not there.
    fn make_table(&self, at: u64) -> Result<(), Failure> {
        let mut objects = self.system.objects;
        for bits in LEVELS {
            let object = if matches!(self.space, Space::Ept(_)) { Object::EptTable(bits) } else { Object::Table(bits) };
            let table = self.system.create(object)?;
            match self.system.kernel.map_table(table, bits, self.space, at & !0 << bits) {
                Ok(()) => return Ok(()),
                Err(KernelError { code: Code::DeleteFirst, .. }) => {
                    objects.destroy(table);
                    objects.release_slots(table, 1);
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(Failure::Shape("all translation tables are there, and still one is missing"))
    }

    /// Maps a copy of a frame of 2^`bits` bytes for the root task to read and write; only for its own space.
    ///
    /// # Errors
    /// As [`map`](Self::map).
    pub fn view(&mut self, frame: CPtr, bits: u8) -> Result<View, Failure> {
        let copy = self.system.copy(frame, CapRights::READ_WRITE)?;
        let bytes = 1_u64 << bits;
        let at = self.next.next_multiple_of(bytes);
        self.map(copy, at, CapRights::READ_WRITE, Attributes::Memory)?;
        self.next = at.saturating_add(bytes);
        // SAFETY: mapped just now, at an address that nothing else of the program has or will have, and never unmapped.
        unsafe { View::new(at, bytes) }.ok_or(Failure::Shape("a view at an address that is none"))
    }
}
