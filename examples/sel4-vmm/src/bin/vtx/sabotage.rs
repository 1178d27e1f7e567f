//! Mistakes on purpose: the trial must notice each.

/// A mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sabotage {
    /// The monitor forgets one event of the peer.
    SwallowEvent,
    /// The monitor changes one byte of an answer.
    CorruptByte,
    /// The monitor never raises the guest's interrupt line.
    MuteLine,
}

impl Sabotage {
    /// The event at which it happens.
    pub(crate) const AT: u64 = 500;

    /// The mistake that the build asks for.
    pub(crate) fn chosen() -> Option<Self> {
        match env!("SABOTAGE") {
            "swallow-event" => Some(Self::SwallowEvent),
            "corrupt-byte" => Some(Self::CorruptByte),
            "mute-line" => Some(Self::MuteLine),
            _ => None,
        }
    }
}
