//! Notifications as what signals a peer.

use core::convert::Infallible;
use core::sync::atomic::{Ordering, fence};

use crossvm_core::{ErrorType, EventId, Notifier};

use crate::kernel::{Badge, CPtr, CapRights, Code, Kernel, KernelError};

/// Signals the peer's notification through a capability with the badge of one event.
///
/// As a [`Notifier`], by clause: signals that the peer has not taken yet coalesce, and their badges are OR-ed (1, 2); `seL4_Signal` never blocks (3); a
/// fence comes before it (4). The capability needs the right to write. The kernel tells nobody that one lacks it, so every
/// emit through such a capability is silently lost. [`mint`](Self::mint) gives the right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct NotificationNotifier<K> {
    kernel: K,
    notification: CPtr,
}

impl<K: Kernel> NotificationNotifier<K> {
    /// Signals through a capability that has its badge already.
    #[must_use]
    pub const fn new(kernel: K, badged: CPtr) -> Self {
        Self { kernel, notification: badged }
    }

    /// Makes a capability of `notification` in the empty slot `slot`, with the badge of `event` and the right to signal alone, and signals through it.
    ///
    /// # Errors
    /// [`Code::RangeError`] where the kernel's badges have no such bit. What the kernel says: `notification` has a badge already, or the slot is
    /// not empty.
    pub fn mint(kernel: K, notification: CPtr, slot: CPtr, event: EventId) -> Result<Self, KernelError> {
        if event.bit() >= kernel.badge_bits() {
            return Err(Code::RangeError.into());
        }
        let badge = Badge::new(crossvm_core::EventSet::of(event).word());
        kernel.mint(notification, slot, CapRights::WRITE, badge)?;
        Ok(Self::new(kernel, slot))
    }

    /// The capability that is signalled.
    #[must_use]
    pub const fn capability(&self) -> CPtr {
        self.notification
    }
}

impl<K> ErrorType for NotificationNotifier<K> {
    type Error = Infallible;
}

impl<K: Kernel> Notifier for NotificationNotifier<K> {
    fn notify(&self) -> Result<(), Infallible> {
        fence(Ordering::SeqCst);
        self.kernel.signal(self.notification);
        Ok(())
    }
}
