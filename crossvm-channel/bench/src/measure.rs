//! Ways to run a link: two threads that are each pinned to a processor, or one.

use std::hint::spin_loop;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::end::{End, Sink, Source};

/// What to do with a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Measure {
    /// One thread sends all messages, another receives them.
    TwoThreads,
    /// One thread sends until there is no room, and receives until there is nothing, in turns.
    OneThread,
    /// One thread sends a message and waits for the answer, which another gives.
    RoundTrip,
    /// One thread sends a message, or a batch, and receives it: for a tool that counts instructions.
    Counted,
}

/// Two processors that this program may use.
pub(crate) fn processors() -> Result<[usize; 2]> {
    let allowed = sched_getaffinity(None).context("cannot learn which processors may be used")?;
    let mut all = (0..CpuSet::MAX_CPU).filter(|processor| allowed.is_set(*processor));
    match (all.next(), all.next_back()) {
        (Some(first), Some(last)) => Ok([first, last]),
        _ => bail!("two processors are necessary, and this program may use one"),
    }
}

/// The calling thread runs on `processor` only.
pub(crate) fn pin(processor: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(processor);
    sched_setaffinity(None, &set).with_context(|| format!("cannot pin a thread to processor {processor}"))?;
    if FIRST.load(Ordering::Relaxed) { before_others() } else { Ok(()) }
}

/// From now on, threads that are pinned run before all others: a machine that does something else too can be measured all the same.
///
/// Nothing else runs on their processors meanwhile, so they do not run for long.
pub(crate) fn go_first() {
    FIRST.store(true, Ordering::Relaxed);
}

static FIRST: AtomicBool = AtomicBool::new(false);

/// The calling thread runs before those that are not so.
fn before_others() -> Result<()> {
    let parameters = libc::sched_param { sched_priority: 1 };
    // SAFETY: a call with a structure that outlives it, for the calling thread.
    if unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const parameters) } != 0 {
        return Err(std::io::Error::last_os_error()).context("a real-time priority is refused");
    }
    Ok(())
}

/// Runs two functions, each pinned to a processor of its own, from the same moment on; how long it took until both were through.
pub(crate) fn side_by_side<A: Send, B: Send>(
    a: impl FnOnce() -> Result<A> + Send,
    b: impl FnOnce() -> Result<B> + Send,
) -> Result<(Duration, A, B)> {
    let processors = processors()?;
    let ready = AtomicU32::new(0);
    let meet = |processor| {
        let pinned = pin(processor);
        ready.fetch_add(1, Ordering::AcqRel);
        while ready.load(Ordering::Acquire) < 2 {
            spin_loop();
        }
        pinned.map(|()| Instant::now())
    };
    let (first, second) = thread::scope(|scope| {
        let first = scope.spawn(|| -> Result<_> { Ok((meet(processors[0])?, a()?, Instant::now())) });
        let second = scope.spawn(|| -> Result<_> { Ok((meet(processors[1])?, b()?, Instant::now())) });
        (first.join(), second.join())
    });
    let joined = |result: thread::Result<_>| result.map_err(|_| anyhow!("a thread panicked"));
    let (a_began, a, a_ended) = joined(first)??;
    let (b_began, b, b_ended) = second.map_err(|_| anyhow!("a thread panicked"))??;
    Ok((a_ended.max(b_ended) - a_began.min(b_began), a, b))
}

impl Measure {
    /// Carries `count` messages of `size` bytes.
    pub(crate) fn of<E: End>(self, (mut a, mut b): (E, E), size: usize, count: u64) -> Result<Duration> {
        match self {
            Self::TwoThreads => Ok(side_by_side(|| send_all(&mut a, size, count), || receive_all(&mut b, size, count))?.0),
            Self::RoundTrip => Ok(side_by_side(|| ask(&mut a, size, count), || answer(&mut b, size, count))?.0),
            Self::OneThread => {
                // In a thread of its own: the calling one stays where it may be.
                let alone = || -> Result<Duration> {
                    pin(processors()?[0])?;
                    let began = Instant::now();
                    in_turns(&mut a, &mut b, size, count);
                    Ok(began.elapsed())
                };
                thread::scope(|scope| scope.spawn(alone).join()).map_err(|_| anyhow!("a thread panicked"))?
            }
            Self::Counted => {
                counted(&mut a, &mut b, size, count);
                Ok(Duration::ZERO)
            }
        }
    }
}

/// Whoever finds nothing to do looks again after a pause, twice as long each time up to a limit: looking takes the line from who writes to it.
#[derive(Debug, Default)]
struct Pauses(u32);

impl Pauses {
    const MOST: u32 = 64;

    #[inline]
    fn after(&mut self, done: u64) {
        if done != 0 {
            self.0 = 1;
            return;
        }
        for _ in 0..self.0 {
            spin_loop();
        }
        self.0 = (self.0 * 2).min(Self::MOST);
    }
}

#[inline(never)]
fn send_all<E: End>(end: &mut E, size: usize, count: u64) -> Result<()> {
    let mut source = Source::new(size);
    let mut pauses = Pauses::default();
    let mut left = count;
    while left != 0 {
        let sent = end.send(&mut source, left);
        left -= sent;
        pauses.after(sent);
    }
    end.flush();
    Ok(())
}

#[inline(never)]
fn receive_all<E: End>(end: &mut E, size: usize, count: u64) -> Result<()> {
    let mut sink = Sink::new(size);
    let mut pauses = Pauses::default();
    let mut left = count;
    while left != 0 {
        let received = end.receive(&mut sink);
        left -= received;
        pauses.after(received);
    }
    Ok(())
}

#[inline(never)]
fn in_turns<E: End>(a: &mut E, b: &mut E, size: usize, count: u64) {
    let (mut source, mut sink) = (Source::new(size), Sink::new(size));
    let (mut unsent, mut left) = (count, count);
    while left != 0 {
        loop {
            let sent = a.send(&mut source, unsent);
            unsent -= sent;
            if sent == 0 || unsent == 0 {
                break;
            }
        }
        a.flush();
        loop {
            let received = b.receive(&mut sink);
            left -= received;
            if received == 0 || left == 0 {
                break;
            }
        }
    }
}

#[inline(never)]
fn ask<E: End>(end: &mut E, size: usize, count: u64) -> Result<()> {
    let (mut source, mut sink) = (Source::new(size), Sink::new(size));
    for _ in 0..count {
        while end.send(&mut source, 1) == 0 {
            spin_loop();
        }
        while end.receive(&mut sink) == 0 {
            spin_loop();
        }
    }
    Ok(())
}

#[inline(never)]
fn answer<E: End>(end: &mut E, size: usize, count: u64) -> Result<()> {
    let (mut source, mut sink) = (Source::new(size), Sink::new(size));
    for _ in 0..count {
        while end.receive(&mut sink) == 0 {
            spin_loop();
        }
        while end.send(&mut source, 1) == 0 {
            spin_loop();
        }
    }
    Ok(())
}

/// What is counted, and nothing else: the buffers are there already.
#[inline(never)]
fn counted_messages<E: End>(a: &mut E, b: &mut E, source: &mut Source, sink: &mut Sink, count: u64) {
    let mut unsent = count;
    let mut left = count;
    while left != 0 {
        unsent -= a.send(source, unsent);
        loop {
            let received = b.receive(sink);
            left -= received;
            if received == 0 || left == unsent {
                break;
            }
        }
    }
}

fn counted<E: End>(a: &mut E, b: &mut E, size: usize, count: u64) {
    counted_messages(a, b, &mut Source::new(size), &mut Sink::new(size), count);
}
