//! What is shown of the whole crate from inside, where a session can begin just before positions wrap.

mod queue;
mod random;
mod wrap;

use core::cell::Cell;
use std::sync::atomic::AtomicU64;
use std::vec::Vec;

use crate::spec::{OF_HEAD, OF_TAIL};
use crate::{Channel, Config, Doorbell, Memory, RingFailed, Shared, Side};

impl<M: Memory, D: Doorbell> Channel<M, D> {
    /// As if so many bytes had gone through both rings already; for both ends, right after they have met.
    fn begin_at(&mut self, position: u32) {
        self.producer.begin_at(position);
        self.consumer.begin_at(position);
        self.base.tell(OF_TAIL, position);
        self.base.tell(OF_HEAD, position);
    }
}

/// Counts the rings.
#[derive(Debug, Default)]
struct Bell(Cell<u32>);

impl Doorbell for &Bell {
    fn ring(&self) -> Result<(), RingFailed> {
        self.0.set(self.0.get() + 1);
        Ok(())
    }
}

type End<'a> = Channel<Shared<'a>, &'a Bell>;

fn words(bytes: usize) -> Vec<AtomicU64> {
    (0..bytes / 8).map(|_| AtomicU64::new(0)).collect()
}

fn open<'a>(words: &'a [AtomicU64], bell: &'a Bell, side: Side) -> End<'a> {
    Channel::open(Shared::of(words), bell, Config::new(side)).unwrap()
}

/// Both meet, whoever asks first, and begin at `position`.
fn meet(ends: &mut [End<'_>; 2], position: u32) {
    let [a, b] = ends;
    let met = (0..3).any(|_| a.poll_connect().unwrap() & b.poll_connect().unwrap());
    assert!(met, "they do not meet");
    ends.iter_mut().for_each(|end| end.begin_at(position));
}
