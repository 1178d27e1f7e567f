//! Memory in which somebody may write before each access of the honest end, and which looks at where that end goes.

use std::cell::{Cell, RefCell};

use crossvm_channel::{Memory, Side, spec};

/// As many accesses as one call that does not sleep may make.
const MOST: u32 = 100;

/// The memory of both ends. As it is, it is what the peer has; [`Watched`] is what the honest end has.
#[derive(Debug)]
pub(crate) struct Words(Vec<Cell<u32>>);

impl Words {
    pub(crate) fn new(bytes: usize) -> Self {
        Self(vec![Cell::new(0); bytes / 4])
    }

    fn byte(&self, offset: usize) -> u8 {
        self.0[offset / 4].get().to_le_bytes()[offset % 4]
    }

    fn set_byte(&self, offset: usize, byte: u8) {
        let mut bytes = self.0[offset / 4].get().to_le_bytes();
        bytes[offset % 4] = byte;
        self.0[offset / 4].set(u32::from_le_bytes(bytes));
    }
}

/// Every access outside of it panics.
impl Memory for Words {
    fn len(&self) -> usize {
        self.0.len() * 4
    }
    fn load(&self, offset: usize) -> u32 {
        assert!(offset.is_multiple_of(4));
        self.0[offset / 4].get()
    }
    fn load_acquire(&self, offset: usize) -> u32 {
        self.load(offset)
    }
    fn store(&self, offset: usize, value: u32) {
        assert!(offset.is_multiple_of(4));
        self.0[offset / 4].set(value);
    }
    fn store_release(&self, offset: usize, value: u32) {
        self.store(offset, value);
    }
    fn fence(&self) {}
    fn read(&self, offset: usize, buffer: &mut [u8]) {
        for (place, byte) in buffer.iter_mut().enumerate() {
            *byte = self.byte(offset + place);
        }
    }
    fn write(&self, offset: usize, bytes: &[u8]) {
        for (place, byte) in bytes.iter().enumerate() {
            self.set_byte(offset + place, *byte);
        }
    }
}

/// A word, and what is written to it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Garbage {
    pub(crate) offset: usize,
    pub(crate) value: u32,
}

/// What is written, and before which accesses.
#[derive(Debug, Clone)]
pub(crate) enum Script {
    Nothing,
    /// Once.
    Once(u32, Garbage),
    /// Before this access and all that follow.
    From(u32, Garbage),
    /// Each so many accesses after the one before.
    Many(Vec<(u32, Garbage)>),
}

/// The memory as the honest end has it.
#[derive(Debug)]
pub(crate) struct Watched<'a> {
    words: &'a Words,
    side: Side,
    script: RefCell<Script>,
    /// Accesses so far.
    pub(crate) time: Cell<u32>,
    /// When the present call must be over.
    deadline: Cell<u32>,
    /// Length of the rings, while there are any.
    capacity: Cell<usize>,
}

impl<'a> Watched<'a> {
    pub(crate) fn new(words: &'a Words, side: Side, script: Script) -> Self {
        let (time, deadline, capacity) = (Cell::new(0), Cell::new(MOST), Cell::new(0));
        Self { words, side, script: RefCell::new(script), time, deadline, capacity }
    }

    /// A call begins that may sleep `sleeps` times, on rings for messages of up to `max_message` bytes, if there are any.
    pub(crate) fn call(&self, max_message: usize, sleeps: u32) {
        self.deadline.set(self.time.get() + MOST * (2 * sleeps + 1));
        self.capacity.set(if max_message == 0 { 0 } else { 2 * (max_message + spec::UNIT as usize) });
    }

    fn access(&self) {
        let now = self.time.get();
        assert!(now < self.deadline.get(), "too many accesses in a call");
        self.time.set(now + 1);
        match &mut *self.script.borrow_mut() {
            Script::Once(when, garbage) if *when == now => self.words.store(garbage.offset, garbage.value),
            Script::From(when, garbage) if *when <= now => self.words.store(garbage.offset, garbage.value),
            Script::Many(script) => {
                while let Some((after, garbage)) = script.last_mut() {
                    if *after != 0 {
                        *after -= 1;
                        break;
                    }
                    self.words.store(garbage.offset, garbage.value);
                    script.pop();
                }
            }
            _ => (),
        }
    }

    /// The bytes are in the ring that `writer` writes to.
    fn check_ring(&self, writer: Side, offset: usize, length: usize) {
        let capacity = self.capacity.get();
        let start = spec::RINGS as usize + if writer == Side::A { 0 } else { capacity };
        let inside = start <= offset && offset + length <= start + capacity;
        assert!(inside && start + capacity <= self.len(), "{length} bytes at {offset:#x} are not in the ring of {writer:?}");
    }

    fn check_load(&self, offset: usize) {
        if offset >= spec::RINGS as usize {
            self.check_ring(self.side.peer(), offset, 4);
        }
    }

    fn check_store(&self, offset: usize) {
        if offset >= spec::RINGS as usize {
            self.check_ring(self.side, offset, 4);
        } else {
            let own = if self.side == Side::A { 0 } else { spec::SIDE as usize };
            assert!((own..own + spec::SIDE as usize).contains(&offset), "a word of the peer is written");
        }
    }
}

impl Memory for Watched<'_> {
    fn len(&self) -> usize {
        self.words.len()
    }
    fn load(&self, offset: usize) -> u32 {
        self.access();
        self.check_load(offset);
        self.words.load(offset)
    }
    fn load_acquire(&self, offset: usize) -> u32 {
        self.load(offset)
    }
    fn store(&self, offset: usize, value: u32) {
        self.access();
        self.check_store(offset);
        self.words.store(offset, value);
    }
    fn store_release(&self, offset: usize, value: u32) {
        self.store(offset, value);
    }
    fn fence(&self) {
        self.access();
    }
    fn read(&self, offset: usize, buffer: &mut [u8]) {
        self.access();
        self.check_ring(self.side.peer(), offset, buffer.len());
        self.words.read(offset, buffer);
    }
    fn write(&self, offset: usize, bytes: &[u8]) {
        self.access();
        self.check_ring(self.side, offset, bytes.len());
        self.words.write(offset, bytes);
    }
}
