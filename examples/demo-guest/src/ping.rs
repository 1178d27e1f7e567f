//! Check `ping`: events from vm0 to vm1 and back, by events alone.
//!
//! Half of the round trips look at COUNT for a while before they sleep, half sleep at once and so need an interrupt each: both ways
//! to learn of an event are in use. They come in blocks, and each block of the second kind begins with a pause, so that both
//! sides are asleep.

use std::thread;
use std::time::{Duration, Instant};

use crossvm_guest::System;

use crate::link::{Link, Turns};
use crate::report::{Failure, Report};
use crate::settings::{Sabotage, Settings};

const CHECK: &str = "ping";
const CONNECTION: &str = "ping";
/// How many round trips.
const ROUNDS: u32 = 10_000;
/// How many round trips of one kind follow one another.
const BLOCK: u32 = 50;
/// Looks at COUNT before sleeping, in the blocks that look.
const SPINS: u32 = 20_000;
/// Before a block that sleeps.
const PAUSE: Duration = Duration::from_millis(1);
/// Fewest waits that must have slept: with fewer, the interrupt was hardly tried.
const FEWEST_SLEEPS: u32 = ROUNDS / BLOCK / 4;

/// How often to look before sleeping in round `round`.
const fn spins(round: u32) -> u32 {
    if (round / BLOCK).is_multiple_of(2) { 0 } else { SPINS }
}

/// Emits and waits for the answer.
pub(crate) fn ping(system: &System, settings: &Settings, report: &Report) -> Result<(), Failure> {
    run(system, settings, report, "ping", |link| pinger(link))
}

/// Waits and answers.
pub(crate) fn pong(system: &System, settings: &Settings, report: &Report) -> Result<(), Failure> {
    run(system, settings, report, "pong", |link| ponger(link, settings.sabotage))
}

fn pinger(link: &mut impl Turns) -> Result<(), String> {
    for round in 0..ROUNDS {
        if round.is_multiple_of(2 * BLOCK) {
            thread::sleep(PAUSE);
        }
        link.emit();
        link.event(spins(round), || format!("answer to ping {round}"))?;
    }
    Ok(())
}

fn ponger(link: &mut impl Turns, sabotage: Option<Sabotage>) -> Result<(), String> {
    for round in 0..ROUNDS {
        link.event(spins(round), || format!("ping {round}"))?;
        if sabotage != Some(Sabotage::Mute) || round != ROUNDS / 2 {
            link.emit();
        }
    }
    Ok(())
}

fn run(
    system: &System,
    settings: &Settings,
    report: &Report,
    side: &str,
    rounds: impl FnOnce(&mut Link<'_>) -> Result<(), String>,
) -> Result<(), Failure> {
    let fail = |reason: String| Failure::new(CHECK, reason);
    let connection = system.open(CONNECTION).map_err(|error| fail(error.to_string()))?;
    let mut link = Link::new(&connection, settings.timeout).map_err(fail)?;
    let begin = Instant::now();
    rounds(&mut link).map_err(fail)?;
    let time = begin.elapsed();
    let left = connection.events().count();
    if left.get() != 0 {
        return Err(fail(format!("{left} events too many")));
    }
    if link.slept() < FEWEST_SLEEPS {
        return Err(fail(format!("only {} waits slept, so the interrupt was hardly tried", link.slept())));
    }
    report.pass(
        CHECK,
        &[
            ("side", side.to_owned()),
            ("sent", ROUNDS.to_string()),
            ("received", ROUNDS.to_string()),
            ("ms", time.as_millis().to_string()),
            ("slept", link.slept().to_string()),
        ],
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::fake::sides;

    #[test]
    fn every_ping_is_answered() {
        let (mut first, mut second) = sides();
        let (pinged, ponged) = thread::scope(|scope| {
            let pinged = scope.spawn(|| pinger(&mut first));
            (ponger(&mut second, None), pinged.join().unwrap())
        });
        assert_eq!((pinged, ponged), (Ok(()), Ok(())));
    }

    #[test]
    fn one_ping_without_an_answer_shows() {
        let (mut first, mut second) = sides();
        let (ponged, pinged) = thread::scope(|scope| {
            let pinged = scope.spawn(|| pinger(&mut first));
            (ponger(&mut second, Some(Sabotage::Mute)), pinged.join().unwrap())
        });
        assert_eq!(pinged, Err("no answer to ping 5000".to_owned()));
        assert_eq!(ponged, Err("no ping 5001".to_owned()));
    }

    #[test]
    fn half_of_the_rounds_need_an_interrupt() {
        assert_eq!((0..ROUNDS).filter(|round| spins(*round) == 0).count(), 5000);
    }
}
