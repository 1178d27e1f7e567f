//! `demo.check=PLAN`: each connection of this VM is checked from end to end, one after another.
//!
//! The plan has one word for each connection, in the order of their names, separated by commas:
//!
//! ```text
//!   a v u w w r w
//!   │ │ │ └─┴─┴─┴─ for each dataport what this end may do with it, and what the peer may: w, read and write; r, only read
//!   │ │ └───────── the driver that holds the connection: u, the stock uio_pci_generic; c, crossvm's own
//!   │ └─────────── the peer: v, a VM; r, d or s, the native component reverse, digest or source
//!   └───────────── this VM's end: a or b
//! ```
//!
//! `*N` behind a word repeats it. All VMs go through their connections in the order of the names, so that no VMs wait for each other in a
//! ring. Sizes and rights as the device tells them are reported; the host knows what they must be. Every connection is one line,
//! `DEMO link vm=NAME ok=1 key=value ...`.

mod components;
mod pattern;
mod stray;
mod token;
mod vms;

use std::time::Instant;

use crossvm_guest::{Endpoint, System};

use crate::devices::{self, Holder};
use crate::driver::{self, Driver};
use crate::link::{Link, Tally, Turns as _};
use crate::random::Random;
use crate::report::{Failure, Report};
use crate::settings::Settings;
use crate::{After, interrupts};
use token::Side;

/// What the host knows about each of this VM's connections, in the order of their names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan(Vec<Part>);

/// What the host knows about one connection.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Part {
    side: Side,
    peer: Peer,
    driver: Driver,
    /// For each dataport.
    rights: Vec<Rights>,
}

/// Who is at the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Peer {
    Vm,
    Reverse,
    Digest,
    Source,
}

/// What an end may do with a dataport.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Right {
    ReadWrite,
    Read,
}

/// What both ends may do with a dataport.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rights {
    own: Right,
    peer: Right,
}

impl Plan {
    /// Reads the value of `demo.check`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        for word in text.split(',').filter(|word| !word.is_empty()) {
            let (word, times) = word.split_once('*').unwrap_or((word, "1"));
            let times = times.parse::<u8>().map_err(|error| format!("`*{times}`: {error}"))?;
            let part = Part::parse(word).ok_or_else(|| format!("`{word}` is no part of a plan"))?;
            parts.extend(std::iter::repeat_n(part, times.into()));
        }
        Ok(Self(parts))
    }
}

impl Part {
    fn parse(word: &str) -> Option<Self> {
        let mut letters = word.chars();
        let side = match letters.next()? {
            'a' => Side::A,
            'b' => Side::B,
            _ => return None,
        };
        let peer = match letters.next()? {
            'v' => Peer::Vm,
            'r' => Peer::Reverse,
            'd' => Peer::Digest,
            's' => Peer::Source,
            _ => return None,
        };
        let driver = match letters.next()? {
            'u' => Driver::Uio,
            'c' => Driver::CrossVm,
            _ => return None,
        };
        let right = |letter| match letter {
            'w' => Some(Right::ReadWrite),
            'r' => Some(Right::Read),
            _ => None,
        };
        let mut rights = Vec::new();
        while let Some(own) = letters.next() {
            rights.push(Rights { own: right(own)?, peer: right(letters.next()?)? });
        }
        Some(Self { side, peer, driver, rights })
    }
}

/// What was found at one connection: keys and values of its line.
type Findings = Vec<(&'static str, String)>;

/// Checks all connections of this VM.
pub(crate) fn run(plan: &Plan, system: &System, settings: &Settings, report: &Report) -> Result<After, Failure> {
    let Plan(parts) = plan;
    let fail = |reason: String| Failure::new("devices", reason);
    let mut names: Vec<_> = devices::open(system).map_err(fail)?.iter().map(|connection| connection.name().to_owned()).collect();
    if names.len() != parts.len() {
        return Err(fail(format!("{} connections, the plan has {}", names.len(), parts.len())));
    }
    names.sort();
    let part = |wanted: &str| names.iter().zip(parts).find(|(name, _)| *name == wanted).map(|(_, part)| part);
    let mut connections = devices::set_up(system, report, |name| {
        part(name).map(|part| Holder::Now(part.driver)).ok_or_else(|| format!("the plan has no part for {name}"))
    })?;
    connections.sort_by(|one, other| one.name().cmp(other.name()));
    for (connection, part) in connections.iter().zip(parts) {
        let findings = one(connection, part, settings);
        report.link(&findings.map_err(|reason| Failure::new("link", format!("{}: {reason}", connection.name())))?);
    }
    Ok(After::PowerOff)
}

fn one(connection: &Endpoint, part: &Part, settings: &Settings) -> Result<Findings, String> {
    let begin = Instant::now();
    let mut random = Random::from_kernel().map_err(|error| format!("/dev/urandom: {error}"))?;
    let mut link = Link::new(connection, settings.timeout)?.first_by_interrupt(connection.address());
    let mut findings = match part.peer {
        Peer::Vm => vms::check(connection, part, &mut link, &mut random)?,
        Peer::Reverse => components::reverse(connection, &mut link, &mut random)?,
        Peer::Digest => components::digest(connection, &mut link, &mut random)?,
        Peer::Source => components::source(connection, &mut link)?,
    };
    let Tally { emitted, received, slept } = link.tally();
    let (kind, line) = interrupts::of(connection.address())?;
    let infos = connection.dataports();
    let list = |of: &dyn Fn(&crossvm_guest::DataportInfo) -> String| infos.iter().map(of).collect::<Vec<_>>().join("+");
    let mut all = vec![
        ("name", connection.name().to_owned()),
        ("address", connection.address().to_string()),
        ("driver", driver::bound(connection.address()).unwrap_or_default()),
        ("interrupt", kind.name().to_owned()),
        ("interrupts", line.as_ref().map_or(0, |line| line.count).to_string()),
        ("sizes", list(&|info| info.size().to_string())),
        ("bars", list(&|info| info.bar().size().to_string())),
        ("rights", list(&|info| info.rights().to_string())),
        ("emitted", emitted.to_string()),
        ("received", received.to_string()),
        ("slept", slept.to_string()),
        ("ms", begin.elapsed().as_millis().to_string()),
    ];
    all.append(&mut findings);
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_has_a_part_for_each_connection() {
        let Plan(parts) = Plan::parse("avuwwwr,bdc*2,asurw").unwrap();
        let rights = |own, peer| Rights { own, peer };
        let (both, give) = (rights(Right::ReadWrite, Right::ReadWrite), rights(Right::ReadWrite, Right::Read));
        let vm = Part { side: Side::A, peer: Peer::Vm, driver: Driver::Uio, rights: vec![both, give] };
        let digest = Part { side: Side::B, peer: Peer::Digest, driver: Driver::CrossVm, rights: Vec::new() };
        let take = vec![rights(Right::Read, Right::ReadWrite)];
        let source = Part { side: Side::A, peer: Peer::Source, driver: Driver::Uio, rights: take };
        assert_eq!(parts, [vm, digest.clone(), digest, source]);
        assert_eq!(Plan::parse(""), Ok(Plan(Vec::new())));
    }

    #[test]
    fn what_is_no_plan_is_refused() {
        for text in ["a", "av", "cvuww", "axuww", "avxww", "avuxw", "avuwx", "avuw", "avuww*", "avuww*300", "avuww;bvuww"] {
            assert!(Plan::parse(text).is_err(), "{text}");
        }
    }
}
