//! The compact form: a magic word, a version and the topology in postcard's encoding, 16 bytes and up.

use core::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{FixedPeer, Problem, Topology};

/// Version of the compact form. A VMM refuses every other.
pub const FORMAT_VERSION: u32 = 2;

const MAGIC: [u8; 8] = *b"crossvm\0";
/// In front of a [`FixedPeer`].
const FIXED_MAGIC: [u8; 8] = *b"crossvmF";
/// Magic, version (u32, little endian), length of the payload (u32, little endian).
const HEADER: usize = 16;

/// Why a topology could not be encoded or decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Error {
    /// A text is longer than the limit, in bytes.
    TooLong {
        /// The limit in bytes.
        limit: usize,
    },
    /// The buffer is too small for the encoded form.
    NoSpace,
    /// The bytes do not start with the magic word: there is no topology here.
    NotATopology,
    /// The bytes were written in another version of the form.
    Version {
        /// The version found.
        found: u32,
    },
    /// The bytes are cut off or damaged.
    Damaged,
    /// The topology is well-formed but cannot be composed.
    Problem(Problem),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { limit } => write!(f, "text longer than {limit} bytes"),
            Self::NoSpace => write!(f, "the buffer is too small for the encoded topology"),
            Self::NotATopology => write!(f, "no topology here: the magic word is missing"),
            Self::Version { found } => write!(f, "topology in form version {found}; this build reads version {FORMAT_VERSION}"),
            Self::Damaged => write!(f, "the encoded topology is cut off or damaged"),
            Self::Problem(problem) => problem.fmt(f),
        }
    }
}

impl core::error::Error for Error {}

/// Magic word, version and length in front of the encoded value; the part of `buffer` that is used.
fn frame<'a>(magic: [u8; 8], value: &impl Serialize, buffer: &'a mut [u8]) -> Result<&'a [u8], Error> {
    let (header, body) = buffer.split_at_mut_checked(HEADER).ok_or(Error::NoSpace)?;
    let length = postcard::to_slice(value, body).map_err(|_| Error::NoSpace)?.len();
    let length32 = u32::try_from(length).map_err(|_| Error::NoSpace)?;
    for (to, from) in header.iter_mut().zip(magic.iter().chain(&FORMAT_VERSION.to_le_bytes()).chain(&length32.to_le_bytes())) {
        *to = *from;
    }
    buffer.get(..HEADER.saturating_add(length)).ok_or(Error::NoSpace)
}

/// What [`frame`] wrote; bytes behind it are ignored.
fn unframe<T: DeserializeOwned>(expected: [u8; 8], bytes: &[u8]) -> Result<T, Error> {
    let (magic, rest) = bytes.split_first_chunk::<8>().ok_or(Error::NotATopology)?;
    if *magic != expected {
        return Err(Error::NotATopology);
    }
    let (version, rest) = rest.split_first_chunk::<4>().ok_or(Error::Damaged)?;
    let version = u32::from_le_bytes(*version);
    if version != FORMAT_VERSION {
        return Err(Error::Version { found: version });
    }
    let (length, body) = rest.split_first_chunk::<4>().ok_or(Error::Damaged)?;
    let length = usize::try_from(u32::from_le_bytes(*length)).map_err(|_| Error::Damaged)?;
    postcard::from_bytes(body.get(..length).ok_or(Error::Damaged)?).map_err(|_| Error::Damaged)
}

impl Topology {
    /// Encodes into `buffer` and returns the part of it that is used.
    ///
    /// # Errors
    /// [`Error::Problem`] where [`Topology::check`] finds one, [`Error::NoSpace`] where `buffer` is too small.
    pub fn encode<'a>(&self, buffer: &'a mut [u8]) -> Result<&'a [u8], Error> {
        self.check().map_err(Error::Problem)?;
        frame(MAGIC, self, buffer)
    }

    /// Decodes what [`Topology::encode`] wrote; bytes behind it are ignored.
    ///
    /// # Errors
    /// [`Error::NotATopology`], [`Error::Version`], [`Error::Damaged`], or [`Error::Problem`] where the check fails.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let topology: Self = unframe(MAGIC, bytes)?;
        topology.check().map_err(Error::Problem)?;
        Ok(topology)
    }
}

impl FixedPeer {
    /// Encodes into `buffer` and returns the part of it that is used.
    ///
    /// # Errors
    /// [`Error::NoSpace`] where `buffer` is too small.
    pub fn encode<'a>(&self, buffer: &'a mut [u8]) -> Result<&'a [u8], Error> {
        frame(FIXED_MAGIC, self, buffer)
    }

    /// Decodes what [`FixedPeer::encode`] wrote; bytes behind it are ignored.
    ///
    /// # Errors
    /// [`Error::NotATopology`], [`Error::Version`] or [`Error::Damaged`].
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        unframe(FIXED_MAGIC, bytes)
    }
}
