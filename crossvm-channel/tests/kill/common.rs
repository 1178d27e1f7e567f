//! What the processes share: a memfd with a page of words and the channel's memory after it, and an eventfd for each end.

use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd, RawFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use crossvm_channel::{Doorbell, RingFailed, Shared, Side, Wait, Wake};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap};

/// What stands in front of the channel.
const PAGE: usize = 4096;
/// The channel's memory: a message has nearly 32 KiB at most.
const CHANNEL: usize = 128 << 10;

/// What one end's processes write down. It outlives them, as a disk would.
#[derive(Debug)]
#[repr(C, align(256))]
pub(crate) struct Notes {
    /// A: how many messages were acknowledged. B: how many were received, one after the other.
    pub(crate) next: AtomicU64,
    /// How often its processes have met a peer.
    pub(crate) sessions: AtomicU64,
    /// How often its processes have noticed that the peer is another.
    pub(crate) noticed: AtomicU64,
    /// Not 0 while it copies to the ring, or out of it.
    pub(crate) copying: AtomicU64,
    /// Set by the supervisor: it kills itself in the middle of the next message.
    pub(crate) die: AtomicU64,
}

impl Notes {
    /// How many sessions its processes have begun and not ended with a notice: those in which they died, and the present one.
    pub(crate) fn begun_and_not_ended(&self) -> u64 {
        let begun = self.sessions.load(Ordering::Acquire);
        begun - self.noticed.load(Ordering::Acquire).min(begun)
    }
}

/// All words.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Page {
    pub(crate) a: Notes,
    pub(crate) b: Notes,
    /// How many messages there are to send, once that is known.
    pub(crate) last: AtomicU64,
}

impl Page {
    pub(crate) const fn of(&self, side: Side) -> &Notes {
        match side {
            Side::A => &self.a,
            Side::B => &self.b,
        }
    }
}

/// Descriptors that are inherited.
#[derive(Debug)]
pub(crate) struct Files {
    pub(crate) memory: OwnedFd,
    /// What A and B sleep on.
    pub(crate) bells: [OwnedFd; 2],
}

impl Files {
    pub(crate) fn new() -> Self {
        // Without CLOEXEC.
        let memory = memfd_create("crossvm-channel-kill", MemfdFlags::empty()).unwrap();
        ftruncate(&memory, (PAGE + CHANNEL) as u64).unwrap();
        let bells = [(); 2].map(|()| eventfd(0, EventfdFlags::NONBLOCK).unwrap());
        Self { memory, bells }
    }

    /// The numbers that a child needs.
    pub(crate) fn numbers(&self) -> String {
        let [a, b] = &self.bells;
        [&self.memory, a, b].map(|file| file.as_raw_fd().to_string()).join(",")
    }
}

/// Descriptors by their numbers, as a child has them.
pub(crate) fn inherited(numbers: &str) -> [BorrowedFd<'static>; 3] {
    let mut numbers = numbers.split(',').map(|number| number.parse::<RawFd>().unwrap());
    // SAFETY: the parent has left them open for this process, and nobody closes them.
    [(); 3].map(|()| unsafe { BorrowedFd::borrow_raw(numbers.next().unwrap()) })
}

/// Maps the memfd, for good.
pub(crate) fn map(memory: impl AsFd) -> (&'static Page, Shared<'static>) {
    let flags = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: a new mapping, which is never unmapped.
    let start = unsafe { mmap(std::ptr::null_mut(), PAGE + CHANNEL, flags, MapFlags::SHARED, memory, 0) }.unwrap().cast::<u8>();
    assert!(size_of::<Page>() <= PAGE);
    // SAFETY: the first page holds only atomics, for which all bits are values; the rest is the channel's and nobody makes references to it.
    unsafe { (&*start.cast::<Page>(), Shared::new(NonNull::new(start.add(PAGE)).unwrap(), CHANNEL)) }
}

/// An eventfd: to ring, or to sleep on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bell {
    pub(crate) file: BorrowedFd<'static>,
    /// How long it is slept on at most, in milliseconds.
    pub(crate) patience: u32,
}

impl Doorbell for Bell {
    fn ring(&self) -> Result<(), RingFailed> {
        match rustix::io::write(self.file, &1_u64.to_ne_bytes()) {
            Ok(_) | Err(Errno::AGAIN) => Ok(()),
            Err(_) => Err(RingFailed),
        }
    }
}

impl Wait for Bell {
    type Error = Errno;

    fn wait(&mut self) -> Result<Wake, Errno> {
        let limit = Timespec { tv_sec: i64::from(self.patience / 1000), tv_nsec: i64::from(self.patience % 1000 * 1_000_000) };
        let rung = poll(&mut [PollFd::new(&self.file, PollFlags::IN)], Some(&limit))? != 0;
        // Whoever was rung before this sleep finds out all the same.
        let _ = rustix::io::read(self.file, &mut [0; 8]);
        Ok(if rung { Wake::Rung } else { Wake::TimedOut })
    }
}

/// splitmix64: numbers that look random, the same each time.
#[derive(Debug)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    pub(crate) const fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

/// Message `number`: its number, then what follows from it, of a length that follows from it: usually short, sometimes nearly the longest.
pub(crate) fn message(number: u64, most: usize) -> Vec<u8> {
    let mut random = Random(number);
    let limit = if random.below(16) == 0 { most as u64 } else { 600 };
    let length = 8 + usize::try_from(random.below(limit - 7)).unwrap();
    let mut bytes = number.to_le_bytes().to_vec();
    while bytes.len() < length {
        bytes.extend(random.next().to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// Adds to a counter.
pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::AcqRel);
}
