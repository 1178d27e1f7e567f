//! Packets between a network device and a channel.
//!
//! ```text
//!  device ── read ──▶ push ──▶ channel       a burst, then one flush
//!         ◀─ write ── recv ◀──               a burst, then one flush
//!
//!  nothing to do: arm ─▶ prepare ─▶ poll: device, channel's events, stop ─▶ disarm
//! ```
//!
//! A packet that finds no room in the channel waits, and no other is read before it has gone: then the kernel's queue of the device fills, and
//! the kernel drops what it has no room for, as it does with any slow network. Without a peer, packets are read and dropped.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use crossvm_guest::channel::{Armed, Broken, Interest, RecvError, SendError};
use crossvm_guest::{ChannelError, Error, EventCount, GuestChannel, Prepared};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use serde::Serialize;

/// Length of the longest packet in bytes: IP has 16 bits for it.
pub(crate) const LONGEST: usize = 65535;
/// So many packets go in one direction before the other has its turn.
const BURST: usize = 64;
/// After a peer was lost, so long nothing is done: one that breaks the protocol again and again must not keep a processor busy.
const PAUSE: Duration = Duration::from_millis(100);

/// What a loop tells while it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum News {
    /// A peer is there.
    Connected,
    /// It is there no longer.
    Lost(Broken),
}

/// Packets that did not arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub(crate) struct Dropped {
    /// From the device, when there was no peer.
    pub(crate) no_peer: u64,
    /// From the device, longer than a message of the channel can be; or from the peer, of no length, or longer than a packet can be.
    pub(crate) length: u64,
    /// From the peer, and the device did not take them: it is down, its queue is full, or it is no IP packet.
    pub(crate) refused: u64,
}

/// Why a loop ended before it was told to.
#[derive(Debug)]
pub(crate) enum Ended {
    /// The channel.
    Channel(ChannelError),
    /// The device.
    Device(io::Error),
}

impl From<Error> for Ended {
    fn from(error: Error) -> Self {
        Self::Channel(ChannelError::Wait(error))
    }
}

/// Why work stopped.
enum Stopped {
    /// The peer is lost.
    Broken(Broken),
    /// Nothing can go on.
    Ended(Ended),
}

impl From<Broken> for Stopped {
    fn from(broken: Broken) -> Self {
        Self::Broken(broken)
    }
}

impl From<Errno> for Stopped {
    fn from(error: Errno) -> Self {
        Self::Ended(Ended::Device(error.into()))
    }
}

/// Whether there may be more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum More {
    Yes,
    No,
}

/// A device and a channel, and what is on its way between them. `D` does not block, and reads and writes one packet at a time.
#[derive(Debug)]
pub(crate) struct Forwarder<'endpoint, D> {
    device: D,
    channel: GuestChannel<'endpoint>,
    settings: Settings,
    /// The packet that was read from the device last.
    outgoing: Vec<u8>,
    /// Its length while it waits for room.
    waiting: Option<usize>,
    incoming: Vec<u8>,
    /// The device may have a packet.
    readable: bool,
    /// Since when there is no peer; `None` while there is one.
    alone: Option<Instant>,
    counts: Counts,
}

/// How a loop goes about it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Settings {
    /// Looks for a packet from the peer so many times more before going to sleep.
    pub(crate) spins: u32,
    /// Gives up when no peer comes for so long.
    pub(crate) timeout: Option<Duration>,
}

/// What a loop counts. What went through the channel, the channel counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Counts {
    pub(crate) dropped: Dropped,
    /// How often there was a peer.
    pub(crate) sessions: u64,
    /// How often it slept.
    pub(crate) sleeps: u64,
}

const fn count(counter: &mut u64) {
    *counter = counter.saturating_add(1);
}

impl<'endpoint, D: AsFd> Forwarder<'endpoint, D> {
    /// Between `device` and `channel`, which is open, and need not be connected.
    pub(crate) fn new(device: D, channel: GuestChannel<'endpoint>, settings: Settings) -> Self {
        let (outgoing, incoming) = (vec![0; LONGEST], vec![0; LONGEST]);
        let counts = Counts::default();
        Self { device, channel, settings, outgoing, waiting: None, incoming, readable: true, alone: Some(Instant::now()), counts }
    }

    /// What it has counted.
    pub(crate) const fn counts(&self) -> Counts {
        self.counts
    }

    /// The channel.
    pub(crate) const fn channel(&mut self) -> &mut GuestChannel<'endpoint> {
        &mut self.channel
    }

    /// Forwards until `stop` is readable. When a peer is lost, it waits for the next.
    pub(crate) fn run(&mut self, stop: impl AsFd, mut tell: impl FnMut(News)) -> Result<(), Ended> {
        let stop = stop.as_fd();
        loop {
            let stopped = match self.work(&mut tell) {
                Ok(more) => self.sleep(more, stop),
                Err(stopped) => Err(stopped),
            };
            let lost = match stopped {
                Ok(Wake::Work) => continue,
                Ok(Wake::Stop) => return Ok(()),
                Err(Stopped::Ended(ended)) => return Err(ended),
                Err(Stopped::Broken(lost)) => lost,
            };
            let first = self.counts.sessions == 0;
            match lost {
                // Nobody can be told of anything any more.
                Broken::Doorbell => return Err(Ended::Channel(lost.into())),
                // Whoever has just started this wants to know. Later, the other end may come to its senses.
                Broken::Incompatible(_) if first => return Err(Ended::Channel(lost.into())),
                _ => tell(News::Lost(lost)),
            }
            self.alone = Some(self.alone.unwrap_or_else(Instant::now));
            if self.waiting.take().is_some() {
                count(&mut self.counts.dropped.no_peer);
            }
            if pause(stop).map_err(Ended::Device)? == Wake::Stop {
                return Ok(());
            }
            self.channel.reopen();
        }
    }

    /// Does a burst of what there is to do.
    fn work(&mut self, tell: &mut impl FnMut(News)) -> Result<More, Stopped> {
        if self.alone.is_some() {
            if !self.channel.channel().poll_connect()? {
                return self.discard();
            }
            self.alone = None;
            count(&mut self.counts.sessions);
            tell(News::Connected);
        }
        let sent = self.send()?;
        // The peer can begin before this end goes on.
        self.channel.flush()?;
        let mut received = self.receive()?;
        self.channel.flush()?;
        if sent == More::No && received != Received::Burst {
            for _ in 0..self.settings.spins {
                std::hint::spin_loop();
                if self.receive()? != Received::Nothing {
                    received = Received::Burst;
                    break;
                }
            }
        }
        Ok(if sent == More::No && received != Received::Burst { More::No } else { More::Yes })
    }

    /// Reads packets that nobody wants.
    fn discard(&mut self) -> Result<More, Stopped> {
        for _ in 0..BURST {
            match self.read()? {
                Some(_) => count(&mut self.counts.dropped.no_peer),
                None => return Ok(More::No),
            }
        }
        Ok(More::Yes)
    }

    /// Sends what the device has, as far as there is room.
    fn send(&mut self) -> Result<More, Stopped> {
        for _ in 0..BURST {
            let length = match self.waiting {
                Some(length) => length,
                None => match self.read()? {
                    Some(length) => length,
                    None => return Ok(More::No),
                },
            };
            self.waiting = None;
            match self.channel.channel().push(self.outgoing.get(..length).unwrap_or_default()) {
                Ok(()) => {}
                Err(SendError::Full) => {
                    self.waiting = Some(length);
                    return Ok(More::No);
                }
                Err(SendError::TooLong { .. }) => count(&mut self.counts.dropped.length),
                Err(SendError::Broken(broken)) => return Err(broken.into()),
            }
        }
        Ok(More::Yes)
    }

    /// The next packet of the device: its length.
    fn read(&mut self) -> Result<Option<usize>, Stopped> {
        while self.readable {
            match rustix::io::read(&self.device, &mut self.outgoing) {
                Ok(length) => return Ok(Some(length)),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => self.readable = false,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(None)
    }

    /// Writes what the channel has to the device.
    fn receive(&mut self) -> Result<Received, Stopped> {
        for packets in 0..BURST {
            let channel = self.channel.channel();
            match channel.try_recv(&mut self.incoming) {
                Ok(length @ 1..) => match rustix::io::write(&self.device, self.incoming.get(..length).unwrap_or_default()) {
                    Ok(_) => {}
                    // The device is gone: no other packet will do better.
                    Err(Errno::BADFD) => return Err(Errno::BADFD.into()),
                    Err(_) => count(&mut self.counts.dropped.refused),
                },
                Ok(0) => count(&mut self.counts.dropped.length),
                Err(RecvError::Empty) => return Ok(if packets == 0 { Received::Nothing } else { Received::Some }),
                Err(RecvError::TooShort { .. }) => {
                    count(&mut self.counts.dropped.length);
                    // Unread it would stay the next one for ever.
                    drop(channel.peek().map_err(broken)?);
                }
                Err(RecvError::Broken(broken)) => return Err(broken.into()),
            }
        }
        Ok(Received::Burst)
    }

    /// Sleeps until there is something to do; where there is `more`, it looks for what is new without sleeping.
    fn sleep(&mut self, more: More, stop: BorrowedFd<'_>) -> Result<Wake, Stopped> {
        let (channel, events) = self.channel.parts();
        let events = events.waiter();
        let ended = |error: Error| Stopped::Ended(error.into());
        let armed = more == More::No && self.alone.is_none();
        let mut sleep = more == More::No;
        if armed {
            let interest = if self.waiting.is_some() { Interest::Both } else { Interest::Message };
            sleep = channel.arm(interest)? == Armed::Sleep;
        }
        if sleep {
            sleep = events.prepare(EventCount::MAX).map_err(ended)? == Prepared::Armed;
        }
        let left = match (sleep, self.alone.zip(self.settings.timeout)) {
            (false, _) => Some(Duration::ZERO),
            (true, None) => None,
            (true, Some((alone, timeout))) => Some(timeout.saturating_sub(alone.elapsed())),
        };
        if sleep {
            count(&mut self.counts.sleeps);
        }
        let timeout = left.and_then(|left| Timespec::try_from(left).ok());
        // While a packet waits, the next one is no reason to wake up.
        let packets = if self.waiting.is_some() { PollFlags::empty() } else { PollFlags::IN };
        let mut polled = [
            PollFd::from_borrowed_fd(stop, PollFlags::IN),
            PollFd::from_borrowed_fd(self.device.as_fd(), packets),
            PollFd::from_borrowed_fd(events.as_fd(), PollFlags::IN),
        ];
        let ready = match poll(&mut polled, timeout.as_ref()) {
            Ok(ready) => ready,
            Err(Errno::INTR) => 0,
            Err(error) => return Err(error.into()),
        };
        let [stopped, packet, event] = polled.map(|polled| !polled.revents().is_empty());
        if armed {
            channel.disarm();
        }
        if event {
            events.take(EventCount::MAX).map_err(ended)?;
        }
        if packet {
            self.readable = true;
            // There is no packet to be told of while one waits: the device is in trouble, and reading tells in which.
            if self.waiting.take().is_some() {
                count(&mut self.counts.dropped.refused);
            }
        }
        // Only where there was nothing to do at the very end.
        match (stopped, sleep && ready == 0 && left == Some(Duration::ZERO)) {
            (true, _) => Ok(Wake::Stop),
            (false, true) => Err(Stopped::Ended(Ended::Channel(ChannelError::TimedOut))),
            (false, false) => Ok(Wake::Work),
        }
    }
}

/// How much came from the peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Received {
    Nothing,
    /// Some, and then nothing.
    Some,
    /// There may be more.
    Burst,
}

/// Why a sleep ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wake {
    /// There may be something to do.
    Work,
    /// The loop shall end.
    Stop,
}

/// What `peek` reports, once there is a message.
fn broken(error: RecvError) -> Stopped {
    match error {
        RecvError::Broken(broken) => broken.into(),
        // There is a message, and nobody took it.
        RecvError::Empty | RecvError::TooShort { .. } => Broken::NotConnected.into(),
    }
}

/// Does nothing for a while, or until `stop` is readable.
fn pause(stop: BorrowedFd<'_>) -> io::Result<Wake> {
    let timeout = Timespec::try_from(PAUSE).map_err(|_| io::ErrorKind::InvalidInput)?;
    match poll(&mut [PollFd::from_borrowed_fd(stop, PollFlags::IN)], Some(&timeout)) {
        Ok(0) | Err(Errno::INTR) => Ok(Wake::Work),
        Ok(_) => Ok(Wake::Stop),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
#[path = "forward_tests.rs"]
mod tests;
