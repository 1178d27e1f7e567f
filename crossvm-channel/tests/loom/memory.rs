//! Memory and doorbells of loom's: control words are atomics, the rings' words are cells in which loom notices a data race. Loom's threads are
//! one to the language, so `Rc` will do.

use std::convert::Infallible;
use std::rc::Rc;

use crossvm_channel::{Doorbell, Memory, RingFailed, Wait, Wake, spec};
use loom::cell::UnsafeCell;
use loom::sync::Notify;
use loom::sync::atomic::{AtomicU32, Ordering, fence};

/// Bytes of the memory: rings of one line.
const SIZE: usize = spec::MIN_SIZE as usize;
/// Words of a side that exist.
const WORDS: usize = 13;

/// What is left out, to see that a model notices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sabotage {
    Nothing,
    /// No full fence.
    NoFence,
    /// Stores to this word of either side order nothing.
    RelaxedStore(u32),
    /// Loads from this word of either side order nothing.
    RelaxedLoad(u32),
    /// Stores to the words with which two ends meet order nothing.
    RelaxedHandshakeStores,
    /// Loads from them order nothing.
    RelaxedHandshakeLoads,
}

fn word_of_side(offset: usize) -> u32 {
    u32::try_from(offset).unwrap() % spec::SIDE
}

#[derive(Debug)]
struct Words {
    control: Vec<AtomicU32>,
    rings: Vec<UnsafeCell<u32>>,
}

/// The memory as one end sees it.
#[derive(Debug, Clone)]
pub(crate) struct Loomed {
    words: Rc<Words>,
    sabotage: Sabotage,
}

impl Loomed {
    pub(crate) fn new(sabotage: Sabotage) -> Self {
        let control = (0..2 * WORDS).map(|_| AtomicU32::new(0)).collect();
        let rings = (spec::RINGS as usize..SIZE).step_by(4).map(|_| UnsafeCell::new(0)).collect();
        Self { words: Rc::new(Words { control, rings }), sabotage }
    }

    fn control(&self, offset: usize) -> &AtomicU32 {
        let index = match word_of_side(offset) {
            identity @ 0..=spec::OF_VIOLATION => identity as usize / 4,
            spec::OF_TAIL => 9,
            spec::OF_HEAD => 10,
            spec::OF_WAKE_READER => 11,
            spec::OF_WAKE_WRITER => 12,
            other => panic!("no word at {other:#x}"),
        };
        &self.words.control[offset / spec::SIDE as usize * WORDS + index]
    }

    /// The ring's word at `offset`; none for control words.
    fn cell(&self, offset: usize) -> Option<&UnsafeCell<u32>> {
        let offset = offset.checked_sub(spec::RINGS as usize)?;
        assert!(offset.is_multiple_of(4));
        Some(&self.words.rings[offset / 4])
    }
}

impl Memory for Loomed {
    fn len(&self) -> usize {
        SIZE
    }

    fn load(&self, offset: usize) -> u32 {
        match self.cell(offset) {
            // SAFETY: loom notices whoever writes at the same time.
            Some(cell) => cell.with(|word| unsafe { *word }),
            None => self.control(offset).load(Ordering::Relaxed),
        }
    }

    fn load_acquire(&self, offset: usize) -> u32 {
        let word = word_of_side(offset);
        let relaxed = match self.sabotage {
            Sabotage::RelaxedLoad(relaxed) => word == relaxed,
            Sabotage::RelaxedHandshakeLoads => word <= spec::OF_VIOLATION,
            _ => false,
        };
        self.control(offset).load(if relaxed { Ordering::Relaxed } else { Ordering::Acquire })
    }

    fn store(&self, offset: usize, value: u32) {
        match self.cell(offset) {
            // SAFETY: loom notices whoever reads or writes at the same time.
            Some(cell) => cell.with_mut(|word| unsafe { *word = value }),
            None => self.control(offset).store(value, Ordering::Relaxed),
        }
    }

    fn store_release(&self, offset: usize, value: u32) {
        let word = word_of_side(offset);
        let relaxed = match self.sabotage {
            Sabotage::RelaxedStore(relaxed) => word == relaxed,
            Sabotage::RelaxedHandshakeStores => word <= spec::OF_VIOLATION,
            _ => false,
        };
        self.control(offset).store(value, if relaxed { Ordering::Relaxed } else { Ordering::Release });
    }

    fn fence(&self) {
        if self.sabotage != Sabotage::NoFence {
            fence(Ordering::SeqCst);
        }
    }

    fn read(&self, offset: usize, buffer: &mut [u8]) {
        for (index, bytes) in buffer.chunks_exact_mut(4).enumerate() {
            bytes.copy_from_slice(&self.load(offset + 4 * index).to_le_bytes());
        }
    }

    fn write(&self, offset: usize, bytes: &[u8]) {
        for (index, bytes) in bytes.chunks_exact(4).enumerate() {
            self.store(offset + 4 * index, u32::from_le_bytes(bytes.try_into().unwrap()));
        }
    }
}

/// Rings one end, which sleeps on it.
#[derive(Debug, Clone)]
pub(crate) struct Bell(Rc<Notify>);

impl Bell {
    pub(crate) fn new() -> Self {
        Self(Rc::new(Notify::new()))
    }

    /// Forgets a ring; there must have been one.
    pub(crate) fn clear(&self) {
        self.0.wait();
    }
}

impl Doorbell for Bell {
    fn ring(&self) -> Result<(), RingFailed> {
        self.0.notify();
        Ok(())
    }
}

impl Wait for Bell {
    type Error = Infallible;

    fn wait(&mut self) -> Result<Wake, Infallible> {
        self.0.wait();
        Ok(Wake::Rung)
    }
}
