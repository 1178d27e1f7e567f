//! Signals to peers and interrupts to the guest.

use core::fmt;

use crate::{Bdf, ErrorType};

/// Number of an interrupt line as the interrupt controller of the VM counts it (Arm: INTID, x86: GSI).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Irq(u32);

impl Irq {
    /// The line `number`.
    #[must_use]
    pub const fn new(number: u32) -> Self {
        Self(number)
    }

    /// The line's number.
    #[must_use]
    pub const fn number(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Irq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Level of a level-triggered interrupt line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Level {
    /// Not asserted.
    #[default]
    Low,
    /// Asserted: the guest is interrupted until the level falls.
    High,
}

impl Level {
    /// [`Level::High`] where `asserted`.
    #[must_use]
    pub const fn from_asserted(asserted: bool) -> Self {
        if asserted { Self::High } else { Self::Low }
    }

    /// Whether the line is asserted.
    #[must_use]
    pub const fn is_high(self) -> bool {
        matches!(self, Self::High)
    }
}

/// A message-signalled interrupt: the store that a device makes instead of raising a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Message {
    /// Guest-physical address of the store, as the guest has programmed it.
    pub address: u64,
    /// The value stored, 32 bits.
    pub data: u32,
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "message {:#x} to {:#x}", self.data, self.address)
    }
}

/// Signals the other end of a connection: a seL4 notification, an eventfd, a flag and an inter-processor interrupt, a GPIO line.
///
/// # Contract
///
/// 1. After a successful `notify`, the peer is served at least once more: at some later time it consumes the event's id.
/// 2. Many calls may coalesce into one, as long as clause 1 holds for the last of them.
/// 3. `notify` never blocks, and never calls back into the VM that notifies.
/// 4. What the caller wrote to a dataport before `notify` is visible to the peer when it consumes the event.
pub trait Notifier: ErrorType {
    /// Signals the peer.
    ///
    /// # Errors
    /// What the hypervisor reports; the event counts as dropped.
    fn notify(&self) -> Result<(), Self::Error>;
}

impl<T: Notifier + ?Sized> Notifier for &T {
    fn notify(&self) -> Result<(), Self::Error> {
        T::notify(self)
    }
}

/// Hands out interrupt lines that are free on this board or in this VM, and takes them back.
///
/// # Contract
///
/// 1. `allocate` never gives out a line that is in use: its own earlier ones until they are released, and those of other devices.
/// 2. A line is given out low: its level has not been set, or was set low last.
/// 3. After `release`, the line may be given out again; a line that `allocate` did not give out is ignored.
/// 4. `allocate` fails with [`Exhausted`](crate::ErrorKind::Exhausted) where no line is left, and changes nothing then.
pub trait IrqAllocator: ErrorType {
    /// A free line.
    ///
    /// # Errors
    /// [`Exhausted`](crate::ErrorKind::Exhausted) where none is left.
    fn allocate(&mut self) -> Result<Irq, Self::Error>;

    /// Gives back a line.
    fn release(&mut self, irq: Irq);
}

impl<T: IrqAllocator + ?Sized> IrqAllocator for &mut T {
    fn allocate(&mut self) -> Result<Irq, Self::Error> {
        T::allocate(self)
    }

    fn release(&mut self, irq: Irq) {
        T::release(self, irq);
    }
}

/// The VM's interrupt controller, as far as connections need it.
///
/// # Contract
///
/// 1. The level stays as it was set until it is set again. Setting it to what it is has no effect.
/// 2. While a line is high and the guest has it enabled, the guest is interrupted, and again after each end of interrupt.
/// 3. A line that is raised while the guest has it disabled interrupts once the guest enables it, if it is still high then.
/// 4. When `set_level` to low returns, the line causes no new interrupt. One that was on its way to a vCPU already may still arrive, once.
/// 5. A failed `set_level` leaves the level as it was. `set_level` never blocks.
/// 6. A message to the address where the guest's interrupt controller takes messages, with the data of one of its message interrupts, interrupts
///    the guest as an edge: once at least after the last `deliver_msi`.
/// 7. Any other message is dropped, which is no error: the guest has chosen address and data. `deliver_msi` changes nothing but interrupts, never
///    the guest's memory, and touches no line of `set_level`. It never blocks.
pub trait InterruptController: ErrorType {
    /// Sets the level of a line.
    ///
    /// # Errors
    /// [`OutOfRange`](crate::ErrorKind::OutOfRange) for a line that does not exist, or what the hypervisor reports.
    fn set_level(&mut self, irq: Irq, level: Level) -> Result<(), Self::Error>;

    /// Delivers a message of the function `requester`.
    ///
    /// # Errors
    /// What the hypervisor reports; the message is kept and delivered later.
    fn deliver_msi(&mut self, requester: Bdf, message: Message) -> Result<(), Self::Error>;
}

impl<T: InterruptController + ?Sized> InterruptController for &mut T {
    fn set_level(&mut self, irq: Irq, level: Level) -> Result<(), Self::Error> {
        T::set_level(self, irq, level)
    }

    fn deliver_msi(&mut self, requester: Bdf, message: Message) -> Result<(), Self::Error> {
        T::deliver_msi(self, requester, message)
    }
}
