//! The second component: `sel4-peer`, in a protection domain of its own, with dataports and notifications alone.

use crossvm_core::{EventId, EventSet};
use crossvm_sel4::kernel::{Badge, CPtr, CapRights, Object, Threads};
use sel4_guest::peer;

use super::domain::Domain;
use super::system::{System, Trouble};

/// The program.
static PROGRAM: &[u8] = include_bytes!(env!("SEL4_PEER"));

/// A component that answers on its connections.
#[derive(Debug)]
pub struct Component {
    domain: Domain,
    events: CPtr,
    connections: u8,
}

impl Component {
    /// A component without connections, which does not run yet.
    ///
    /// # Errors
    /// [`Trouble`].
    pub fn new(system: System<'_>) -> Result<Self, Trouble> {
        let domain = Domain::new(system, PROGRAM, None)?;
        let events = system.create(Object::Notification)?;
        domain.give(system, events, peer::EVENTS, CapRights::READ, Badge::NONE)?;
        Ok(Self { domain, events, connections: 0 })
    }

    /// Gives it one connection more: `dataport` is its memory's first page, and its signals go to `notification` under `event`. Returns the
    /// event under which the component takes signals of its [`notification`](Self::notification).
    ///
    /// # Errors
    /// [`Trouble`].
    pub fn connect(&mut self, system: System<'_>, dataport: CPtr, notification: CPtr, event: EventId) -> Result<EventId, Trouble> {
        let index = self.connections;
        if usize::from(index) >= peer::MAX_CONNECTIONS {
            return Err(Trouble::Program("the component has too many connections"));
        }
        self.domain.map(system, dataport, peer::dataport(index).into(), CapRights::READ_WRITE)?;
        let badge = Badge::new(EventSet::of(event).word());
        self.domain.give(system, notification, peer::signal(index), CapRights::WRITE, badge)?;
        self.connections += 1;
        EventId::new(index).ok_or(Trouble::Program("the component has too many connections"))
    }

    /// What to signal for its attention.
    #[must_use]
    pub const fn notification(&self) -> CPtr {
        self.events
    }

    /// Lets it run.
    ///
    /// # Errors
    /// [`Trouble`].
    pub fn start(&self, system: System<'_>, priority: u8) -> Result<(), Trouble> {
        self.domain.start(system, priority, (1 << self.connections) - 1)
    }

    /// Keeps it from running: signals to it wait.
    ///
    /// # Errors
    /// [`Trouble`].
    pub fn pause(&self, system: System<'_>) -> Result<(), Trouble> {
        Ok(system.kernel().suspend(self.domain.thread())?)
    }

    /// Lets it go on where it was: what it waited for, it waits for again.
    ///
    /// # Errors
    /// [`Trouble`].
    pub fn go_on(&self, system: System<'_>) -> Result<(), Trouble> {
        Ok(system.kernel().resume(self.domain.thread())?)
    }
}
