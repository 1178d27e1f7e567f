//! What a root task does with the memory that it has: objects, and pages of its own address space.

use core::cell::RefCell;
use core::fmt;

use crossvm_sel4::kernel::{Attributes, CPtr, CapRights, Code, Kernel, KernelError, Object, Space};
use crossvm_sel4::libsel4::{Libsel4, slots};
use crossvm_sel4::objects::ObjectError;
use crossvm_sel4::{ObjectPool, Objects, OwnSpace};

use super::Root;
use super::shared::{PAGE, Shared};

/// All of a root task's slots and untyped memory that it uses.
pub type Pool = ObjectPool<Libsel4, 96, 3072>;

/// Memory that is not split off for the pool: more than any root task here needs.
const LARGEST: u8 = 26;
/// Where pages are shared with programs, one behind the other.
const SHARED: u64 = 0x1_0000_0000;
/// Where guests' windows for event pages are.
const WINDOWS: u64 = 0x2_0000_0000;
/// Distance from one window to the next, and its length.
const WINDOW: u64 = 0x20_0000;

/// Why something could not be composed.
#[derive(Debug)]
pub enum Trouble {
    /// No slot or no memory.
    Objects(ObjectError),
    /// The kernel refused.
    Kernel(KernelError),
    /// What cannot be, for this reason.
    Program(&'static str),
}

impl From<ObjectError> for Trouble {
    fn from(error: ObjectError) -> Self {
        Self::Objects(error)
    }
}

impl From<KernelError> for Trouble {
    fn from(error: KernelError) -> Self {
        Self::Kernel(error)
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Objects(error) => error.fmt(f),
            Self::Kernel(error) => error.fmt(f),
            Self::Program(why) => f.write_str(why),
        }
    }
}

/// What a root task has to give, before anything is made of it.
#[derive(Debug)]
pub struct Estate {
    kernel: Libsel4,
    objects: RefCell<Pool>,
    /// Bit `n`: page `n` of those that are shared is in use.
    shared: RefCell<u64>,
}

/// A root task's memory and kernel, for whoever makes something of it.
#[derive(Debug, Clone, Copy)]
pub struct System<'a> {
    estate: &'a Estate,
}

impl Estate {
    /// Everything that the kernel has left to the root task.
    ///
    /// # Errors
    /// [`Trouble`] where it is too little.
    pub fn new(root: &Root) -> Result<Self, Trouble> {
        let empty = root.boot.empty();
        let count = usize::try_from(empty.end.saturating_sub(empty.start)).unwrap_or(0);
        let mut objects = Pool::new(root.kernel, CPtr::new(empty.start), count)?;
        for untyped in root.boot.untyped().filter(|untyped| !untyped.device && untyped.bits <= LARGEST) {
            objects.add_untyped(untyped.slot, untyped.bits)?;
        }
        Ok(Self { kernel: root.kernel, objects: RefCell::new(objects), shared: RefCell::new(0) })
    }

    /// For whoever makes something of it.
    #[must_use]
    pub const fn system(&self) -> System<'_> {
        System { estate: self }
    }
}

impl<'a> System<'a> {
    /// The kernel.
    #[must_use]
    pub const fn kernel(self) -> Libsel4 {
        self.estate.kernel
    }

    /// Slots and objects.
    #[must_use]
    pub const fn objects(self) -> &'a RefCell<Pool> {
        &self.estate.objects
    }

    /// An empty slot.
    ///
    /// # Errors
    /// [`Trouble`] where none is left.
    pub fn slot(self) -> Result<CPtr, Trouble> {
        Ok(self.objects().allocate_slots(1)?)
    }

    /// A new object, in a slot of its own.
    ///
    /// # Errors
    /// [`Trouble`] where no slot or no memory is left.
    pub fn create(self, object: Object) -> Result<CPtr, Trouble> {
        let slot = self.slot()?;
        let created = self.objects().create(object, slot);
        if created.is_err() {
            self.objects().release_slots(slot, 1);
        }
        created?;
        Ok(slot)
    }

    /// Destroys what [`System::create`] has made.
    pub fn destroy(self, slot: CPtr) {
        self.objects().destroy(slot);
        self.objects().release_slots(slot, 1);
    }

    /// A copy of a capability, in a slot of its own.
    ///
    /// # Errors
    /// [`Trouble`].
    pub fn copy(self, capability: CPtr, rights: CapRights) -> Result<CPtr, Trouble> {
        let slot = self.slot()?;
        let copied = self.kernel().copy(capability, slot, rights);
        if copied.is_err() {
            self.objects().release_slots(slot, 1);
        }
        copied?;
        Ok(slot)
    }

    /// Deletes what [`System::copy`] has made.
    pub fn drop_copy(self, slot: CPtr) {
        // Neither fails for a capability that is there; one that has mapped nothing is not unmapped.
        let _ = self.kernel().unmap_frame(slot);
        let _ = self.kernel().delete(slot);
        self.objects().release_slots(slot, 1);
    }

    /// Maps a frame, and makes the translation tables that it takes; each goes to `made`.
    ///
    /// # Errors
    /// [`Trouble`].
    pub fn map(
        self,
        frame: CPtr,
        space: Space,
        at: u64,
        (rights, attributes): (CapRights, Attributes),
        mut made: impl FnMut(CPtr) -> Result<(), Trouble>,
    ) -> Result<(), Trouble> {
        loop {
            match self.kernel().map_frame(frame, space, at, rights, attributes) {
                Err(KernelError { code: Code::FailedLookup, missing_table: Some(bits) }) => {
                    let table = self.create(Object::Table(bits))?;
                    made(table)?;
                    self.kernel().map_table(table, bits, space, at)?;
                }
                result => return Ok(result?),
            }
        }
    }

    /// Maps a frame into the root task's own address space as well.
    ///
    /// # Errors
    /// [`Trouble`].
    pub fn share(self, frame: CPtr) -> Result<Shared, Trouble> {
        let index = self.estate.shared.borrow().trailing_ones();
        let place = u8::try_from(index).ok().filter(|index| *index < 64).ok_or(Trouble::Program("too many pages are shared"))?;
        let address = SHARED + u64::from(index) * PAGE as u64;
        let copy = self.copy(frame, CapRights::READ_WRITE)?;
        // Tables of the root task's own address space stay.
        let mapped = self.map(copy, Space::Virtual(slots::VSPACE), address, (CapRights::READ_WRITE, Attributes::Memory), |_| Ok(()));
        if mapped.is_err() {
            self.drop_copy(copy);
        }
        mapped?;
        *self.estate.shared.borrow_mut() |= 1 << index;
        let address = usize::try_from(address).map_err(|_| Trouble::Program("no such address"))?;
        // SAFETY: it was mapped there just now, and `unshare` alone takes it away.
        unsafe { Shared::new(copy, place, address) }.ok_or(Trouble::Program("no such address"))
    }

    /// Takes a page out of the root task's address space.
    pub fn unshare(self, shared: Shared) {
        self.drop_copy(shared.copy);
        *self.estate.shared.borrow_mut() &= !(1 << shared.index);
    }

    /// The window for the event pages of the guest with this number, one for each.
    ///
    /// # Errors
    /// [`Trouble`].
    pub fn window(self, guest: u8) -> Result<OwnSpace, Trouble> {
        let start = WINDOWS + u64::from(guest) * WINDOW;
        // SAFETY: nothing else is mapped there, and each guest has a number of its own.
        unsafe { OwnSpace::new(slots::VSPACE, start, WINDOW) }.ok_or(Trouble::Program("no such window"))
    }
}
