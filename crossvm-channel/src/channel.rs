//! A channel: how two ends meet, part, and meet again.

use crate::base::{Base, Session};
use crate::config::Config;
use crate::doorbell::Doorbell;
use crate::error::{Broken, Incompatible, Protocol, RecvError, SendError, TooSmall};
use crate::layout::{Ring, rings, told_size};
use crate::memory::Memory;
use crate::observe::{SideView, View};
use crate::receiver::{Consumer, Message, Receiver};
use crate::sender::{Producer, Sender, WriteGrant};
use crate::spec::{
    CLOSED, DOWN, MAGIC, MIN_SIZE, OF_ACCEPTED, OF_FEATURES, OF_GENERATION, OF_HEAD, OF_MAGIC, OF_PROTOCOL, OF_SIZE, OF_STATE, OF_TAIL,
    OF_VERSION, OF_VIOLATION, OF_WAKE_READER, OF_WAKE_WRITER, OPEN, POLLING, SUPPRESSION, VERSION,
};
use crate::statistics::Statistics;

/// A ring of no length, while there is no peer.
const NONE: Ring = Ring { start: 0, capacity: 0 };

/// What a sleeper wants to be woken for. News of the peer itself wake always.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Interest {
    /// A message.
    Message,
    /// Room for the message that found none.
    Room,
    /// A message; and room, where a message has found none.
    Both,
}

impl Interest {
    const fn message(self) -> bool {
        matches!(self, Self::Message | Self::Both)
    }

    const fn room(self) -> bool {
        matches!(self, Self::Room | Self::Both)
    }
}

/// What came of announcing a sleep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Armed {
    /// There is something to do: do not sleep.
    Ready,
    /// Sleep until the peer rings: it will.
    Sleep,
}

impl Armed {
    pub(crate) const fn or_sleep(ready: bool) -> Self {
        if ready { Self::Ready } else { Self::Sleep }
    }
}

/// One end of a channel.
///
/// It is opened, [meets](Self::poll_connect) a peer, and carries messages until it is [`Broken`]; [`reopen`](Self::reopen) makes it ready for
/// the next peer. Dropped, it closes.
#[derive(Debug)]
pub struct Channel<M: Memory, D: Doorbell> {
    pub(crate) base: Base<M, D>,
    config: Config,
    pub(crate) producer: Producer,
    pub(crate) consumer: Consumer,
    /// What the sessions before this one carried.
    past: Statistics,
    /// This end's, never 0.
    generation: u32,
    /// The peer's that this end has accepted; 0 for none.
    accepted: u32,
    pub(crate) sleeps: u64,
}

impl<M: Memory, D: Doorbell> Channel<M, D> {
    /// Opens an end in `memory`, and tells a peer that may be there. Where the doorbell fails, the channel is broken from the start.
    ///
    /// # Errors
    ///
    /// [`TooSmall`].
    pub fn open(memory: M, doorbell: D, config: Config) -> Result<Self, TooSmall> {
        let len = memory.len();
        if told_size(len) < MIN_SIZE {
            return Err(TooSmall { len });
        }
        let base = Base { memory, doorbell, side: config.side() };
        let apart = Err(Broken::NotConnected);
        let (producer, consumer) = (Producer::new(apart, NONE), Consumer::new(apart, NONE));
        let past = Statistics::default();
        let mut channel = Self { base, config, producer, consumer, past, generation: 0, accepted: 0, sleeps: 0 };
        channel.reopen();
        Ok(channel)
    }

    /// Leaves the present peer, if there is one, and is ready for the next, which may be the same program.
    pub fn reopen(&mut self) {
        self.past = self.statistics();
        self.sleeps = 0;
        let base = &self.base;
        // Down first: whoever looks at the rest sees that first.
        base.tell(OF_STATE, DOWN);
        base.memory.fence();
        let last = base.memory.load(base.side.word(OF_GENERATION));
        self.generation = last.wrapping_add(1).max(1);
        self.accepted = 0;
        for (offset, value) in [
            (OF_ACCEPTED, 0),
            (OF_TAIL, 0),
            (OF_HEAD, 0),
            (OF_WAKE_READER, 0),
            (OF_WAKE_WRITER, 0),
            (OF_VIOLATION, 0),
            (OF_MAGIC, MAGIC),
            (OF_VERSION, VERSION),
            (OF_SIZE, told_size(base.memory.len())),
            (OF_FEATURES, self.config.features()),
            (OF_PROTOCOL, self.config.spoken().0),
        ] {
            base.set(offset, value);
        }
        // In this order for whoever reads them the other way round.
        base.tell(OF_GENERATION, self.generation);
        base.tell(OF_STATE, OPEN);
        let apart = Err(base.doorbell.ring().map_or(Broken::Doorbell, |()| Broken::NotConnected));
        self.producer = Producer::new(apart, NONE);
        self.consumer = Consumer::new(apart, NONE);
    }

    /// Meets the peer, if it is there: `false` where it is not yet. The peer rings whenever there is a reason to ask again.
    ///
    /// # Errors
    ///
    /// [`Broken::Incompatible`], [`Broken::Doorbell`]; what broke a channel that was connected before.
    pub fn poll_connect(&mut self) -> Result<bool, Broken> {
        match self.status() {
            Ok(()) => return Ok(true),
            Err(Broken::NotConnected) => {}
            Err(broken) => return Err(broken),
        }
        match self.meet() {
            Ok(Some((session, rings))) => {
                self.producer = Producer::new(Ok(session), Ring::of(rings, self.base.side));
                self.consumer = Consumer::new(Ok(session), Ring::of(rings, self.base.side.peer()));
                Ok(true)
            }
            Ok(None) => Ok(false),
            Err(broken) => {
                self.producer = Producer::new(Err(broken), NONE);
                self.consumer = Consumer::new(Err(broken), NONE);
                Err(broken)
            }
        }
    }

    fn meet(&mut self) -> Result<Option<(Session, [Ring; 2])>, Broken> {
        let base = &self.base;
        let state = base.ask(OF_STATE);
        // A peer that was accepted can have met this end, sent something, and closed, all before this end asks again.
        let met = |state| matches!(state, OPEN | CLOSED);
        if !met(state) || base.ask(OF_MAGIC) != MAGIC {
            return Ok(None);
        }
        let peer = base.ask(OF_GENERATION);
        if peer == 0 {
            return Ok(None);
        }
        if peer != self.accepted {
            if state == CLOSED {
                return Ok(None);
            }
            self.accepted = peer;
            base.tell(OF_ACCEPTED, peer);
            base.doorbell.ring()?;
        }
        // The peer takes this back before it changes its generation: so it is that generation's that is read, if that is still the same.
        let accepted = base.ask(OF_ACCEPTED);
        let words = [OF_VERSION, OF_SIZE, OF_FEATURES, OF_PROTOCOL].map(|offset| base.ask(offset));
        if accepted != self.generation || base.ask(OF_GENERATION) != peer || !met(base.ask(OF_STATE)) {
            return Ok(None);
        }
        let [version, size, features, protocol] = words;
        let incompatible = |why| Err(Broken::Incompatible(why));
        if version != VERSION {
            return incompatible(Incompatible::Version(version));
        }
        if Protocol(protocol) != self.config.spoken() {
            return incompatible(Incompatible::Protocol(Protocol(protocol)));
        }
        let size = size.min(told_size(base.memory.len()));
        let Some(rings) = rings(size) else { return incompatible(Incompatible::Size(size)) };
        let suppression = features & self.config.features() & SUPPRESSION != 0;
        let polling = features & POLLING != 0;
        Ok(Some((Session { peer, suppression, polling }, rings)))
    }

    /// Whether the channel carries messages in both directions.
    ///
    /// # Errors
    ///
    /// Why it does not.
    pub fn status(&self) -> Result<(), Broken> {
        self.consumer.session().and(self.producer.session()).map(|_| ())
    }

    /// What stands in the peer's words: for whoever wants to know why nobody connects.
    #[must_use]
    pub fn peer(&self) -> SideView {
        View::of(&self.base.memory).side(self.base.side.peer())
    }

    /// What went through this end since it was opened.
    #[must_use]
    pub const fn statistics(&self) -> Statistics {
        Statistics {
            sent: self.past.sent.and(self.producer.sent),
            received: self.past.received.and(self.consumer.received),
            sleeps: self.past.sleeps.wrapping_add(self.sleeps),
        }
    }

    /// The memory.
    pub const fn memory(&self) -> &M {
        &self.base.memory
    }

    /// The doorbell.
    pub const fn doorbell(&self) -> &D {
        &self.base.doorbell
    }

    /// What this end has chosen.
    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// The sending half.
    pub const fn sender(&mut self) -> Sender<'_, M, D> {
        Sender { base: &self.base, producer: &mut self.producer }
    }

    /// The receiving half.
    pub const fn receiver(&mut self) -> Receiver<'_, M, D> {
        Receiver { base: &self.base, consumer: &mut self.consumer }
    }

    /// Both halves, for two threads.
    pub const fn split(&mut self) -> (Sender<'_, M, D>, Receiver<'_, M, D>) {
        let Self { base, producer, consumer, .. } = self;
        (Sender { base, producer }, Receiver { base, consumer })
    }

    /// Length of the longest message in bytes, in either direction; 0 without a peer.
    #[must_use]
    pub const fn max_message(&self) -> usize {
        self.producer.max_message()
    }

    /// [`Sender::push`].
    ///
    /// # Errors
    ///
    /// [`SendError`].
    #[inline]
    pub fn push(&mut self, message: &[u8]) -> Result<(), SendError> {
        self.sender().push(message)
    }

    /// [`Sender::try_send`].
    ///
    /// # Errors
    ///
    /// [`SendError`].
    #[inline]
    pub fn try_send(&mut self, message: &[u8]) -> Result<(), SendError> {
        self.sender().try_send(message)
    }

    /// [`Sender::reserve`].
    ///
    /// # Errors
    ///
    /// [`SendError`].
    pub fn reserve(&mut self, length: usize) -> Result<WriteGrant<'_, M, D>, SendError> {
        WriteGrant::new(&self.base, &mut self.producer, length)
    }

    /// [`Receiver::try_recv`].
    ///
    /// # Errors
    ///
    /// [`RecvError`].
    #[inline]
    pub fn try_recv(&mut self, buffer: &mut [u8]) -> Result<usize, RecvError> {
        self.receiver().try_recv(buffer)
    }

    /// [`Receiver::peek`].
    ///
    /// # Errors
    ///
    /// [`RecvError`].
    pub fn peek(&mut self) -> Result<Message<'_, M, D>, RecvError> {
        Message::next(&self.base, &mut self.consumer)
    }

    /// [`Sender::flush`] and [`Receiver::flush`].
    ///
    /// # Errors
    ///
    /// [`Broken`].
    pub fn flush(&mut self) -> Result<(), Broken> {
        self.producer.flush(&self.base)?;
        self.consumer.tell(&self.base)
    }

    /// Announces that this end sleeps next, for want of what `interest` says, after a flush. Whoever finds [`Armed::Sleep`] may sleep until the
    /// peer rings, and calls [`disarm`](Self::disarm) afterwards.
    ///
    /// # Errors
    ///
    /// [`Broken`].
    pub fn arm(&mut self, interest: Interest) -> Result<Armed, Broken> {
        self.flush()?;
        if interest.message() && self.consumer.arm(&self.base)? {
            return Ok(Armed::Ready);
        }
        // Who waits for either has nothing to wait for where every message had room.
        let room = interest.room() && (interest == Interest::Room || self.producer.wants_room());
        if room && self.producer.arm(&self.base)? {
            self.consumer.disarm(&self.base);
            return Ok(Armed::Ready);
        }
        Ok(Armed::Sleep)
    }

    /// This end is awake again: it need not be rung.
    pub fn disarm(&mut self) {
        self.consumer.disarm(&self.base);
        self.producer.disarm(&self.base);
    }

    /// Sends what was pushed, and closes: the peer receives what is on its way, then learns of it.
    pub fn close(&mut self) {
        // Where the channel is broken already, there is nothing to send.
        let _ = self.flush();
        if self.base.memory.load(self.base.side.word(OF_STATE)) == OPEN {
            self.base.tell(OF_STATE, CLOSED);
            let _ = self.base.doorbell.ring();
        }
        // Why it broke stays known.
        if !matches!(self.status(), Ok(()) | Err(Broken::NotConnected)) {
            return;
        }
        self.past = self.statistics();
        self.sleeps = 0;
        self.producer = Producer::new(Err(Broken::Closed), NONE);
        self.consumer = Consumer::new(Err(Broken::Closed), NONE);
    }
}

#[cfg(feature = "defmt")]
impl<M: Memory, D: Doorbell> defmt::Format for Channel<M, D> {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "Channel({}, generation {=u32}, {})", self.base.side, self.generation, self.status());
    }
}

impl<M: Memory, D: Doorbell> Drop for Channel<M, D> {
    fn drop(&mut self) {
        self.close();
    }
}
