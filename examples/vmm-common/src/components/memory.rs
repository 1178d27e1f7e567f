//! Shared memory, as components use it: guests may have it mapped past the caches.

use core::sync::atomic::{AtomicU32, Ordering};

use crate::host::{HostRange, PhysicalMemory};
use crate::platform::Caches;

/// `length` bytes of `range` from `start` on; `None` where it has none there.
pub(super) fn part(range: HostRange, start: usize, length: usize) -> Option<HostRange> {
    let start = range.start().checked_add(u64::try_from(start).ok()?)?;
    let part = HostRange::new(start, u64::try_from(length).ok()?)?;
    range.covers(part).then_some(part)
}

/// Writes `value`, little endian, to the start of `memory`.
pub(super) fn write_first<C: Caches>(memory: &PhysicalMemory, value: u32, caches: C) {
    let (Some(word), Some(range)) = (memory.words().first(), part(memory.range(), 0, size_of::<AtomicU32>())) else { return };
    // What lies behind it in the same cache line must be the guest's latest before it is written back.
    caches.clean_and_invalidate(range);
    word.store(value.to_le(), Ordering::Relaxed);
    caches.clean(range);
}
