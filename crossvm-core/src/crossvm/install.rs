//! Installing, removing and resetting connections.

use heapless::Vec;

use super::mapping::MapFailure;
use super::{
    ApplyError, Backend, Connection, ConnectionId, CrossVm, DataportEnd, EventRegisters, InstallCause, InstallError, Invalid, Region,
    Removed, Slot,
};
use crate::device::{self, DataportBar, MAX_DATAPORTS, MESSAGE_BAR, MessageTable};
use crate::{BarIndex, BarWidth, Dataport, Event, EventPage, FrameSize, GuestMemory, PciSpace};

/// Largest BAR of 32 bits.
const LARGEST_BAR: u64 = 1 << 31;

impl<B: Backend, D, K, const N: usize> CrossVm<B, D, K, N>
where
    D: Dataport<Frame = <B::Memory as GuestMemory>::Frame>,
{
    /// Installs connections: for each an interrupt line, an event page, a PCI function, and its BARs mapped into the guest. The windows of
    /// the host bridge are reserved in the guest's address space with the first connection.
    ///
    /// All or nothing: a failure at any step leaves no mapping, line, function or reservation of this call behind. May be called again for
    /// more connections. Gives the ids in the order of `connections`.
    ///
    /// # Errors
    /// [`InstallError`] names the connection, the step and the backend's error. The connections of the call are dropped then.
    pub fn install(
        &mut self,
        backend: &mut B,
        connections: impl IntoIterator<Item = Connection<D, K>>,
    ) -> Result<Vec<ConnectionId, N>, InstallError<B>> {
        let mut installed = Vec::new();
        // `enumerate` would panic on more connections than a usize counts.
        for (position, connection) in (0..usize::MAX).zip(connections) {
            let name = connection.name;
            let result = self.install_one(backend, connection);
            // As many ids as places: there is always room for one that got a place.
            match result.map(|id| installed.push(id)) {
                Ok(_) => {}
                Err(cause) => {
                    for id in installed.into_iter().rev() {
                        self.uninstall(backend, id);
                    }
                    self.release_windows(backend);
                    return Err(InstallError { position, name, cause });
                }
            }
        }
        Ok(installed)
    }

    /// Removes a connection: its function leaves the bus, its memory the guest, and its line is low and free unless others share it.
    /// BARs that it hid are mapped. Gives back what [`CrossVm::install`] took, or `None` where there is no such connection.
    ///
    /// # Errors
    /// [`ApplyError::Interrupt`] where the line could not be lowered; nothing is changed then.
    pub fn remove(&mut self, backend: &mut B, id: ConnectionId) -> Result<Option<Removed<B, D, K>>, ApplyError<B>> {
        let asserting = self.slot(id).is_some_and(|slot| slot.asserting);
        if let Err(error) = self.assert_line(backend, id, false) {
            // The controller still has the line as it was: this only sets our books right.
            let _ = self.assert_line(backend, id, asserting);
            return Err(ApplyError::Interrupt(error));
        }
        let removed = self.uninstall(backend, id);
        self.release_windows(backend);
        Ok(removed.map(|connection| Removed { connection, uncovered: self.sync_mappings(backend) }))
    }

    /// Brings what the guest sees back to power-on, for a guest that reboots: counters zero, lines low, MSI-X off, BARs at their first
    /// addresses. The wiring stays: events that arrive from now on count.
    ///
    /// # Errors
    /// [`ApplyError`] with the first failure of a backend; the rest is reset, and [`CrossVm::refresh`] tries again.
    pub fn reset(&mut self, backend: &mut B) -> Result<(), ApplyError<B>> {
        let mut result = Ok(());
        for id in ConnectionId::all().take(N) {
            let Some(slot) = self.slot(id) else { continue };
            EventRegisters(&slot.page).reset();
            backend.pci().reset(slot.bdf);
            if let Some(table) = self.slot_mut(id).and_then(|slot| slot.messages.as_mut()) {
                *table = MessageTable::new();
            }
            result = result.and(self.update_interrupt(backend, id).map_err(ApplyError::Interrupt));
        }
        result.and(self.sync_mappings(backend))
    }

    fn install_one(&mut self, backend: &mut B, connection: Connection<D, K>) -> Result<ConnectionId, InstallCause<B>> {
        let id = self.check(&connection).map_err(InstallCause::Invalid)?;
        let regions = regions(connection.dataports).map_err(InstallCause::Invalid)?;
        self.reserve_windows(backend)?;
        let line = self.take_line(backend, connection.interrupt).map_err(InstallCause::Interrupt)?;
        let event_size = self.config.event_bar.size();
        let page = match backend.memory().create_event_page(event_size) {
            Ok(page) => page,
            Err(error) => {
                self.drop_line(backend, line);
                return Err(InstallCause::EventPage(error));
            }
        };
        let sizes = regions.iter().map(|region| (true_size(&region.dataport), region.rights));
        EventRegisters(&page).describe(self.config.profile, &connection.name, sizes);
        let irq = self.lines.get(line).and_then(Option::as_ref).map(|line| line.irq);
        let function = device::function(self.config, irq, page.fixed_at(), regions.iter().map(Region::shown));
        let bdf = match backend.pci().insert(function) {
            Ok(bdf) => bdf,
            Err(error) => {
                backend.memory().destroy_event_page(page);
                self.drop_line(backend, line);
                return Err(InstallCause::Pci(error));
            }
        };
        let mut slot = Slot {
            name: connection.name,
            bdf,
            line,
            interrupt: connection.interrupt,
            asserting: false,
            page,
            events_at: None,
            messages: self.config.has_messages().then(MessageTable::new),
            messages_at: None,
            regions,
            emit: connection.emit,
            event: connection.event,
            emitted: 0,
            received: 0,
            dropped: 0,
            messages_sent: 0,
        };
        let mapped = slot.map_decoded(backend, event_size);
        if slot.messages.is_some() {
            slot.messages_at = backend.pci().decoded(bdf, MESSAGE_BAR);
        }
        if let (Some(Event::Bit(event)), Ok(())) = (slot.event, &mapped)
            && let Some(entry) = self.by_event.get_mut(usize::from(event.bit()))
        {
            *entry = Some(id);
        }
        if let Some(place) = self.slots.get_mut(id.index()) {
            *place = Some(slot);
        }
        match mapped {
            Ok(()) => {
                self.index_exact_ids();
                self.index_bars();
                Ok(id)
            }
            Err(MapFailure { bar, at, error }) => {
                self.uninstall(backend, id);
                Err(InstallCause::Map { bar, at, error })
            }
        }
    }

    /// A free place for `connection`, if it can be installed beside the others.
    fn check(&self, connection: &Connection<D, K>) -> Result<ConnectionId, Invalid> {
        let mut slots = self.slots.iter().flatten();
        if slots.any(|slot| slot.name == connection.name) {
            return Err(Invalid::NameTaken);
        }
        if let Some(event) = connection.event.filter(|event| self.by_event(*event).is_some()) {
            return Err(Invalid::EventTaken(event));
        }
        let free = ConnectionId::all().zip(&self.slots).find(|(_, slot)| slot.is_none());
        free.map(|(id, _)| id).ok_or(Invalid::Full { capacity: N })
    }

    /// Takes a connection out and gives everything back. Its line does not count on it any more.
    fn uninstall(&mut self, backend: &mut B, id: ConnectionId) -> Option<Connection<D, K>> {
        let mut slot = self.slots.get_mut(id.index())?.take()?;
        slot.unmap_all(backend, self.config.event_bar.size());
        // The function is there: `insert` gave its number.
        let _ = backend.pci().remove(slot.bdf);
        backend.memory().destroy_event_page(slot.page);
        self.drop_line(backend, slot.line);
        for entry in self.by_event.iter_mut().filter(|entry| **entry == Some(id)) {
            *entry = None;
        }
        self.index_exact_ids();
        self.index_bars();
        let mut dataports = Vec::new();
        while let Some(Region { dataport, rights, width, .. }) = slot.regions.pop() {
            let _ = dataports.push(DataportEnd { dataport, rights, width });
        }
        dataports.reverse();
        Some(Connection { name: slot.name, dataports, emit: slot.emit, event: slot.event, interrupt: slot.interrupt })
    }

    fn reserve_windows(&mut self, backend: &mut B) -> Result<(), InstallCause<B>> {
        if self.windows_reserved {
            return Ok(());
        }
        let mut taken = 0;
        while let Some(window) = backend.pci().windows().get(taken).copied() {
            if let Err(error) = backend.memory().reserve(window) {
                give_back_windows(backend, taken);
                return Err(InstallCause::Reserve(window, error));
            }
            taken = taken.saturating_add(1);
        }
        self.windows_reserved = true;
        Ok(())
    }

    /// Gives the windows back with the last connection.
    fn release_windows(&mut self, backend: &mut B) {
        if self.windows_reserved && self.slots.iter().all(Option::is_none) {
            self.windows_reserved = false;
            let windows = backend.pci().windows().len();
            give_back_windows(backend, windows);
        }
    }
}

fn give_back_windows<B: Backend>(backend: &mut B, first: usize) {
    for index in (0..first).rev() {
        if let Some(window) = backend.pci().windows().get(index).copied() {
            backend.memory().release(window);
        }
    }
}

/// The dataports behind BAR1, BAR2, …, each BAR as large as the next power of two. One of 64 bits takes the next register as well.
fn regions<D: Dataport>(dataports: Vec<DataportEnd<D>, MAX_DATAPORTS>) -> Result<Vec<Region<D>, MAX_DATAPORTS>, Invalid> {
    let mut regions = Vec::new();
    let mut free = BarIndex::ALL.into_iter().skip(1).take(MAX_DATAPORTS);
    for DataportEnd { dataport, rights, width } in dataports {
        let bar = free.next().ok_or(Invalid::TooManyBars)?;
        if width == BarWidth::Bits64 {
            free.next().ok_or(Invalid::TooManyBars)?;
        }
        if dataport.frames().is_empty() {
            return Err(Invalid::EmptyDataport(bar));
        }
        let reachable = |size: &u64| width == BarWidth::Bits64 || *size <= LARGEST_BAR;
        let rounded = true_size(&dataport).checked_next_power_of_two().filter(reachable);
        let bar_size = rounded.and_then(FrameSize::from_bytes).ok_or(Invalid::DataportTooLarge(bar))?;
        // As many places as dataports.
        let _ = regions.push(Region { dataport, rights, width, bar, bar_size, mapped_at: None });
    }
    Ok(regions)
}

impl<D: Dataport> Region<D> {
    /// What the guest is told of it.
    fn shown(&self) -> DataportBar {
        DataportBar {
            bar: self.bar,
            width: self.width,
            size: self.bar_size,
            true_size: true_size(&self.dataport),
            fixed: self.dataport.fixed_at(),
        }
    }
}

/// True size of a dataport in bytes.
pub(super) fn true_size<D: Dataport>(dataport: &D) -> u64 {
    dataport.frame_size().bytes().saturating_mul(dataport.frames().len() as u64)
}
