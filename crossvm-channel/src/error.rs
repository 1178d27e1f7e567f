//! What can go wrong.

use core::fmt;

/// Why a channel can carry no more, until it is [reopened](crate::Channel::reopen).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Broken {
    /// The two ends have not met yet: [`Channel::poll_connect`](crate::Channel::poll_connect).
    NotConnected,
    /// The peer has closed the channel, and all that it had sent before was received.
    Closed,
    /// The peer is another one than that which this end had met: it has restarted, or reopened.
    Restarted,
    /// The peer has broken the protocol.
    Violated(Violation),
    /// The peer says that this end has broken the protocol: [`Violation::code`] of what it says; 0 for what nobody knows.
    Refused(u32),
    /// The peer speaks something else.
    Incompatible(Incompatible),
    /// The peer could not be signalled.
    Doorbell,
}

/// What a peer has done that it may not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Violation {
    /// Its TAIL went backwards, beyond the ring, or between two records.
    Tail,
    /// Its HEAD went backwards, beyond what was sent, or between two records.
    Head,
    /// A record claims to be longer than any message, than what was sent, or than the ring.
    Length,
    /// A record is of no known kind.
    Kind,
    /// A record says that the ring ends there, and it does not, or nothing follows.
    Skip,
    /// Its STATE is none.
    State,
}

impl Violation {
    /// The number that stands for it in shared memory.
    #[must_use]
    pub const fn code(self) -> u32 {
        match self {
            Self::Tail => 1,
            Self::Head => 2,
            Self::Length => 3,
            Self::Kind => 4,
            Self::Skip => 5,
            Self::State => 6,
        }
    }
}

/// Why two ends that have met cannot talk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Incompatible {
    /// The peer speaks another version of the channel.
    Version(u32),
    /// The peer's messages mean something else.
    Protocol(Protocol),
    /// The smaller end's memory has so few bytes that there is no room for rings.
    Size(u32),
}

/// What the messages of a channel mean: four letters that both programs know. Zero by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Protocol(pub u32);

impl Protocol {
    /// The protocol named by four letters.
    #[must_use]
    pub const fn named(name: [u8; 4]) -> Self {
        Self(u32::from_le_bytes(name))
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letters = self.0.to_le_bytes();
        match core::str::from_utf8(&letters) {
            Ok(text) if letters.iter().all(|letter| matches!(letter, b'!'..=b'~')) => write!(f, "'{text}'"),
            _ => write!(f, "{:#010x}", self.0),
        }
    }
}

/// Why a message was not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum SendError {
    /// There is no room now: the peer must read first.
    Full,
    /// It is longer than any message can be.
    TooLong {
        /// The longest, in bytes.
        most: usize,
    },
    /// The channel carries no more.
    Broken(Broken),
}

/// Why no message was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum RecvError {
    /// There is none now.
    Empty,
    /// The buffer is too short for the next message, which stays where it is.
    TooShort {
        /// Length of the message in bytes.
        needed: usize,
    },
    /// The channel carries no more.
    Broken(Broken),
}

/// Why a call that may sleep failed; `E` is what the [`Wait`](crate::Wait) reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Error<E> {
    /// The time was over.
    TimedOut,
    /// The message is longer than any can be.
    TooLong {
        /// The longest, in bytes.
        most: usize,
    },
    /// The buffer is too short for the next message, which stays where it is.
    TooShort {
        /// Length of the message in bytes.
        needed: usize,
    },
    /// The channel carries no more.
    Broken(Broken),
    /// The sleep failed.
    Wait(E),
}

impl From<Broken> for SendError {
    fn from(broken: Broken) -> Self {
        Self::Broken(broken)
    }
}

impl From<Broken> for RecvError {
    fn from(broken: Broken) -> Self {
        Self::Broken(broken)
    }
}

impl<E> From<Broken> for Error<E> {
    fn from(broken: Broken) -> Self {
        Self::Broken(broken)
    }
}

/// The memory is too small for a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct TooSmall {
    /// How many bytes there are.
    pub len: usize,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotConnected => f.write_str("the peer is not connected"),
            Self::Closed => f.write_str("the peer has closed the channel"),
            Self::Restarted => f.write_str("the peer has restarted"),
            Self::Violated(violation) => write!(f, "the peer has broken the channel's protocol: {violation}"),
            Self::Refused(code) => write!(f, "the peer says that this end has broken the channel's protocol (code {code})"),
            Self::Incompatible(why) => why.fmt(f),
            Self::Doorbell => f.write_str("the peer could not be signalled"),
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tail => "where it has written to is impossible",
            Self::Head => "where it has read to is impossible",
            Self::Length => "a message has an impossible length",
            Self::Kind => "a message is of no known kind",
            Self::Skip => "a gap is where none can be",
            Self::State => "its state is none",
        })
    }
}

impl fmt::Display for Incompatible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version(version) => write!(f, "the peer speaks version {version} of the channel, this end {}", crate::spec::VERSION),
            Self::Protocol(protocol) => write!(f, "the peer speaks {protocol}"),
            Self::Size(size) => write!(f, "the peer's memory has {size} bytes, and {} are the least", crate::spec::MIN_SIZE),
        }
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("there is no room until the peer reads"),
            Self::TooLong { most } => write!(f, "a message has {most} bytes at most"),
            Self::Broken(broken) => broken.fmt(f),
        }
    }
}

impl fmt::Display for RecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("there is no message"),
            Self::TooShort { needed } => write!(f, "the message has {needed} bytes, more than the buffer"),
            Self::Broken(broken) => broken.fmt(f),
        }
    }
}

impl<E: fmt::Display> fmt::Display for Error<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimedOut => f.write_str("the peer did not answer in time"),
            Self::TooLong { most } => SendError::TooLong { most: *most }.fmt(f),
            Self::TooShort { needed } => RecvError::TooShort { needed: *needed }.fmt(f),
            Self::Broken(broken) => broken.fmt(f),
            Self::Wait(error) => error.fmt(f),
        }
    }
}

impl fmt::Display for TooSmall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes are too few for a channel: it takes {}", self.len, crate::spec::MIN_SIZE)
    }
}

impl core::error::Error for Broken {}
impl core::error::Error for SendError {}
impl core::error::Error for RecvError {}
impl<E: fmt::Debug + fmt::Display> core::error::Error for Error<E> {}
impl core::error::Error for TooSmall {}
