//! Native components: peers of guests that need no kernel of their own.
//!
//! A component runs inside the VMM, on a CPU whose guest has just emitted to it, before that guest goes on. So what it does at once
//! is bounded, and it never waits for a guest.
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

use crate::config::Dataports;
use crate::mail::{Mailbox, Notify};
use crate::platform::{Platform, Text};

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
    pub dataports: Dataports,
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
type Work<P> = fn(&Dataports, u64, P);

/// A component.
#[derive(Debug)]
pub struct Component<P> {
    ports: Vec<Port<P>, MAX_PORTS>,
    work: Work<P>,
}

impl<P: Platform> Component<P> {
    /// A component of this kind with these ends; more than 64 are left out.
    pub fn new(kind: ComponentKind, ports: impl IntoIterator<Item = Port<P>>) -> Self {
        let work = match kind {
            ComponentKind::Reverse => reverse::work,
            ComponentKind::Digest => digest::work,
            ComponentKind::Source => source::work,
            // The manifest knows more than this VMM: such a component leaves the memory alone.
            _ => |_: &Dataports, _, _| {},
        };
        Self { ports: ports.into_iter().take(MAX_PORTS).collect(), work }
    }

    /// `count` events have come.
    fn consume(&mut self, event: EventId, count: u32, platform: P) {
        for port in self.ports.iter_mut().filter(|port| port.event == event) {
            port.received = port.received.saturating_add(count.into());
            (self.work)(&port.dataports, port.received, platform);
            if port.emit.notify_counted(count).is_ok() {
                port.emitted = port.emitted.saturating_add(count.into());
            }
        }
    }
}

/// A component with its mailbox, shared by all CPUs. The lock is fair: no guest can keep another from the component.
#[derive(Debug)]
pub struct Seat<P: 'static> {
    name: String<MAX_NAME>,
    mailbox: &'static Mailbox,
    component: TicketMutex<Component<P>>,
}

impl<P: Platform> Seat<P> {
    /// Seats `component`, whose events arrive in `mailbox`.
    #[must_use]
    pub const fn new(name: String<MAX_NAME>, mailbox: &'static Mailbox, component: Component<P>) -> Self {
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
        let mail = self.mailbox.take();
        if !mail.is_empty() {
            let mut component = self.component.lock();
            mail.for_each(|(event, count)| component.consume(event, count, platform));
        }
    }

    /// Prints the records of its ends.
    pub fn report(&self, platform: P) {
        for port in &self.component.lock().ports {
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
            Port { name: String::new(), event, dataports: Dataports::new(), emit, received: 0, emitted: 0 }
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
        const ROUNDS: u32 = 1000;
        // No more than small hosts have CPUs: waiting for the fair lock spins.
        let (seat, guests) = seat(2);
        let platform = Recorder::new();
        std::thread::scope(|scope| {
            // The first events of all senders come while another CPU has the component.
            let busy = seat.component.lock();
            for bit in 0..2 {
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
        let ports = &seat.component.lock().ports;
        for (port, guest) in ports.iter().zip(guests) {
            // Not one access each: a component that two CPUs ran at once would lose counts.
            assert_eq!((port.received, port.emitted), (ROUNDS.into(), ROUNDS.into()));
            assert_eq!(guest.take().next(), Some((port.event, ROUNDS)), "as many events back as have come");
        }
    }
}
