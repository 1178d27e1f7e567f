//! Ends that sleep: a real doorbell, an eventfd, and a wait with a time limit.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use crossvm_channel::{Doorbell, RingFailed, Statistics, Wait, Wake};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;

use crate::contenders::crossvm::{BATCH, Link, pair};
use crate::end::{Sink, Source};
use crate::measure::side_by_side;

/// Who sleeps longer than this has been forgotten.
const LIMIT: Timespec = Timespec { tv_sec: 10, tv_nsec: 0 };

/// An eventfd that two ends know: one rings it, the other sleeps on it.
#[derive(Debug, Clone)]
struct Bell(Arc<OwnedFd>);

impl Bell {
    fn new() -> Result<Self> {
        Ok(Self(Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).context("no eventfd")?)))
    }
}

impl Doorbell for Bell {
    fn ring(&self) -> Result<(), RingFailed> {
        match rustix::io::write(&*self.0, &1_u64.to_ne_bytes()) {
            // Its counter is full: it has rung long since.
            Ok(_) | Err(Errno::AGAIN) => Ok(()),
            Err(_) => Err(RingFailed),
        }
    }
}

impl Wait for Bell {
    type Error = Errno;

    fn wait(&mut self) -> Result<Wake, Errno> {
        let mut count = [0; 8];
        loop {
            match rustix::io::read(&*self.0, &mut count) {
                Ok(_) => return Ok(Wake::Rung),
                Err(Errno::AGAIN) => {}
                Err(error) => return Err(error),
            }
            if poll(&mut [PollFd::new(&*self.0, PollFlags::IN)], Some(&LIMIT))? == 0 {
                return Ok(Wake::TimedOut);
            }
        }
    }
}

/// Two ends, and what each sleeps on.
fn sleepers(spins: u32) -> Result<[(Link<Bell>, Bell); 2]> {
    let (for_a, for_b) = (Bell::new()?, Bell::new()?);
    let (a, b) = pair([for_b.clone(), for_a.clone()], |config| config.spins(spins))?;
    Ok([(a, for_a), (b, for_b)])
}

/// What two ends did that were both busy.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Busy {
    pub(crate) took: Duration,
    /// How often either rang the other.
    pub(crate) doorbells: u64,
    /// How often either slept.
    pub(crate) sleeps: u64,
}

/// Carries `count` messages of `size` bytes from one end to the other. Each end looks `spins` times more before it sleeps; `batch`: a flush after
/// [`BATCH`] messages, else after each.
pub(crate) fn busy(spins: u32, batch: bool, size: usize, count: u64) -> Result<Busy> {
    let [(mut a, mut for_a), (mut b, mut for_b)] = sleepers(spins)?;
    let before = [a.channel.statistics(), b.channel.statistics()];
    let send = || -> Result<Statistics> {
        let mut source = Source::new(size);
        for number in 1..=count {
            a.channel.push_waiting(source.message(), &mut for_a).map_err(|error| anyhow!("{error}"))?;
            source.sent();
            if !batch || number.is_multiple_of(BATCH) {
                a.channel.sender().flush()?;
            }
        }
        a.channel.flush()?;
        Ok(a.channel.statistics())
    };
    let receive = || -> Result<Statistics> {
        let mut sink = Sink::new(size);
        for _ in 0..count {
            let length = b.channel.recv(sink.buffer(), &mut for_b).map_err(|error| anyhow!("{error}"))?;
            sink.received(length);
        }
        Ok(b.channel.statistics())
    };
    let (took, sent, received) = side_by_side(send, receive)?;
    let [a_before, b_before] = before;
    let doorbells = sent.doorbells() + received.doorbells() - a_before.doorbells() - b_before.doorbells();
    let sleeps = sent.sleeps + received.sleeps - a_before.sleeps - b_before.sleeps;
    Ok(Busy { took, doorbells, sleeps })
}

/// `count` round trips of messages of `size` bytes between ends that sleep at once.
pub(crate) fn round_trips(size: usize, count: u64) -> Result<Duration> {
    let [(mut a, mut for_a), (mut b, mut for_b)] = sleepers(0)?;
    let ask = || -> Result<()> {
        let (mut source, mut sink) = (Source::new(size), Sink::new(size));
        for _ in 0..count {
            a.channel.send(source.message(), &mut for_a).map_err(|error| anyhow!("{error}"))?;
            source.sent();
            let length = a.channel.recv(sink.buffer(), &mut for_a).map_err(|error| anyhow!("{error}"))?;
            sink.received(length);
        }
        Ok(())
    };
    let answer = || -> Result<()> {
        let (mut source, mut sink) = (Source::new(size), Sink::new(size));
        for _ in 0..count {
            let length = b.channel.recv(sink.buffer(), &mut for_b).map_err(|error| anyhow!("{error}"))?;
            sink.received(length);
            b.channel.send(source.message(), &mut for_b).map_err(|error| anyhow!("{error}"))?;
            source.sent();
        }
        Ok(())
    };
    Ok(side_by_side(ask, answer)?.0)
}

/// `count` round trips of two eventfds and nothing else: the limit.
pub(crate) fn bare_round_trips(count: u64) -> Result<Duration> {
    let (for_a, for_b) = (Bell::new()?, Bell::new()?);
    let ring = |bell: &Bell| bell.ring().map_err(|error| anyhow!("{error}"));
    let (mut wait_a, mut wait_b) = (for_a.clone(), for_b.clone());
    let ask = || (0..count).try_for_each(|_| ring(&for_b).and_then(|()| Ok(wait_a.wait().map(drop)?)));
    let answer = || (0..count).try_for_each(|_| wait_b.wait().map(drop).map_err(Into::into).and_then(|()| ring(&for_a)));
    Ok(side_by_side(ask, answer)?.0)
}

/// `count` round trips of vectors of `size` bytes through crossbeam's calls that block.
pub(crate) fn crossbeam_round_trips(size: usize, count: u64) -> Result<Duration> {
    let (there, from_a) = crossbeam_channel::bounded::<Vec<u8>>(8);
    let (back, from_b) = crossbeam_channel::bounded::<Vec<u8>>(8);
    let ask = || -> Result<()> {
        let (mut source, mut sink) = (Source::new(size), Sink::new(size));
        for _ in 0..count {
            there.send(source.message().to_vec())?;
            source.sent();
            let message = from_b.recv()?;
            sink.buffer().copy_from_slice(&message);
            sink.received(message.len());
        }
        Ok(())
    };
    let answer = || -> Result<()> {
        let (mut source, mut sink) = (Source::new(size), Sink::new(size));
        for _ in 0..count {
            let message = from_a.recv()?;
            sink.buffer().copy_from_slice(&message);
            sink.received(message.len());
            back.send(source.message().to_vec())?;
            source.sent();
        }
        Ok(())
    };
    Ok(side_by_side(ask, answer)?.0)
}
