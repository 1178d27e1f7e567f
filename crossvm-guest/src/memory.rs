//! Dataports as the memory of a message channel.

use crossvm_channel::{Doorbell, Memory, RingFailed};

use crate::raw::{load_barrier, memory_barrier};
use crate::registers::EventRegisters;
use crate::words::Words;

/// Memory of any kind, cached or not, for a [`Channel`](crossvm_channel::Channel): it is accessed in aligned words, and ordered by instructions that
/// order all kinds.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Ordered<W>(pub W);

impl<W: Words> Memory for Ordered<W> {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn load(&self, offset: usize) -> u32 {
        self.0.load(offset).map_or(0, u32::from_le)
    }

    fn load_acquire(&self, offset: usize) -> u32 {
        let value = self.load(offset);
        load_barrier();
        value
    }

    fn store(&self, offset: usize, value: u32) {
        // Outside of the memory, nothing is stored: the trait's contract.
        let _ = self.0.store(offset, value.to_le());
    }

    fn store_release(&self, offset: usize, value: u32) {
        memory_barrier();
        self.store(offset, value);
    }

    fn fence(&self) {
        memory_barrier();
    }

    fn read(&self, offset: usize, buffer: &mut [u8]) {
        let _ = self.0.copy_out(offset, buffer);
    }

    fn write(&self, offset: usize, bytes: &[u8]) {
        let _ = self.0.copy_in(offset, bytes);
    }
}

/// EMIT is the doorbell of a channel.
impl<R: Words> Doorbell for EventRegisters<R> {
    fn ring(&self) -> Result<(), RingFailed> {
        self.emit();
        Ok(())
    }
}
