//! rtrb: a ring of elements for two threads of one program.

use rtrb::chunks::ChunkError;
use rtrb::{Consumer, Producer, RingBuffer};

use super::crossvm::BATCH;
use crate::end::{End, Sink, Source};
use crate::memory::CAPACITY;

/// What an end sends with and receives with.
type Halves<T> = (Producer<T>, Consumer<T>);

fn two<T>(capacity: usize) -> (Halves<T>, Halves<T>) {
    let ((there, from_a), (back, from_b)) = (RingBuffer::new(capacity), RingBuffer::new(capacity));
    ((there, from_b), (back, from_a))
}

/// A ring of arrays: `push` and `pop`. All messages have one length.
#[derive(Debug)]
pub(crate) struct Elements<const N: usize> {
    producer: Producer<[u8; N]>,
    consumer: Consumer<[u8; N]>,
}

impl<const N: usize> Elements<N> {
    pub(crate) fn pair() -> (Self, Self) {
        let (a, b) = two(CAPACITY / N);
        let end = |(producer, consumer)| Self { producer, consumer };
        (end(a), end(b))
    }
}

impl<const N: usize> End for Elements<N> {
    #[inline]
    fn send(&mut self, source: &mut Source, _most: u64) -> u64 {
        // First, as `push` takes the message for good.
        if self.producer.is_full() {
            return 0;
        }
        let Some(message) = source.message().first_chunk::<N>() else { return 0 };
        let sent = u64::from(self.producer.push(*message).is_ok());
        source.sent();
        sent
    }

    #[inline]
    fn receive(&mut self, sink: &mut Sink) -> u64 {
        let Ok(message) = self.consumer.pop() else { return 0 };
        if let Some(buffer) = sink.buffer().first_chunk_mut() {
            *buffer = message;
        }
        sink.received(N);
        1
    }
}

/// A ring of bytes: a whole message in, a whole message out. Both know how long it is.
#[derive(Debug)]
pub(crate) struct Bytes {
    producer: Producer<u8>,
    consumer: Consumer<u8>,
}

impl Bytes {
    pub(crate) fn pair() -> (Self, Self) {
        let (a, b) = two(CAPACITY);
        let end = |(producer, consumer)| Self { producer, consumer };
        (end(a), end(b))
    }
}

impl End for Bytes {
    #[inline]
    fn send(&mut self, source: &mut Source, _most: u64) -> u64 {
        match self.producer.push_entire_slice(source.message()) {
            Ok(()) => {
                source.sent();
                1
            }
            Err(ChunkError::TooFewSlots(_)) => 0,
        }
    }

    #[inline]
    fn receive(&mut self, sink: &mut Sink) -> u64 {
        let buffer = sink.buffer();
        let length = buffer.len();
        if self.consumer.pop_entire_slice(buffer).is_err() {
            return 0;
        }
        sink.received(length);
        1
    }
}

/// A ring of arrays, written in chunks of a batch and read in chunks of all that is there.
#[derive(Debug)]
pub(crate) struct Chunks<const N: usize> {
    producer: Producer<[u8; N]>,
    consumer: Consumer<[u8; N]>,
}

impl<const N: usize> Chunks<N> {
    pub(crate) fn pair() -> (Self, Self) {
        let (a, b) = two(CAPACITY / N);
        let end = |(producer, consumer)| Self { producer, consumer };
        (end(a), end(b))
    }
}

impl<const N: usize> End for Chunks<N> {
    #[inline]
    fn send(&mut self, source: &mut Source, most: u64) -> u64 {
        let room = self.producer.slots();
        let count = room.min(usize::try_from(most.min(BATCH)).unwrap_or(0));
        let Ok(chunk) = self.producer.write_chunk_uninit(count) else { return 0 };
        let messages = (0..count).map_while(|_| {
            let message = *source.message().first_chunk::<N>()?;
            source.sent();
            Some(message)
        });
        chunk.fill_from_iter(messages) as u64
    }

    #[inline]
    fn receive(&mut self, sink: &mut Sink) -> u64 {
        let Ok(chunk) = self.consumer.read_chunk(self.consumer.slots()) else { return 0 };
        let (first, second) = chunk.as_slices();
        let count = first.len() + second.len();
        for message in first.iter().chain(second) {
            sink.buffer().copy_from_slice(message);
            sink.received(N);
        }
        chunk.commit_all();
        count as u64
    }
}
