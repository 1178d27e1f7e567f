//! For the ends of a channel that are no guests: native components, which signal through a VM monitor's `Notifier`.

use crossvm_core::Notifier;

use crate::doorbell::{Doorbell, RingFailed};

/// A [`Notifier`] as the doorbell of a channel: the way to the peer's VM that a VM monitor has, of whatever hypervisor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Notified<N>(pub N);

impl<N: Notifier> Doorbell for Notified<N> {
    fn ring(&self) -> Result<(), RingFailed> {
        // What was written must be there for whoever hears of it, however the notifier gets to it.
        core::sync::atomic::fence(core::sync::atomic::Ordering::SeqCst);
        self.0.notify().map_err(|_| RingFailed)
    }
}
