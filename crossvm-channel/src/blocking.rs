//! Calls that sleep. How, and how long, is the caller's: a [`Wait`].
//!
//! ```text
//!   try ──▶ done
//!    │ nothing
//!    ▼
//!   arm ──▶ ready: try again        store WAKE, fence, look again: what comes later rings
//!    │ sleep
//!    ▼
//!   wait ─▶ disarm ─▶ try again
//! ```

use crate::channel::{Armed, Channel, Interest};
use crate::doorbell::{Doorbell, Wait, Wake};
use crate::error::{Error, RecvError, SendError};
use crate::memory::Memory;

impl<M: Memory, D: Doorbell> Channel<M, D> {
    /// Meets the peer, and sleeps until it is there.
    ///
    /// # Errors
    ///
    /// [`Error::TimedOut`], [`Error::Broken`], [`Error::Wait`].
    pub fn connect<W: Wait>(&mut self, wait: &mut W) -> Result<(), Error<W::Error>> {
        while !self.poll_connect()? {
            match self.sleep(wait) {
                Ok(()) => {}
                // Who came at the last moment counts.
                Err(Error::TimedOut) => return if self.poll_connect()? { Ok(()) } else { Err(Error::TimedOut) },
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Sends a message, and sleeps until there is room for it.
    ///
    /// # Errors
    ///
    /// [`Error`], but not `TooShort`.
    pub fn send<W: Wait>(&mut self, message: &[u8], wait: &mut W) -> Result<(), Error<W::Error>> {
        self.push_waiting(message, wait)?;
        Ok(self.sender().flush()?)
    }

    /// [Pushes](crate::Sender::push) a message, and sleeps until there is room for it. A [`flush`](Self::flush) must follow the last one.
    ///
    /// # Errors
    ///
    /// [`Error`], but not `TooShort`.
    pub fn push_waiting<W: Wait>(&mut self, message: &[u8], wait: &mut W) -> Result<(), Error<W::Error>> {
        let attempt = |channel: &mut Self| match channel.push(message) {
            Ok(()) => Ok(Some(())),
            Err(SendError::Full) => Ok(None),
            Err(SendError::TooLong { most }) => Err(Error::TooLong { most }),
            Err(SendError::Broken(broken)) => Err(broken.into()),
        };
        self.sleeping(Interest::Room, wait, attempt)
    }

    /// Receives a message into the beginning of `buffer`, and sleeps until there is one. Gives its length in bytes.
    ///
    /// # Errors
    ///
    /// [`Error`], but not `TooLong`.
    pub fn recv<W: Wait>(&mut self, buffer: &mut [u8], wait: &mut W) -> Result<usize, Error<W::Error>> {
        let attempt = |channel: &mut Self| match channel.try_recv(buffer) {
            Ok(length) => Ok(Some(length)),
            Err(RecvError::Empty) => Ok(None),
            Err(RecvError::TooShort { needed }) => Err(Error::TooShort { needed }),
            Err(RecvError::Broken(broken)) => Err(broken.into()),
        };
        self.sleeping(Interest::Message, wait, attempt)
    }

    /// Sleeps until there is what `interest` says, and looks as often as the configuration says before it does.
    ///
    /// # Errors
    ///
    /// [`Error::TimedOut`], [`Error::Broken`], [`Error::Wait`].
    pub fn wait_for<W: Wait>(&mut self, interest: Interest, wait: &mut W) -> Result<(), Error<W::Error>> {
        if self.arm(interest)? == Armed::Ready {
            return Ok(());
        }
        let slept = self.sleep(wait);
        self.disarm();
        slept
    }

    fn sleeping<W: Wait, T>(
        &mut self,
        interest: Interest,
        wait: &mut W,
        mut attempt: impl FnMut(&mut Self) -> Result<Option<T>, Error<W::Error>>,
    ) -> Result<T, Error<W::Error>> {
        loop {
            for look in 0..=self.config().looks() {
                if let Some(done) = attempt(self)? {
                    return Ok(done);
                }
                if look == 0 {
                    // Who spins until the peer answers must have told it first.
                    self.flush()?;
                }
                core::hint::spin_loop();
            }
            match self.wait_for(interest, wait) {
                Ok(()) => {}
                // What came at the last moment counts.
                Err(Error::TimedOut) => return attempt(self)?.ok_or(Error::TimedOut),
                Err(error) => return Err(error),
            }
        }
    }

    fn sleep<W: Wait>(&mut self, wait: &mut W) -> Result<(), Error<W::Error>> {
        self.sleeps = self.sleeps.wrapping_add(1);
        match wait.wait() {
            Ok(Wake::Rung) => Ok(()),
            Ok(Wake::TimedOut) => Err(Error::TimedOut),
            Err(error) => Err(Error::Wait(error)),
        }
    }
}
