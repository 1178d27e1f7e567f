//! crossbeam-channel: bounded, with messages by value or in vectors of their own.

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::end::{End, Sink, Source};
use crate::memory::CAPACITY;

/// What an end sends with and receives with.
type Halves<T> = (Sender<T>, Receiver<T>);

fn two<T>(capacity: usize) -> (Halves<T>, Halves<T>) {
    let ((there, from_a), (back, from_b)) = (bounded(capacity), bounded(capacity));
    ((there, from_b), (back, from_a))
}

/// Arrays by value.
#[derive(Debug)]
pub(crate) struct Values<const N: usize> {
    sender: Sender<[u8; N]>,
    receiver: Receiver<[u8; N]>,
}

impl<const N: usize> Values<N> {
    pub(crate) fn pair() -> (Self, Self) {
        let (a, b) = two(CAPACITY / N);
        let end = |(sender, receiver)| Self { sender, receiver };
        (end(a), end(b))
    }
}

impl<const N: usize> End for Values<N> {
    #[inline]
    fn send(&mut self, source: &mut Source, _most: u64) -> u64 {
        let Some(message) = source.message().first_chunk::<N>() else { return 0 };
        if self.sender.try_send(*message).is_err() {
            return 0;
        }
        source.sent();
        1
    }

    #[inline]
    fn receive(&mut self, sink: &mut Sink) -> u64 {
        let Ok(message) = self.receiver.try_recv() else { return 0 };
        if let Some(buffer) = sink.buffer().first_chunk_mut() {
            *buffer = message;
        }
        sink.received(N);
        1
    }
}

/// A vector for each message: any length, allocated by one thread and freed by the other.
#[derive(Debug)]
pub(crate) struct Vectors {
    sender: Sender<Vec<u8>>,
    receiver: Receiver<Vec<u8>>,
    /// The message that found no room.
    left: Option<Vec<u8>>,
}

impl Vectors {
    pub(crate) fn pair(size: usize) -> (Self, Self) {
        let (a, b) = two(CAPACITY / size);
        let end = |(sender, receiver)| Self { sender, receiver, left: None };
        (end(a), end(b))
    }
}

impl End for Vectors {
    #[inline]
    fn send(&mut self, source: &mut Source, _most: u64) -> u64 {
        let message = self.left.take().unwrap_or_else(|| source.message().to_vec());
        if let Err(full) = self.sender.try_send(message) {
            self.left = Some(full.into_inner());
            return 0;
        }
        source.sent();
        1
    }

    #[inline]
    fn receive(&mut self, sink: &mut Sink) -> u64 {
        let Ok(message) = self.receiver.try_recv() else { return 0 };
        sink.buffer().copy_from_slice(&message);
        sink.received(message.len());
        1
    }
}
