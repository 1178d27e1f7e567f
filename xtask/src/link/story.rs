//! What was said, in order: by the script, by the two VMMs and by the guests.

use std::time::Duration;

use crate::launch::console::{Line, Source};
use crate::trial::complaints;
use crate::trial::fields::Fields;

/// Who speaks in the script's lines.
const SCRIPT: &str = "link";

/// Something that was said.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) at: Duration,
    pub(super) kind: Kind,
    pub(super) fields: Fields,
}

/// Who said what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// The script: what it does.
    Script,
    /// A VMM: a record.
    Vmm,
    /// A guest: that it is up.
    Ready,
    /// A guest: what it sees of its peer.
    Peer,
}

/// All of it.
#[derive(Debug, Default)]
pub(super) struct Story {
    pub(super) entries: Vec<Entry>,
    /// What guests' kernels complained about, and why guests gave up: by VM.
    pub(super) complaints: Vec<(String, String)>,
}

impl Story {
    /// Takes in one line.
    pub(super) fn add(&mut self, line: &Line) {
        let kind = match &line.source {
            Source::Vmm => Kind::Vmm,
            Source::Vm(name) if name == SCRIPT => Kind::Script,
            Source::Vm(name) => match line.text.strip_prefix("DEMO ").and_then(|words| words.split_whitespace().next()) {
                Some("ready") => Kind::Ready,
                Some("peer") => Kind::Peer,
                Some("fail") => return self.complaints.push((name.clone(), line.text.clone())),
                None if complaints::found_in(&line.text) => return self.complaints.push((name.clone(), line.text.clone())),
                _ => return,
            },
            Source::Other => return,
        };
        self.entries.push(Entry { at: line.at, kind, fields: Fields::parse(&line.text) });
    }

    /// What was said from here to there.
    pub(super) fn part(&self, from: usize, to: usize) -> Part<'_> {
        Part(self.entries.get(from..to).unwrap_or_default())
    }

    /// Where the script does `what` to `vm` for the n-th time, n = 0, 1, …; an error says that it does not.
    pub(super) fn step(&self, what: &str, vm: &str, number: usize) -> Result<usize, String> {
        let said = |entry: &Entry| entry.kind == Kind::Script && entry.is("record", what) && entry.is("vm", vm);
        let mut found = self.entries.iter().enumerate().filter(|(_, entry)| said(entry));
        let place = found.nth(number).map(|(place, _)| place);
        place.ok_or_else(|| match self.failed() {
            Some(why) => format!("it did not come to that: {why}"),
            None => format!("{vm} was never {what}"),
        })
    }

    /// What the script waited for in vain.
    pub(super) fn failed(&self) -> Option<String> {
        let failed = self.part(0, self.entries.len()).find(&Kind::Script, &[("record", "failed")])?;
        let word = |key| failed.fields.get(key).unwrap_or("-");
        Some(format!("{} did not say `{}` for the {}. time", word("waiting"), word("words").replace('_', " "), word("count")))
    }
}

impl Entry {
    /// Whether it has this word.
    pub(super) fn is(&self, key: &str, value: &str) -> bool {
        self.fields.get(key) == Some(value)
    }

    /// A number, or zero.
    pub(super) fn number(&self, key: &str) -> u64 {
        self.fields.number(key).unwrap_or(0)
    }

    /// A word, or none.
    pub(super) fn word(&self, key: &str) -> &str {
        self.fields.get(key).unwrap_or_default()
    }
}

/// Some of what was said.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part<'a>(&'a [Entry]);

impl<'a> Part<'a> {
    /// All of one kind with these words.
    pub(super) fn all(self, kind: &Kind, words: &[(&str, &str)]) -> Vec<&'a Entry> {
        self.0.iter().filter(|entry| entry.kind == *kind && words.iter().all(|(key, value)| entry.is(key, value))).collect()
    }

    /// The first of them.
    pub(super) fn find(self, kind: &Kind, words: &[(&str, &str)]) -> Option<&'a Entry> {
        self.all(kind, words).first().copied()
    }

    /// The last of them.
    pub(super) fn last(self, kind: &Kind, words: &[(&str, &str)]) -> Option<&'a Entry> {
        self.all(kind, words).last().copied()
    }

    /// What of it follows `entry`.
    pub(super) fn behind(self, entry: &Entry) -> Self {
        let place = self.0.iter().position(|other| std::ptr::eq(other, entry)).map_or(self.0.len(), |place| place + 1);
        Self(self.0.get(place..).unwrap_or_default())
    }
}
