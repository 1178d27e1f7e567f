//! What `cargo xtask sel4 vtx` verifies: the numbers that the root task prints, and that a second run prints the same.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::ValueEnum;

use super::kernel::Variant;
use super::machine::Machine;
use super::smoke;
use super::trial::{Expected, Flags, Report, Trial, equal, number};
use crate::trial::fields::Fields;
use crate::trial::findings::Finding;
use crate::workspace::Workspace;

/// Rounds of the main check, and of the others.
const ROUNDS: u64 = 1000;
const FEWER_ROUNDS: u64 = 100;
/// The guest's connections: three with a peer, and one without.
const CONNECTIONS: u64 = 4;
/// The check that compares two runs.
const REPEAT: &str = "repeat";

/// A mistake on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Sabotage {
    /// The monitor forgets an event of the peer
    SwallowEvent,
    /// The monitor changes a byte of an answer
    CorruptByte,
    /// The monitor never raises the guest's line
    MuteLine,
}

impl Sabotage {
    /// All of them.
    pub(crate) const ALL: [Self; 3] = [Self::SwallowEvent, Self::CorruptByte, Self::MuteLine];

    /// Its name on the command line and in the root task.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::SwallowEvent => "swallow-event",
            Self::CorruptByte => "corrupt-byte",
            Self::MuteLine => "mute-line",
        }
    }

    /// What the check that must notice it says.
    pub(crate) const fn reason(self) -> &'static str {
        match self {
            Self::SwallowEvent | Self::MuteLine => "0 of 1000 rounds",
            Self::CorruptByte => "1 wrong answer",
        }
    }
}

/// The check that must notice every [`Sabotage`].
pub(crate) const CULPRIT: &str = "round-trips";
/// Checks that no sabotage touches.
pub(crate) const UNTOUCHED: [&str; 3] = ["memory", "enumeration", "moved-bars"];

const EXPECTED: [Expected; 16] = [
    Expected { name: "memory", verify: smoke::memory },
    Expected { name: "enumeration", verify: enumeration },
    Expected { name: "moved-bars", verify: moved_bars },
    Expected { name: CULPRIT, verify: |fields| round_trips(fields, ROUNDS) },
    Expected { name: "second", verify: |fields| round_trips(fields, FEWER_ROUNDS) },
    Expected { name: "third", verify: |fields| round_trips(fields, FEWER_ROUNDS) },
    Expected { name: "preempted", verify: preempted },
    Expected { name: "dataport", verify: dataport },
    Expected { name: "rights", verify: rights },
    Expected { name: "pending", verify: pending },
    Expected { name: "odd-stores", verify: odd_stores },
    Expected { name: "hostile", verify: hostile },
    Expected { name: "after-hostile", verify: |fields| round_trips(fields, FEWER_ROUNDS) },
    Expected { name: "crash", verify: crash },
    Expected { name: "reboot", verify: enumeration },
    Expected { name: "after-reboot", verify: |fields| round_trips(fields, FEWER_ROUNDS) },
];

/// The trial, with a mistake or without.
const fn trial(sabotage: Option<Sabotage>) -> Trial {
    let sabotage = match sabotage {
        Some(sabotage) => Some(sabotage.name()),
        None => None,
    };
    Trial { task: "sel4-vtx", variant: Variant::Vtx, machine: Machine::Bochs, expected: &EXPECTED, transcript: None, sabotage }
}

/// Runs the trial as the user wants it, and shows its report.
pub(crate) fn play(workspace: &Workspace, flags: &Flags, sabotage: Option<Sabotage>) -> Result<()> {
    run(workspace, flags.timeout(), flags.verbose, sabotage)?.deliver(flags)
}

/// Runs the trial; twice where it makes no mistake, for both runs must show the same.
pub(crate) fn run(workspace: &Workspace, timeout: Duration, verbose: bool, sabotage: Option<Sabotage>) -> Result<Report> {
    let trial = trial(sabotage);
    let mut report = trial.run(workspace, timeout, verbose)?;
    if report.ok && sabotage.is_none() {
        let read = |report: &Report| fs::read(&report.log).with_context(|| format!("cannot read {}", report.log));
        let first = read(&report)?;
        let again = trial.run(workspace, timeout, false)?;
        let second = read(&again)?;
        report.add(REPEAT, repeated(&first, &second));
    }
    Ok(report)
}

/// Two runs have shown the same, byte for byte.
fn repeated(first: &[u8], second: &[u8]) -> Finding {
    match first.iter().zip(second).position(|(one, other)| one != other) {
        None if first.len() == second.len() => Ok(format!("a second run prints the same {} bytes", first.len())),
        None => Err(format!("a second run prints {} bytes, not {}", second.len(), first.len())),
        Some(at) => {
            let line = first.get(..at).unwrap_or_default().split(|byte| *byte == b'\n').count();
            Err(format!("a second run prints something else in line {line}"))
        }
    }
}

/// The guest has found all its connections where the monitor has them.
fn enumeration(fields: &Fields) -> Finding {
    let (found, agreeing) = (number(fields, "found")?, number(fields, "agreeing")?);
    if (found, agreeing) != (CONNECTIONS, CONNECTIONS) {
        return Err(format!("the guest has found {found} connections of {CONNECTIONS}, {agreeing} of them where they are mapped"));
    }
    Ok(format!("{found} connections, mapped where the guest has them"))
}

fn moved_bars(fields: &Fields) -> Finding {
    enumeration(fields)?;
    let moved = number(fields, "moved")?;
    if moved != CONNECTIONS {
        return Err(format!("{moved} of {CONNECTIONS} connections have moved"));
    }
    match fields.get("old") {
        Some("ffffffff") => Ok(format!("{moved} connections moved; nothing is left at the old place")),
        other => Err(format!("at the old place of the first connection the guest reads {}", other.unwrap_or("nothing"))),
    }
}

/// Every count of a number of rounds is what it must be.
fn counted(fields: &Fields, rounds: u64) -> Result<[u64; 3], String> {
    let done = number(fields, "rounds")?;
    if done != rounds {
        return Err(format!("{done} of {rounds} rounds"));
    }
    match number(fields, "wrong")? {
        0 => {}
        1 => return Err("1 wrong answer".to_owned()),
        wrong => return Err(format!("{wrong} wrong answers")),
    }
    equal(fields, &[("events", rounds), ("emitted", rounds), ("served", rounds), ("received", rounds), ("dropped", 0)])?;
    let [interrupts, waits, signals] = [number(fields, "interrupts")?, number(fields, "waits")?, number(fields, "signals")?];
    if interrupts != waits {
        return Err(format!("{interrupts} interrupts went in, but {waits} came"));
    }
    Ok([interrupts, number(fields, "accesses")?, signals])
}

fn round_trips(fields: &Fields, rounds: u64) -> Finding {
    let [interrupts, accesses, signals] = counted(fields, rounds)?;
    // The answer may break in before the guest sleeps, but not as a rule.
    if interrupts < rounds / 2 {
        return Err(format!("{interrupts} interrupts in {rounds} rounds"));
    }
    Ok(format!(
        "{rounds} rounds, none lost; {interrupts} interrupts injected and taken, {accesses} accesses trapped, {signals} signals broke in"
    ))
}

fn preempted(fields: &Fields) -> Finding {
    counted(fields, FEWER_ROUNDS)?;
    equal(fields, &[("signals", FEWER_ROUNDS)])?;
    Ok(format!("{FEWER_ROUNDS} rounds, none lost; each answer broke in before the guest went on"))
}

fn dataport(fields: &Fields) -> Finding {
    let [written, read] = ["written", "read"].map(|key| fields.get(key).unwrap_or("nothing"));
    if written != read {
        return Err(format!("written was {written}, and the guest reads {read}"));
    }
    Ok(format!("the guest reads {} words as they were written ({read})", number(fields, "words")?))
}

fn rights(fields: &Fields) -> Finding {
    let [stores, trapped, changed] = [number(fields, "stores")?, number(fields, "trapped")?, number(fields, "changed")?];
    if stores != trapped || changed != 0 {
        return Err(format!("of {stores} stores without the right to, {trapped} were stopped and {changed} changed something"));
    }
    Ok(format!("{stores} stores without the right to: all stopped, none with an effect"))
}

fn pending(fields: &Fields) -> Finding {
    let [early, count, taken] = [number(fields, "early")?, number(fields, "count")?, number(fields, "taken")?];
    if [early, count, taken] != [0, 1, 1] {
        return Err(format!("{early} interrupts while they were off; {count} events waited, {taken} were taken"));
    }
    Ok("an event that came while interrupts were off was there when they were on".to_owned())
}

fn odd_stores(fields: &Fields) -> Finding {
    let [executed, emitting, emits] = [number(fields, "instructions")?, number(fields, "emitting")?, number(fields, "emits")?];
    // One stores behind the register's first byte, and that does not emit.
    if executed < 15 || emitting + 1 != executed || emits != emitting {
        return Err(format!("of {executed} instructions that store to EMIT in odd ways, {emitting} emit, {emits} times"));
    }
    Ok(format!("{executed} odd instructions: {emitting} that cover EMIT emit, one that does not has no effect"))
}

fn hostile(fields: &Fields) -> Finding {
    enumeration(fields)?;
    Ok(format!("{} wild accesses to configuration space, and all connections are found again", number(fields, "steps")?))
}

fn crash(fields: &Fields) -> Finding {
    match (number(fields, "stopped")?, number(fields, "peer")?) {
        (1, 1) => Ok("a guest that jumps to nowhere has ended alone, and its peer answers".to_owned()),
        (stopped, peer) => Err(format!("{stopped} guests have ended, and the peer gave {peer} answers")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUND: &str =
        "rounds=100 wrong=0 events=100 waits=99 emitted=100 served=100 received=100 dropped=0 interrupts=99 signals=1 accesses=200";

    #[test]
    fn every_count_of_a_round_matters() {
        let verify = |text: &str| round_trips(&Fields::parse(text), 100);
        assert!(verify(ROUND).is_ok());
        for (good, bad) in [
            ("rounds=100", "rounds=99"),
            ("wrong=0", "wrong=1"),
            ("events=100", "events=101"),
            ("emitted=100", "emitted=99"),
            ("served=100", "served=99"),
            ("received=100", "received=99"),
            ("dropped=0", "dropped=1"),
            ("interrupts=99", "interrupts=98"),
            ("accesses=200", ""),
        ] {
            assert!(verify(&ROUND.replace(good, bad)).is_err(), "{bad}");
        }
        assert!(verify(&ROUND.replace("=99", "=3")).is_err(), "hardly an interrupt");
    }

    #[test]
    fn runs_are_compared_to_the_last_byte() {
        assert!(repeated(b"a\nb", b"a\nb").is_ok());
        assert_eq!(repeated(b"a\nb", b"a\nc"), Err("a second run prints something else in line 2".to_owned()));
        assert_eq!(repeated(b"a", b"a\n"), Err("a second run prints 2 bytes, not 1".to_owned()));
    }

    #[test]
    fn checks_fail_where_the_guest_saw_something_else() {
        let fields = |text| Fields::parse(text);
        assert!(enumeration(&fields("found=4 agreeing=4")).is_ok());
        assert!(enumeration(&fields("found=4 agreeing=3")).is_err());
        assert!(moved_bars(&fields("found=4 agreeing=4 moved=4 old=ffffffff")).is_ok());
        assert!(moved_bars(&fields("found=4 agreeing=4 moved=4 old=0")).is_err());
        assert!(dataport(&fields("words=64 written=1 read=1")).is_ok());
        assert!(dataport(&fields("words=64 written=1 read=2")).is_err());
        assert!(rights(&fields("stores=5 trapped=5 changed=1")).is_err());
        assert!(pending(&fields("early=1 count=1 taken=1")).is_err());
        assert!(odd_stores(&fields("instructions=15 emitting=13 emits=13")).is_err());
        assert!(crash(&fields("stopped=1 peer=0")).is_err());
    }
}
