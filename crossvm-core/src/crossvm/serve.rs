//! Serving a guest's accesses and its peers' events.

use super::install::true_size;
use super::{Backend, ConnectionId, ConsumeError, CrossVm, EventRegisters, ServeError};
use crate::device::RegisterWrite;
use crate::{Dataport, ErrorType, Event, EventSet, FrameSize, GuestAccess, GuestAddr, GuestRange, Notifier, Rights, Width};

/// What became of a guest's access.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Outcome {
    /// The address belongs to no connection. The VMM goes on as for any address that nothing answers.
    NotOurs,
    /// The load gives this value, zero-extended.
    Read(u64),
    /// The store changed the event counter or the MSI-X table, and what interrupts with it.
    Written(ConnectionId),
    /// The peer was signalled.
    Emitted(ConnectionId),
    /// The store has no effect, by the device's definition.
    Ignored,
    /// The memory is mapped with the rights needed (another vCPU has just mapped it): the guest executes the instruction again.
    Retry,
}

/// Where an address lies.
enum Place {
    Events {
        id: ConnectionId,
        base: GuestAddr,
        offset: u64,
    },
    /// In the MSI-X table's BAR.
    Messages {
        id: ConnectionId,
        offset: u64,
    },
    /// Behind a dataport's BAR. `backed`: within the true size, so that a frame is mapped.
    Dataport {
        rights: Rights,
        backed: bool,
    },
    Nowhere,
}

type Served<B, K> = Result<Outcome, ServeError<<K as ErrorType>::Error, <<B as Backend>::Interrupts as ErrorType>::Error>>;

impl<B: Backend, D: Dataport, K: Notifier, const N: usize> CrossVm<B, D, K, N> {
    /// Serves one access of the guest that trapped. Event registers are found by binary search among at most `N`; an address that is none of
    /// theirs is looked for among the dataports one by one, which stock drivers never cause.
    ///
    /// A register is written by a store that starts at its offset, whatever its width; all else that is stored to the event registers is
    /// ignored. Of stores that cannot be decoded, those that cover EMIT emit. Behind a dataport's true size, loads give zero.
    ///
    /// # Errors
    /// [`ServeError`] where a backend failed. The access is done for the guest all the same.
    pub fn handle(&mut self, backend: &mut B, access: GuestAccess) -> Served<B, K> {
        match access {
            GuestAccess::Read { at, width } => Ok(match self.find(at) {
                Place::Events { id, offset, .. } => {
                    Outcome::Read(self.slot(id).map_or(0, |slot| EventRegisters(&slot.page).read(offset, width)))
                }
                Place::Messages { id, offset } => {
                    let table = self.slot(id).and_then(|slot| slot.messages);
                    Outcome::Read(table.map_or(0, |table| table.read(offset, width)))
                }
                Place::Dataport { backed: true, .. } => Outcome::Retry,
                Place::Dataport { backed: false, .. } => Outcome::Read(0),
                Place::Nowhere => Outcome::NotOurs,
            }),
            GuestAccess::Write { at, width, value } => match self.find(at) {
                Place::Events { id, offset, .. } => self.write(backend, id, self.config.profile.decode_write(offset, width, value)),
                Place::Messages { id, offset } => self.write_messages(backend, id, offset, width, value),
                Place::Dataport { rights: Rights::ReadWrite, backed: true } => Ok(Outcome::Retry),
                Place::Dataport { .. } => Ok(Outcome::Ignored),
                Place::Nowhere => Ok(Outcome::NotOurs),
            },
            GuestAccess::UndecodedWrite(range) => self.undecoded_write(backend, range),
            GuestAccess::UndecodedRead(range) => Ok(match self.find(range.start()) {
                Place::Dataport { backed: true, .. } => Outcome::Retry,
                Place::Nowhere => Outcome::NotOurs,
                _ => Outcome::Ignored,
            }),
        }
    }

    /// Takes the peers' events: every id in `events` adds one to its connection's COUNT and interrupts the guest. Gives back the ids that
    /// belong to no connection. Work in the number of ids.
    ///
    /// # Errors
    /// [`ConsumeError`] where the guest could not be interrupted, with the unknown ids in it. All events are counted all the same;
    /// [`CrossVm::refresh`] tries the interrupt again.
    pub fn consume(&mut self, backend: &mut B, events: EventSet) -> Result<EventSet, ConsumeError<<B::Interrupts as ErrorType>::Error>> {
        let mut rest = events;
        let mut unknown = EventSet::EMPTY;
        let mut result = Ok(());
        while let Some(event) = rest.take_lowest() {
            match self.consume_counted(backend, Event::Bit(event), 1) {
                Ok(Some(_)) => {}
                Ok(None) => unknown = unknown.with(event),
                Err(error) => result = result.and(Err(error)),
            }
        }
        result.map(|()| unknown).map_err(|error| ConsumeError { unknown, error })
    }

    /// Takes `count` events that a peer has signalled under `event`: adds them to COUNT and interrupts the guest, with one message where it uses
    /// MSI-X. For backends that count signals or have a source of their own for each connection; others use [`CrossVm::consume`]. Gives the
    /// connection, or `None` where the event belongs to none. A bit is looked up directly, an exact id by binary search.
    ///
    /// # Errors
    /// The interrupt controller's, where the guest could not be interrupted. The events are counted all the same; [`CrossVm::refresh`]
    /// tries the interrupt again.
    pub fn consume_counted(
        &mut self,
        backend: &mut B,
        event: Event,
        count: u32,
    ) -> Result<Option<ConnectionId>, <B::Interrupts as ErrorType>::Error> {
        let Some(id) = self.by_event(event) else { return Ok(None) };
        let Some(slot) = self.slot_mut(id) else { return Ok(None) };
        if count != 0 {
            slot.received = slot.received.saturating_add(count.into());
            EventRegisters(&slot.page).add_events(count);
            self.pend_message(id);
            self.update_interrupt(backend, id)?;
        }
        Ok(Some(id))
    }

    fn write(&mut self, backend: &mut B, id: ConnectionId, write: RegisterWrite) -> Served<B, K> {
        match write {
            RegisterWrite::Emit => self.emit(id),
            RegisterWrite::SetCount(count) => self.change_count(backend, id, |registers| registers.set_count(count)),
            RegisterWrite::Acknowledge(events) => self.change_count(backend, id, |registers| registers.acknowledge(events)),
            RegisterWrite::Ignored => Ok(Outcome::Ignored),
        }
    }

    fn change_count(
        &mut self,
        backend: &mut B,
        id: ConnectionId,
        change: impl FnOnce(EventRegisters<'_, super::PageOf<B>>),
    ) -> Served<B, K> {
        let Some(slot) = self.slot(id) else { return Ok(Outcome::Ignored) };
        change(EventRegisters(&slot.page));
        self.update_interrupt(backend, id).map_err(ServeError::Interrupt)?;
        Ok(Outcome::Written(id))
    }

    /// A store to the MSI-X table: a vector that is unmasked sends what waits.
    fn write_messages(&mut self, backend: &mut B, id: ConnectionId, offset: u64, width: Width, value: u64) -> Served<B, K> {
        let Some(table) = self.slot_mut(id).and_then(|slot| slot.messages.as_mut()) else { return Ok(Outcome::Ignored) };
        if !table.write(offset, width, value) {
            return Ok(Outcome::Ignored);
        }
        self.update_interrupt(backend, id).map_err(ServeError::Interrupt)?;
        Ok(Outcome::Written(id))
    }

    fn emit(&mut self, id: ConnectionId) -> Served<B, K> {
        let profile = self.config.profile;
        let Some(slot) = self.slot_mut(id) else { return Ok(Outcome::Ignored) };
        let Some(peer) = &slot.emit else { return Ok(Outcome::Ignored) };
        match peer.notify() {
            Ok(()) => {
                slot.emitted = slot.emitted.saturating_add(1);
                Ok(Outcome::Emitted(id))
            }
            Err(error) => {
                slot.dropped = slot.dropped.saturating_add(1);
                EventRegisters(&slot.page).add_dropped(profile);
                Err(ServeError::Notify(error))
            }
        }
    }

    fn undecoded_write(&mut self, backend: &mut B, range: GuestRange) -> Served<B, K> {
        let first = self.find(range.start());
        // EMIT is the first register of its page: a store covers it from there on, or where it begins in front of the page and ends in it.
        for place in [&first, &self.find(range.last())] {
            if let Place::Events { id, base, .. } = place
                && range.contains(*base)
            {
                return self.write(backend, *id, RegisterWrite::Emit);
            }
        }
        Ok(match first {
            Place::Dataport { rights: Rights::ReadWrite, backed: true } => Outcome::Retry,
            Place::Events { .. } | Place::Messages { .. } | Place::Dataport { .. } => Outcome::Ignored,
            Place::Nowhere => Outcome::NotOurs,
        })
    }

    /// Event registers and MSI-X tables first, by binary search; dataports only trap behind their true size or on a store to a read-only
    /// one.
    fn find(&self, address: GuestAddr) -> Place {
        if let Some((id, base, offset)) = find_in(&self.event_bars, address, self.config.event_bar.size()) {
            return Place::Events { id, base, offset };
        }
        if let Some((id, _, offset)) = find_in(&self.message_bars, address, FrameSize::KIB_4) {
            return Place::Messages { id, offset };
        }
        for region in self.slots.iter().flatten().flat_map(|slot| &slot.regions) {
            if let Some(offset) = region.mapped_at.and_then(|base| address.offset_from(base))
                && offset < region.bar_size.bytes()
            {
                return Place::Dataport { rights: region.rights, backed: offset < true_size(&region.dataport) };
            }
        }
        Place::Nowhere
    }
}

/// The BAR of `size` that holds `address`, its base and the offset in it.
fn find_in(table: &[(GuestAddr, ConnectionId)], address: GuestAddr, size: FrameSize) -> Option<(ConnectionId, GuestAddr, u64)> {
    let above = table.partition_point(|(base, _)| *base <= address);
    let (base, id) = table.get(above.checked_sub(1)?)?;
    let offset = address.offset_from(*base)?;
    (offset < size.bytes()).then_some((*id, *base, offset))
}
