//! Descriptors that tokio watches.

use std::io;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::linux::EndpointWaiter;

/// A waiter whose descriptor tokio watches, for as long as this exists.
#[derive(Debug)]
pub(crate) struct Watched<'endpoint>(AsyncFd<EndpointWaiter<'endpoint>>);

impl<'endpoint> Watched<'endpoint> {
    /// Registers the descriptor of `waiter` with the runtime.
    pub(crate) fn new(waiter: EndpointWaiter<'endpoint>) -> io::Result<Self> {
        // SAFETY: the descriptor is that of a file that the waiter owns, never replaces and closes when dropped. `self` keeps the waiter until
        // it is no longer registered, and lends it to code of this crate only, which does not replace it.
        let registered = unsafe { AsyncFd::register_with_interest(waiter, Interest::READABLE) };
        Ok(Self(registered?))
    }

    /// The waiter.
    pub(crate) fn waiter(&self) -> &EndpointWaiter<'endpoint> {
        self.0.get_ref()
    }

    /// The same, to be used and not to be replaced.
    pub(crate) fn waiter_mut(&mut self) -> &mut EndpointWaiter<'endpoint> {
        self.0.get_mut()
    }

    /// Returns once the descriptor may be readable. What becomes readable from then on is told by the next call.
    pub(crate) async fn readable(&mut self) -> io::Result<()> {
        self.0.readable_mut().await?.clear_ready();
        Ok(())
    }

    /// The waiter, no longer watched.
    pub(crate) fn into_inner(self) -> EndpointWaiter<'endpoint> {
        self.0.into_inner()
    }
}
