//! What can fail at a pin.

use core::convert::Infallible;
use core::fmt;

use embedded_hal::digital;

use crate::{Error, ErrorKind};

/// Why a doorbell could not be driven or sampled: `O` is the error of the pin that is driven, `I` of the one that is sampled.
///
/// All are of the kind [`Other`](ErrorKind::Other): `embedded-hal` tells no more about pins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum PinError<O, I = Infallible> {
    /// The pin that is driven failed. Its level is not known now; the next attempt starts from there.
    Output(O),
    /// The pin that is sampled failed.
    Input(I),
    /// The doorbell is in use further up the call stack: a pin or a delay of its own has called it.
    Busy,
}

impl<O: digital::Error, I: digital::Error> Error for PinError<O, I> {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Output(error) => kind(error.kind()),
            Self::Input(error) => kind(error.kind()),
            Self::Busy => ErrorKind::Other,
        }
    }
}

/// Our name of `embedded-hal`'s kind. It has just one so far.
fn kind(of: digital::ErrorKind) -> ErrorKind {
    match of {
        digital::ErrorKind::Other => ErrorKind::Other,
        _ => ErrorKind::Other,
    }
}

impl<O: digital::Error, I: digital::Error> fmt::Display for PinError<O, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Output(error) => write!(f, "the pin that is driven failed ({error:?})"),
            Self::Input(error) => write!(f, "the pin that is sampled failed ({error:?})"),
            Self::Busy => f.write_str("the doorbell was rung from within its own pin or delay"),
        }
    }
}

impl<O: digital::Error, I: digital::Error> core::error::Error for PinError<O, I> {}
