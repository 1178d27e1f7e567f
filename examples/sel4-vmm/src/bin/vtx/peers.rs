//! The other end of the connections, and the thread that notices when nobody can do anything any more.

use crossvm_core::{EventId, EventSet};
use crossvm_sel4::kernel::{Badge, CPtr, CapRights, Kernel, Object};
use crossvm_sel4::{Frame, FrameKind};
use sel4_guest::peer::{self, Exchange};
use sel4_vmm::pc::{Component, Failure, Program, SpaceMap, System, View, Wiring};

/// Number of connections.
pub(crate) const CONNECTIONS: u8 = 3;
/// Bit of the monitor's badge that the watch signals.
pub(crate) const STALLED: u8 = 27;
/// Priority of the peer, and of the monitor: each gets its turn.
pub(crate) const PRIORITY: u8 = 100;
/// Priority of a monitor that its peer interrupts at every signal.
pub(crate) const BELOW: u8 = 50;
/// Runs when nothing else can.
const LOWEST: u8 = 1;

const PEER: &[u8] = include_bytes!(env!("SEL4_PEER"));

/// What the monitor has of a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct End {
    /// The dataport's frame.
    pub(crate) frame: Frame,
    /// The monitor's own view of it.
    pub(crate) exchange: &'static Exchange,
    /// Signals the peer for this connection.
    pub(crate) signal: CPtr,
    /// The peer's events arrive under this.
    pub(crate) event: EventId,
}

/// Events of the connections.
pub(crate) fn events() -> EventSet {
    EventSet::from_word((1 << CONNECTIONS) - 1)
}

/// Starts the peer of all connections. It signals `monitor`.
pub(crate) fn start<'a>(system: System<'a>, own: &mut SpaceMap<'a>, monitor: CPtr) -> Result<[End; CONNECTIONS as usize], Failure> {
    let program = Program::new(PEER).map_err(|_| Failure::Shape("no peer in the image"))?;
    let mut component = Component::load(system, own, &program)?;
    let notification = system.create(Object::Notification)?;
    component.give(Wiring { from: notification, slot: peer::EVENTS, rights: CapRights::READ, badge: Badge::NONE })?;
    let mut ends = [None; CONNECTIONS as usize];
    for (end, index) in ends.iter_mut().zip(0_u8..) {
        *end = Some(connect(system, own, &mut component, (notification, monitor), index, index)?);
    }
    component.start(PRIORITY, (1 << CONNECTIONS) - 1)?;
    match ends {
        [Some(first), Some(second), Some(third)] => Ok([first, second, third]),
        _ => Err(Failure::Shape("a connection without an end")),
    }
}

/// Starts a thread that signals `monitor` as soon as nothing else can run: the same program as the peer, with an event waiting from the start.
///
/// Gives what it is signalled by: an event for each time.
pub(crate) fn watch<'a>(system: System<'a>, own: &mut SpaceMap<'a>, monitor: CPtr) -> Result<CPtr, Failure> {
    let program = Program::new(PEER).map_err(|_| Failure::Shape("no peer in the image"))?;
    let mut component = Component::load(system, own, &program)?;
    let notification = system.create(Object::Notification)?;
    component.give(Wiring { from: notification, slot: peer::EVENTS, rights: CapRights::READ, badge: Badge::NONE })?;
    let end = connect(system, own, &mut component, (notification, monitor), 0, STALLED)?;
    system.kernel.signal(end.signal);
    component.start(LOWEST, 1)?;
    Ok(end.signal)
}

/// Wires connection `index` of a component: what it signals has the bit `bit`.
fn connect<'a>(
    system: System<'a>,
    own: &mut SpaceMap<'a>,
    component: &mut Component<'a>,
    (notification, monitor): (CPtr, CPtr),
    index: u8,
    bit: u8,
) -> Result<End, Failure> {
    let frame = system.create(Object::SmallFrame)?;
    component.share(frame, peer::dataport(index).into(), CapRights::READ_WRITE)?;
    let badge = Badge::new(1 << bit);
    component.give(Wiring { from: monitor, slot: peer::signal(index), rights: CapRights::WRITE, badge })?;
    let signal = system.badged(notification, Badge::new(1 << index))?;
    let view: View = own.view(frame, 12)?;
    let exchange = view.words(0).ok_or(Failure::Shape("a page too small for an exchange"))?;
    let event = EventId::new(bit).ok_or(Failure::Shape("no event of this number"))?;
    Ok(End { frame: Frame::new(frame, FrameKind::Small), exchange, signal, event })
}
