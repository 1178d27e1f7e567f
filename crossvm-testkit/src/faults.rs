//! Fault injection: wraps any backend and lets the n-th call fail.

use std::cell::Cell;
use std::rc::Rc;

use crossvm_core::{
    BarIndex, Bdf, Command, ConfigAccess, ConfigEffect, Error, ErrorKind, ErrorType, FrameSize, Function, GuestAddr, GuestMemory,
    GuestRange, InterruptController, InterruptStatus, Irq, IrqAllocator, Level, Mapping, Message, MsixControl, Notifier, PciSpace,
};

/// Decides which fallible backend call fails. Clones share the count, so that one plan covers all backends of a VM.
#[derive(Debug, Clone, Default)]
pub struct Faults(Rc<Plan>);

#[derive(Debug, Default)]
struct Plan {
    calls: Cell<usize>,
    fail_at: Cell<Option<usize>>,
}

impl Faults {
    /// Counts from zero again, and lets call number `call` (from 0 on) fail; `None`: no call.
    pub fn fail_at(&self, call: Option<usize>) {
        self.0.calls.set(0);
        self.0.fail_at.set(call);
    }

    /// How many fallible calls there were since [`Faults::fail_at`].
    #[must_use]
    pub fn calls(&self) -> usize {
        self.0.calls.get()
    }

    /// `inner`, with the calls of this plan failing.
    pub fn wrap<T>(&self, inner: T) -> Faulty<T> {
        Faulty { inner, faults: self.clone() }
    }

    /// Counts a call: whether it fails.
    pub(crate) fn hit(&self) -> bool {
        let call = self.0.calls.replace(self.0.calls.get() + 1);
        self.0.fail_at.get() == Some(call)
    }

    fn step<E>(&self) -> Result<(), FaultyError<E>> {
        if self.hit() { Err(FaultyError::Injected) } else { Ok(()) }
    }
}

/// A backend whose calls may fail by plan.
#[derive(Debug)]
pub struct Faulty<T> {
    /// The backend itself.
    pub inner: T,
    faults: Faults,
}

/// An error by plan, or one of the backend.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum FaultyError<E> {
    /// The plan said so.
    Injected,
    /// The backend failed.
    Backend(E),
}

impl<E: Error> Error for FaultyError<E> {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Injected => ErrorKind::Other,
            Self::Backend(error) => error.kind(),
        }
    }
}

impl<T: ErrorType> ErrorType for Faulty<T> {
    type Error = FaultyError<T::Error>;
}

impl<T: GuestMemory> GuestMemory for Faulty<T> {
    type Frame = T::Frame;
    type EventPage = T::EventPage;

    fn reserve(&mut self, range: GuestRange) -> Result<(), Self::Error> {
        self.faults.step()?;
        self.inner.reserve(range).map_err(FaultyError::Backend)
    }

    fn release(&mut self, range: GuestRange) {
        self.inner.release(range);
    }

    fn map(&mut self, at: GuestAddr, frames: &[Self::Frame], mapping: Mapping) -> Result<(), Self::Error> {
        self.faults.step()?;
        self.inner.map(at, frames, mapping).map_err(FaultyError::Backend)
    }

    fn unmap(&mut self, range: GuestRange) {
        self.inner.unmap(range);
    }

    fn create_event_page(&mut self, size: FrameSize) -> Result<Self::EventPage, Self::Error> {
        self.faults.step()?;
        self.inner.create_event_page(size).map_err(FaultyError::Backend)
    }

    fn destroy_event_page(&mut self, page: Self::EventPage) {
        self.inner.destroy_event_page(page);
    }
}

impl<T: IrqAllocator> IrqAllocator for Faulty<T> {
    fn allocate(&mut self) -> Result<Irq, Self::Error> {
        self.faults.step()?;
        self.inner.allocate().map_err(FaultyError::Backend)
    }

    fn release(&mut self, irq: Irq) {
        self.inner.release(irq);
    }
}

impl<T: InterruptController> InterruptController for Faulty<T> {
    fn set_level(&mut self, irq: Irq, level: Level) -> Result<(), Self::Error> {
        self.faults.step()?;
        self.inner.set_level(irq, level).map_err(FaultyError::Backend)
    }

    fn deliver_msi(&mut self, requester: Bdf, message: Message) -> Result<(), Self::Error> {
        self.faults.step()?;
        self.inner.deliver_msi(requester, message).map_err(FaultyError::Backend)
    }
}

impl<T: Notifier> Notifier for Faulty<T> {
    fn notify(&self) -> Result<(), Self::Error> {
        self.faults.step()?;
        self.inner.notify().map_err(FaultyError::Backend)
    }
}

impl<T: PciSpace> PciSpace for Faulty<T> {
    fn windows(&self) -> &[GuestRange] {
        self.inner.windows()
    }

    fn insert(&mut self, function: Function) -> Result<Bdf, Self::Error> {
        self.faults.step()?;
        self.inner.insert(function).map_err(FaultyError::Backend)
    }

    /// Never fails by plan: its contract leaves it one reason, a function that is not there.
    fn remove(&mut self, bdf: Bdf) -> Result<(), Self::Error> {
        self.inner.remove(bdf).map_err(FaultyError::Backend)
    }

    fn read(&self, bdf: Bdf, access: ConfigAccess) -> u32 {
        self.inner.read(bdf, access)
    }

    fn write(&mut self, bdf: Bdf, access: ConfigAccess, value: u32) -> Option<ConfigEffect> {
        self.inner.write(bdf, access, value)
    }

    fn decoded(&self, bdf: Bdf, bar: BarIndex) -> Option<GuestAddr> {
        self.inner.decoded(bdf, bar)
    }

    fn command(&self, bdf: Bdf) -> Command {
        self.inner.command(bdf)
    }

    fn msix(&self, bdf: Bdf) -> MsixControl {
        self.inner.msix(bdf)
    }

    fn set_interrupt_status(&mut self, bdf: Bdf, status: InterruptStatus) {
        self.inner.set_interrupt_status(bdf, status);
    }

    fn reset(&mut self, bdf: Bdf) {
        self.inner.reset(bdf);
    }
}
