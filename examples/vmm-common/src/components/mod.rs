//! Native components: peers of guests that need no kernel of their own.
//!
//! A component runs inside the VMM, on the CPU whose guest has just emitted to it, before that guest goes on. So what it does at once
//! is bounded, and it never waits for a guest. No CPU works for the guest of another one: each serves the event that its guest has sent,
//! and each end of a component has a lock of its own.
//!
//! Events on one connection that come while the component is busy are served together: it does its work once, after the last of them, and
//! answers with as many events as have come.

mod digest;
mod memory;
mod reverse;
mod source;

use crossvm_core::EventId;
use crossvm_manifest::ComponentKind;
use heapless::{String, Vec};
use spin::mutex::TicketMutex;

use crate::config::Memories;
use crate::mail::{Mailbox, Notify};
use crate::platform::{Caches, Platform, Text};

/// Longest name, in bytes.
const MAX_NAME: usize = crossvm_manifest::MAX_NAME;
/// Most connections of one component: one for each event id.
const MAX_PORTS: usize = EventId::COUNT;

/// A component's end of a connection.
#[derive(Debug)]
pub struct Port<P> {
    /// The connection's name.
    pub name: String<MAX_NAME>,
    /// The event id of the peer's events.
    pub event: EventId,
    /// The shared memory.
    pub dataports: Memories,
    /// Signals the peer.
    pub emit: Notify<P>,
    /// Events that have come.
    pub received: u64,
    /// Events that were sent.
    pub emitted: u64,
}

/// What a component does for an event: with the shared memory of the connection, and the number of events on it so far, this one included.
///
/// It takes time that does not depend on what a guest writes beyond the size of the memory, and reads nothing twice where the difference would
/// matter.
pub type Work<C> = fn(&Memories, u64, C);

/// What a component of this kind does.
#[must_use]
pub fn work<C: Caches>(kind: ComponentKind) -> Work<C> {
    match kind {
        ComponentKind::Reverse => reverse::work,
        ComponentKind::Digest => digest::work,
        ComponentKind::Source => source::work,
        // The manifest knows more than this VMM: such a component leaves the memory alone.
        _ => |_: &Memories, _, _| {},
    }
}

/// An event that a component is to serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    /// Number of the component.
    pub component: u8,
    /// The event.
    pub event: EventId,
}

/// A component.
#[derive(Debug)]
pub struct Component<P> {
    /// Its ends, by their events. Nothing is shared among them, so that no guest waits for what another one asked for. The locks are fair: no
    /// vCPU can keep another of its VM from the component.
    ports: Vec<(EventId, TicketMutex<Port<P>>), MAX_PORTS>,
    work: Work<P>,
}

impl<P: Platform> Component<P> {
    /// A component of this kind with these ends; more than 64 are left out.
    pub fn new(kind: ComponentKind, ports: impl IntoIterator<Item = Port<P>>) -> Self {
        Self { ports: ports.into_iter().take(MAX_PORTS).map(|port| (port.event, TicketMutex::new(port))).collect(), work: work(kind) }
    }

    /// `count` events have come.
    fn consume(&self, event: EventId, count: u32, platform: P) {
        let Some((_, port)) = self.ports.iter().find(|(of, _)| *of == event) else { return };
        let mut port = port.lock();
        port.received = port.received.saturating_add(count.into());
        (self.work)(&port.dataports, port.received, platform);
        if port.emit.notify_counted(count).is_ok() {
            port.emitted = port.emitted.saturating_add(count.into());
        }
    }
}

/// A component with its mailbox, shared by all CPUs.
#[derive(Debug)]
pub struct Seat<P: 'static> {
    name: String<MAX_NAME>,
    mailbox: &'static Mailbox,
    component: Component<P>,
}

impl<P: Platform> Seat<P> {
    /// Seats `component`, whose events arrive in `mailbox`.
    #[must_use]
    pub const fn new(name: String<MAX_NAME>, mailbox: &'static Mailbox, component: Component<P>) -> Self {
        Self { name, mailbox, component }
    }

    /// Where its events arrive.
    #[must_use]
    pub const fn mailbox(&self) -> &'static Mailbox {
        self.mailbox
    }

    /// Serves what has come of `event`. Whoever has notified calls this afterwards; then its event has been served here, or another CPU has
    /// taken it and serves it before that CPU's guest goes on. That is a CPU of the same VM: nobody else sends this event.
    pub fn serve(&self, event: EventId, platform: P) {
        // The events are taken before the lock. Whatever has been taken is in the hands of one CPU, which waits for its turn and serves it,
        // and what arrives meanwhile is taken by the CPU that sent it, or by another one that comes earlier. So a count of zero means
        // that nothing is left to do here: this CPU's own event was counted before it came, and only taking clears it.
        let count = self.mailbox.take_event(event);
        if count != 0 {
            self.component.consume(event, count, platform);
        }
    }

    /// Prints the records of its ends.
    pub fn report(&self, platform: P) {
        for (_, port) in &self.component.ports {
            let port = port.lock();
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
    use std::sync::mpsc;
    use std::time::Duration;
    use std::vec::Vec as StdVec;

    /// A component that answers `senders` guests, and their mailboxes.
    fn seat(senders: u8) -> (&'static Seat<Recorder>, StdVec<&'static Mailbox>) {
        let leak = |mailbox| &*Box::leak(Box::new(mailbox));
        let guests: StdVec<_> = (0..senders).map(|_| leak(Mailbox::for_component())).collect();
        let port = |(bit, mailbox): (u8, &&'static Mailbox)| {
            let event = EventId::new(bit).unwrap();
            let emit = Notify::new(mailbox, event, Recorder::new());
            Port { name: String::new(), event, dataports: Memories::new(), emit, received: 0, emitted: 0 }
        };
        let component = Component::new(ComponentKind::Source, (0..).zip(&guests).map(port));
        let mailbox = leak(Mailbox::for_component());
        (Box::leak(Box::new(Seat::new(String::try_from("counter").unwrap(), mailbox, component))), guests)
    }

    #[test]
    fn a_seat_without_mail_does_not_wait_for_its_component() {
        let (seat, _) = seat(1);
        let platform = Recorder::new();
        let (done, waits) = mpsc::channel();
        let busy = seat.component.ports[0].1.lock();
        std::thread::spawn(move || {
            seat.serve(EventId::new(0).unwrap(), platform);
            done.send(()).unwrap();
        });
        waits.recv_timeout(Duration::from_secs(20)).expect("it returns while another CPU has the component");
        drop(busy);
    }

    #[test]
    fn a_cpu_works_for_its_own_guest_alone_and_waits_for_no_other_s() {
        let (seat, guests) = seat(2);
        let platform = Recorder::new();
        let events = [0, 1].map(|bit| EventId::new(bit).unwrap());
        for event in events {
            Notify::new(seat.mailbox(), event, platform).notify().unwrap();
        }
        let (done, waits) = mpsc::channel();
        // The first guest's work takes long, on another CPU.
        let busy = seat.component.ports[0].1.lock();
        std::thread::spawn(move || {
            seat.serve(events[1], platform);
            done.send(()).unwrap();
        });
        waits.recv_timeout(Duration::from_secs(20)).expect("its event is served meanwhile");
        assert_eq!(guests[1].take().next(), Some((events[1], 1)));
        drop(busy);
        assert!(guests[0].take().is_empty(), "left to the CPU that sent it");
        seat.serve(events[0], platform);
        assert_eq!(guests[0].take().next(), Some((events[0], 1)));
    }

    #[test]
    fn each_event_is_served_by_its_sender_or_by_another_cpu() {
        const ROUNDS: u32 = 1000;
        // No more than small hosts have CPUs: waiting for the fair lock spins.
        let (seat, guests) = seat(2);
        let platform = Recorder::new();
        std::thread::scope(|scope| {
            // The first events of all senders come while another CPU has the component.
            let busy = [0, 1].map(|index: usize| seat.component.ports[index].1.lock());
            for bit in 0..2 {
                let notify = Notify::new(seat.mailbox(), EventId::new(bit).unwrap(), platform);
                scope.spawn(move || {
                    for _ in 0..ROUNDS {
                        notify.notify().unwrap();
                        seat.serve(EventId::new(bit).unwrap(), platform);
                    }
                });
            }
            std::thread::sleep(Duration::from_millis(50));
            drop(busy);
        });
        for ((_, port), guest) in seat.component.ports.iter().zip(guests) {
            let port = port.lock();
            // Not one access each: a component that two CPUs ran at once would lose counts.
            assert_eq!((port.received, port.emitted), (ROUNDS.into(), ROUNDS.into()));
            assert_eq!(guest.take().next(), Some((port.event, ROUNDS)), "as many events back as have come");
        }
    }
}
