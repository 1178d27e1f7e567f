//! Where capability slots and kernel objects come from.
//!
//! A VMM has an allocator already: that of CAmkES' or rust-sel4's libraries, or its own. It implements [`Objects`] for it. A root task that has none
//! takes [`ObjectPool`], over the slots and the untyped memory that the kernel gave it at boot.

mod pool;
mod slots;

use core::cell::RefCell;
use core::fmt;

use crossvm_core::ErrorKind;

use crate::kernel::{CPtr, KernelError, Object};

pub use pool::ObjectPool;
pub use slots::SlotPool;

/// Slots and objects for the backend.
///
/// # Contract
///
/// 1. `allocate_slots` gives slots that are empty, one behind the other, and that nobody else uses until `release_slots`. They are released empty, all
///    or a part of a run at a time. An allocator that cannot give several in a row fails where `count` is more than 1: the backend then asks
///    for less, and needs more only for event pages.
/// 2. `create` puts the capability of a new object into an empty slot. The object is all zero, where its memory can be seen.
/// 3. When `destroy` returns, the object is gone with every capability of it and of what was made in it, the slot is empty, and the memory can serve
///    another object. The slots stay allocated. `slot` is one that `create` has filled. What copies of a frame's capability have mapped is unmapped
///    before: seL4 5.0.0 leaves it mapped, though the memory serves another object.
/// 4. What fails changes nothing. Where nothing is left, the error's kind is [`Exhausted`](ErrorKind::Exhausted).
pub trait Objects {
    /// `count` empty slots in a row; gives the first.
    ///
    /// # Errors
    /// [`ObjectError::NoSlots`].
    fn allocate_slots(&mut self, count: usize) -> Result<CPtr, ObjectError>;

    /// Gives back empty slots in a row.
    fn release_slots(&mut self, first: CPtr, count: usize);

    /// Makes an object, and puts its capability into the empty slot `slot`.
    ///
    /// # Errors
    /// [`ObjectError`]: no memory is left, or what the kernel says.
    fn create(&mut self, object: Object, slot: CPtr) -> Result<(), ObjectError>;

    /// Destroys the object that was created into `slot`.
    fn destroy(&mut self, slot: CPtr);
}

impl<T: Objects + ?Sized> Objects for &mut T {
    fn allocate_slots(&mut self, count: usize) -> Result<CPtr, ObjectError> {
        T::allocate_slots(self, count)
    }

    fn release_slots(&mut self, first: CPtr, count: usize) {
        T::release_slots(self, first, count);
    }

    fn create(&mut self, object: Object, slot: CPtr) -> Result<(), ObjectError> {
        T::create(self, object, slot)
    }

    fn destroy(&mut self, slot: CPtr) {
        T::destroy(self, slot);
    }
}

/// One allocator for several guests of a VMM.
impl<T: Objects + ?Sized> Objects for &RefCell<T> {
    fn allocate_slots(&mut self, count: usize) -> Result<CPtr, ObjectError> {
        self.try_borrow_mut().map_err(|_| ObjectError::Busy)?.allocate_slots(count)
    }

    fn release_slots(&mut self, first: CPtr, count: usize) {
        if let Ok(mut objects) = self.try_borrow_mut() {
            objects.release_slots(first, count);
        }
    }

    fn create(&mut self, object: Object, slot: CPtr) -> Result<(), ObjectError> {
        self.try_borrow_mut().map_err(|_| ObjectError::Busy)?.create(object, slot)
    }

    fn destroy(&mut self, slot: CPtr) {
        if let Ok(mut objects) = self.try_borrow_mut() {
            objects.destroy(slot);
        }
    }
}

/// Why there is no slot or no object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum ObjectError {
    /// There are not so many empty slots in a row.
    NoSlots {
        /// How many were asked for.
        count: usize,
    },
    /// No untyped memory is left for the object.
    NoMemory(Object),
    /// The allocator's own tables are full.
    NoRecords,
    /// The allocator is in use further up the call stack: something that it calls has called the backend.
    Busy,
    /// The kernel refused.
    Kernel(KernelError),
}

impl From<KernelError> for ObjectError {
    fn from(error: KernelError) -> Self {
        Self::Kernel(error)
    }
}

impl crossvm_core::Error for ObjectError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NoSlots { .. } | Self::NoMemory(_) | Self::NoRecords => ErrorKind::Exhausted,
            Self::Busy => ErrorKind::Other,
            Self::Kernel(error) => error.kind(),
        }
    }
}

impl fmt::Display for ObjectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSlots { count } => write!(f, "no {count} empty capability slots in a row are left: give the VMM a larger CSpace"),
            Self::NoMemory(object) => write!(f, "no untyped memory is left for {object:?}: give the VMM more"),
            Self::NoRecords => f.write_str("the pool's table of pieces of untyped memory is full: raise its capacity"),
            Self::Busy => f.write_str("the allocator is in use further up the call stack"),
            Self::Kernel(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for ObjectError {}
