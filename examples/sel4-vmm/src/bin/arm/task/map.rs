//! Maps frames for good, and makes the translation tables that this takes.

use core::cell::RefCell;

use crossvm_sel4::ObjectPool;
use crossvm_sel4::kernel::{Attributes, CPtr, CapRights, Code, Kernel, KernelError, Object, Space};
use crossvm_sel4::libsel4::Libsel4;
use crossvm_sel4::objects::Objects;
use crossvm_sel4::vspace::SpaceError;

/// Slots and kernel objects of the root task: 65,536 slots, 1024 objects and parts of memory.
pub(super) type Pool = ObjectPool<Libsel4, 1024, 1024>;
/// It is shared by all guests.
pub(super) type Objectry = &'static RefCell<Pool>;

/// More levels than an address space has.
const LEVELS: usize = 4;

/// Maps a frame. The tables stay.
pub(super) fn map(
    kernel: Libsel4,
    mut objects: Objectry,
    frame: CPtr,
    space: CPtr,
    at: u64,
    rights: CapRights,
    attributes: Attributes,
) -> Result<(), SpaceError> {
    let space = Space::Virtual(space);
    for _ in 0..LEVELS {
        match kernel.map_frame(frame, space, at, rights, attributes) {
            Err(KernelError { code: Code::FailedLookup, missing_table: Some(bits) }) => {
                let slot = objects.allocate_slots(1)?;
                objects.create(Object::Table(bits), slot)?;
                kernel.map_table(slot, bits, space, at)?;
            }
            result => return Ok(result?),
        }
    }
    Ok(kernel.map_frame(frame, space, at, rights, attributes)?)
}
