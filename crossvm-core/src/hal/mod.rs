//! Pins as doorbells: what `embedded-hal` 1.0 offers on a microcontroller, between two of its cores, or between chips. Feature `embedded-hal`.
//!
//! A connection's events need a wire between the VMMs of its two ends. Where that is a line of the board, these adapters drive and sample it:
//!
//! ```text
//!   CrossVm::handle ──▶ HandshakeNotifier ──request──────▶ HandshakeSource ──▶ EventSet ──▶ CrossVm::consume
//!                           ▲     poll     ◀─acknowledge──      poll
//!   CrossVm::handle ──▶ PulseNotifier, ToggleNotifier ───▶ EdgeSource, or the interrupt of a pin that latches edges
//!   any pin that is held while it wants something ───────▶ LevelSource
//! ```
//!
//! # Which one
//!
//! [`Notifier`](crate::Notifier)'s clause 1 wants the peer to be served after each signal. Whether a line can keep that depends on both its ends:
//!
//! | sender | receiver | signals coalesce | signals are lost |
//! | --- | --- | --- | --- |
//! | [`HandshakeNotifier`] | [`HandshakeSource`], sampled at any rate | those sent before the last one was acknowledged | none |
//! | [`PulseNotifier`] | an interrupt that latches the edge | those before the interrupt is served | none, if the width is what the latch needs |
//! | [`PulseNotifier`] | [`EdgeSource`] | none | a pulse, or a rest, between two samples: sample more often than once a width |
//! | [`ToggleNotifier`] | an interrupt that latches both edges | those before the interrupt is served | none |
//! | [`ToggleNotifier`] | [`EdgeSource`] of both edges | an odd number between two samples | an even number between two samples |
//! | a level held until it is served | [`LevelSource`], sampled at any rate | all while it is held, but each sample reports it | none |
//!
//! So where the receiver samples, the handshake is the one that keeps the contract: its sender holds the level until the receiver has
//! acknowledged it, however long that takes, and signals again if it was asked to in between. A receiver whose interrupt controller latches edges
//! needs no source from here: its handler knows which event it is.
//!
//! # Order of memory
//!
//! Each notifier executes a sequentially consistent fence before it drives its pin, each source one after it has sampled its pin (clause 4).
//! That orders the dataports among all that the fence of the processor reaches; whether a write buffer or a bridge on the way lets the pin
//! overtake memory is the board's affair, and is to be mended in the pin's driver. Where the two ends do not share a coherent view of memory,
//! the VMM cleans its dataports before it notifies.
//!
//! # Example
//!
//! ```
//! use core::time::Duration;
//! use crossvm_core::hal::{HandshakeNotifier, HandshakeSource, Timeout, Waited, wait_for};
//! use crossvm_core::{EventId, EventSet, Notifier};
//! # use core::{cell::Cell, convert::Infallible};
//! # use embedded_hal::digital::{ErrorType, InputPin, OutputPin};
//! # use embedded_hal_mock::eh1::delay::NoopDelay;
//! # #[derive(Clone, Copy)]
//! # struct Wire<'a>(&'a Cell<bool>);
//! # impl ErrorType for Wire<'_> { type Error = Infallible; }
//! # impl OutputPin for Wire<'_> {
//! #     fn set_low(&mut self) -> Result<(), Infallible> { Ok(self.0.set(false)) }
//! #     fn set_high(&mut self) -> Result<(), Infallible> { Ok(self.0.set(true)) }
//! # }
//! # impl InputPin for Wire<'_> {
//! #     fn is_high(&mut self) -> Result<bool, Infallible> { Ok(self.0.get()) }
//! #     fn is_low(&mut self) -> Result<bool, Infallible> { Ok(!self.0.get()) }
//! # }
//! # let (request, acknowledge) = (Cell::new(false), Cell::new(false));
//! # let (request_output, request_input) = (Wire(&request), Wire(&request));
//! # let (acknowledge_output, acknowledge_input) = (Wire(&acknowledge), Wire(&acknowledge));
//! # let mut delay = NoopDelay::new();
//! let event = EventId::new(0).unwrap();
//! // On one core: goes to a connection's `with_emit`, by reference, so that the VMM can poll it too.
//! let doorbell = HandshakeNotifier::new(request_output, acknowledge_input);
//! // On the other core: what it finds goes to `CrossVm::consume`.
//! let mut source = HandshakeSource::new(request_input, acknowledge_output, event);
//! source.poll()?; // what came before this core was up
//!
//! doorbell.notify()?;
//! let timeout = Timeout::new(Duration::from_millis(5), Duration::from_micros(50)).unwrap();
//! assert_eq!(wait_for(|| source.poll(), timeout, &mut delay)?, Waited::Events(EventSet::of(event)));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod error;
#[cfg(feature = "defmt")]
mod format;
mod handshake;
mod notify;
mod source;
#[cfg(test)]
mod tests;
mod wait;

pub use error::PinError;
pub use handshake::{Handshake, HandshakeNotifier, HandshakeSource};
pub use notify::{Polarity, PulseNotifier, PulseWidth, ToggleNotifier};
pub use source::{Edge, EdgeSource, LevelSource};
pub use wait::{Timeout, Waited, wait_for};
