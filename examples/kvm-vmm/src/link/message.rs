//! What is said in a handshake: one JSON object for each packet, at most [`LONGEST`] bytes.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What every hello starts with.
pub(crate) const MAGIC: &str = "crossvm-link";
/// The version of the protocol. Two versions do not talk to each other, except to say so.
pub(crate) const VERSION: u32 = 1;
/// Longest message in bytes.
pub(crate) const LONGEST: usize = 4096;
/// Longest reason of a refusal, in characters, and longest piece of another process's text that is shown.
const LONGEST_TEXT: usize = 300;

/// The number of a generation of memory and events: random, in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Generation(String);

impl Generation {
    /// Digits of a generation's number.
    const DIGITS: usize = 32;

    /// The generation with this number.
    pub(crate) fn new(number: [u8; Self::DIGITS / 2]) -> Self {
        Self(number.iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}")))
    }

    fn is_valid(&self) -> bool {
        self.0.len() == Self::DIGITS && self.0.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The first message of each side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Hello {
    /// [`MAGIC`].
    pub(crate) magic: String,
    /// [`VERSION`].
    pub(crate) version: u32,
    /// What [`super::share::digest`] says of its manifest.
    pub(crate) manifest: String,
    /// The VM that it runs.
    pub(crate) from: String,
    /// The VM that it seeks.
    pub(crate) to: String,
    /// The generation that it holds.
    pub(crate) holds: Option<Generation>,
}

/// Every message after the hellos.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Message {
    /// A connection. Its descriptors come with it: its dataports in their order, the memory in which the receivers count, what signals the VM that comes first, what signals the other one.
    Connection {
        /// Its index in the topology.
        index: usize,
        /// Its name.
        name: String,
    },
    /// The sender has all connections of this generation: it has given them, or it has taken them.
    Ready {
        /// The generation.
        generation: Generation,
    },
    /// The sender goes away, and says why.
    Refuse {
        /// Why.
        reason: String,
    },
}

/// Why a message is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum MessageError {
    /// It is not of this protocol.
    Foreign(String),
    /// It is of another version of it.
    Version(u32),
    /// It is this.
    Refused(String),
}

impl fmt::Display for MessageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Foreign(why) => write!(f, "what it sent is no message of this protocol: {why}"),
            Self::Version(version) => {
                write!(f, "it speaks version {version} of the protocol, this process version {VERSION}: run the same kvm-vmm on both sides")
            }
            Self::Refused(reason) => write!(f, "it refused: {reason}"),
        }
    }
}

impl std::error::Error for MessageError {}

/// What another process wrote, fit to be shown: one short line that a terminal cannot take for orders.
pub(crate) fn shown(text: &str) -> String {
    text.chars()
        .take(LONGEST_TEXT)
        .map(|character| if character.is_ascii_graphic() || character == ' ' { character } else { '?' })
        .collect()
}

fn encode(value: &impl Serialize) -> Vec<u8> {
    // Plain data with text keys always has a form in JSON.
    serde_json::to_vec(value).unwrap_or_default()
}

fn foreign(error: serde_json::Error) -> MessageError {
    MessageError::Foreign(shown(&error.to_string()))
}

impl Hello {
    /// It as bytes.
    pub(crate) fn encode(&self) -> Vec<u8> {
        encode(self)
    }

    /// A hello out of `bytes`.
    ///
    /// # Errors
    /// [`MessageError`].
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, MessageError> {
        // What another version says besides, it may say.
        #[derive(Deserialize)]
        struct Head {
            magic: String,
            version: u32,
        }
        if let Ok(Message::Refuse { reason }) = serde_json::from_slice(bytes) {
            return Err(MessageError::Refused(shown(&reason)));
        }
        let head: Head = serde_json::from_slice(bytes).map_err(foreign)?;
        if head.magic != MAGIC {
            return Err(MessageError::Foreign(format!("it starts with `{}`", shown(&head.magic))));
        }
        if head.version != VERSION {
            return Err(MessageError::Version(head.version));
        }
        let hello: Self = serde_json::from_slice(bytes).map_err(foreign)?;
        if hello.holds.as_ref().is_some_and(|generation| !generation.is_valid()) {
            return Err(MessageError::Foreign("a generation is 32 hexadecimal digits".to_owned()));
        }
        Ok(hello)
    }
}

impl Message {
    /// A refusal.
    pub(crate) fn refuse(reason: &str) -> Self {
        Self::Refuse { reason: shown(reason) }
    }

    /// It as bytes.
    pub(crate) fn encode(&self) -> Vec<u8> {
        encode(self)
    }

    /// A message out of `bytes`. A refusal is an error.
    ///
    /// # Errors
    /// [`MessageError`].
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, MessageError> {
        match serde_json::from_slice(bytes).map_err(foreign)? {
            Self::Refuse { reason } => Err(MessageError::Refused(shown(&reason))),
            Self::Ready { generation } if !generation.is_valid() => {
                Err(MessageError::Foreign("a generation is 32 hexadecimal digits".to_owned()))
            }
            message => Ok(message),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello() -> Hello {
        let text = str::to_owned;
        Hello {
            magic: text(MAGIC),
            version: VERSION,
            manifest: text("aa"),
            from: text("vm0"),
            to: text("vm1"),
            holds: Some(Generation::new([0xa5; 16])),
        }
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        assert_eq!(Hello::decode(&hello().encode()), Ok(hello()));
        let name = "x".repeat(crossvm_manifest::MAX_NAME);
        for message in [Message::Ready { generation: Generation::new([0xff; 16]) }, Message::Connection { index: 63, name }] {
            let bytes = message.encode();
            assert!(bytes.len() < LONGEST / 4);
            assert_eq!(Message::decode(&bytes), Ok(message));
        }
        assert!(Message::refuse(&"\u{1f600}".repeat(10_000)).encode().len() < LONGEST / 4);
    }

    #[test]
    fn another_version_is_told_apart_whatever_else_it_says() {
        let later = br#"{"magic":"crossvm-link","version":2,"compression":[1,{"a":null}]}"#;
        assert_eq!(Hello::decode(later), Err(MessageError::Version(2)));
    }

    #[test]
    fn what_is_no_message_is_refused() {
        let with = |change: fn(&mut Hello)| {
            let mut hello = hello();
            change(&mut hello);
            Hello::decode(&hello.encode())
        };
        assert!(
            matches!(with(|hello| hello.magic = "\x1b[2Jssh".into()), Err(MessageError::Foreign(why)) if why == "it starts with `?[2Jssh`")
        );
        assert!(matches!(with(|hello| hello.holds = Some(Generation("A".repeat(32)))), Err(MessageError::Foreign(_))));
        assert!(matches!(with(|hello| hello.holds = Some(Generation("a".repeat(33)))), Err(MessageError::Foreign(_))));
        for bytes in [
            &b""[..],
            b"{",
            b"null",
            b"\xff\xfe",
            b"[[[[[[[[[[[[",
            br#""ready""#,
            &b"[".repeat(LONGEST),
            br#"{"magic":"crossvm-link","version":1}"#,
        ] {
            assert!(matches!(Hello::decode(bytes), Err(MessageError::Foreign(_))), "{bytes:?}");
        }
        for bytes in
            [&b"{}"[..], br#"{"ready":1,"refuse":{}}"#, br#"{"connection":{"index":-1,"name":""}}"#, br#"{"ready":{"generation":"x"}}"#]
        {
            assert!(matches!(Message::decode(bytes), Err(MessageError::Foreign(_))), "{bytes:?}");
        }
    }

    #[test]
    fn a_refusal_is_an_error_in_place_of_any_message_and_harmless_to_show() {
        let refusal = Message::Refuse { reason: format!("\x1b]0;no\n{}", "z".repeat(3000)) }.encode();
        for error in [Hello::decode(&refusal).unwrap_err(), Message::decode(&refusal).unwrap_err()] {
            let MessageError::Refused(reason) = error else { panic!("{error}") };
            assert!(reason.starts_with("?]0;no?zzz") && reason.len() == LONGEST_TEXT);
        }
    }
}
