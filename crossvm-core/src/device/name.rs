//! Names of connections.

use core::fmt;

use super::spec::NAME_BYTES;

/// A connection's name: 1 to 48 printable ASCII characters.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Name {
    /// Zero padded.
    bytes: [u8; NAME_BYTES],
}

impl Name {
    /// The name `text`, or `None` where it is empty, too long, or holds something else than printable ASCII.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let printable = text.bytes().all(|byte| (0x20..0x7f).contains(&byte));
        let mut bytes = [0; NAME_BYTES];
        bytes.get_mut(..text.len())?.copy_from_slice(text.as_bytes());
        (printable && !text.is_empty()).then_some(Self { bytes })
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let used = self.bytes.split(|byte| *byte == 0).next().unwrap_or(&[]);
        // ASCII by construction.
        core::str::from_utf8(used).unwrap_or("")
    }

    /// The name as the NAME register holds it.
    pub(crate) fn padded(&self) -> &[u8; NAME_BYTES] {
        &self.bytes
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
