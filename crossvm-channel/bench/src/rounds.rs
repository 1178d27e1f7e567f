//! Rounds: all contenders one after the other, again and again, so that whatever else the machine does meets all of them alike.

use std::time::Duration;

use anyhow::Result;

/// How long to measure.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    /// How many rounds, at least 1.
    pub(crate) rounds: usize,
    /// About how long each contender runs in each.
    pub(crate) length: Duration,
    /// Whether to leave the processors to others after each run for as long as it took.
    pub(crate) pause: bool,
}

/// What one contender needed for an operation in each round, in nanoseconds. All that are measured together have the same number of rounds.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Times(Vec<f64>);

/// Runs `all`, each of which does an operation so many times and says how long that took, in rounds. `done` is called after each run.
pub(crate) fn measure(plan: Plan, all: &[&dyn Fn(u64) -> Result<Duration>], mut done: impl FnMut()) -> Result<Vec<Times>> {
    let run = |operation: &dyn Fn(u64) -> Result<Duration>, count| -> Result<Duration> {
        let took = operation(count)?;
        if plan.pause {
            std::thread::sleep(took);
        }
        Ok(took)
    };
    let mut counts = Vec::new();
    for operation in all {
        let mut count = 16;
        while run(*operation, count)? < plan.length / 2 {
            count *= 2;
        }
        counts.push(count);
        done();
    }
    let mut times = vec![Times(Vec::new()); all.len()];
    for _ in 0..plan.rounds {
        for ((operation, count), times) in all.iter().zip(&counts).zip(&mut times) {
            times.0.push(run(*operation, *count)?.as_secs_f64() * 1e9 / *count as f64);
            done();
        }
    }
    Ok(times)
}

/// The middle one; of an even number, the upper of the two. 0 of none.
fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut all: Vec<f64> = values.collect();
    all.sort_by(f64::total_cmp);
    all.get(all.len() / 2).copied().unwrap_or(0.0)
}

impl Times {
    /// The middle one in nanoseconds.
    pub(crate) fn median(&self) -> f64 {
        median(self.0.iter().copied())
    }

    /// The least in nanoseconds.
    pub(crate) fn least(&self) -> f64 {
        self.0.iter().copied().fold(f64::INFINITY, f64::min)
    }

    /// The most in nanoseconds.
    pub(crate) fn most(&self) -> f64 {
        self.0.iter().copied().fold(0.0, f64::max)
    }

    /// How fast this is, where 1 is as fast as `other`: compared round by round, and of that the middle. The machine has slow and fast spells, which
    /// a round does not mix.
    pub(crate) fn speed_beside(&self, other: &Self) -> f64 {
        median(self.0.iter().zip(&other.0).map(|(own, other)| other / own))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speeds_are_compared_within_a_round() {
        let (a, b) = (Times(vec![10.0, 100.0, 10.0]), Times(vec![20.0, 200.0, 20.0]));
        assert_eq!((a.speed_beside(&b), b.speed_beside(&a)), (2.0, 0.5));
        assert_eq!((a.median(), a.least(), a.most()), (10.0, 10.0, 100.0));
    }

    #[test]
    fn all_run_in_turns_as_often_as_planned() {
        let plan = Plan { rounds: 3, length: Duration::from_micros(10), pause: false };
        let operation = |count| Ok(Duration::from_micros(count));
        let mut runs = 0;
        let times = measure(plan, &[&operation, &operation], || runs += 1).unwrap();
        assert_eq!(runs, 2 * (1 + 3));
        assert_eq!(times, [Times(vec![1000.0; 3]), Times(vec![1000.0; 3])]);
    }
}
