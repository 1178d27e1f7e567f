//! What is wrong with a manifest, where, and what to do about it.

use std::fmt;
use std::ops::Range;

use serde::Serialize;

use super::source::{Position, Source};

/// What kind of mistake it is. Stable: tools may decide on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Kind {
    /// The text is no TOML.
    Syntax,
    /// A key or a table is given twice.
    DuplicateKey,
    /// There is no such key.
    UnknownKey,
    /// A key is missing.
    MissingKey,
    /// Two keys exclude each other.
    ConflictingKeys,
    /// A value is of another type.
    WrongType,
    /// A value is not one of those that there are.
    UnknownValue,
    /// A number is too small or too large.
    OutOfRange,
    /// A text is too long for its place.
    TooLong,
    /// A size has no unit, an unknown one, or no whole number.
    Unit,
    /// A size is zero, or no multiple of what it must be a multiple of.
    Alignment,
    /// A name breaks the rule.
    Name,
    /// Two things have one name.
    DuplicateName,
    /// A name that nothing has.
    UnknownName,
    /// A connection's two ends are the same.
    SameEnds,
    /// A connection without a VM.
    NoVm,
    /// A dataport that nobody may write.
    NobodyWrites,
    /// The ends of a connection map a dataport with different caching.
    Caching,
    /// A component lacks a dataport or rights.
    ComponentNeeds,
    /// There are more than there is room for.
    TooMany,
    /// A dataport is larger than a guest can be shown, or all of a connection together need too many registers.
    BarTooLarge,
    /// A file is missing or cannot be read.
    File,
    /// The memory of a VM does not hold its images.
    MemoryTooSmall,
    /// The platform has less than the manifest asks for.
    Platform,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// A second place that belongs to a mistake.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Related {
    /// Bytes of the text.
    pub at: Range<usize>,
    /// Where that starts.
    pub start: Position,
    /// What is there.
    pub label: String,
}

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// What kind it is.
    pub kind: Kind,
    /// What is wrong.
    pub message: String,
    /// Bytes of the text.
    pub at: Range<usize>,
    /// Where they start.
    pub start: Position,
    /// Where they end: the character behind the last.
    pub end: Position,
    /// What is there.
    pub label: String,
    /// Other places that belong to it.
    pub related: Vec<Related>,
    /// How to mend it.
    pub help: String,
}

/// All mistakes of a manifest, in the order of the text. There is at least one.
#[derive(Debug, Clone)]
pub struct Diagnostics {
    source: Source,
    all: Vec<Diagnostic>,
}

impl Diagnostics {
    pub(super) fn new(source: &Source, mut all: Vec<Diagnostic>) -> Self {
        all.sort_by_key(|diagnostic| diagnostic.at.start);
        Self { source: source.clone(), all }
    }

    /// The mistakes.
    #[must_use]
    pub fn all(&self) -> &[Diagnostic] {
        &self.all
    }

    /// The manifest.
    #[must_use]
    pub fn source(&self) -> &Source {
        &self.source
    }
}

impl std::error::Error for Diagnostics {}

/// Collects mistakes while a manifest is read.
#[derive(Debug)]
pub(super) struct Collector<'s> {
    pub(super) source: &'s Source,
    found: Vec<Diagnostic>,
}

impl<'s> Collector<'s> {
    pub(super) const fn new(source: &'s Source) -> Self {
        Self { source, found: Vec::new() }
    }

    /// Notes a mistake at `at`; the result completes it.
    pub(super) fn report(
        &mut self,
        kind: Kind,
        at: &Range<usize>,
        message: impl Into<String>,
        label: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.found.push(Diagnostic {
            kind,
            message: message.into(),
            at: at.clone(),
            start: self.source.position(at.start),
            end: self.source.position(at.end),
            label: label.into(),
            related: Vec::new(),
            help: help.into(),
        });
    }

    /// Adds a second place to the mistake noted last.
    pub(super) fn relate(&mut self, at: &Range<usize>, label: impl Into<String>) {
        let start = self.source.position(at.start);
        if let Some(last) = self.found.last_mut() {
            last.related.push(Related { at: at.clone(), start, label: label.into() });
        }
    }

    /// What was noted.
    pub(super) fn into_diagnostics(self) -> Diagnostics {
        Diagnostics::new(self.source, self.found)
    }

    /// `value` if nothing was noted.
    pub(super) fn finish<T>(self, value: T) -> Result<T, Diagnostics> {
        if self.found.is_empty() { Ok(value) } else { Err(self.into_diagnostics()) }
    }
}
