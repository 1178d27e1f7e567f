//! The limit: blocks of one length handed over by memcpy, one store and one load of an index for each, and nothing else. It has no header, checks
//! nothing, and wakes nobody.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Result;

use crate::end::{End, Sink, Source};
use crate::memory::{CAPACITY, MEMORY, Mapping};

/// An index, on a line of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Index(AtomicUsize);

/// How many blocks were written and read.
#[derive(Debug, Default)]
struct Progress {
    written: Index,
    read: Index,
}

/// Both directions.
#[derive(Debug)]
struct Common {
    memory: Arc<Mapping>,
    /// Of the ring in the first half of the memory, and of that in the second.
    progress: [Progress; 2],
}

/// Blocks between two threads.
#[derive(Debug)]
pub(crate) struct Blocks {
    common: Arc<Common>,
    /// Which ring it writes to: 0 or 1.
    to: usize,
    size: usize,
    /// A power of two, as the sizes are.
    slots: usize,
    written: usize,
    /// How many the other is known to have read.
    freed: usize,
    read: usize,
    /// How many the other is known to have written.
    filled: usize,
}

impl Blocks {
    pub(crate) fn pair(size: usize) -> Result<(Self, Self)> {
        let common = Arc::new(Common { memory: Mapping::new(MEMORY)?, progress: Default::default() });
        let slots = CAPACITY / size;
        let end = |to| Self { common: Arc::clone(&common), to, size, slots, written: 0, freed: 0, read: 0, filled: 0 };
        Ok((end(0), end(1)))
    }

    #[inline]
    fn slot(&self, ring: usize, number: usize) -> *mut u8 {
        let offset = (number & (self.slots - 1)) * self.size;
        // SAFETY: the slots of a ring take no more than half of the memory, and `ring` is 0 or 1.
        unsafe { self.common.memory.start().as_ptr().add(ring * CAPACITY + offset) }
    }
}

impl End for Blocks {
    #[inline]
    fn send(&mut self, source: &mut Source, _most: u64) -> u64 {
        let progress = &self.common.progress[self.to];
        if self.written - self.freed == self.slots {
            self.freed = progress.read.0.load(Ordering::Acquire);
            if self.written - self.freed == self.slots {
                return 0;
            }
        }
        let message = source.message();
        // SAFETY: the slot is as long as the message, and the other thread has read what was in it.
        unsafe { self.slot(self.to, self.written).copy_from_nonoverlapping(message.as_ptr(), message.len()) };
        self.written += 1;
        progress.written.0.store(self.written, Ordering::Release);
        source.sent();
        1
    }

    #[inline]
    fn receive(&mut self, sink: &mut Sink) -> u64 {
        let from = 1 - self.to;
        let progress = &self.common.progress[from];
        if self.filled == self.read {
            self.filled = progress.written.0.load(Ordering::Acquire);
            if self.filled == self.read {
                return 0;
            }
        }
        let buffer = sink.buffer();
        let length = buffer.len();
        // SAFETY: the slot is as long as the buffer, and the other thread has written it.
        unsafe { self.slot(from, self.read).copy_to_nonoverlapping(buffer.as_mut_ptr(), length) };
        self.read += 1;
        progress.read.0.store(self.read, Ordering::Release);
        sink.received(length);
        1
    }
}
