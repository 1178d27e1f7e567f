//! What a name may be.

use core::fmt;

/// The name in front of the VMM's own lines on the console. No VM and no component may have it: its output would pass for the VMM's.
pub const VMM_NAME: &str = "vmm";

/// What a name may be, by what it names. Its [`Display`](fmt::Display) is the rule, to be put behind what broke it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum NameRule {
    /// A VM or a component. The name stands in brackets in front of each line on the console, `[name] text`, where a kernel's time
    /// stamp, `[    0.000000] text`, must not pass for one; and in records.
    Peer,
    /// A connection. The name stands in records, which are `key=value` separated by blanks, and in the NAME register.
    Connection,
}

impl NameRule {
    /// Whether `name` keeps the rule. Its length is limited by [`MAX_NAME`](crate::MAX_NAME).
    #[must_use]
    pub fn admits(self, name: &str) -> bool {
        match self {
            Self::Peer => {
                name != VMM_NAME
                    && name.starts_with(|first: char| first.is_ascii_alphabetic())
                    && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
            }
            Self::Connection => !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic()),
        }
    }
}

impl fmt::Display for NameRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Peer => write!(
                f,
                "the name of a VM or component starts with a letter, goes on with letters, digits, `_` and `-`, all ASCII, and is not \
                 `{VMM_NAME}`, which is the hypervisor's own"
            ),
            Self::Connection => f.write_str("the name of a connection is one or more printable ASCII characters without blanks"),
        }
    }
}
