//! bbqueue: a ring of bytes with frames of any length.

use std::sync::OnceLock;

use bbqueue::BBQueue;
use bbqueue::prod_cons::framed::{FramedConsumer, FramedProducer};
use bbqueue::traits::bbqhdl::BbqHandle as _;
use bbqueue::traits::coordination::cas::AtomicCoord;
use bbqueue::traits::notifier::polling::Polling;
use bbqueue::traits::storage::BoxedSlice;

use crate::end::{End, Sink, Source};
use crate::memory::CAPACITY;

type Queue = BBQueue<BoxedSlice, AtomicCoord, Polling>;

/// Both directions, borrowed: what counts references would count them for each message. They are empty after each use.
static QUEUES: OnceLock<[Queue; 2]> = OnceLock::new();

/// Frames with a length in front, written and read in place.
pub(crate) struct Frames {
    producer: FramedProducer<&'static Queue, usize>,
    consumer: FramedConsumer<&'static Queue, usize>,
}

impl Frames {
    pub(crate) fn pair() -> (Self, Self) {
        let [there, back] = QUEUES.get_or_init(|| [(); 2].map(|()| Queue::new_with_storage(BoxedSlice::new(CAPACITY))));
        let end = |to: &'static Queue, from: &'static Queue| Self {
            producer: (&to).framed_producer::<usize>(),
            consumer: (&from).framed_consumer::<usize>(),
        };
        (end(there, back), end(back, there))
    }
}

impl End for Frames {
    #[inline]
    fn send(&mut self, source: &mut Source, _most: u64) -> u64 {
        let message = source.message();
        let Ok(mut grant) = self.producer.grant(message.len()) else { return 0 };
        grant.copy_from_slice(message);
        grant.commit(message.len());
        source.sent();
        1
    }

    #[inline]
    fn receive(&mut self, sink: &mut Sink) -> u64 {
        let Ok(grant) = self.consumer.read() else { return 0 };
        let length = grant.len();
        sink.buffer().copy_from_slice(&grant);
        grant.release();
        sink.received(length);
        1
    }
}
