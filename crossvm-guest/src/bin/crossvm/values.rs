//! What options and arguments can be.

use std::time::Duration;

use clap::Args;
use crossvm_guest::{DataportIndex, EventCount};

use crate::runs::SHORTEST;

/// A place in a dataport.
#[derive(Debug, Args)]
pub(crate) struct Place {
    /// The connection.
    pub(crate) name: String,
    /// First byte, decimal or 0x hexadecimal.
    #[arg(long, value_name = "N", default_value = "0", value_parser = bytes)]
    pub(crate) offset: usize,
    /// Which dataport of the connection.
    #[arg(long, value_name = "I", default_value = "0", value_parser = index)]
    pub(crate) dataport: DataportIndex,
}

/// A number of bytes.
pub(crate) fn bytes(text: &str) -> Result<usize, String> {
    let number = text.strip_prefix("0x").map_or_else(|| text.parse(), |digits| usize::from_str_radix(digits, 16));
    number.map_err(|error| format!("{error}: give bytes, decimal or 0x hexadecimal"))
}

/// Length of a message of `ping` and `bench`: its number must fit into it.
pub(crate) fn message_size(text: &str) -> Result<usize, String> {
    match bytes(text)? {
        short if short < SHORTEST => Err(format!("give at least {SHORTEST} bytes")),
        size => Ok(size),
    }
}

/// A number of events, at least one.
pub(crate) fn count(text: &str) -> Result<EventCount, String> {
    match text.parse() {
        Ok(0) => Err("give at least 1".to_owned()),
        Ok(number) => Ok(EventCount::new(number)),
        Err(error) => Err(error.to_string()),
    }
}

/// A dataport's number.
pub(crate) fn index(text: &str) -> Result<DataportIndex, String> {
    text.parse().map(DataportIndex::new).map_err(|error: std::num::ParseIntError| error.to_string())
}

/// A time in seconds.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "give seconds, as 10 or 0.5".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

/// A time in seconds after which something is done again: not so short that nothing else gets done.
pub(crate) fn interval(text: &str) -> Result<Duration, String> {
    const SHORTEST: Duration = Duration::from_millis(10);
    match seconds(text)? {
        short if short < SHORTEST => Err(format!("give at least {}", SHORTEST.as_secs_f64())),
        interval => Ok(interval),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_decimal_or_hexadecimal_and_never_negative() {
        assert_eq!(bytes("64"), Ok(64));
        assert_eq!(bytes("0x40"), Ok(64));
        for bad in ["-1", "0x", "1e3", "", "99999999999999999999"] {
            assert!(bytes(bad).is_err(), "{bad}");
        }
        assert!(count("0").is_err() && count("4294967296").is_err());
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        for bad in ["-1", "NaN", "inf", "1e300", "soon"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
        assert_eq!(interval("0.01"), Ok(Duration::from_millis(10)));
        assert_eq!(message_size("8"), Ok(8));
        assert!(message_size("7").is_err() && message_size("-8").is_err());
        assert!(interval("0").is_err() && interval("0.009").is_err());
    }
}
