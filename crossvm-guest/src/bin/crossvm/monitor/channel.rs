//! What can be seen of a channel from outside: its header in dataport 0.
//!
//! Which end is this VM's is not to be seen, so both are shown. Nothing is written, and nobody's interrupt is touched. The dataport is mapped for each
//! look anew: a map that is kept would keep a driver from being unloaded.

use std::fmt;

use crossvm_guest::channel::{SideState, SideView, View};
use crossvm_guest::{DataportIndex, Endpoint, Function, MappedDataport};
use serde::Serialize;

/// How a channel's ends stand to each other, as far as they say. One that has died without a word looks as if it were there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    /// One end is there, or both are and have not met yet.
    Awaited,
    /// Both are there.
    Connected,
    /// Neither is there any more.
    Closed,
    /// One has given up, because the other broke the protocol.
    Failed,
}

/// Whether an end is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Presence {
    /// It was never there.
    Absent,
    Open,
    Closed,
    Failed,
    /// What it says cannot be.
    Odd,
}

/// What an end sleeps for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Asleep {
    Message,
    Room,
    Both,
}

/// One end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct End {
    pub(crate) state: Presence,
    /// What its messages mean: four letters.
    pub(crate) protocol: Option<String>,
    pub(crate) asleep: Option<Asleep>,
    /// How often it has opened the channel.
    pub(crate) generation: u32,
    /// How many bytes it has written, with what stands in front of each message; wraps.
    #[serde(skip)]
    pub(crate) written: u32,
}

/// A look at a channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Observed {
    pub(crate) state: State,
    pub(crate) a: End,
    pub(crate) b: End,
}

impl End {
    fn of(view: &SideView) -> Self {
        let state = match view.state {
            SideState::Absent => Presence::Absent,
            SideState::Open => Presence::Open,
            SideState::Down | SideState::Closed => Presence::Closed,
            SideState::Failed(_) => Presence::Failed,
            SideState::Odd(_) => Presence::Odd,
        };
        let asleep = match (view.sleeps_for_message, view.sleeps_for_room) {
            (true, true) => Some(Asleep::Both),
            (true, false) => Some(Asleep::Message),
            (false, true) => Some(Asleep::Room),
            (false, false) => None,
        };
        Self {
            state,
            protocol: (state != Presence::Absent).then(|| view.protocol.to_string().trim_matches('\'').to_owned()),
            // What has left does not sleep, whatever it has left behind.
            asleep: asleep.filter(|_| state == Presence::Open),
            generation: view.generation,
            written: view.written,
        }
    }
}

impl Observed {
    /// What `view` shows; `None` where there never was a channel.
    pub(crate) fn of(view: &View) -> Option<Self> {
        let (a, b) = (End::of(&view.a), End::of(&view.b));
        let any = |state| a.state == state || b.state == state;
        let state = if view.connected() {
            State::Connected
        } else if any(Presence::Failed) {
            State::Failed
        } else if any(Presence::Open) {
            State::Awaited
        } else if any(Presence::Closed) {
            State::Closed
        } else {
            return None;
        };
        Some(Self { state, a, b })
    }

    /// How many bytes went from A to B and from B to A since `before`; `None` where another session has begun.
    pub(crate) fn since(&self, before: &Self) -> Option<[u32; 2]> {
        let ends = [(&self.a, &before.a), (&self.b, &before.b)];
        let same = ends.iter().all(|(now, before)| now.generation == before.generation);
        same.then(|| ends.map(|(now, before)| now.written.wrapping_sub(before.written)))
    }

    /// Which ends sleep, for a person.
    pub(crate) fn sleepers(&self) -> Option<&'static str> {
        match (self.a.asleep.is_some(), self.b.asleep.is_some()) {
            (true, true) => Some("A,B"),
            (true, false) => Some("A"),
            (false, true) => Some("B"),
            (false, false) => None,
        }
    }
}

impl fmt::Display for Observed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.state, self.a.state == Presence::Open, self.b.state == Presence::Open) {
            (State::Connected, ..) => "connected",
            (State::Awaited, true, true) => "meeting",
            (State::Awaited, true, false) => "A-awaits-B",
            (State::Awaited, false, _) => "B-awaits-A",
            (State::Closed, ..) => "closed",
            (State::Failed, ..) => "failed",
        })
    }
}

/// Looks at the channel of `function`; `None` where it carries none, or where it cannot be seen.
pub(crate) fn observe(function: &Function) -> Option<Observed> {
    // Whatever is in the way, the counters' column tells of it.
    let dataport = Endpoint::open(function).ok()?.dataport(DataportIndex::FIRST).ok()?;
    let memory = MappedDataport::new(dataport).ok()?;
    if memory.dataport().size() < crossvm_guest::channel::spec::MIN_SIZE as usize {
        return None;
    }
    Observed::of(&View::of(&memory))
}

#[cfg(test)]
#[path = "channel_tests.rs"]
mod tests;
