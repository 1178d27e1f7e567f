//! Why the command failed, and the exit status that says so.

use std::fmt;
use std::io;
use std::process::ExitCode;

/// How the command ended, for whoever looks at the exit status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    Done,
    Failed,
    Usage,
    TimedOut,
    PeerLost,
    DigestsDiffer,
}

impl Status {
    /// All of them, in the order of their numbers.
    pub(crate) const ALL: [Self; 6] = [Self::Done, Self::Failed, Self::Usage, Self::TimedOut, Self::PeerLost, Self::DigestsDiffer];

    /// The number.
    pub(crate) const fn number(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::TimedOut => 3,
            Self::PeerLost => 4,
            Self::DigestsDiffer => 5,
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Usage => "wrong usage",
            Self::TimedOut => "timed out",
            Self::PeerLost => "the peer left or broke the protocol",
            Self::DigestsDiffer => "the digests differ",
        })
    }
}

/// Why the command failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The library says why.
    Connection(crossvm_guest::Error),
    /// Standard input or output, or a file failed.
    Stream(String, io::Error),
    /// All else: what to say, and the status.
    Other(Status, String),
}

impl Failure {
    /// Standard output failed.
    pub(crate) fn output(error: io::Error) -> Self {
        Self::Stream("standard output".to_owned(), error)
    }

    /// The exit status.
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Other(status, _) => status.number(),
            Self::Connection(_) | Self::Stream(..) => Status::Failed.number(),
        })
    }

    /// Whether nobody reads what the command prints any more.
    pub(crate) fn is_closed_pipe(&self) -> bool {
        matches!(self, Self::Stream(_, error) if error.kind() == io::ErrorKind::BrokenPipe)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connection(error) => error.fmt(f),
            Self::Stream(stream, error) => write!(f, "{stream}: {error}"),
            Self::Other(_, what) => f.write_str(what),
        }
    }
}

impl From<crossvm_guest::Error> for Failure {
    fn from(error: crossvm_guest::Error) -> Self {
        Self::Connection(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_status_has_the_number_of_its_place() {
        for (place, status) in Status::ALL.into_iter().enumerate() {
            assert_eq!(usize::from(status.number()), place, "{status}");
        }
    }
}
