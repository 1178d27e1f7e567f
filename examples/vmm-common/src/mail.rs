//! Events between VMs, and what is typed for them.
//!
//! ```text
//!   EMIT on one CPU:    Notify::notify ──▶ Mailbox: count the event, set its bit ──▶ kick the receiver's CPU
//!   on the other CPU:   leave the guest ──▶ Mailbox::take: the bits, then their counts ──▶ CrossVm::consume_counted
//! ```
//!
//! Every event is counted: however many a guest emits before its peer looks, the peer is told how many they were. The count comes before the
//! bit and the bit before the kick, and the receiver takes them in the same order, after it has been kicked and before it enters its guest: no
//! event is left behind. A bit whose events were taken with an earlier one of them has a count of zero.
//!
//! While the mailbox is held ([`crate::pace`]), senders do not kick; the receiver looks again by itself, after it has released it.

use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering, fence};

use crossvm_core::{Error, ErrorKind, ErrorType, EventId, EventSet, Notifier};
use heapless::Deque;
use spin::Mutex;

use crate::host::CpuId;
use crate::platform::Platform;

/// How many typed characters wait for a guest that does not read them; more are dropped.
const INPUT: usize = 256;

/// Where the events for one VM or component arrive.
#[derive(Debug)]
pub struct Mailbox {
    /// The events whose counts are to be looked at.
    pending: AtomicU64,
    /// How many of each event have come and were not taken. Full counters stay full.
    counts: [AtomicU32; EventId::COUNT],
    /// Nobody kicks.
    held: AtomicBool,
    closed: AtomicBool,
    /// The CPU to kick; `None` for a component, which is served by the CPU that notifies.
    cpu: Option<CpuId>,
    input: Mutex<Deque<u8, INPUT>>,
    has_input: AtomicBool,
}

impl Mailbox {
    /// The mailbox of a VM that runs on `cpu`.
    #[must_use]
    pub const fn for_vm(cpu: CpuId) -> Self {
        Self::new(Some(cpu))
    }

    /// The mailbox of a native component.
    #[must_use]
    pub const fn for_component() -> Self {
        Self::new(None)
    }

    const fn new(cpu: Option<CpuId>) -> Self {
        Self {
            pending: AtomicU64::new(0),
            counts: [const { AtomicU32::new(0) }; EventId::COUNT],
            held: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            cpu,
            input: Mutex::new(Deque::new()),
            has_input: AtomicBool::new(false),
        }
    }

    /// Takes all events that have arrived: each with its count. What their senders wrote before is visible afterwards. What is not iterated
    /// over is lost.
    #[must_use]
    pub fn take(&self) -> Mail<'_> {
        // A load first: an exchange would fetch the line for writing at each entry.
        let pending = match self.pending.load(Ordering::Relaxed) {
            0 => 0,
            _ => self.pending.swap(0, Ordering::Acquire),
        };
        Mail { mailbox: self, events: EventSet::from_word(pending) }
    }

    /// Takes all of one event that have arrived. What their senders wrote before is visible afterwards. For a component, whose events are each
    /// served by who sends them.
    pub fn take_event(&self, event: EventId) -> u32 {
        self.counts.get(usize::from(event.bit())).map_or(0, |counter| counter.swap(0, Ordering::Acquire))
    }

    /// Adds `count` events, and kicks the receiver where nobody has since it looked.
    fn put<P: Platform>(&self, event: EventId, count: u32, platform: P) {
        if let Some(counter) = self.counts.get(usize::from(event.bit())) {
            // The closure never refuses.
            let _ = counter.fetch_update(Ordering::Release, Ordering::Relaxed, |before| Some(before.saturating_add(count)));
        }
        let bit = EventSet::of(event).word();
        let before = self.pending.fetch_or(bit, Ordering::Release);
        // A bit that is set has been kicked for, and its receiver has not looked since: a guest that emits in a loop does not keep
        // its peer from its work.
        if before & bit == 0
            && let Some(cpu) = self.cpu
        {
            // The bit before the look at `held`, as `release` has it the other way round: either the receiver sees the bit, or it is kicked.
            fence(Ordering::SeqCst);
            if !self.held.load(Ordering::Relaxed) {
                platform.kick(cpu);
            }
        }
    }

    /// The CPU that is kicked.
    #[must_use]
    pub const fn cpu(&self) -> Option<CpuId> {
        self.cpu
    }

    /// From now on, events do not kick. The receiver calls [`Mailbox::release`] in a while, whether it is kicked or not.
    pub fn hold(&self) {
        self.held.store(true, Ordering::Relaxed);
    }

    /// Events kick again. What has come meanwhile is there to be taken: the receiver calls [`Mailbox::take`] afterwards.
    pub fn release(&self) {
        self.held.store(false, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// The receiver is gone: from now on, events for it are refused.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    /// Somebody typed `byte` for this VM.
    pub fn typed<P: Platform>(&self, platform: P, byte: u8) {
        // A guest that does not read loses what is typed, like a terminal without flow control.
        let _ = self.input.lock().push_back(byte);
        self.has_input.store(true, Ordering::Release);
        if let Some(cpu) = self.cpu {
            platform.kick(cpu);
        }
    }

    /// The next typed byte.
    pub fn next_input(&self) -> Option<u8> {
        if !self.has_input.load(Ordering::Acquire) {
            return None;
        }
        let mut input = self.input.lock();
        let byte = input.pop_front();
        if byte.is_none() {
            self.has_input.store(false, Ordering::Release);
        }
        byte
    }
}

/// Events that were taken out of a mailbox, each with its count, which is not zero.
#[derive(Debug)]
pub struct Mail<'a> {
    mailbox: &'a Mailbox,
    events: EventSet,
}

impl Mail<'_> {
    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.events.is_empty()
    }
}

impl Iterator for Mail<'_> {
    type Item = (EventId, u32);

    fn next(&mut self) -> Option<(EventId, u32)> {
        loop {
            let event = self.events.take_lowest()?;
            let count = self.mailbox.take_event(event);
            if count != 0 {
                return Some((event, count));
            }
        }
    }
}

/// The receiver of an event has stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerGone;

impl Error for PeerGone {
    fn kind(&self) -> ErrorKind {
        ErrorKind::NotFound
    }
}

/// Sends one event to one mailbox.
#[derive(Debug, Clone, Copy)]
pub struct Notify<P> {
    mailbox: &'static Mailbox,
    event: EventId,
    platform: P,
}

impl<P: Platform> Notify<P> {
    /// Sends `event` to `mailbox`.
    #[must_use]
    pub const fn new(mailbox: &'static Mailbox, event: EventId, platform: P) -> Self {
        Self { mailbox, event, platform }
    }

    /// Sends the event `count` times.
    ///
    /// # Errors
    /// [`PeerGone`].
    pub fn notify_counted(&self, count: u32) -> Result<(), PeerGone> {
        if self.mailbox.closed.load(Ordering::Acquire) {
            return Err(PeerGone);
        }
        // What the guest has stored, with whatever memory attributes, comes before the event.
        self.platform.barrier();
        self.mailbox.put(self.event, count, self.platform);
        Ok(())
    }
}

impl<P> ErrorType for Notify<P> {
    type Error = PeerGone;
}

impl<P: Platform> Notifier for Notify<P> {
    fn notify(&self) -> Result<(), PeerGone> {
        self.notify_counted(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::tests::Recorder;
    use crossvm_testkit::conformance::notifier::{self, Wires};
    use std::boxed::Box;
    use std::vec::Vec;

    fn leak(mailbox: Mailbox) -> &'static Mailbox {
        Box::leak(Box::new(mailbox))
    }

    #[test]
    fn kicks_coalesce_and_no_event_is_lost() {
        let platform = Recorder::new();
        let mailbox = leak(Mailbox::for_vm(CpuId::new(3)));
        let ids = [5, 63].map(|bit| EventId::new(bit).unwrap());
        for id in [ids[0], ids[1], ids[0]] {
            Notify::new(mailbox, id, platform).notify().unwrap();
        }
        assert_eq!(platform.kicks(), [CpuId::new(3); 2], "the third coalesced with the first");
        assert_eq!(mailbox.take().collect::<Vec<_>>(), [(ids[0], 2), (ids[1], 1)]);
        assert_eq!(mailbox.take().next(), None);
        Notify::new(mailbox, ids[0], platform).notify().unwrap();
        assert_eq!(platform.kicks().len(), 3, "a new event after the receiver has looked is kicked for again");
    }

    /// A mailbox, with notifiers for some events.
    struct Post(&'static Mailbox, Vec<(EventId, Notify<Recorder>)>);

    impl Wires for Post {
        type Notifier = Notify<Recorder>;

        fn notifiers(&self) -> &[(EventId, Notify<Recorder>)] {
            &self.1
        }

        fn receive(&self) -> EventSet {
            self.0.take().map(|(event, _)| event).collect()
        }
    }

    #[test]
    fn mailboxes_keep_the_contract_of_notifiers() {
        let make = || {
            let (mailbox, platform) = (leak(Mailbox::for_component()), Recorder::new());
            let events = [0, 7, 8, 63].map(|bit| EventId::new(bit).unwrap());
            Post(mailbox, events.map(|event| (event, Notify::new(mailbox, event, platform))).into())
        };
        notifier::all(make);
        notifier::between_threads(make);
    }

    #[test]
    fn events_for_a_mailbox_that_is_held_wait_for_its_release() {
        let platform = Recorder::new();
        let mailbox = leak(Mailbox::for_vm(CpuId::new(3)));
        let ids = [0, 63].map(|bit| EventId::new(bit).unwrap());
        let notify = |id| Notify::new(mailbox, id, platform).notify().unwrap();
        mailbox.hold();
        (0..3).for_each(|_| notify(ids[0]));
        assert_eq!(mailbox.take().collect::<Vec<_>>(), [(ids[0], 3)], "whoever looks meanwhile sees them");
        ids.into_iter().for_each(notify);
        assert!(platform.kicks().is_empty());
        mailbox.release();
        assert_eq!(mailbox.take().collect::<Vec<_>>(), [(ids[0], 1), (ids[1], 1)]);
        notify(ids[1]);
        assert_eq!(platform.kicks(), [CpuId::new(3)]);
    }

    #[test]
    fn no_event_is_unseen_however_often_a_mailbox_is_held_and_released() {
        const ROUNDS: u32 = 5_000;
        let (mailbox, platform) = (leak(Mailbox::for_vm(CpuId::new(1))), Recorder::new());
        let id = EventId::new(7).unwrap();
        let round: &'static AtomicU32 = Box::leak(Box::default());
        let sender = std::thread::spawn(move || {
            for number in 1..=ROUNDS {
                while round.load(Ordering::Acquire) < number {
                    std::hint::spin_loop();
                }
                Notify::new(mailbox, id, platform).notify().unwrap();
            }
        });
        for number in 1..=ROUNDS {
            platform.forget();
            mailbox.hold();
            round.store(number, Ordering::Release);
            (0..number % 64).for_each(|_| std::hint::spin_loop());
            // Its time is over. What is not there now must kick.
            mailbox.release();
            if mailbox.take().next().is_none() {
                let start = std::time::Instant::now();
                // The kick for the event before may be late: then it looks once more than it must.
                while platform.kicks().is_empty() || {
                    platform.forget();
                    mailbox.take().next().is_none()
                } {
                    assert!(start.elapsed().as_secs() < 60, "event {number} was not seen");
                    std::thread::yield_now();
                }
            }
        }
        sender.join().unwrap();
    }

    #[test]
    fn an_event_between_bit_and_count_is_taken_once() {
        let platform = Recorder::new();
        let mailbox = leak(Mailbox::for_vm(CpuId::BOOT));
        let id = EventId::new(9).unwrap();
        let notify = Notify::new(mailbox, id, platform);
        notify.notify().unwrap();
        let mut mail = mailbox.take();
        notify.notify().unwrap();
        assert_eq!((mail.next(), mail.next()), (Some((id, 2)), None));
        assert_eq!((mailbox.take().is_empty(), mailbox.take().next()), (false, None), "its bit is set, its count is taken");
        assert_eq!(platform.kicks().len(), 2);
    }

    #[test]
    fn a_full_counter_stays_full() {
        let mailbox = leak(Mailbox::for_component());
        let id = EventId::new(0).unwrap();
        let notify = Notify::new(mailbox, id, Recorder::new());
        notify.notify_counted(u32::MAX - 1).unwrap();
        notify.notify_counted(7).unwrap();
        assert_eq!(mailbox.take().next(), Some((id, u32::MAX)));
    }

    #[test]
    fn bursts_of_several_senders_are_counted_exactly() {
        const EACH: u32 = 20_000;
        let (mailbox, platform) = (leak(Mailbox::for_component()), Recorder::new());
        let ids = [0, 1].map(|bit| EventId::new(bit).unwrap());
        let senders: Vec<_> = [ids[0], ids[1], ids[0]]
            .map(|id| std::thread::spawn(move || (0..EACH).for_each(|_| Notify::new(mailbox, id, platform).notify().unwrap())))
            .into();
        let mut counts = [0, 0];
        loop {
            let done = senders.iter().all(std::thread::JoinHandle::is_finished);
            mailbox.take().for_each(|(id, count)| counts[usize::from(id.bit())] += count);
            if done {
                break;
            }
            std::thread::yield_now();
        }
        assert_eq!(counts, [2 * EACH, EACH]);
    }

    #[test]
    fn a_receiver_that_is_gone_refuses() {
        let platform = Recorder::new();
        let mailbox = leak(Mailbox::for_vm(CpuId::BOOT));
        mailbox.close();
        assert_eq!(Notify::new(mailbox, EventId::new(0).unwrap(), platform).notify(), Err(PeerGone));
        assert_eq!((mailbox.take().is_empty(), platform.kicks().len()), (true, 0));
    }

    #[test]
    fn what_is_typed_arrives_in_order_and_kicks() {
        let platform = Recorder::new();
        let mailbox = Mailbox::for_vm(CpuId::new(1));
        assert_eq!(mailbox.next_input(), None);
        for byte in 0..=u8::MAX {
            mailbox.typed(platform, byte);
        }
        mailbox.typed(platform, 1);
        let read: Vec<u8> = core::iter::from_fn(|| mailbox.next_input()).collect();
        assert_eq!(read, (0..=u8::MAX).collect::<Vec<u8>>(), "256 fit, the rest is dropped");
        assert_eq!(platform.kicks().len(), 257);
        mailbox.typed(platform, 9);
        assert_eq!(mailbox.next_input(), Some(9));
    }
}
