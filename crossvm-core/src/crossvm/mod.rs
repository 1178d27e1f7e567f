//! The connections of one VM: wiring, tables and the operations on them.

mod connection;
mod error;
mod install;
mod lines;
mod mapping;
mod serve;

use core::fmt;

use heapless::Vec;

pub use connection::{BarStatus, Connection, DataportEnd, InterruptMode, Removed, Status, TooManyDataports};
use connection::{Region, Slot};
pub use error::{ApplyError, ConsumeError, InstallCause, InstallError, Invalid, ServeError};
use lines::Line;
pub use serve::Outcome;

use crate::device::{EventBarSize, EventRegisters, Profile};
use crate::{Backend, Bdf, EventId, GuestAddr, GuestMemory};

type PageOf<B> = <<B as Backend>::Memory as GuestMemory>::EventPage;

/// Names a connection of one [`CrossVm`], from `install` to `remove`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(u16);

impl ConnectionId {
    /// Position in the table of connections: below the `N` of the [`CrossVm`], the first free one at `install`.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// Every id there can be, the lowest first.
    fn all() -> impl Iterator<Item = Self> {
        (0..=u16::MAX).map(Self)
    }
}

/// How a VM's connections look to its guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Config {
    /// The registers that a guest finds.
    pub profile: Profile,
    /// Size of the BAR that holds them.
    pub event_bar: EventBarSize,
}

/// The connections of one VM: at most `N`, with dataports `D` and notifiers `K` on the backends `B`. At most 64 of them can receive events:
/// an [`EventSet`](crate::EventSet) is one word.
///
/// Where an operation reports that a backend failed, [`refresh`](Self::refresh) brings lines and mappings to where they must be; call it before the
/// guest goes on, or as soon as the backend can be expected to work again. Until then an event may be counted that did not interrupt.
///
/// All operations take the VM's backends by reference and keep none of them. None blocks or allocates; a VMM with several
/// threads puts its own lock around the VM: level and counters must change in one step, or two threads could leave a line at the level
/// of the one that was overtaken.
pub struct CrossVm<B: Backend, D, K, const N: usize> {
    config: Config,
    slots: [Option<Slot<PageOf<B>, D, K>>; N],
    lines: [Option<Line>; N],
    /// Which connection an event id belongs to.
    by_event: [Option<ConnectionId>; EventId::COUNT],
    /// Where event registers are mapped, lowest address first.
    event_bars: Vec<(GuestAddr, ConnectionId), N>,
    /// Whether the bridge's windows are reserved in the guest's address space: while there is a connection.
    windows_reserved: bool,
}

impl<B: Backend, D, K, const N: usize> fmt::Debug for CrossVm<B, D, K, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.slots.iter().enumerate().filter_map(|(index, slot)| Some((index, slot.as_ref()?.name)));
        f.debug_map().entries(names).finish()
    }
}

impl<B: Backend, D, K, const N: usize> CrossVm<B, D, K, N> {
    const HAS_ROOM: () = assert!(N > 0 && N <= 0xffff, "a CrossVm holds 1 to 65535 connections");

    /// No connections yet.
    #[must_use]
    pub const fn new(config: Config) -> Self {
        let () = Self::HAS_ROOM;
        Self {
            config,
            slots: [const { None }; N],
            lines: [const { None }; N],
            by_event: [None; EventId::COUNT],
            event_bars: Vec::new(),
            windows_reserved: false,
        }
    }

    /// The connections that are installed, in the order of their ids.
    pub fn connections(&self) -> impl Iterator<Item = ConnectionId> + '_ {
        ConnectionId::all().zip(&self.slots).filter_map(|(id, slot)| slot.as_ref().map(|_| id))
    }

    /// The connection whose PCI function is `bdf`.
    #[must_use]
    pub fn by_bdf(&self, bdf: Bdf) -> Option<ConnectionId> {
        self.connections().find(|id| self.slot(*id).is_some_and(|slot| slot.bdf == bdf))
    }

    fn slot(&self, id: ConnectionId) -> Option<&Slot<PageOf<B>, D, K>> {
        self.slots.get(id.index())?.as_ref()
    }

    fn slot_mut(&mut self, id: ConnectionId) -> Option<&mut Slot<PageOf<B>, D, K>> {
        self.slots.get_mut(id.index())?.as_mut()
    }
}
