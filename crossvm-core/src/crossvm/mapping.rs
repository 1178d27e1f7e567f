//! Keeps what is mapped equal to what the guest's configuration says.

use super::install::true_size;
use super::{ApplyError, Backend, CrossVm, PageOf, Region, Slot, index};
use crate::device::MESSAGE_BAR;
use crate::{
    BarIndex, Bdf, ConfigEffect, Dataport, ErrorType, EventPage, FrameSize, GuestAddr, GuestMemory, GuestRange, Mapping, MemoryType,
    PciSpace, Rights,
};

type MemoryError<B> = <<B as Backend>::Memory as ErrorType>::Error;
type FrameOf<B> = <<B as Backend>::Memory as GuestMemory>::Frame;

/// A frame that could not be mapped.
pub(super) struct MapFailure<E> {
    pub(super) bar: BarIndex,
    pub(super) at: GuestAddr,
    pub(super) error: E,
}

impl<B: Backend, D: Dataport<Frame = FrameOf<B>>, K, const N: usize> CrossVm<B, D, K, N> {
    /// Applies what a configuration write caused: BARs are mapped where they are decoded now and nowhere else, interrupts follow command
    /// register and MSI-X.
    /// Effects of functions that are not connections are welcome: they may hide or uncover a BAR.
    ///
    /// # Errors
    /// [`ApplyError`] with the first failure of a backend; the rest is applied, and [`CrossVm::refresh`] tries again.
    pub fn apply(&mut self, backend: &mut B, effect: ConfigEffect) -> Result<(), ApplyError<B>> {
        match effect {
            ConfigEffect::BarMoved { .. } => self.sync_mappings(backend),
            ConfigEffect::Command { bdf, before, after } => {
                let mapped = if before.memory_decode == after.memory_decode { Ok(()) } else { self.sync_mappings(backend) };
                mapped.and(self.update_function(backend, bdf))
            }
            ConfigEffect::Msix { bdf, before, after } => {
                if let Some(id) = self.by_bdf(bdf).filter(|_| after.enabled && !before.enabled) {
                    // Whoever enables messages has not seen those that were sent before.
                    self.pend_message(id);
                }
                self.update_function(backend, bdf)
            }
        }
    }

    fn update_function(&mut self, backend: &mut B, bdf: Bdf) -> Result<(), ApplyError<B>> {
        match self.by_bdf(bdf) {
            Some(id) => self.update_interrupt(backend, id).map_err(ApplyError::Interrupt),
            None => Ok(()),
        }
    }

    /// Tries again what a backend refused before: mappings, interrupt levels and messages.
    ///
    /// # Errors
    /// [`ApplyError`] with the first failure.
    pub fn refresh(&mut self, backend: &mut B) -> Result<(), ApplyError<B>> {
        let mapped = self.sync_mappings(backend);
        mapped.and(self.update_interrupts(backend).map_err(ApplyError::Interrupt))
    }

    /// Unmaps every BAR that is not where it is decoded, then maps every BAR that is decoded and not mapped. In this order, since a BAR
    /// may move to where another was.
    pub(super) fn sync_mappings(&mut self, backend: &mut B) -> Result<(), ApplyError<B>> {
        let event_size = self.config.event_bar.size();
        for slot in self.slots.iter_mut().flatten() {
            slot.unmap_strays(backend, event_size);
            if slot.messages.is_some() {
                slot.messages_at = backend.pci().decoded(slot.bdf, MESSAGE_BAR);
            }
        }
        let mut result = Ok(());
        for slot in self.slots.iter_mut().flatten() {
            let bdf = slot.bdf;
            let mapped = slot.map_decoded(backend, event_size);
            result = result.and(mapped.map_err(|MapFailure { bar, at, error }| ApplyError::Map { bdf, bar, at, error }));
        }
        self.index_bars();
        result
    }

    /// Makes the tables by which accesses find their connection.
    pub(super) fn index_bars(&mut self) {
        index(&mut self.event_bars, &self.slots, |slot| slot.events_at);
        index(&mut self.message_bars, &self.slots, |slot| slot.messages_at);
    }
}

impl<P, D, K> Slot<P, D, K> {
    /// Maps what is decoded and not mapped. Goes on after a failure and returns the first.
    pub(super) fn map_decoded<B>(&mut self, backend: &mut B, event_size: FrameSize) -> Result<(), MapFailure<MemoryError<B>>>
    where
        B: Backend,
        D: Dataport<Frame = FrameOf<B>>,
        B::Memory: GuestMemory<EventPage = P>,
        P: EventPage<Frame = FrameOf<B>>,
    {
        let mut result = Ok(());
        let events = BarIndex::ALL[0];
        if let (None, Some(at)) = (self.events_at, backend.pci().decoded(self.bdf, events)) {
            let mapping = Mapping { size: event_size, rights: Rights::Read, memory_type: MemoryType::WriteBack };
            match backend.memory().map(at, core::slice::from_ref(self.page.frame()), mapping) {
                Ok(()) => self.events_at = Some(at),
                Err(error) => result = Err(MapFailure { bar: events, at, error }),
            }
        }
        for region in &mut self.regions {
            if let (None, Some(at)) = (region.mapped_at, backend.pci().decoded(self.bdf, region.bar)) {
                result = result.and(region.map(backend.memory(), at));
            }
        }
        result
    }

    /// Unmaps what is mapped elsewhere than where it is decoded.
    fn unmap_strays<B>(&mut self, backend: &mut B, event_size: FrameSize)
    where
        B: Backend,
        D: Dataport<Frame = FrameOf<B>>,
    {
        if let Some(at) = self.events_at
            && backend.pci().decoded(self.bdf, BarIndex::ALL[0]) != Some(at)
        {
            unmap(backend.memory(), at, event_size.bytes());
            self.events_at = None;
        }
        for region in &mut self.regions {
            if region.mapped_at.is_some() && backend.pci().decoded(self.bdf, region.bar) != region.mapped_at {
                region.unmap(backend.memory());
            }
        }
    }

    /// Unmaps everything.
    pub(super) fn unmap_all<B>(&mut self, backend: &mut B, event_size: FrameSize)
    where
        B: Backend<Memory: GuestMemory<EventPage = P>>,
        D: Dataport<Frame = FrameOf<B>>,
        PageOf<B>: EventPage,
    {
        if let Some(at) = self.events_at.take() {
            unmap(backend.memory(), at, event_size.bytes());
        }
        for region in &mut self.regions {
            region.unmap(backend.memory());
        }
    }
}

impl<D: Dataport> Region<D> {
    fn map<M: GuestMemory<Frame = D::Frame>>(&mut self, memory: &mut M, at: GuestAddr) -> Result<(), MapFailure<M::Error>> {
        let mapping = Mapping { size: self.dataport.frame_size(), rights: self.rights, memory_type: self.dataport.memory_type() };
        memory.map(at, self.dataport.frames(), mapping).map_err(|error| MapFailure { bar: self.bar, at, error })?;
        self.mapped_at = Some(at);
        Ok(())
    }

    fn unmap<M: GuestMemory>(&mut self, memory: &mut M) {
        if let Some(at) = self.mapped_at.take() {
            unmap(memory, at, true_size(&self.dataport));
        }
    }
}

/// Unmaps what was mapped at `at`: not empty, and inside a window, so that there is a range.
fn unmap<M: GuestMemory>(memory: &mut M, at: GuestAddr, bytes: u64) {
    if let Some(range) = GuestRange::new(at, bytes) {
        memory.unmap(range);
    }
}
