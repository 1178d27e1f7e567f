//! What every contender implements, and what all of them carry: numbered messages, checked alike.

/// One end of a link of a contender: it sends to the other end, and receives from it. It never blocks.
pub(crate) trait End: Send {
    /// Sends messages of `source`, at most `most`; how many it has sent: 0 where there is no room.
    fn send(&mut self, source: &mut Source, most: u64) -> u64;

    /// Receives messages into `sink`; how many: 0 where there is none.
    fn receive(&mut self, sink: &mut Sink) -> u64;

    /// Nothing more is sent for now: what may still be held back goes out.
    fn flush(&mut self) {}
}

/// The sender's buffer. Each message begins and ends with its number.
#[derive(Debug)]
pub(crate) struct Source {
    buffer: Vec<u8>,
    number: u64,
}

/// The receiver's buffer, and what it expects.
#[derive(Debug)]
pub(crate) struct Sink {
    buffer: Vec<u8>,
    expected: u64,
}

const MARK: usize = size_of::<u64>();

impl Source {
    /// Messages of `size` bytes, at least 8.
    pub(crate) fn new(size: usize) -> Self {
        let mut source = Self { buffer: vec![0x5a; size.max(MARK)], number: 0 };
        source.stamp();
        source
    }

    fn stamp(&mut self) {
        let mark = self.number.to_le_bytes();
        if let Some(first) = self.buffer.first_chunk_mut() {
            *first = mark;
        }
        if let Some(last) = self.buffer.last_chunk_mut() {
            *last = mark;
        }
    }

    /// The next message.
    #[inline]
    pub(crate) fn message(&self) -> &[u8] {
        &self.buffer
    }

    /// The next message is sent.
    #[inline]
    pub(crate) fn sent(&mut self) {
        self.number += 1;
        self.stamp();
    }
}

impl Sink {
    /// For messages of `size` bytes.
    pub(crate) fn new(size: usize) -> Self {
        Self { buffer: vec![0; size.max(MARK)], expected: 0 }
    }

    /// Where the next message goes.
    #[inline]
    pub(crate) fn buffer(&mut self) -> &mut [u8] {
        &mut self.buffer
    }

    /// A message of `length` bytes is in the buffer.
    ///
    /// # Panics
    ///
    /// Where it is not the one that must come: a contender that loses, repeats or tears messages is not worth a measurement.
    #[inline]
    pub(crate) fn received(&mut self, length: usize) {
        let mark = self.expected.to_le_bytes();
        let right = length == self.buffer.len() && self.buffer.first_chunk() == Some(&mark) && self.buffer.last_chunk() == Some(&mark);
        assert!(right, "message {} of {} bytes arrived wrong", self.expected, self.buffer.len());
        self.expected += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_is_lost_or_torn_is_noticed() {
        let mut source = Source::new(64);
        let deliver = |source: &Source, sink: &mut Sink| {
            sink.buffer().copy_from_slice(source.message());
            sink.received(64);
        };
        let mut sink = Sink::new(64);
        deliver(&source, &mut sink);
        source.sent();
        deliver(&source, &mut sink);
        source.sent();
        source.sent();
        let lost = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| deliver(&source, &mut sink)));
        assert!(lost.is_err());
        let mut sink = Sink::new(64);
        sink.buffer().copy_from_slice(Source::new(64).message());
        sink.buffer()[63] = 1;
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| sink.received(64))).is_err());
    }
}
