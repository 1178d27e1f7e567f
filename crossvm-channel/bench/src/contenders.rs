//! Who is measured, and how each carries messages.

mod bbqueue;
mod crossbeam;
pub(crate) mod crossvm;
mod memcpy;
mod rtrb;

use std::time::Duration;

use anyhow::{Result, bail};

use crate::measure::Measure;
use crossbeam::Values;
use rtrb::{Chunks, Elements};

/// The lengths of the messages in bytes.
pub(crate) const SIZES: [usize; 4] = [8, 64, 4096, 65536];

/// What a contender is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// What nothing can beat between two threads.
    Limit,
    /// The same work without anybody else: for comparison.
    Alone,
    /// This project's.
    Ours,
    /// Someone else's.
    Other,
}

/// Whether a message goes out at once, or with others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    /// Each message can be received as soon as the call that sends it returns.
    Single,
    /// Messages go out in batches.
    Batch,
}

/// Who is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Contender {
    /// As the report and the command line call it.
    pub(crate) name: &'static str,
    /// How it carries a message, in a line.
    pub(crate) way: &'static str,
    pub(crate) kind: Kind,
    pub(crate) pace: Pace,
    run: fn(Measure, usize, u64) -> Result<Duration>,
}

impl Contender {
    /// Whether it can answer each message at once.
    pub(crate) fn answers(&self) -> bool {
        self.pace == Pace::Single && self.kind != Kind::Alone
    }

    /// Carries `count` messages of `size` bytes; how long it took.
    pub(crate) fn run(&self, measure: Measure, size: usize, count: u64) -> Result<Duration> {
        (self.run)(measure, size, count)
    }
}

/// A function that makes a link for messages of the length that it is asked for, of a type that knows this length, and measures it.
macro_rules! for_each_size {
    ($link:ident) => {
        |measure, size, count| match size {
            8 => measure.of($link::<8>::pair(), size, count),
            64 => measure.of($link::<64>::pair(), size, count),
            4096 => measure.of($link::<4096>::pair(), size, count),
            65536 => measure.of($link::<65536>::pair(), size, count),
            _ => bail!("messages of {size} bytes are not prepared for"),
        }
    };
}

/// All of them, in the order in which they are shown. The first is the limit.
pub(crate) const CONTENDERS: [Contender; 11] = [
    Contender {
        name: "memcpy",
        way: "blocks of one length, one store and one load of an index for each, no header, no check, no wake-up",
        kind: Kind::Limit,
        pace: Pace::Single,
        run: |measure, size, count| measure.of(memcpy::Blocks::pair(size)?, size, count),
    },
    Contender {
        name: "memcpy alone",
        way: "the same blocks, written until there is no room and read until there is nothing, by one thread",
        kind: Kind::Alone,
        pace: Pace::Single,
        run: |_, size, count| Measure::OneThread.of(memcpy::Blocks::pair(size)?, size, count),
    },
    Contender {
        name: "crossvm",
        way: "`try_send` and `try_recv`: any length, checked, and a look whether the peer sleeps for each message",
        kind: Kind::Ours,
        pace: Pace::Single,
        run: |measure, size, count| measure.of(crossvm::Single::pair()?, size, count),
    },
    Contender {
        name: "crossvm polling",
        way: "`try_send` and `try_recv`: any length, checked; both ends have said that they never sleep, as the others cannot",
        kind: Kind::Ours,
        pace: Pace::Single,
        run: |measure, size, count| measure.of(crossvm::Polling::pair()?, size, count),
    },
    Contender {
        name: "crossvm batch",
        way: "`push`, a `flush` after 32 or when the ring is full, and `try_recv`: any length, checked",
        kind: Kind::Ours,
        pace: Pace::Batch,
        run: |measure, size, count| measure.of(crossvm::Batched::pair()?, size, count),
    },
    Contender {
        name: "rtrb",
        way: "`push` and `pop` of arrays: one length, known to the compiler",
        kind: Kind::Other,
        pace: Pace::Single,
        run: for_each_size!(Elements),
    },
    Contender {
        name: "rtrb bytes",
        way: "`push_entire_slice` and `pop_entire_slice` of bytes: no header, both know the length",
        kind: Kind::Other,
        pace: Pace::Single,
        run: |measure, size, count| measure.of(rtrb::Bytes::pair(), size, count),
    },
    Contender {
        name: "rtrb chunks",
        way: "arrays, `write_chunk_uninit` of up to 32 and `read_chunk` of all that are there: one length, known to the compiler",
        kind: Kind::Other,
        pace: Pace::Batch,
        run: for_each_size!(Chunks),
    },
    Contender {
        name: "bbqueue",
        way: "frames of any length, `grant` and `commit`, `read` and `release`",
        kind: Kind::Other,
        pace: Pace::Single,
        run: |measure, size, count| measure.of(bbqueue::Frames::pair(), size, count),
    },
    Contender {
        name: "crossbeam",
        way: "bounded, `try_send` and `try_recv` of arrays: one length, known to the compiler",
        kind: Kind::Other,
        pace: Pace::Single,
        run: for_each_size!(Values),
    },
    Contender {
        name: "crossbeam vec",
        way: "bounded, a `Vec` for each message: any length, allocated and freed",
        kind: Kind::Other,
        pace: Pace::Single,
        run: |measure, size, count| measure.of(crossbeam::Vectors::pair(size), size, count),
    },
];
