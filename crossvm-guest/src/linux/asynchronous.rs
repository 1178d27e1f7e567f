//! Waiting under tokio.

use crate::count::EventCount;
use crate::linux::endpoint::EndpointWaiter;
use crate::linux::error::Error;
use crate::linux::wait::Prepared;
use crate::raw::Watched;

/// Waits for the events of an [`Endpoint`](crate::Endpoint) without keeping a thread.
///
/// ```no_run
/// use crossvm_guest::{AsyncWaiter, DataportIndex, Error, EventCount, System};
///
/// // A task owns its endpoint: the waiter borrows from it.
/// async fn echo(name: String) -> Result<(), Error> {
///     let endpoint = System::default().endpoint(&name)?;
///     let dataport = endpoint.dataport(DataportIndex::FIRST)?;
///     let mut waiter = AsyncWaiter::new(endpoint.waiter()?)?;
///     loop {
///         waiter.wait(EventCount::MAX).await?;
///         let mut line = [0; 64];
///         dataport.read(0, &mut line)?;
///         dataport.write(dataport.size() / 2, &line)?;
///         endpoint.emit(EventCount::ONE)?;
///     }
/// }
/// # fn send(_: impl Send) {}
/// # send(echo(String::new()));
/// ```
#[derive(Debug)]
pub struct AsyncWaiter<'endpoint>(Watched<'endpoint>);

impl<'endpoint> AsyncWaiter<'endpoint> {
    /// Lets the runtime watch the descriptor of `waiter`. To be called in a runtime of tokio whose I/O is enabled: elsewhere tokio panics.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    pub fn new(waiter: EndpointWaiter<'endpoint>) -> Result<Self, Error> {
        let path = waiter.path().to_owned();
        Watched::new(waiter).map(Self).map_err(|source| Error::io("watching", path, source))
    }

    /// Takes the events that wait, at most `limit` of the stock driver's, waiting for the first. For a timeout, wrap it in
    /// `tokio::time::timeout`.
    ///
    /// Cancel safe: a future that is dropped before it is ready has taken no event.
    ///
    /// # Errors
    ///
    /// As for [`EndpointWaiter::wait`].
    pub async fn wait(&mut self, limit: EventCount) -> Result<EventCount, Error> {
        loop {
            if let Prepared::Ready(events) = self.0.waiter_mut().prepare(limit)? {
                return Ok(events);
            }
            if let Err(source) = self.0.readable().await {
                return Err(Error::io("waiting on", self.0.waiter().path(), source));
            }
            if let Some(events) = self.0.waiter_mut().take(limit)? {
                return Ok(events);
            }
        }
    }

    /// The waiter, no longer watched.
    #[must_use]
    pub fn into_inner(self) -> EndpointWaiter<'endpoint> {
        self.0.into_inner()
    }
}
