//! Native components: peers of guests that need no kernel of their own.
//!
//! A component runs inside the VMM, on a CPU whose guest has just emitted to it, before that guest goes on. So what it does at once
//! is bounded, and it never waits for a guest.

mod reverse;

use core::fmt::Debug;

use crossvm_core::{EventId, EventSet};
use heapless::String;
use spin::mutex::TicketMutex;

use crate::dataport::SharedMemory;
use crate::mail::{Mailbox, Notify};
use crate::platform::{Platform, Text};

pub use reverse::Reverse;

/// Longest name, in bytes.
const MAX_NAME: usize = crossvm_manifest::MAX_NAME;

/// A component's end of a connection.
#[derive(Debug)]
pub struct Port<P> {
    /// The connection's name.
    pub name: String<MAX_NAME>,
    /// The event id of the peer's events.
    pub event: EventId,
    /// The shared memory.
    pub dataport: &'static SharedMemory,
    /// Signals the peer.
    pub emit: Notify<P>,
    /// Events that have come.
    pub received: u64,
    /// Events that were sent.
    pub emitted: u64,
}

/// What a component does.
///
/// # Contract
///
/// 1. `consume` serves every event of the set once, in time that does not depend on what a guest writes beyond the dataport's size.
/// 2. It never waits for a guest, and reads nothing of a dataport twice where the difference would matter.
pub trait Component<P: Platform>: Debug + Send {
    /// Events have come.
    fn consume(&mut self, events: EventSet, platform: P);

    /// Its ends.
    fn ports(&self) -> &[Port<P>];
}

/// A component with its mailbox, shared by all CPUs. The lock is fair: no guest can keep another from the component.
#[derive(Debug)]
pub struct Seat<P: 'static> {
    name: String<MAX_NAME>,
    mailbox: &'static Mailbox,
    component: TicketMutex<&'static mut dyn Component<P>>,
}

impl<P: Platform> Seat<P> {
    /// Seats `component`, whose events arrive in `mailbox`.
    #[must_use]
    pub const fn new(name: String<MAX_NAME>, mailbox: &'static Mailbox, component: &'static mut dyn Component<P>) -> Self {
        Self { name, mailbox, component: TicketMutex::new(component) }
    }

    /// Where its events arrive.
    #[must_use]
    pub const fn mailbox(&self) -> &'static Mailbox {
        self.mailbox
    }

    /// Serves what has come. Whoever has notified calls this afterwards; then its event has been served here, or another CPU has taken
    /// it and serves it before that CPU's guest goes on.
    ///
    /// Without mail it takes no lock: a CPU calls it on every seat after each emit of its guest, whoever that was for.
    pub fn serve(&self, platform: P) {
        // The mail is taken before the lock. Whatever has been taken is in the hands of one CPU, which waits for its turn and serves it,
        // and what arrives meanwhile is taken by the CPU that sent it, or by another one that comes earlier. So an empty mailbox means
        // that nothing is left to do here: this CPU's own event was set before it came, and only taking clears it.
        let events = self.mailbox.take();
        if !events.is_empty() {
            self.component.lock().consume(events, platform);
        }
    }

    /// Prints the records of its ends.
    pub fn report(&self, platform: P) {
        for port in self.component.lock().ports() {
            let (name, connection) = (&self.name, &port.name);
            platform.print(Text::Vmm(format_args!(
                "record=component name={name} connection={connection} received={} emitted={}",
                port.received, port.emitted
            )));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::tests::Recorder;
    use crossvm_core::Notifier;
    use std::boxed::Box;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::sync::{Arc, mpsc};
    use std::time::Duration;

    /// Counts each event id's events.
    #[derive(Debug)]
    struct Counter(Arc<[AtomicU64]>);

    impl Component<Recorder> for Counter {
        fn consume(&mut self, events: EventSet, _platform: Recorder) {
            for (bit, count) in (0..).zip(self.0.iter()) {
                if events.contains(EventId::new(bit).unwrap()) {
                    // Not one access: a component that two CPUs ran at once would lose counts.
                    count.store(count.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
                }
            }
        }

        fn ports(&self) -> &[Port<Recorder>] {
            &[]
        }
    }

    fn seat(senders: usize) -> (&'static Seat<Recorder>, Arc<[AtomicU64]>) {
        let counts: Arc<[AtomicU64]> = (0..senders).map(|_| AtomicU64::new(0)).collect();
        let counter = Box::leak(Box::new(Counter(Arc::clone(&counts))));
        let mailbox = Box::leak(Box::new(Mailbox::for_component()));
        (Box::leak(Box::new(Seat::new(String::try_from("counter").unwrap(), mailbox, counter))), counts)
    }

    #[test]
    fn a_seat_without_mail_does_not_wait_for_its_component() {
        let (seat, _) = seat(1);
        let platform = Recorder::new();
        let (done, waits) = mpsc::channel();
        let busy = seat.component.lock();
        std::thread::spawn(move || {
            seat.serve(platform);
            done.send(()).unwrap();
        });
        waits.recv_timeout(Duration::from_secs(20)).expect("it returns while another CPU has the component");
        drop(busy);
    }

    #[test]
    fn each_event_is_served_by_its_sender_or_by_another_cpu() {
        const ROUNDS: u64 = 1000;
        // No more than small hosts have CPUs: waiting for the fair lock spins.
        let (seat, counts) = seat(2);
        let platform = Recorder::new();
        std::thread::scope(|scope| {
            // The first events of all senders come while another CPU has the component.
            let busy = seat.component.lock();
            for bit in (0..).take(counts.len()) {
                let notify = Notify::new(seat.mailbox(), EventId::new(bit).unwrap(), platform);
                scope.spawn(move || {
                    for _ in 0..ROUNDS {
                        notify.notify().unwrap();
                        seat.serve(platform);
                    }
                });
            }
            std::thread::sleep(Duration::from_millis(50));
            drop(busy);
        });
        // A sender's event has been taken when `serve` returns, so that no two of them coalesce.
        assert!(counts.iter().all(|count| count.load(Ordering::Relaxed) == ROUNDS), "{counts:?}");
    }
}
