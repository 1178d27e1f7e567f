//! Mistakes that the root task makes on purpose: the run must fail then.

/// A mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sabotage {
    /// An event of the component is dropped.
    LoseEvent,
    /// Of a badge with several events, one is served.
    OneOfBadge,
    /// A dataport that the guest may read only is mapped for writing.
    WritableDataport,
    /// When a guest ends, all do.
    SharedFate,
    /// An install that has failed leaves a capability behind.
    LeakSlot,
    /// An install that has failed leaves an object behind.
    LeakMemory,
}

impl Sabotage {
    /// Whether this mistake is to be made.
    pub(crate) fn is_on(self) -> bool {
        let name = match self {
            Self::LoseEvent => "lose-event",
            Self::OneOfBadge => "one-of-badge",
            Self::WritableDataport => "writable-dataport",
            Self::SharedFate => "shared-fate",
            Self::LeakSlot => "leak-slot",
            Self::LeakMemory => "leak-memory",
        };
        option_env!("SABOTAGE") == Some(name)
    }
}
