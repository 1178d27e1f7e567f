//! The reading end of a ring.

use core::ptr::NonNull;

use crate::base::{Base, Session};
use crate::channel::Armed;
use crate::doorbell::Doorbell;
use crate::error::{Broken, RecvError, Violation};
use crate::layout::{Ring, length_and_kind, record};
use crate::memory::Memory;
use crate::sender::{OutOfMessage, within};
use crate::spec::{ARMED, DATA, OF_HEAD, OF_TAIL, OF_WAKE_READER, OF_WAKE_WRITER, SKIP, UNIT};
use crate::statistics::Traffic;

/// A reader tells how far it is, and wakes a peer that sleeps for it, at the latest after this part of the ring.
const TELL_AFTER: u32 = 4;

/// How many bytes ahead of a message the reader fetches.
const AHEAD: u32 = 256;

/// Where the reading end stands. Nothing in it comes from the peer unchecked.
#[derive(Debug)]
pub(crate) struct Consumer {
    session: Result<Session, Broken>,
    ring: Ring,
    /// How far records are read.
    position: u32,
    /// The same as an offset in the ring: less than its capacity, a multiple of [`UNIT`].
    offset: u32,
    /// How far the peer has written, as last seen: at most the capacity beyond `position`.
    tail: u32,
    /// How far the peer knows.
    told: u32,
    /// For how much it was looked after whether the peer sleeps.
    checked: u32,
    pub(crate) received: Traffic,
}

/// A message in the ring, checked.
#[derive(Debug, Clone, Copy)]
struct Found {
    /// Its first byte in the memory.
    start: usize,
    /// In bytes.
    length: u32,
}

impl Consumer {
    /// For `ring`, at its beginning.
    pub(crate) const fn new(session: Result<Session, Broken>, ring: Ring) -> Self {
        Self { session, ring, position: 0, offset: 0, tail: 0, told: 0, checked: 0, received: Traffic::NONE }
    }

    #[cfg(test)]
    pub(crate) const fn begin_at(&mut self, position: u32) {
        (self.position, self.tail, self.told, self.checked) = (position, position, position, position);
    }

    /// What was agreed, or why nothing is.
    pub(crate) const fn session(&self) -> Result<Session, Broken> {
        self.session
    }

    fn broken(&mut self, broken: Broken) -> Broken {
        self.session = Err(broken);
        broken
    }

    const fn available(&self) -> u32 {
        self.tail.wrapping_sub(self.position)
    }

    /// The next message: its header is read once, and checked against what this side knows.
    #[inline]
    fn next<M: Memory, D: Doorbell>(&mut self, base: &Base<M, D>) -> Result<Found, RecvError> {
        let session = self.session?;
        if self.available() == 0 && !self.ask_tail(base, session)? {
            return Err(RecvError::Empty);
        }
        self.prefetch(base);
        let mut header = self.header(base);
        if header.1 == SKIP {
            let to_end = self.ring.capacity.wrapping_sub(self.offset);
            // Only in front of a message that is at the ring's start, which is told together with the gap.
            if self.offset == 0 || self.available() <= to_end {
                return Err(self.broken(base.violated(session, Violation::Skip)).into());
            }
            self.position = self.position.wrapping_add(to_end);
            self.offset = 0;
            header = self.header(base);
        }
        let (length, kind) = header;
        let violation = match kind {
            DATA if length <= self.ring.max_message() => {
                let record = record(length);
                if record <= self.available() && record <= self.ring.capacity.wrapping_sub(self.offset) {
                    return Ok(Found { start: self.ring.at(self.offset.wrapping_add(UNIT)), length });
                }
                Violation::Length
            }
            DATA => Violation::Length,
            SKIP => Violation::Skip,
            _ => Violation::Kind,
        };
        Err(self.broken(base.violated(session, violation)).into())
    }

    /// Where the next message begins stands in this one's header. So that a processor need not wait for one line after the other, those ahead are
    /// fetched by their addresses, as far as they are told: what the peer still writes to is left to it.
    #[inline]
    fn prefetch<M: Memory, D>(&self, base: &Base<M, D>) {
        if self.available() > AHEAD {
            base.memory.prefetch(self.ring.at(self.offset.wrapping_add(AHEAD)));
        }
    }

    #[inline]
    fn header<M: Memory, D>(&self, base: &Base<M, D>) -> (u32, u32) {
        let mut header = [0; UNIT as usize];
        base.memory.read(self.ring.at(self.offset), &mut header);
        length_and_kind(header)
    }

    /// Learns how far the peer has written: `false` where there is nothing new. All that was told before is read.
    fn ask_tail<M: Memory, D: Doorbell>(&mut self, base: &Base<M, D>, session: Session) -> Result<bool, Broken> {
        if self.look_at_tail(base, session)? {
            return Ok(true);
        }
        // Before this side has nothing more to do, the peer learns of the room.
        self.tell(base)?;
        match base.check_peer(session) {
            Ok(()) => Ok(false),
            // It may have written before it closed.
            Err(Broken::Closed) if self.look_at_tail(base, session)? => Ok(true),
            Err(broken) => Err(self.broken(broken)),
        }
    }

    fn look_at_tail<M: Memory, D: Doorbell>(&mut self, base: &Base<M, D>, session: Session) -> Result<bool, Broken> {
        let tail = base.ask(OF_TAIL);
        let available = tail.wrapping_sub(self.position);
        if available > self.ring.capacity || available < self.available() || !tail.is_multiple_of(UNIT) {
            return Err(self.broken(base.violated(session, Violation::Tail)));
        }
        // A peer that starts anew sets its TAIL to 0. Just before positions wrap, that looks as if it had written on.
        if tail == 0
            && available != 0
            && let Err(broken @ (Broken::Restarted | Broken::Refused(_) | Broken::Violated(_))) = base.check_peer(session)
        {
            return Err(self.broken(broken));
        }
        self.tail = tail;
        Ok(available != 0)
    }

    /// The message of `length` bytes at the position is read.
    #[inline]
    fn consume<M: Memory, D: Doorbell>(&mut self, base: &Base<M, D>, length: u32) -> Result<(), Broken> {
        let record = record(length);
        self.position = self.position.wrapping_add(record);
        let end = self.offset.wrapping_add(record);
        self.offset = if end == self.ring.capacity { 0 } else { end };
        self.received.add(length);
        if self.position.wrapping_sub(self.checked) >= self.ring.capacity / TELL_AFTER {
            return self.tell(base);
        }
        // A peer that looks for room finds all there is, once everything is read. Whether it sleeps is looked after later.
        if self.available() == 0 {
            base.tell(OF_HEAD, self.position);
            self.told = self.position;
        }
        Ok(())
    }

    /// The peer learns how far this side has read, and is woken where it sleeps for it.
    pub(crate) fn tell<M: Memory, D: Doorbell>(&mut self, base: &Base<M, D>) -> Result<(), Broken> {
        let session = self.session?;
        if self.position == self.checked {
            return Ok(());
        }
        if self.position != self.told {
            base.tell(OF_HEAD, self.position);
            self.told = self.position;
        }
        match base.ring_if_asleep(session, OF_WAKE_WRITER, self.checked, self.position) {
            Ok(rung) => self.received.doorbells(rung),
            Err(failed) => return Err(self.broken(failed.into())),
        }
        self.checked = self.position;
        Ok(())
    }

    /// Announces that this side sleeps until there is a message; `true` where there is one already.
    pub(crate) fn arm<M: Memory, D: Doorbell>(&mut self, base: &Base<M, D>) -> Result<bool, Broken> {
        let session = self.session?;
        if self.available() != 0 {
            return Ok(true);
        }
        base.set(OF_WAKE_READER, self.position | ARMED);
        base.memory.fence();
        let ready = self.ask_tail(base, session)?;
        if ready {
            self.disarm(base);
        }
        Ok(ready)
    }

    /// This side does not sleep any more.
    pub(crate) fn disarm<M: Memory, D: Doorbell>(&self, base: &Base<M, D>) {
        base.set(OF_WAKE_READER, 0);
    }
}

/// The receiving half of a channel.
///
/// The room of what was read goes back to the peer in pieces of a quarter of the ring, or when all is read. A peer that sleeps for room is woken
/// after a quarter, or when this end looks for more in vain. Who stops reading before, to wait for something else, calls
/// [`flush`](Self::flush).
#[derive(Debug)]
pub struct Receiver<'channel, M, D> {
    pub(crate) base: &'channel Base<M, D>,
    pub(crate) consumer: &'channel mut Consumer,
}

#[cfg(feature = "defmt")]
impl<M, D> defmt::Format for Receiver<'_, M, D> {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "Receiver({}, {})", self.base.side, self.consumer.session());
    }
}

impl<M: Memory, D: Doorbell> Receiver<'_, M, D> {
    /// Length of the longest message in bytes: a buffer that long is never too short.
    #[must_use]
    pub const fn max_message(&self) -> usize {
        self.consumer.ring.max_message() as usize
    }

    /// Copies the next message to the beginning of `buffer`, and gives its length in bytes.
    ///
    /// # Errors
    ///
    /// [`RecvError`]. What it has read before the channel broke is right.
    #[inline]
    pub fn try_recv(&mut self, buffer: &mut [u8]) -> Result<usize, RecvError> {
        let Found { start, length } = self.consumer.next(self.base)?;
        let needed = length as usize;
        let Some(buffer) = buffer.get_mut(..needed) else { return Err(RecvError::TooShort { needed }) };
        self.base.memory.read(start, buffer);
        // The message is whole. Where the channel breaks, the next call says so.
        let _ = self.consumer.consume(self.base, length);
        Ok(needed)
    }

    /// The next message, where it is. It is read when the result is dropped.
    ///
    /// # Errors
    ///
    /// [`RecvError`], but not `TooShort`.
    pub fn peek(&mut self) -> Result<Message<'_, M, D>, RecvError> {
        Message::next(self.base, self.consumer)
    }

    /// The peer learns of all room that was read free, and is woken where it sleeps for it.
    ///
    /// # Errors
    ///
    /// [`Broken`].
    pub fn flush(&mut self) -> Result<(), Broken> {
        self.consumer.tell(self.base)
    }

    /// Announces that this half sleeps next, until there is a message: [`Channel::arm`](crate::Channel::arm) for one half. A ring must wake whoever
    /// sleeps in either.
    ///
    /// # Errors
    ///
    /// [`Broken`].
    pub fn arm(&mut self) -> Result<Armed, Broken> {
        self.flush()?;
        self.consumer.arm(self.base).map(Armed::or_sleep)
    }

    /// This half is awake again.
    pub fn disarm(&mut self) {
        self.consumer.disarm(self.base);
    }
}

/// A message in shared memory. The peer may change it at any moment: read what you check once, into memory of your own. It is read when this
/// is dropped.
#[derive(Debug)]
pub struct Message<'receiver, M: Memory, D: Doorbell> {
    base: &'receiver Base<M, D>,
    consumer: &'receiver mut Consumer,
    found: Found,
    consumed: bool,
}

impl<'receiver, M: Memory, D: Doorbell> Message<'receiver, M, D> {
    pub(crate) fn next(base: &'receiver Base<M, D>, consumer: &'receiver mut Consumer) -> Result<Self, RecvError> {
        let found = consumer.next(base)?;
        Ok(Self { base, consumer, found, consumed: true })
    }

    /// Its length in bytes. The peer cannot change it.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.found.length as usize
    }

    /// Whether it is empty.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.found.length == 0
    }

    /// Copies bytes from `offset` on out of it.
    ///
    /// # Errors
    ///
    /// [`OutOfMessage`] where they do not all lie in it, and then nothing is read.
    pub fn read(&self, offset: usize, buffer: &mut [u8]) -> Result<(), OutOfMessage> {
        let at = within(self.found.start, self.found.length, offset, buffer.len())?;
        self.base.memory.read(at, buffer);
        Ok(())
    }

    /// The address of the first byte, for a system call or a device that reads the message; `None` where the memory is not for ordinary
    /// accesses. The next [`len`](Self::len) bytes may be read until this is dropped, and the peer may change them.
    #[must_use]
    pub fn pointer(&self) -> Option<NonNull<u8>> {
        self.base.memory.pointer(self.found.start)
    }

    /// Leaves the message unread: it is the next one again.
    pub fn keep(mut self) {
        self.consumed = false;
    }
}

#[cfg(feature = "defmt")]
impl<M: Memory, D: Doorbell> defmt::Format for Message<'_, M, D> {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "Message({=u32} bytes)", self.found.length);
    }
}

impl<M: Memory, D: Doorbell> Drop for Message<'_, M, D> {
    fn drop(&mut self) {
        if self.consumed {
            // Where the channel breaks, the next call says so.
            let _ = self.consumer.consume(self.base, self.found.length);
        }
    }
}
