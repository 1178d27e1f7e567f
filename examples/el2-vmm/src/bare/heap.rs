//! The VMM's heap: used while the system is composed, and by nothing that serves a guest.

use core::alloc::{GlobalAlloc, Layout};
use core::ptr::{self, NonNull};

use linked_list_allocator::Heap;
use spin::Mutex;

use super::image;

#[global_allocator]
static HEAP: LockedHeap = LockedHeap(Mutex::new(Heap::empty()));

struct LockedHeap(Mutex<Heap>);

/// Gives the heap its memory.
///
/// # Safety
///
/// Called once, when the VMM's final map is in force.
pub(super) unsafe fn start() {
    let (start, size) = image::heap();
    // SAFETY: the linker script keeps the range for the heap alone, and the map makes it memory.
    unsafe { HEAP.0.lock().init(start, size) };
}

// SAFETY: the allocator behind the lock gives out disjoint parts of its memory, as large and as aligned as asked for.
unsafe impl GlobalAlloc for LockedHeap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.0.lock().allocate_first_fit(layout).map_or(ptr::null_mut(), NonNull::as_ptr)
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        if let Some(pointer) = NonNull::new(pointer) {
            // SAFETY: the caller's promise: `pointer` came from `alloc` with this layout.
            unsafe { self.0.lock().deallocate(pointer, layout) };
        }
    }
}
