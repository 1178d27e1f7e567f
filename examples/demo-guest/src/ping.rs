//! Checks `ping`, `ping-msix`, `resume` and `resume-msix`: events from vm0 to vm1 and back, by events alone.
//!
//! Half of the round trips look for the event for a while before they sleep, half sleep at once and so need an interrupt each: both
//! ways to learn of an event are in use. They come in blocks, and each block of the second kind begins with a pause, so that both
//! sides are asleep.

use std::thread;
use std::time::{Duration, Instant};

use crossvm_guest::System;

use crate::events::{Events, Spins};
use crate::link::{Link, Turns};
use crate::report::{Failure, Report};
use crate::settings::{Sabotage, Settings};

/// How many round trips of one kind follow one another.
const BLOCK: u32 = 50;
/// Looks for an event before sleeping, in the blocks that look.
const SPINS: Spins = Spins(20_000);
/// Before a block that sleeps.
const PAUSE: Duration = Duration::from_millis(1);

/// A number of round trips over one connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rally {
    check: &'static str,
    connection: &'static str,
    /// Of the rounds that the kernel command line asks for, this part.
    part: u32,
}

/// Many round trips, INTx through the stock driver.
pub(crate) const INTX: Rally = Rally { check: "ping", connection: "ping", part: 1 };
/// The same with messages, through our driver.
pub(crate) const MSIX: Rally = Rally { check: "ping-msix", connection: "ping-msix", part: 2 };
/// After vm1's reboot, INTx.
pub(crate) const RESUME_INTX: Rally = Rally { check: "resume", connection: "ping", part: 10 };
/// After vm1's reboot, messages.
pub(crate) const RESUME_MSIX: Rally = Rally { check: "resume-msix", connection: "ping-msix", part: 10 };

impl Rally {
    /// Emits and waits for the answer.
    pub(crate) fn ping(&self, system: &System, settings: &Settings, report: &Report) -> Result<(), Failure> {
        self.run(system, settings, report, "ping", |link| pinger(link, self.rounds(settings)))
    }

    /// Waits and answers.
    pub(crate) fn pong(&self, system: &System, settings: &Settings, report: &Report) -> Result<(), Failure> {
        self.run(system, settings, report, "pong", |link| ponger(link, self.rounds(settings), settings.sabotage))
    }

    fn rounds(&self, settings: &Settings) -> u32 {
        settings.rounds / self.part
    }

    /// Fewest waits that must have slept: with fewer, the interrupt was hardly tried.
    fn fewest_sleeps(&self, settings: &Settings) -> u64 {
        u64::from(self.rounds(settings) / BLOCK / 4)
    }

    fn run(
        &self,
        system: &System,
        settings: &Settings,
        report: &Report,
        side: &str,
        rounds: impl FnOnce(&mut Link<'_>) -> Result<(), String>,
    ) -> Result<(), Failure> {
        let fail = |reason: String| Failure::new(self.check, reason);
        let connection = system.endpoint(self.connection).map_err(|error| fail(error.to_string()))?;
        let mut link = Link::new(&connection, settings.timeout).map_err(fail)?;
        let begin = Instant::now();
        rounds(&mut link).map_err(fail)?;
        let time = begin.elapsed();
        let tally = link.tally();
        drop(link);
        let left = Events::open(&connection).and_then(|mut events| events.take()).map_err(fail)?;
        if left != 0 {
            return Err(fail(format!("{left} events too many")));
        }
        if tally.slept < self.fewest_sleeps(settings) {
            return Err(fail(format!("only {} waits slept until an interrupt: the interrupt was hardly tried", tally.slept)));
        }
        report.pass(
            self.check,
            &[
                ("side", side.to_owned()),
                ("sent", tally.emitted.to_string()),
                ("received", tally.received.to_string()),
                ("ms", time.as_millis().to_string()),
                ("slept", tally.slept.to_string()),
            ],
        );
        Ok(())
    }
}

/// How often to look before sleeping in round `round`.
const fn spins(round: u32) -> Spins {
    if (round / BLOCK).is_multiple_of(2) { Spins::NONE } else { SPINS }
}

fn pinger(link: &mut impl Turns, rounds: u32) -> Result<(), String> {
    for round in 0..rounds {
        if round.is_multiple_of(2 * BLOCK) {
            thread::sleep(PAUSE);
        }
        link.emit()?;
        link.event(spins(round), || format!("answer to ping {round}"))?;
    }
    Ok(())
}

fn ponger(link: &mut impl Turns, rounds: u32, sabotage: Option<Sabotage>) -> Result<(), String> {
    for round in 0..rounds {
        link.event(spins(round), || format!("ping {round}"))?;
        if sabotage != Some(Sabotage::Mute) || round != rounds / 2 {
            link.emit()?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::Tally;
    use crate::link::fake::sides;

    const ROUNDS: u32 = 10_000;

    #[test]
    fn every_ping_is_answered() {
        let (mut first, mut second) = sides();
        let (pinged, ponged) = thread::scope(|scope| {
            let pinged = scope.spawn(|| pinger(&mut first, ROUNDS));
            (ponger(&mut second, ROUNDS, None), pinged.join().unwrap())
        });
        assert_eq!((pinged, ponged), (Ok(()), Ok(())));
        let Tally { emitted, received, .. } = second.tally();
        assert_eq!((emitted, received), (10_000, 10_000));
    }

    #[test]
    fn one_ping_without_an_answer_shows() {
        let (mut first, mut second) = sides();
        let (ponged, pinged) = thread::scope(|scope| {
            let pinged = scope.spawn(|| pinger(&mut first, ROUNDS));
            (ponger(&mut second, ROUNDS, Some(Sabotage::Mute)), pinged.join().unwrap())
        });
        assert_eq!(pinged, Err("no answer to ping 5000".to_owned()));
        assert_eq!(ponged, Err("no ping 5001".to_owned()));
    }

    #[test]
    fn half_of_the_rounds_need_an_interrupt() {
        assert_eq!((0..ROUNDS).filter(|round| spins(*round) == Spins::NONE).count(), 5000);
    }
}
