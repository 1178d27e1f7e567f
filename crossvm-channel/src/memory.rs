//! What a channel needs of memory.

use core::ptr::NonNull;

/// Memory that both ends can read and write, at any moment, for good or ill.
///
/// [`Shared`](crate::Shared) is this for memory that the processor caches as usual; a driver brings its own for memory that it maps otherwise.
///
/// # Contract
///
/// 1. `offset` is in bytes. The channel asks for words at multiples of 4 only, and for nothing outside of [`len`](Self::len). Where an
///    implementation is asked for more all the same, loads give 0 and stores do nothing: it never goes outside.
/// 2. Each word is loaded and stored in one access. Words in memory are little endian, arguments and results are numbers.
/// 3. What stands before a [`store_release`](Self::store_release) is visible to whoever sees its value by
///    [`load_acquire`](Self::load_acquire): words, bytes, and reads that are done.
/// 4. Between a store before a [`fence`](Self::fence) and a load after it there is no exchange: of two sides that each store a word, fence, and load the
///    other's, one at least sees what the other has stored.
/// 5. [`read`](Self::read) loads each byte once. What it has put into the buffer does not change any more, whatever the peer does.
pub trait Memory {
    /// Length in bytes.
    fn len(&self) -> usize;

    /// Whether there is none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Loads a word.
    fn load(&self, offset: usize) -> u32;

    /// Loads a word; what the other side had written before it stored this value is seen by what follows.
    fn load_acquire(&self, offset: usize) -> u32;

    /// Stores a word.
    fn store(&self, offset: usize, value: u32);

    /// Stores a word, after all that was written and read before.
    fn store_release(&self, offset: usize, value: u32);

    /// All before it comes before all after it.
    fn fence(&self);

    /// Copies bytes out.
    fn read(&self, offset: usize, buffer: &mut [u8]);

    /// Copies bytes in.
    fn write(&self, offset: usize, bytes: &[u8]);

    /// The line at `offset` will be read soon: it may be fetched already. Changes nothing, and need not do anything.
    #[inline]
    fn prefetch(&self, offset: usize) {
        let _ = offset;
    }

    /// The line at `offset` will be written soon: it may be fetched already. Changes nothing, and need not do anything.
    #[inline]
    fn prefetch_to_write(&self, offset: usize) {
        let _ = offset;
    }

    /// The address of a byte, for whoever can use memory that changes under its hands, as a system call or a device; `None` where ordinary
    /// accesses would not do.
    fn pointer(&self, offset: usize) -> Option<NonNull<u8>> {
        let _ = offset;
        None
    }
}

impl<M: Memory + ?Sized> Memory for &M {
    fn len(&self) -> usize {
        (**self).len()
    }
    fn load(&self, offset: usize) -> u32 {
        (**self).load(offset)
    }
    fn load_acquire(&self, offset: usize) -> u32 {
        (**self).load_acquire(offset)
    }
    fn store(&self, offset: usize, value: u32) {
        (**self).store(offset, value);
    }
    fn store_release(&self, offset: usize, value: u32) {
        (**self).store_release(offset, value);
    }
    fn fence(&self) {
        (**self).fence();
    }
    fn read(&self, offset: usize, buffer: &mut [u8]) {
        (**self).read(offset, buffer);
    }
    fn write(&self, offset: usize, bytes: &[u8]) {
        (**self).write(offset, bytes);
    }
    fn prefetch(&self, offset: usize) {
        (**self).prefetch(offset);
    }
    fn prefetch_to_write(&self, offset: usize) {
        (**self).prefetch_to_write(offset);
    }
    fn pointer(&self, offset: usize) -> Option<NonNull<u8>> {
        (**self).pointer(offset)
    }
}
