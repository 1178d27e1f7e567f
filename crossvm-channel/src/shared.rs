//! Memory that the processor caches as usual. All the `unsafe` of this crate.

#![allow(unsafe_code)]

use core::fmt;
use core::marker::PhantomData;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

use crate::memory::Memory;

/// Memory that the processor caches as usual, shared with another process, another VM, or another thread: a memfd, a dataport that
/// is mapped cacheable, ordinary memory.
pub struct Shared<'memory> {
    start: NonNull<u8>,
    len: usize,
    owner: PhantomData<&'memory [AtomicU64]>,
}

// SAFETY: all accesses are atomic words, or copies between memory that others may change by nature and buffers of the caller; no reference
// into it is ever made, so it makes no difference which thread makes them.
unsafe impl Send for Shared<'_> {}
// SAFETY: as above.
unsafe impl Sync for Shared<'_> {}

impl fmt::Debug for Shared<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Shared({:p}, {:#x} bytes)", self.start, self.len)
    }
}

impl<'memory> Shared<'memory> {
    /// The `len` bytes from `start` on.
    ///
    /// # Safety
    ///
    /// They can be read and written as long as this value or a copy of its pointers lives; `start` is aligned to 8 bytes; nobody makes a
    /// reference to them. That another process or VM writes to them at any moment is what this is for.
    #[must_use]
    pub const unsafe fn new(start: NonNull<u8>, len: usize) -> Self {
        Self { start, len, owner: PhantomData }
    }

    /// Ordinary memory of this program, for two of its threads.
    #[must_use]
    pub const fn of(words: &'memory [AtomicU64]) -> Self {
        let start = NonNull::from_ref(words).cast();
        // SAFETY: the words live as long as this value; atomics may be written through a shared reference.
        unsafe { Self::new(start, size_of_val(words)) }
    }

    /// The `length` bytes at `offset`, or `None` where they do not all lie in the memory.
    #[inline]
    fn at(&self, offset: usize, length: usize) -> Option<NonNull<u8>> {
        let room = self.len.checked_sub(offset)?;
        if length > room {
            return None;
        }
        // SAFETY: `offset` is at most `len`, so the result points into the memory or to its end.
        Some(unsafe { self.start.add(offset) })
    }

    /// The word at `offset`, or `None` where it is not all in the memory or not aligned.
    #[inline]
    fn word(&self, offset: usize) -> Option<&AtomicU32> {
        let at = self.at(offset, size_of::<u32>())?;
        if !offset.is_multiple_of(size_of::<u32>()) {
            return None;
        }
        // SAFETY: in the memory (checked) and aligned, as `start` and `offset` are. That the other side writes to it in other ways than by
        // atomics can only be where it is another program, which the language knows nothing of.
        Some(unsafe { AtomicU32::from_ptr(at.cast().as_ptr()) })
    }
}

/// The compiler takes nothing that it knows of memory across this: a copy that was made stays what it was, and is not made again.
#[inline]
fn keep_copy() {
    // SAFETY: nothing happens. But for the compiler it may have changed all memory that others can reach.
    unsafe { core::arch::asm!("", options(nostack, preserves_flags)) };
}

impl Memory for Shared<'_> {
    #[inline]
    fn len(&self) -> usize {
        self.len
    }

    #[inline]
    fn load(&self, offset: usize) -> u32 {
        self.word(offset).map_or(0, |word| u32::from_le(word.load(Ordering::Relaxed)))
    }

    #[inline]
    fn load_acquire(&self, offset: usize) -> u32 {
        self.word(offset).map_or(0, |word| u32::from_le(word.load(Ordering::Acquire)))
    }

    #[inline]
    fn store(&self, offset: usize, value: u32) {
        if let Some(word) = self.word(offset) {
            word.store(value.to_le(), Ordering::Relaxed);
        }
    }

    #[inline]
    fn store_release(&self, offset: usize, value: u32) {
        if let Some(word) = self.word(offset) {
            word.store(value.to_le(), Ordering::Release);
        }
    }

    #[inline]
    fn fence(&self) {
        fence(Ordering::SeqCst);
    }

    #[inline]
    fn read(&self, offset: usize, buffer: &mut [u8]) {
        if let Some(at) = self.at(offset, buffer.len()) {
            // SAFETY: both are as long as the buffer; the buffer is this program's own, and so no part of the memory, to which nobody makes
            // references.
            unsafe { at.copy_to_nonoverlapping(NonNull::from_mut(buffer).cast(), buffer.len()) };
            keep_copy();
        }
    }

    #[inline]
    fn write(&self, offset: usize, bytes: &[u8]) {
        if let Some(at) = self.at(offset, bytes.len()) {
            // SAFETY: as for `read`.
            unsafe { at.copy_from_nonoverlapping(NonNull::from_ref(bytes).cast(), bytes.len()) };
            keep_copy();
        }
    }

    #[inline]
    fn pointer(&self, offset: usize) -> Option<NonNull<u8>> {
        self.at(offset, 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn words(count: usize) -> Vec<AtomicU64> {
        (0..count).map(|_| AtomicU64::new(0)).collect()
    }

    #[test]
    fn words_and_bytes_are_the_same_memory_little_endian() {
        let words = words(4);
        let memory = Shared::of(&words);
        assert_eq!(memory.len(), 32);
        memory.store(8, 0x0403_0201);
        let mut bytes = [0; 6];
        memory.read(7, &mut bytes);
        assert_eq!(bytes, [0, 1, 2, 3, 4, 0]);
        memory.write(28, &[0xff; 4]);
        assert_eq!(memory.load_acquire(28), u32::MAX);
    }

    #[test]
    fn nothing_outside_is_touched() {
        let words = words(4);
        let memory = Shared::of(words.get(1..3).unwrap());
        for offset in [13, 16, 17, usize::MAX - 2, usize::MAX] {
            memory.store(offset, u32::MAX);
            memory.store_release(offset, u32::MAX);
            memory.write(offset, &[0xff; 4]);
            assert_eq!((memory.load(offset), memory.load_acquire(offset)), (0, 0));
            let mut bytes = [7; 4];
            memory.read(offset, &mut bytes);
            assert_eq!(bytes, [7; 4]);
        }
        assert!(words.iter().all(|word| word.load(Ordering::Relaxed) == 0));
        assert!(memory.pointer(15).is_some() && memory.pointer(16).is_none());
    }

    #[test]
    fn misaligned_words_are_none() {
        let words = words(2);
        let memory = Shared::of(&words);
        memory.store(2, u32::MAX);
        assert_eq!(memory.load(0), 0);
    }
}
