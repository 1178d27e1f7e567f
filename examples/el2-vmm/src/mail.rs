//! Events between VMs, and what is typed for them.
//!
//! ```text
//!   EMIT on one CPU:    Notify::notify ──▶ Mailbox: set the bit of the event ──▶ kick the receiver's CPU
//!   on the other CPU:   leave the guest ──▶ Mailbox::take: all bits at once ──▶ CrossVm::consume
//! ```
//!
//! The bit is set before the kick, and the receiver takes the bits after it has been kicked and before it enters its guest: no event
//! is left behind.

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

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
    pending: AtomicU64,
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
            closed: AtomicBool::new(false),
            cpu,
            input: Mutex::new(Deque::new()),
            has_input: AtomicBool::new(false),
        }
    }

    /// Takes all events that have arrived. What their senders wrote before is visible afterwards.
    #[must_use]
    pub fn take(&self) -> EventSet {
        // A load first: an exchange would fetch the line for writing at each entry.
        if self.pending.load(Ordering::Relaxed) == 0 {
            return EventSet::EMPTY;
        }
        EventSet::from_word(self.pending.swap(0, Ordering::Acquire))
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
}

impl<P> ErrorType for Notify<P> {
    type Error = PeerGone;
}

impl<P: Platform> Notifier for Notify<P> {
    fn notify(&self) -> Result<(), PeerGone> {
        if self.mailbox.closed.load(Ordering::Acquire) {
            return Err(PeerGone);
        }
        // What the guest has stored, with whatever memory attributes, comes before the event.
        self.platform.barrier();
        let event = EventSet::of(self.event).word();
        let before = self.mailbox.pending.fetch_or(event, Ordering::Release);
        // A bit that is set has been kicked for, and its receiver has not looked since: a guest that emits in a loop does not keep
        // its peer from its work.
        if before & event == 0
            && let Some(cpu) = self.mailbox.cpu
        {
            self.platform.kick(cpu);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::tests::Recorder;
    use std::boxed::Box;

    fn leak(mailbox: Mailbox) -> &'static Mailbox {
        Box::leak(Box::new(mailbox))
    }

    #[test]
    fn events_coalesce_and_none_is_lost() {
        let platform = Recorder::new();
        let mailbox = leak(Mailbox::for_vm(CpuId::new(3)));
        let ids = [5, 63].map(|bit| EventId::new(bit).unwrap());
        for id in [ids[0], ids[1], ids[0]] {
            Notify::new(mailbox, id, platform).notify().unwrap();
        }
        assert_eq!(platform.kicks(), [CpuId::new(3); 2], "the third coalesced with the first");
        assert_eq!(mailbox.take(), ids.into_iter().collect());
        assert_eq!(mailbox.take(), EventSet::EMPTY);
        Notify::new(mailbox, ids[0], platform).notify().unwrap();
        assert_eq!(platform.kicks().len(), 3, "a new event after the receiver has looked is kicked for again");
    }

    #[test]
    fn a_receiver_that_is_gone_refuses() {
        let platform = Recorder::new();
        let mailbox = leak(Mailbox::for_vm(CpuId::BOOT));
        mailbox.close();
        assert_eq!(Notify::new(mailbox, EventId::new(0).unwrap(), platform).notify(), Err(PeerGone));
        assert_eq!((mailbox.take(), platform.kicks().len()), (EventSet::EMPTY, 0));
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
        let read: std::vec::Vec<u8> = core::iter::from_fn(|| mailbox.next_input()).collect();
        assert_eq!(read, (0..=u8::MAX).collect::<std::vec::Vec<u8>>(), "256 fit, the rest is dropped");
        assert_eq!(platform.kicks().len(), 257);
        mailbox.typed(platform, 9);
        assert_eq!(mailbox.next_input(), Some(9));
    }
}
