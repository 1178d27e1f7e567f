//! crossvm-channel: two ends over a memfd.

use std::sync::Arc;

use anyhow::{Result, bail};
use crossvm_channel::{Channel, Config, Doorbell, RecvError, SendError, Shared, Side, Silent};

use crate::end::{End, Sink, Source};
use crate::memory::{MEMORY, Mapping};

/// A channel, and the memory it is in.
#[derive(Debug)]
pub(crate) struct Link<D: Doorbell> {
    pub(crate) channel: Channel<Shared<'static>, D>,
    // After the channel, which writes to it when it is dropped.
    _memory: Arc<Mapping>,
}

fn open<D: Doorbell>(memory: &Arc<Mapping>, doorbell: D, config: Config) -> Result<Link<D>> {
    // SAFETY: the mapping lives as long as the link, whose last field it is; it is aligned to a page, and nobody makes references to it.
    let shared = unsafe { Shared::new(memory.start(), memory.len()) };
    Ok(Link { channel: Channel::open(shared, doorbell, config)?, _memory: Arc::clone(memory) })
}

/// Two ends that have met, with these doorbells, of which each rings the other end.
pub(crate) fn pair<D: Doorbell>([a, b]: [D; 2], configure: impl Fn(Config) -> Config) -> Result<(Link<D>, Link<D>)> {
    let memory = Mapping::new(MEMORY)?;
    let mut a = open(&memory, a, configure(Config::new(Side::A)))?;
    let mut b = open(&memory, b, configure(Config::new(Side::B)))?;
    for _ in 0..3 {
        if a.channel.poll_connect()? & b.channel.poll_connect()? {
            return Ok((a, b));
        }
    }
    bail!("the two ends of the channel do not meet")
}

impl<D: Doorbell> Link<D> {
    #[inline]
    fn take(&mut self, sink: &mut Sink) -> u64 {
        match self.channel.try_recv(sink.buffer()) {
            Ok(length) => {
                sink.received(length);
                1
            }
            Err(RecvError::Empty) => 0,
            Err(error) => panic!("the channel broke: {error}"),
        }
    }
}

/// A flush, and with it a look at whether the peer sleeps, for each message.
#[derive(Debug)]
pub(crate) struct Single(Link<Silent>);

impl Single {
    pub(crate) fn pair() -> Result<(Self, Self)> {
        let (a, b) = pair([Silent; 2], |config| config)?;
        Ok((Self(a), Self(b)))
    }
}

impl End for Single {
    #[inline]
    fn send(&mut self, source: &mut Source, _most: u64) -> u64 {
        match self.0.channel.try_send(source.message()) {
            Ok(()) => {
                source.sent();
                1
            }
            Err(SendError::Full) => 0,
            Err(error) => panic!("the channel broke: {error}"),
        }
    }

    #[inline]
    fn receive(&mut self, sink: &mut Sink) -> u64 {
        self.0.take(sink)
    }
}

/// Both ends say that they poll: nobody looks whether the other sleeps.
#[derive(Debug)]
pub(crate) struct Polling(Single);

impl Polling {
    pub(crate) fn pair() -> Result<(Self, Self)> {
        let (a, b) = pair([Silent; 2], Config::polling)?;
        Ok((Self(Single(a)), Self(Single(b))))
    }
}

impl End for Polling {
    #[inline]
    fn send(&mut self, source: &mut Source, most: u64) -> u64 {
        self.0.send(source, most)
    }

    #[inline]
    fn receive(&mut self, sink: &mut Sink) -> u64 {
        self.0.receive(sink)
    }
}

/// How many messages a batch has.
pub(crate) const BATCH: u64 = 32;

/// A flush for each batch, or when the ring is full.
#[derive(Debug)]
pub(crate) struct Batched(Link<Silent>);

impl Batched {
    pub(crate) fn pair() -> Result<(Self, Self)> {
        let (a, b) = pair([Silent; 2], |config| config)?;
        Ok((Self(a), Self(b)))
    }
}

impl End for Batched {
    #[inline]
    fn send(&mut self, source: &mut Source, most: u64) -> u64 {
        for done in 0..most.min(BATCH) {
            match self.0.channel.push(source.message()) {
                Ok(()) => source.sent(),
                // It has flushed.
                Err(SendError::Full) => return done,
                Err(error) => panic!("the channel broke: {error}"),
            }
        }
        self.flush();
        most.min(BATCH)
    }

    #[inline]
    fn receive(&mut self, sink: &mut Sink) -> u64 {
        self.0.take(sink)
    }

    #[inline]
    fn flush(&mut self) {
        if let Err(error) = self.0.channel.sender().flush() {
            panic!("the channel broke: {error}");
        }
    }
}
