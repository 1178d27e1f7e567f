//! The connections of one VM: wiring, tables and the operations on them.

mod connection;
mod error;
mod install;
mod interrupts;
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

use crate::device::{DeviceClass, EventBarSize, EventRegisters, Name, Profile};
use crate::{Backend, Bdf, Event, EventId, ExactId, GuestAddr, GuestMemory};

type PageOf<B> = <<B as Backend>::Memory as GuestMemory>::EventPage;

/// Names a connection of one [`CrossVm`], from `install` to `remove`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
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

/// Whether connections can interrupt by messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Messages {
    /// With an MSI-X capability, in the extended profile. The guest decides whether to use it.
    #[default]
    Msix,
    /// With INTx only: for a VM whose interrupt controller takes no messages.
    Absent,
}

/// How a VM's connections look to its guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Config {
    /// The registers and capabilities that a guest finds.
    pub profile: Profile,
    /// Size of the BAR that holds the event registers.
    pub event_bar: EventBarSize,
    /// The class code that a guest reads.
    pub class: DeviceClass,
    /// Whether there is MSI-X.
    pub messages: Messages,
}

impl Config {
    /// Whether the connections have an MSI-X capability.
    pub(crate) fn has_messages(self) -> bool {
        self.profile == Profile::Extended && self.messages == Messages::Msix
    }
}

/// The connections of one VM: at most `N`, with dataports `D` and notifiers `K` on the backends `B`. At most 64 of them can receive events under
/// a bit of an [`EventSet`](crate::EventSet), which is one word; the number of exact ids has no such limit.
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
    /// The same for exact ids, lowest first.
    by_exact: Vec<(ExactId, ConnectionId), N>,
    /// Where event registers are mapped, lowest address first.
    event_bars: Vec<(GuestAddr, ConnectionId), N>,
    /// Where MSI-X tables are decoded, lowest address first.
    message_bars: Vec<(GuestAddr, ConnectionId), N>,
    /// Whether the bridge's windows are reserved in the guest's address space: while there is a connection.
    windows_reserved: bool,
}

impl<B: Backend, D, K, const N: usize> fmt::Debug for CrossVm<B, D, K, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.names().map(|(id, name)| (id.index(), name))).finish()
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
            by_exact: Vec::new(),
            event_bars: Vec::new(),
            message_bars: Vec::new(),
            windows_reserved: false,
        }
    }

    /// The connections that are installed, in the order of their ids.
    pub fn connections(&self) -> impl Iterator<Item = ConnectionId> + '_ {
        ConnectionId::all().zip(&self.slots).filter_map(|(id, slot)| slot.as_ref().map(|_| id))
    }

    /// Their names.
    pub(crate) fn names(&self) -> impl Iterator<Item = (ConnectionId, Name)> + '_ {
        ConnectionId::all().zip(&self.slots).filter_map(|(id, slot)| Some((id, slot.as_ref()?.name)))
    }

    /// The connection whose PCI function is `bdf`.
    #[must_use]
    pub fn by_bdf(&self, bdf: Bdf) -> Option<ConnectionId> {
        self.connections().find(|id| self.slot(*id).is_some_and(|slot| slot.bdf == bdf))
    }

    /// The connection whose events arrive under `event`.
    fn by_event(&self, event: Event) -> Option<ConnectionId> {
        match event {
            Event::Bit(id) => self.by_event.get(usize::from(id.bit())).copied().flatten(),
            Event::Exact(id) => {
                let index = self.by_exact.partition_point(|(exact, _)| *exact < id);
                self.by_exact.get(index).filter(|(exact, _)| *exact == id).map(|(_, id)| *id)
            }
        }
    }

    /// Makes the table of exact ids.
    fn index_exact_ids(&mut self) {
        index(&mut self.by_exact, &self.slots, |slot| match slot.event {
            Some(Event::Exact(id)) => Some(id),
            _ => None,
        });
    }

    fn slot(&self, id: ConnectionId) -> Option<&Slot<PageOf<B>, D, K>> {
        self.slots.get(id.index())?.as_ref()
    }

    fn slot_mut(&mut self, id: ConnectionId) -> Option<&mut Slot<PageOf<B>, D, K>> {
        self.slots.get_mut(id.index())?.as_mut()
    }
}

/// The keys that `key` gives, lowest first, each with its connection.
fn index<K: Ord + Copy, S, const N: usize>(table: &mut Vec<(K, ConnectionId), N>, slots: &[Option<S>; N], key: impl Fn(&S) -> Option<K>) {
    // Insertion by hand: collecting, sorting and inserting leave panics in the code that the optimizer does not see through.
    table.clear();
    for (id, slot) in ConnectionId::all().zip(slots) {
        if let Some(key) = slot.as_ref().and_then(&key) {
            let mut carried = (key, id);
            for entry in table.iter_mut().filter(|entry| (key, id) < **entry) {
                core::mem::swap(entry, &mut carried);
            }
            // As many places as slots.
            let _ = table.push(carried);
        }
    }
}
