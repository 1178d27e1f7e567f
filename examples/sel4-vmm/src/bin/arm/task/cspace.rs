//! A CSpace with room for the frames of guests.
//!
//! The kernel starts a root task with a CNode of its own choice, 4096 slots unless it was built with another number: 1 MiB of small frames takes
//! 256 for each who maps it. So the root task makes a larger CNode out of its memory, copies what it needs there, to slots of the same numbers, and
//! lives in that from then on.

use core::ops::Range;

use crossvm_sel4::kernel::{Badge, CPtr, CapRights, Kernel, Object, ThreadSpaces, Threads};
use crossvm_sel4::libsel4::{BootInfo, Libsel4, UntypedMemory, slots};

use super::Failure;

/// The new CNode has 2^this slots.
const BITS: u8 = 16;
/// Bits of a capability's address.
const DEPTH: u8 = 64;

/// Gives the root task its new CSpace. The slots that are empty in it afterwards are given as well.
pub(super) fn enlarge(kernel: Libsel4, info: &BootInfo) -> Result<(Libsel4, Range<u64>), Failure> {
    let failed = Failure::kernel("a larger CSpace");
    let needed = kernel.object_bits(Object::CNode(BITS));
    let fitting = info.untyped().filter(|untyped| !untyped.device && untyped.bits >= needed);
    // What is left of it is not used.
    let memory = fitting.min_by_key(|untyped| untyped.bits).ok_or(Failure::NoUntyped(0))?;
    let cnode = CPtr::new(info.empty().start);
    kernel.retype(memory.slot, Object::CNode(BITS), cnode).map_err(&failed)?;

    let copy = |from: CPtr| kernel.mint_into(from, cnode, BITS, from.raw(), CapRights::ALL, Badge::NONE);
    for from in [slots::TCB, slots::VSPACE, slots::ASID_POOL, slots::IPC_BUFFER] {
        copy(from).map_err(&failed)?;
    }
    for untyped in info.untyped().filter(|untyped: &UntypedMemory| untyped.slot != memory.slot) {
        copy(untyped.slot).map_err(&failed)?;
    }
    kernel.guard_into(cnode, cnode, BITS, slots::CSPACE.raw(), DEPTH - BITS).map_err(&failed)?;

    let buffer = info.ipc_buffer();
    let spaces = ThreadSpaces {
        cspace: cnode,
        guard_bits: DEPTH - BITS,
        vspace: slots::VSPACE,
        fault_endpoint: CPtr::NULL,
        ipc_buffer: Some((buffer as u64, slots::IPC_BUFFER)),
    };
    kernel.configure(slots::TCB, spaces).map_err(&failed)?;
    // SAFETY: as for the first handle, which ends here: the same thread, the same buffer.
    let kernel = unsafe { Libsel4::new(buffer, slots::CSPACE) };
    // Behind everything that the kernel has given numbers to.
    Ok((kernel, info.empty().end.max(info.empty().start)..1 << BITS))
}

/// The untyped memory that [`enlarge`] has left, whose capabilities are in the new CSpace.
pub(super) fn untyped(kernel: Libsel4, info: &BootInfo) -> impl Iterator<Item = UntypedMemory> {
    let needed = kernel.object_bits(Object::CNode(BITS));
    let used = info.untyped().filter(|untyped| !untyped.device && untyped.bits >= needed).min_by_key(|untyped| untyped.bits);
    info.untyped().filter(move |untyped| Some(untyped.slot) != used.map(|used| used.slot))
}
