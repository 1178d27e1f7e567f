//! The writing end of a ring.

use core::ptr::NonNull;

use crate::base::{Base, Session};
use crate::channel::Armed;
use crate::doorbell::Doorbell;
use crate::error::{Broken, SendError, Violation};
use crate::layout::{Ring, header, record};
use crate::memory::Memory;
use crate::spec::{ARMED, DATA, OF_HEAD, OF_TAIL, OF_WAKE_READER, OF_WAKE_WRITER, SKIP, UNIT};
use crate::statistics::Traffic;

/// A writer tells how far it is at the latest after so many bytes: the peer can begin to read while this side still writes.
const TELL_AFTER: u32 = 4096;

/// How many bytes ahead of a message the writer fetches, to own the lines by the time it writes to them: the peer has read them last.
const AHEAD: u32 = 512;

/// Where the writing end stands. Nothing in it comes from the peer unchecked.
#[derive(Debug)]
pub(crate) struct Producer {
    session: Result<Session, Broken>,
    ring: Ring,
    /// How far records are written.
    position: u32,
    /// The same as an offset in the ring: less than its capacity, a multiple of [`UNIT`].
    offset: u32,
    /// How far the peer knows.
    told: u32,
    /// For how much it was looked after whether the peer sleeps.
    checked: u32,
    /// How far the peer has read, as last seen: at most the capacity behind `position`.
    head: u32,
    /// How much room the last message without any would have taken.
    wanted: u32,
    pub(crate) sent: Traffic,
}

/// Room for a record.
#[derive(Debug, Clone, Copy)]
struct Place {
    /// Bytes up to the ring's end that stay unused.
    skip: u32,
    /// Offset in the ring of the record.
    start: u32,
}

impl Producer {
    /// For `ring`, at its beginning.
    pub(crate) const fn new(session: Result<Session, Broken>, ring: Ring) -> Self {
        let sent = Traffic::NONE;
        Self { session, ring, position: 0, offset: 0, told: 0, checked: 0, head: 0, wanted: 0, sent }
    }

    #[cfg(test)]
    pub(crate) const fn begin_at(&mut self, position: u32) {
        (self.position, self.told, self.checked, self.head) = (position, position, position, position);
    }

    /// What was agreed, or why nothing is.
    pub(crate) const fn session(&self) -> Result<Session, Broken> {
        self.session
    }

    /// Length of the longest message in bytes; 0 without a ring.
    pub(crate) const fn max_message(&self) -> usize {
        self.ring.max_message() as usize
    }

    const fn has_room(&self, total: u32) -> bool {
        total <= self.ring.capacity.wrapping_sub(self.position.wrapping_sub(self.head))
    }

    #[inline]
    fn checked_length(&self, length: usize) -> Result<u32, SendError> {
        let most = self.ring.max_message();
        match u32::try_from(length) {
            Ok(length) if length <= most => Ok(length),
            // Without a peer there is no ring yet, and so no longest message.
            _ => Err(self.session.err().map_or(SendError::TooLong { most: most as usize }, SendError::Broken)),
        }
    }

    fn broken(&mut self, broken: Broken) -> Broken {
        self.session = Err(broken);
        broken
    }

    /// Finds room for a message of `length` bytes, at most the longest message's.
    #[inline]
    fn place<M: Memory, D: Doorbell>(&mut self, base: &Base<M, D>, length: u32) -> Result<Place, SendError> {
        let session = self.session?;
        let record = record(length);
        let to_end = self.ring.capacity.wrapping_sub(self.offset);
        let (skip, start) = if record <= to_end { (0, self.offset) } else { (to_end, 0) };
        let total = skip.wrapping_add(record);
        if !self.has_room(total) {
            self.ask_head(base, session)?;
            if !self.has_room(total) {
                self.wanted = total;
                // What fills the ring must be known to the peer, or nobody will ever read it.
                self.flush(base)?;
                // Nobody else would tell a sender that only tries again.
                base.check_peer(session).map_err(|broken| self.broken(broken))?;
                return Err(SendError::Full);
            }
        }
        if start.wrapping_add(AHEAD) < self.ring.capacity {
            base.memory.prefetch_to_write(self.ring.at(start.wrapping_add(AHEAD)));
        }
        Ok(Place { skip, start })
    }

    /// Learns how far the peer has read.
    fn ask_head<M: Memory, D: Doorbell>(&mut self, base: &Base<M, D>, session: Session) -> Result<(), Broken> {
        let head = base.ask(OF_HEAD);
        // It can only have read what was told, and not less than before.
        let read = head.wrapping_sub(self.head);
        if read > self.told.wrapping_sub(self.head) || !head.is_multiple_of(UNIT) {
            return Err(self.broken(base.violated(session, Violation::Head)));
        }
        self.head = head;
        Ok(())
    }

    /// The record at `place` is a message of `length` bytes.
    #[inline]
    fn commit<M: Memory, D: Doorbell>(&mut self, base: &Base<M, D>, place: Place, length: u32) {
        if place.skip != 0 {
            self.write_header(base, self.offset, 0, SKIP);
        }
        self.write_header(base, place.start, length, DATA);
        let record = record(length);
        self.position = self.position.wrapping_add(place.skip).wrapping_add(record);
        let end = place.start.wrapping_add(record);
        self.offset = if end == self.ring.capacity { 0 } else { end };
        self.wanted = 0;
        self.sent.add(length);
        if self.position.wrapping_sub(self.told) >= TELL_AFTER {
            self.tell(base);
        }
    }

    /// TAIL is told after it, so it need not be there at once.
    #[inline]
    fn write_header<M: Memory, D>(&self, base: &Base<M, D>, offset: u32, length: u32, kind: u32) {
        base.memory.write(self.ring.at(offset), &header(length, kind));
    }

    #[inline]
    fn tell<M: Memory, D: Doorbell>(&mut self, base: &Base<M, D>) {
        base.tell(OF_TAIL, self.position);
        self.told = self.position;
    }

    /// The peer learns of all that was written, and is woken where it sleeps for it.
    #[inline]
    pub(crate) fn flush<M: Memory, D: Doorbell>(&mut self, base: &Base<M, D>) -> Result<(), Broken> {
        let session = self.session?;
        if self.position == self.checked {
            return Ok(());
        }
        if self.position != self.told {
            self.tell(base);
        }
        match base.ring_if_asleep(session, OF_WAKE_READER, self.checked, self.position) {
            Ok(rung) => self.sent.doorbells(rung),
            Err(failed) => return Err(self.broken(failed.into())),
        }
        self.checked = self.position;
        match base.check_peer(session).map_err(|broken| self.broken(broken)) {
            // A peer that closes may have read all of it before: that is told by the next call.
            Ok(()) | Err(Broken::Closed) => Ok(()),
            Err(broken) => Err(broken),
        }
    }

    /// Announces that this side sleeps until there is room for the message that found none; `true` where there is room already.
    pub(crate) fn arm<M: Memory, D: Doorbell>(&mut self, base: &Base<M, D>) -> Result<bool, Broken> {
        self.flush(base)?;
        let session = self.session?;
        if self.has_room(self.wanted) {
            return Ok(true);
        }
        // The peer rings when its HEAD is beyond this: then there is just enough room. More would be better, but who reads may wait for
        // this message before it reads on.
        let missing = self.wanted.wrapping_sub(self.ring.capacity.wrapping_sub(self.position.wrapping_sub(self.head)));
        let wake = self.head.wrapping_add(missing).wrapping_sub(UNIT);
        base.set(OF_WAKE_WRITER, wake | ARMED);
        base.memory.fence();
        self.ask_head(base, session)?;
        let ready = self.has_room(self.wanted);
        if ready {
            self.disarm(base);
        }
        base.check_peer(session).map_err(|broken| self.broken(broken))?;
        Ok(ready)
    }

    /// Whether a message has found no room, and none was sent since.
    pub(crate) const fn wants_room(&self) -> bool {
        self.wanted != 0
    }

    /// This side does not sleep any more.
    pub(crate) fn disarm<M: Memory, D: Doorbell>(&self, base: &Base<M, D>) {
        base.set(OF_WAKE_WRITER, 0);
    }
}

/// The sending half of a channel.
///
/// [`push`](Self::push) writes a message, [`flush`](Self::flush) tells the peer of all that were pushed, and wakes it where it sleeps.
/// To look whether it does costs more than a short message: who has many pushes them all first. [`try_send`](Self::try_send) does both.
#[derive(Debug)]
pub struct Sender<'channel, M, D> {
    pub(crate) base: &'channel Base<M, D>,
    pub(crate) producer: &'channel mut Producer,
}

#[cfg(feature = "defmt")]
impl<M, D> defmt::Format for Sender<'_, M, D> {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "Sender({}, {})", self.base.side, self.producer.session());
    }
}

impl<M: Memory, D: Doorbell> Sender<'_, M, D> {
    /// Length of the longest message in bytes.
    #[must_use]
    pub const fn max_message(&self) -> usize {
        self.producer.max_message()
    }

    /// Writes a message. The peer may see it from now on, and does after [`flush`](Self::flush).
    ///
    /// # Errors
    ///
    /// [`SendError`]; then nothing was written.
    #[inline]
    pub fn push(&mut self, message: &[u8]) -> Result<(), SendError> {
        let length = self.producer.checked_length(message.len())?;
        let place = self.producer.place(self.base, length)?;
        self.base.memory.write(self.producer.ring.at(place.start.wrapping_add(UNIT)), message);
        self.producer.commit(self.base, place, length);
        Ok(())
    }

    /// Writes a message and flushes.
    ///
    /// # Errors
    ///
    /// [`SendError`]. Where it is `Full` or `TooLong`, nothing was written.
    #[inline]
    pub fn try_send(&mut self, message: &[u8]) -> Result<(), SendError> {
        self.push(message)?;
        Ok(self.flush()?)
    }

    /// Room for a message of up to `length` bytes, to be written in place.
    ///
    /// # Errors
    ///
    /// [`SendError`].
    pub fn reserve(&mut self, length: usize) -> Result<WriteGrant<'_, M, D>, SendError> {
        WriteGrant::new(self.base, self.producer, length)
    }

    /// The peer learns of all that was pushed, and is woken where it sleeps for it.
    ///
    /// # Errors
    ///
    /// [`Broken`]: what was pushed may never be read. That the peer has [closed](Broken::Closed) is an error of the next call: it may have read
    /// this first.
    #[inline]
    pub fn flush(&mut self) -> Result<(), Broken> {
        self.producer.flush(self.base)
    }

    /// Announces that this half sleeps next, until there is room for the message that found none: [`Channel::arm`](crate::Channel::arm) for one half. A ring must
    /// wake whoever sleeps in either.
    ///
    /// # Errors
    ///
    /// [`Broken`].
    pub fn arm(&mut self) -> Result<Armed, Broken> {
        self.producer.arm(self.base).map(Armed::or_sleep)
    }

    /// This half is awake again.
    pub fn disarm(&mut self) {
        self.producer.disarm(self.base);
    }
}

/// Room for a message in shared memory, to be written in place. The peer sees the memory all the time, and may write to it. Dropped without
/// [`commit`](Self::commit), nothing is sent.
#[derive(Debug)]
#[must_use = "nothing is sent without a commit"]
pub struct WriteGrant<'sender, M, D> {
    base: &'sender Base<M, D>,
    producer: &'sender mut Producer,
    place: Place,
    length: u32,
}

#[cfg(feature = "defmt")]
impl<M, D> defmt::Format for WriteGrant<'_, M, D> {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "WriteGrant({=u32} bytes)", self.length);
    }
}

/// A range does not lie in a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct OutOfMessage;

impl core::fmt::Display for OutOfMessage {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("the range does not lie in the message")
    }
}

impl core::error::Error for OutOfMessage {}

/// Where in memory `length` bytes at `offset` of a message are that has `whole` bytes from `start` on.
pub(crate) fn within(start: usize, whole: u32, offset: usize, length: usize) -> Result<usize, OutOfMessage> {
    match offset.checked_add(length) {
        Some(end) if end <= whole as usize => Ok(start.wrapping_add(offset)),
        _ => Err(OutOfMessage),
    }
}

impl<'sender, M: Memory, D: Doorbell> WriteGrant<'sender, M, D> {
    pub(crate) fn new(base: &'sender Base<M, D>, producer: &'sender mut Producer, length: usize) -> Result<Self, SendError> {
        let length = producer.checked_length(length)?;
        let place = producer.place(base, length)?;
        Ok(Self { base, producer, place, length })
    }

    /// Its length in bytes: as much as was asked for.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.length as usize
    }

    /// Whether it is for an empty message.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.length == 0
    }

    const fn start(&self) -> usize {
        self.producer.ring.at(self.place.start.wrapping_add(UNIT))
    }

    /// Writes `bytes` at `offset` of the message.
    ///
    /// # Errors
    ///
    /// [`OutOfMessage`] where they do not all fit, and then nothing is written.
    pub fn write(&mut self, offset: usize, bytes: &[u8]) -> Result<(), OutOfMessage> {
        let at = within(self.start(), self.length, offset, bytes.len())?;
        self.base.memory.write(at, bytes);
        Ok(())
    }

    /// The address of the first byte, for a system call or a device that writes the message; `None` where the memory is not for ordinary
    /// accesses. The next [`len`](Self::len) bytes may be written until the grant ends.
    #[must_use]
    pub fn pointer(&mut self) -> Option<NonNull<u8>> {
        self.base.memory.pointer(self.start())
    }

    /// The message is written, and has `length` bytes, at most as many as were granted: as [`Sender::push`], a flush must follow.
    ///
    /// # Errors
    ///
    /// [`OutOfMessage`] where `length` is more than was granted; then nothing is sent.
    pub fn commit(self, length: usize) -> Result<(), OutOfMessage> {
        let length = u32::try_from(length).ok().filter(|length| *length <= self.length).ok_or(OutOfMessage)?;
        self.producer.commit(self.base, self.place, length);
        Ok(())
    }
}
