//! The other end of the connections.

use core::fmt;

use crossvm_core::{EventId, EventSet};
use crossvm_sel4::kernel::{CPtr, Object};
use crossvm_sel4::libsel4::Libsel4;
use crossvm_sel4::{Frame, FrameKind, NotificationNotifier};
use sel4_guest::peer::Exchange;
use sel4_vmm::task::component::Component;
use sel4_vmm::task::{Shared, System, Trouble};

/// Number of connections with the peer.
pub(crate) const CONNECTIONS: u8 = 3;
/// Bit of the monitor's badge that says that nobody else can run.
pub(crate) const STALLED: u8 = 27;
/// Priority of the peer, and of the monitor: each gets its turn.
pub(crate) const PRIORITY: u8 = 100;
/// Priority of a monitor that its peer interrupts at every signal.
pub(crate) const BELOW: u8 = 50;

/// What the monitor has of a connection.
pub(crate) struct End {
    /// The dataport's frame.
    pub(crate) frame: Frame,
    /// The monitor's own view of it.
    page: Shared,
    /// Signals the peer for this connection.
    pub(crate) signal: NotificationNotifier<Libsel4>,
    /// The peer's events arrive under this.
    pub(crate) event: EventId,
}

impl End {
    /// What is at the beginning of the dataport.
    pub(crate) fn exchange(&self) -> &Exchange {
        self.page.exchange()
    }
}

impl fmt::Debug for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("End").field("frame", &self.frame).field("event", &self.event).finish_non_exhaustive()
    }
}

/// Events of the connections.
pub(crate) fn events() -> EventSet {
    EventSet::from_word((1 << CONNECTIONS) - 1)
}

/// Starts the peer of all connections. It signals `monitor`.
pub(crate) fn start(system: System<'_>, monitor: CPtr) -> Result<[End; CONNECTIONS as usize], Trouble> {
    let mut component = Component::new(system)?;
    let mut connect = |bit| {
        let capability = system.create(Object::SmallFrame)?;
        let event = EventId::new(bit).ok_or(Trouble::Program("no event of this number"))?;
        let at_the_peer = component.connect(system, capability, monitor, event)?;
        let signal = NotificationNotifier::mint(system.kernel(), component.notification(), system.slot()?, at_the_peer)?;
        Ok::<_, Trouble>(End { frame: Frame::new(capability, FrameKind::Small), page: system.share(capability)?, signal, event })
    };
    let ends = [connect(0)?, connect(1)?, connect(2)?];
    component.start(system, PRIORITY)?;
    Ok(ends)
}
