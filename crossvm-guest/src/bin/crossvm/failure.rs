//! Why the command failed, and the exit status that says so.

use std::fmt;
use std::io;
use std::process::ExitCode;

/// Why the command failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The library says why.
    Connection(crossvm_guest::Error),
    /// Standard input or output failed.
    Stream(&'static str, io::Error),
    /// There is no line feed between the offset and the end of the dataport.
    NoLine,
    /// The events did not come in time.
    TimedOut(String),
}

impl Failure {
    /// The exit status: 3 for a timeout, 1 for all else (2, a mistake in usage, is the parser's).
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::TimedOut(_) => 3,
            Self::Connection(_) | Self::Stream(..) | Self::NoLine => 1,
        })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connection(error) => error.fmt(f),
            Self::Stream(stream, error) => write!(f, "{stream}: {error}"),
            Self::NoLine => {
                f.write_str("there is no line feed from the offset to the end of the dataport: leave out --line to see what is there")
            }
            Self::TimedOut(what) => f.write_str(what),
        }
    }
}

impl From<crossvm_guest::Error> for Failure {
    fn from(error: crossvm_guest::Error) -> Self {
        Self::Connection(error)
    }
}
