//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use crossvm_guest::{DataportIndex, EventCount};

/// Use the cross-VM connections of this VM: shared memory (dataports) and events.
#[derive(Debug, Parser)]
#[command(
    name = "crossvm",
    version,
    after_help = "NAME is a connection's name, or its PCI address (0000:00:01.0).\n\
                  Exit status: 0 done, 1 failed, 2 wrong usage, 3 timed out."
)]
pub(crate) struct Options {
    #[command(subcommand)]
    pub(crate) verb: Verb,

    /// Where sysfs is.
    #[arg(long, global = true, hide = true, default_value = "/sys", value_name = "FOLDER")]
    pub(crate) sysfs: PathBuf,

    /// Where the device files are.
    #[arg(long, global = true, hide = true, default_value = "/dev", value_name = "FOLDER")]
    pub(crate) devices: PathBuf,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Show the connections of this VM.
    List {
        /// As a JSON array, for programs.
        #[arg(long)]
        json: bool,
    },
    /// Signal the peer of a connection.
    Emit {
        /// The connection.
        name: String,
        /// How many times. Where the peer does not take them as fast as they come, it may see fewer events, but at least one.
        #[arg(long, value_name = "N", default_value = "1", value_parser = count)]
        count: EventCount,
    },
    /// Wait for events of a connection, take them, and print how many were taken.
    Wait {
        /// The connection.
        name: String,
        /// Give up after so many seconds (0.5 will do); for ever without it.
        #[arg(long, value_name = "SECONDS", value_parser = seconds)]
        timeout: Option<Duration>,
        /// Take exactly N events, and let more of them wait. Without it: take all that wait, at least one. A device that cannot take
        /// some of them (reference profile) gives all, and so does our own driver.
        #[arg(long, value_name = "N", value_parser = count)]
        count: Option<EventCount>,
    },
    /// Print what stands in a dataport.
    Read {
        #[command(flatten)]
        place: Place,
        /// How many bytes; to the end of the dataport without it.
        #[arg(long, value_name = "N", value_parser = bytes)]
        length: Option<usize>,
        /// Up to the first line feed, and with it.
        #[arg(long, conflicts_with = "length")]
        line: bool,
    },
    /// Write to a dataport.
    Write {
        #[command(flatten)]
        place: Place,
        /// What to write; standard input without it.
        text: Option<String>,
        /// Add a line feed.
        #[arg(long)]
        line: bool,
    },
    /// Give the connections to the kernel's uio_pci_generic (which must be loaded). Does nothing where that is done.
    Bind {
        /// Take them from other drivers too.
        #[arg(long)]
        all: bool,
    },
}

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

fn bytes(text: &str) -> Result<usize, String> {
    let number = text.strip_prefix("0x").map_or_else(|| text.parse(), |digits| usize::from_str_radix(digits, 16));
    number.map_err(|error| format!("{error}: give bytes, decimal or 0x hexadecimal"))
}

fn count(text: &str) -> Result<EventCount, String> {
    match text.parse() {
        Ok(0) => Err("give at least 1".to_owned()),
        Ok(number) => Ok(EventCount::new(number)),
        Err(error) => Err(error.to_string()),
    }
}

fn index(text: &str) -> Result<DataportIndex, String> {
    text.parse().map(DataportIndex::new).map_err(|error: std::num::ParseIntError| error.to_string())
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "give seconds, as 10 or 0.5".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Options::command().debug_assert();
    }

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
    }
}
