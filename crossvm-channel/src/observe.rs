//! Looking at a channel from outside, without taking part.

use crate::error::Protocol;
use crate::memory::Memory;
use crate::side::Side;
use crate::spec::{
    CLOSED, DOWN, FAILED, MAGIC, OF_ACCEPTED, OF_GENERATION, OF_HEAD, OF_MAGIC, OF_PROTOCOL, OF_SIZE, OF_STATE, OF_TAIL, OF_VERSION,
    OF_VIOLATION, OF_WAKE_READER, OF_WAKE_WRITER, OPEN,
};

/// What one side says of itself. Nothing of it is checked: it is for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct SideView {
    /// Whether it is there.
    pub state: SideState,
    /// Version of the layout.
    pub version: u32,
    /// How many bytes of memory it has.
    pub size: u32,
    /// What its messages mean.
    pub protocol: Protocol,
    /// How often it has opened the channel.
    pub generation: u32,
    /// The peer's generation that it talks to; 0 for none.
    pub accepted: u32,
    /// How many bytes it has written to its ring, records' headers included; wraps at 2^32.
    pub written: u32,
    /// How many bytes it has read from the other's; wraps at 2^32.
    pub read: u32,
    /// It sleeps until there is a message.
    pub sleeps_for_message: bool,
    /// It sleeps until there is room.
    pub sleeps_for_room: bool,
}

/// Whether a side is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum SideState {
    /// There is no channel's side in this memory.
    Absent,
    /// There is one, not open.
    Down,
    /// Open: it is there, or it has died without a word.
    Open,
    /// Closed on purpose.
    Closed,
    /// It has given up, for a mistake of its peer: the violation's code.
    Failed(u32),
    /// Its state is none.
    Odd(u32),
}

/// What both sides say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct View {
    /// The first.
    pub a: SideView,
    /// The second.
    pub b: SideView,
}

impl View {
    /// What stands in `memory` now. Only loads are made.
    #[must_use]
    pub fn of(memory: &impl Memory) -> Self {
        Self { a: SideView::of(memory, Side::A), b: SideView::of(memory, Side::B) }
    }

    /// What `side` says.
    #[must_use]
    pub const fn side(self, side: Side) -> SideView {
        match side {
            Side::A => self.a,
            Side::B => self.b,
        }
    }

    /// Whether both are open and talk to each other, as far as they say.
    #[must_use]
    pub fn connected(&self) -> bool {
        let open = |side: &SideView| side.state == SideState::Open;
        open(&self.a) && open(&self.b) && self.a.accepted == self.b.generation && self.b.accepted == self.a.generation
    }
}

impl SideView {
    fn of(memory: &impl Memory, side: Side) -> Self {
        let word = |offset| memory.load_acquire(side.word(offset));
        let state = match (word(OF_MAGIC), word(OF_STATE)) {
            (MAGIC, DOWN) => SideState::Down,
            (MAGIC, OPEN) => SideState::Open,
            (MAGIC, CLOSED) => SideState::Closed,
            (MAGIC, FAILED) => SideState::Failed(word(OF_VIOLATION)),
            (MAGIC, odd) => SideState::Odd(odd),
            _ => SideState::Absent,
        };
        Self {
            state,
            version: word(OF_VERSION),
            size: word(OF_SIZE),
            protocol: Protocol(word(OF_PROTOCOL)),
            generation: word(OF_GENERATION),
            accepted: word(OF_ACCEPTED),
            written: word(OF_TAIL),
            read: word(OF_HEAD),
            sleeps_for_message: word(OF_WAKE_READER) != 0,
            sleeps_for_room: word(OF_WAKE_WRITER) != 0,
        }
    }
}
