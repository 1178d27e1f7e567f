//! Memory that the processor caches as usual. All the `unsafe` of this crate.

#![allow(unsafe_code)]

use core::fmt;
use core::marker::PhantomData;
use core::ptr::NonNull;
#[cfg(target_has_atomic = "64")]
use core::sync::atomic::AtomicU64;
use core::sync::atomic::{AtomicU32, Ordering};

use crate::memory::Memory;

/// Memory that the processor caches as usual, shared with another process, another VM, or another thread: a memfd, a dataport that
/// is mapped cacheable, ordinary memory.
pub struct Shared<'memory> {
    start: NonNull<u8>,
    len: usize,
    owner: PhantomData<&'memory [AtomicU32]>,
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

#[cfg(feature = "defmt")]
impl defmt::Format for Shared<'_> {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "Shared({=usize} bytes)", self.len);
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

    /// Ordinary memory of this program, for two of its threads; where the processor has atomics of 64 bits, whose alignment this takes.
    #[cfg(target_has_atomic = "64")]
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
        const WORD: usize = size_of::<u32>();
        // An aligned word that begins before the last whole one's end lies in the memory.
        if !offset.is_multiple_of(WORD) || offset >= self.len & !(WORD - 1) {
            return None;
        }
        // SAFETY: in the memory and aligned, as `start` and `offset` are. That the other side writes to it in other ways than by
        // atomics can only be where it is another program, which the language knows nothing of.
        Some(unsafe { AtomicU32::from_ptr(self.start.add(offset).cast().as_ptr()) })
    }
}

/// The compiler takes nothing that it knows of memory across this: a copy that was made stays what it was, and is not made again.
#[inline]
fn keep_copy() {
    // SAFETY: nothing happens. But for the compiler it may have changed all memory that others can reach.
    unsafe { core::arch::asm!("", options(nostack, preserves_flags)) };
}

/// All accesses to memory before it come before all after it.
#[cfg(any(miri, not(target_arch = "x86_64")))]
#[inline]
fn full_fence() {
    core::sync::atomic::fence(Ordering::SeqCst);
}

/// All accesses to memory before it come before all after it. A locked instruction does that to memory that is cached, and in less time than
/// MFENCE, which is what the compiler would take.
#[cfg(all(not(miri), target_arch = "x86_64"))]
#[inline]
fn full_fence() {
    // SAFETY: nothing is added to what is on top of the stack.
    unsafe { core::arch::asm!("lock add dword ptr [rsp], 0") };
}

/// Copies bytes. Short messages are many, and a call for each would take as long as the copy: up to 64 bytes go through registers, in two halves
/// that may overlap.
///
/// # Safety
///
/// `length` bytes from `from` on can be read, and as many from `to` on written; they do not overlap.
#[inline]
unsafe fn copy(from: NonNull<u8>, to: NonNull<u8>, length: usize) {
    /// Copies `length` bytes, from one `T` to two.
    #[inline]
    unsafe fn halves<T>(from: NonNull<u8>, to: NonNull<u8>, length: usize) {
        let second = length.wrapping_sub(size_of::<T>());
        // SAFETY: both parts lie in the `length` bytes, as the caller promises.
        unsafe {
            let (head, tail) = (from.cast::<T>().read_unaligned(), from.add(second).cast::<T>().read_unaligned());
            to.cast::<T>().write_unaligned(head);
            to.add(second).cast::<T>().write_unaligned(tail);
        }
    }
    // SAFETY: each arm gives a length from one of its type to two, and the caller vouches for the bytes.
    unsafe {
        match length {
            8..=16 => halves::<u64>(from, to, length),
            17..=32 => halves::<[u64; 2]>(from, to, length),
            33..=64 => halves::<[u64; 4]>(from, to, length),
            _ => to.copy_from_nonoverlapping(from, length),
        }
    }
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
        full_fence();
    }

    #[inline]
    fn read(&self, offset: usize, buffer: &mut [u8]) {
        if let Some(at) = self.at(offset, buffer.len()) {
            // SAFETY: both are as long as the buffer; the buffer is this program's own, and so no part of the memory, to which nobody makes
            // references.
            unsafe { copy(at, NonNull::from_mut(buffer).cast(), buffer.len()) };
            keep_copy();
        }
    }

    #[inline]
    fn write(&self, offset: usize, bytes: &[u8]) {
        if let Some(at) = self.at(offset, bytes.len()) {
            // SAFETY: as for `read`.
            unsafe { copy(NonNull::from_ref(bytes).cast(), at, bytes.len()) };
            keep_copy();
        }
    }

    #[cfg(all(not(miri), target_arch = "x86_64"))]
    #[inline]
    fn prefetch(&self, offset: usize) {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: no access: what is outside of the memory is not fetched.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(self.start.as_ptr().wrapping_add(offset).cast()) };
    }

    #[cfg(all(not(miri), target_arch = "x86_64"))]
    #[inline]
    fn prefetch_to_write(&self, offset: usize) {
        let at = self.start.as_ptr().wrapping_add(offset);
        // SAFETY: no access: what is outside of the memory is not fetched.
        unsafe { core::arch::asm!("prefetchw [{at}]", at = in(reg) at, options(nostack, preserves_flags, readonly)) };
    }

    #[cfg(all(not(miri), target_arch = "aarch64"))]
    #[inline]
    fn prefetch(&self, offset: usize) {
        let at = self.start.as_ptr().wrapping_add(offset);
        // SAFETY: no access: what is outside of the memory is not fetched.
        unsafe { core::arch::asm!("prfm pldl1keep, [{at}]", at = in(reg) at, options(nostack, preserves_flags, readonly)) };
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
    fn copies_of_all_lengths_are_right_and_no_longer() {
        let words = words(40);
        let memory = Shared::of(&words);
        let bytes: Vec<u8> = (1..=200).collect();
        for length in 0..200 {
            memory.write(0, &[0; 320]);
            memory.write(5, bytes.get(..length).unwrap());
            let mut all = [7; 320];
            memory.read(0, &mut all);
            assert!(all.iter().enumerate().all(|(at, byte)| *byte == if (5..5 + length).contains(&at) { bytes[at - 5] } else { 0 }));
            let mut back = [9; 210];
            memory.read(5, back.get_mut(..length).unwrap());
            assert_eq!((&back[..length], &back[length..]), (&bytes[..length], &[9; 210][length..]));
        }
    }

    #[test]
    fn misaligned_words_are_none() {
        let words = words(2);
        let memory = Shared::of(&words);
        memory.store(2, u32::MAX);
        assert_eq!(memory.load(0), 0);
    }
}
