//! A ring in one direction, as a plain queue with the documented rules of room and of doorbells. Positions do not wrap here.

use std::collections::VecDeque;
use std::vec::Vec;

/// A message, and what it takes of the ring.
#[derive(Debug)]
struct Entry {
    bytes: Vec<u8>,
    skip: u64,
    record: u64,
}

/// One direction.
#[derive(Debug)]
pub(super) struct Queue {
    capacity: u64,
    entries: VecDeque<Entry>,
    /// Bytes written and read, gaps included; and how far the reader looked after a writer that sleeps.
    written: u64,
    offset: u64,
    read: u64,
    checked: u64,
    /// The gap in front of the first message counts as read.
    gap_read: bool,
    /// Messages pushed, flushed and received.
    pushed: u64,
    flushed: u64,
    received: u64,
    /// The reader sleeps, and had received so many.
    reader_sleeps: Option<u64>,
    /// The writer sleeps until so many bytes are read.
    writer_sleeps: Option<u64>,
    /// What the last message without room takes.
    wanted: u64,
}

/// Whether a doorbell must ring.
pub(super) type Rings = bool;

impl Queue {
    pub(super) fn new(capacity: u64) -> Self {
        Self {
            capacity,
            entries: VecDeque::new(),
            written: 0,
            offset: 0,
            read: 0,
            checked: 0,
            gap_read: false,
            pushed: 0,
            flushed: 0,
            received: 0,
            reader_sleeps: None,
            writer_sleeps: None,
            wanted: 0,
        }
    }

    fn takes(&self, length: usize) -> (u64, u64) {
        let record = 8 + (length as u64).next_multiple_of(8);
        let to_end = self.capacity - self.offset;
        (if record <= to_end { 0 } else { to_end }, record)
    }

    fn free_if_read(&self, read: u64) -> u64 {
        self.capacity.saturating_sub(self.written - read)
    }

    /// The writer found room: there must be some, and nothing unread may be overwritten.
    pub(super) fn found_room(&self, length: usize) {
        let (skip, record) = self.takes(length);
        assert!(skip + record <= self.free_if_read(self.read), "a message was overwritten: {self:?}");
    }

    /// The writer found none: there must be none but what the reader may keep for a while.
    pub(super) fn found_no_room(&mut self, length: usize) -> Rings {
        let (skip, record) = self.takes(length);
        assert!(skip + record > self.free_if_read(self.returned()), "there is room: {self:?}");
        self.wanted = skip + record;
        self.flush()
    }

    /// As much room as the reader must have returned: it may keep some until it has read a quarter, or all, or looks for more in vain.
    fn returned(&self) -> u64 {
        assert!(self.read - self.checked < self.capacity / 4 + self.capacity / 2, "more than it may keep, and a gap");
        if self.entries.is_empty() { self.read } else { self.checked }
    }

    /// `room` was found for `granted` bytes, and `bytes` of them are a message.
    pub(super) fn push(&mut self, granted: usize, bytes: Vec<u8>) {
        let (skip, _) = self.takes(granted);
        let record = 8 + (bytes.len() as u64).next_multiple_of(8);
        self.written += skip + record;
        self.offset = (if skip == 0 { self.offset } else { 0 } + record) % self.capacity;
        self.pushed += 1;
        self.wanted = 0;
        self.entries.push_back(Entry { bytes, skip, record });
    }

    /// The writer flushes: who sleeps, and has got something, is rung; nobody else.
    pub(super) fn flush(&mut self) -> Rings {
        let new = self.flushed..self.pushed;
        self.flushed = self.pushed;
        self.reader_sleeps.is_some_and(|received| new.contains(&received))
    }

    /// The first message is looked at.
    pub(super) fn front(&mut self) -> &[u8] {
        let first = self.entries.front().expect("a message that nobody has sent");
        if !self.gap_read {
            self.gap_read = true;
            self.read += first.skip;
        }
        &first.bytes
    }

    /// It is received.
    pub(super) fn pop(&mut self) -> Rings {
        let first = self.entries.pop_front().unwrap();
        self.gap_read = false;
        self.read += first.record;
        self.received += 1;
        self.read - self.checked >= self.capacity / 4 && self.reader_tells()
    }

    /// The reader tells how far it is: a writer that sleeps, and has room now, is rung.
    pub(super) fn reader_tells(&mut self) -> Rings {
        let new = self.checked + 1..=self.read;
        self.checked = self.read;
        self.writer_sleeps.is_some_and(|until| new.contains(&until))
    }

    /// The reader found nothing.
    pub(super) fn found_empty(&mut self) -> Rings {
        assert!(self.flushed <= self.received, "a message was not seen: {self:?}");
        self.reader_tells()
    }

    /// Whether the reader may find something; whether it must.
    pub(super) fn may_and_must_have(&self) -> (bool, bool) {
        (!self.entries.is_empty(), self.flushed > self.received)
    }

    /// Whether the writer may find room for what found none before; whether it must.
    pub(super) fn may_and_must_have_room(&self) -> (bool, bool) {
        (self.wanted <= self.free_if_read(self.read), self.wanted <= self.free_if_read(self.returned()))
    }

    /// Whether a message found no room, and none was sent since.
    pub(super) fn wants_room(&self) -> bool {
        self.wanted != 0
    }

    pub(super) fn reader_sleeps(&mut self) {
        self.reader_sleeps = Some(self.received);
    }

    pub(super) fn writer_sleeps(&mut self) {
        self.writer_sleeps = Some(self.written + self.wanted - self.capacity);
    }

    pub(super) fn reader_wakes(&mut self) {
        self.reader_sleeps = None;
    }

    pub(super) fn writer_wakes(&mut self) {
        self.writer_sleeps = None;
    }
}
