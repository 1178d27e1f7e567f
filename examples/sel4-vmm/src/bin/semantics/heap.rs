//! On Arm the library beside this program is linked against a heap. This program uses none, and has none.

use core::alloc::{GlobalAlloc, Layout};

struct NoHeap;

#[global_allocator]
static HEAP: NoHeap = NoHeap;

// SAFETY: null says that there is no memory, which is always true.
unsafe impl GlobalAlloc for NoHeap {
    unsafe fn alloc(&self, _: Layout) -> *mut u8 {
        core::ptr::null_mut()
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}
