//! What wakes, and what sleeps.

use core::fmt;

/// Wakes the peer: a connection's EMIT, an eventfd, a condition variable.
///
/// # Contract
///
/// 1. What was written to the shared memory before a ring is there for the peer when it wakes.
/// 2. A ring is not lost: a peer that waits after it, and has not waited since, wakes at once. Many may become one.
/// 3. It does not block.
pub trait Doorbell {
    /// Wakes the peer.
    ///
    /// # Errors
    ///
    /// [`RingFailed`]: the peer may sleep on. The channel is [`Broken::Doorbell`](crate::Broken::Doorbell) then.
    fn ring(&self) -> Result<(), RingFailed>;
}

impl<D: Doorbell + ?Sized> Doorbell for &D {
    fn ring(&self) -> Result<(), RingFailed> {
        (**self).ring()
    }
}

/// The doorbell could not be rung.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct RingFailed;

impl fmt::Display for RingFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the peer could not be signalled")
    }
}

impl core::error::Error for RingFailed {}

/// No doorbell: for two ends that only poll.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Silent;

impl Doorbell for Silent {
    fn ring(&self) -> Result<(), RingFailed> {
        Ok(())
    }
}

/// Sleeps until the peer rings: a connection's interrupt, an eventfd, a processor's wait for an interrupt.
///
/// How long it is ready to sleep is its own matter: an implementation holds its deadline.
pub trait Wait {
    /// What can go wrong.
    type Error;

    /// Sleeps until the peer has rung since the last time. It may return earlier, without a reason.
    ///
    /// # Errors
    ///
    /// What the system reports.
    fn wait(&mut self) -> Result<Wake, Self::Error>;
}

impl<W: Wait + ?Sized> Wait for &mut W {
    type Error = W::Error;

    fn wait(&mut self) -> Result<Wake, W::Error> {
        (**self).wait()
    }
}

/// Why a sleeper woke up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Wake {
    /// The peer has rung, or nobody knows why.
    Rung,
    /// The time was over.
    TimedOut,
}
