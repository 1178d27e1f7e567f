//! Futures instead of sleeping calls.

use core::future::poll_fn;
use core::task::{Context, Poll};

use atomic_waker::AtomicWaker;

use crate::channel::{Armed, Channel, Interest};
use crate::doorbell::Doorbell;
use crate::error::{Broken, RecvError, SendError};
use crate::memory::Memory;

/// Carries the peer's rings to the future that waits for them: whoever hears the doorbell, an interrupt handler or a task, calls
/// [`notify`](Self::notify). For one channel end.
#[derive(Debug, Default)]
pub struct Signal(AtomicWaker);

#[cfg(feature = "defmt")]
impl defmt::Format for Signal {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "Signal");
    }
}

impl Signal {
    /// Nobody waits yet.
    #[must_use]
    pub const fn new() -> Self {
        Self(AtomicWaker::new())
    }

    /// The peer has rung.
    pub fn notify(&self) {
        self.0.wake();
    }
}

/// Futures without a state of their own: an `async fn` would panic when it is asked once more after its end.
impl<M: Memory, D: Doorbell> Channel<M, D> {
    /// Meets the peer.
    ///
    /// # Errors
    ///
    /// What [`poll_connect`](Self::poll_connect) reports.
    pub fn connect_async(&mut self, signal: &Signal) -> impl Future<Output = Result<(), Broken>> {
        poll_fn(move |context| {
            signal.0.register(context.waker());
            match self.poll_connect() {
                Ok(true) => Poll::Ready(Ok(())),
                Ok(false) => Poll::Pending,
                Err(broken) => Poll::Ready(Err(broken)),
            }
        })
    }

    /// Sends a message as soon as there is room for it.
    ///
    /// # Errors
    ///
    /// [`SendError`], but not `Full`.
    pub fn send_async(&mut self, message: &[u8], signal: &Signal) -> impl Future<Output = Result<(), SendError>> {
        poll_fn(move |context| {
            self.poll_for(Interest::Room, signal, context, |channel| match channel.try_send(message) {
                Err(SendError::Full) => None,
                other => Some(other),
            })
        })
    }

    /// Receives the next message into the beginning of `buffer`, and gives its length in bytes.
    ///
    /// # Errors
    ///
    /// [`RecvError`], but not `Empty`.
    pub fn recv_async(&mut self, buffer: &mut [u8], signal: &Signal) -> impl Future<Output = Result<usize, RecvError>> {
        poll_fn(move |context| {
            self.poll_for(Interest::Message, signal, context, |channel| match channel.try_recv(buffer) {
                Err(RecvError::Empty) => None,
                other => Some(other),
            })
        })
    }

    fn poll_for<T, E: From<Broken>>(
        &mut self,
        interest: Interest,
        signal: &Signal,
        context: &Context<'_>,
        mut attempt: impl FnMut(&mut Self) -> Option<Result<T, E>>,
    ) -> Poll<Result<T, E>> {
        // Before the announcement: a ring that answers it must find the waker.
        signal.0.register(context.waker());
        loop {
            if let Some(done) = attempt(self) {
                self.disarm();
                return Poll::Ready(done);
            }
            match self.arm(interest) {
                Ok(Armed::Ready) => {}
                Ok(Armed::Sleep) => return Poll::Pending,
                Err(broken) => return Poll::Ready(Err(broken.into())),
            }
        }
    }
}
