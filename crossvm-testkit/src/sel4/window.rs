//! The VMM's window on a simulated kernel: nothing runs there, so the words come from the simulation.

use std::sync::atomic::{AtomicU32, Ordering};

use crossvm_sel4::kernel::{CPtr, Space};
use crossvm_sel4::vspace::{Place, WindowSpace, WindowWords};

use super::{SimKernel, Words};

/// A window in the address space of a simulated kernel's VMM, on a machine without coherent caches: guests see a word as it was when it was last published.
#[derive(Debug)]
pub struct SimWindow {
    kernel: SimKernel,
    start: u64,
    bytes: u64,
}

impl SimWindow {
    /// The `bytes` bytes from `start` on.
    #[must_use]
    pub fn new(kernel: SimKernel, start: u64, bytes: u64) -> Self {
        Self { kernel, start, bytes }
    }
}

impl WindowSpace for SimWindow {
    type Words = SimWords;

    fn root(&self) -> CPtr {
        SimKernel::VSPACE
    }

    fn window(&self) -> (u64, u64) {
        (self.start, self.bytes)
    }

    fn words(&self, place: &Place) -> SimWords {
        let memory = self.kernel.words(Space::Virtual(SimKernel::VSPACE), place.address(), place.words());
        let memory = memory.unwrap_or_else(|fault| panic!("nothing is mapped for the VMM to write: {fault:?}"));
        let cached = memory.as_ref().iter().map(|word| AtomicU32::new(word.load(Ordering::Acquire))).collect();
        SimWords { cached, memory }
    }
}

/// Words in a [`SimWindow`].
#[derive(Debug)]
pub struct SimWords {
    /// What the VMM sees.
    cached: Box<[AtomicU32]>,
    /// What guests see.
    memory: Words,
}

impl WindowWords for SimWords {
    fn words(&self) -> &[AtomicU32] {
        &self.cached
    }

    fn published(&self, word: usize) {
        self.memory.as_ref()[word].store(self.cached[word].load(Ordering::Acquire), Ordering::Release);
    }
}
