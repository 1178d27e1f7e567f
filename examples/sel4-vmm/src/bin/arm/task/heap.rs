//! The heap: used while the system is composed and guests boot, and by nothing that serves a guest.

use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::ptr::{self, NonNull};

use linked_list_allocator::Heap;
use spin::Mutex;

/// Bytes of the heap: a VM with all its connections takes about an eighth of it.
const BYTES: usize = 2 << 20;

#[repr(C, align(4096))]
struct Memory(UnsafeCell<[u8; BYTES]>);

// SAFETY: reached through the allocator alone, which has a lock.
unsafe impl Sync for Memory {}

static MEMORY: Memory = Memory(UnsafeCell::new([0; BYTES]));

#[global_allocator]
static HEAP: LockedHeap = LockedHeap(Mutex::new(Heap::empty()));

struct LockedHeap(Mutex<Heap>);

/// Gives the heap its memory. To be called once.
pub(super) fn start() {
    // SAFETY: the memory is for the heap alone.
    unsafe { HEAP.0.lock().init(MEMORY.0.get().cast(), BYTES) };
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
