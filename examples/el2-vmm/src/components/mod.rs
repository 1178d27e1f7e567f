//! Native components: peers of guests that need no kernel of their own.
//!
//! A component runs inside the VMM, on the CPU whose guest has just emitted to it, before that guest goes on. So what it does at once
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

    /// Serves what has come. Whoever has notified calls this afterwards; then its event has been served, here or by another CPU.
    pub fn serve(&self, platform: P) {
        let mut component = self.component.lock();
        let events = self.mailbox.take();
        if !events.is_empty() {
            component.consume(events, platform);
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
