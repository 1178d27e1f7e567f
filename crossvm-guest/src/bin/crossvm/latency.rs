//! How long something took, many times over.

use std::time::Duration;

use console::Term;
use hdrhistogram::Histogram;
use serde::Serialize;

use crate::failure::{Failure, Status};

/// The longest time that is told from longer ones, in nanoseconds: an hour.
const LONGEST: u64 = 3_600_000_000_000;
/// So many digits of each time are kept.
const DIGITS: u8 = 3;

/// Times, each kept to three digits.
#[derive(Debug)]
pub(crate) struct Latencies(Histogram<u64>);

impl Latencies {
    /// None yet. All memory that it ever needs is allocated here.
    pub(crate) fn new() -> Result<Self, Failure> {
        let histogram = Histogram::new_with_max(LONGEST, DIGITS);
        histogram.map(Self).map_err(|error| Failure::Other(Status::Failed, format!("cannot count times: {error}")))
    }

    /// One more.
    #[inline]
    pub(crate) fn record(&mut self, time: Duration) {
        self.0.saturating_record(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Forgets all.
    pub(crate) fn clear(&mut self) {
        self.0.reset();
    }

    /// How many there are.
    pub(crate) fn len(&self) -> u64 {
        self.0.len()
    }

    /// The numbers that say most; `None` where there is no time.
    pub(crate) fn summary(&self) -> Option<Summary> {
        let at = |quantile| self.0.value_at_quantile(quantile);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between the least and the most, and both fit")]
        let mean = self.0.mean().round() as u64;
        (!self.0.is_empty()).then(|| Summary {
            min: self.0.min(),
            mean,
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: self.0.max(),
        })
    }

    /// The times in nanoseconds, from short to long, and how often there was each.
    pub(crate) fn each(&self) -> impl Iterator<Item = (u64, u64)> {
        self.0.iter_recorded().map(|value| (value.value_iterated_to(), value.count_at_value()))
    }
}

/// The numbers that say most of many times, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Summary {
    pub(crate) min: u64,
    pub(crate) mean: u64,
    pub(crate) p50: u64,
    pub(crate) p90: u64,
    pub(crate) p99: u64,
    pub(crate) p999: u64,
    pub(crate) max: u64,
}

/// Which characters can be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Letters {
    /// Those of Unicode.
    Unicode,
    /// ASCII only: a serial line without a locale, a file.
    Ascii,
}

impl Letters {
    /// What standard output can show.
    pub(crate) fn of_output() -> Self {
        // "Emoji" is what the library calls it; it asks whether there is a terminal, and whether its text is UTF-8.
        if Term::stdout().features().wants_emoji() { Self::Unicode } else { Self::Ascii }
    }
}

/// A time for a person, with three digits.
pub(crate) fn time(nanoseconds: u64, letters: Letters) -> String {
    let micro = match letters {
        Letters::Unicode => "µs",
        Letters::Ascii => "us",
    };
    let (unit, one) = match nanoseconds {
        0..1_000 => return format!("{nanoseconds} ns"),
        1_000..1_000_000 => (micro, 1e3),
        1_000_000..1_000_000_000 => ("ms", 1e6),
        _ => ("s", 1e9),
    };
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let value = nanoseconds as f64 / one;
    let places = match value {
        ..9.995 => 2,
        ..99.95 => 1,
        _ => 0,
    };
    format!("{value:.places$} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_in_order_and_near_what_was_recorded() {
        let mut latencies = Latencies::new().unwrap();
        assert_eq!(latencies.summary(), None);
        for nanoseconds in 1..=10_000 {
            latencies.record(Duration::from_nanos(nanoseconds));
        }
        let Summary { min, mean, p50, p90, p99, p999, max } = latencies.summary().unwrap();
        assert!([min, p50, p90, p99, p999, max].is_sorted());
        for (found, expected) in [(min, 1), (mean, 5_000), (p50, 5_000), (p90, 9_000), (p99, 9_900), (p999, 9_990), (max, 10_000)] {
            assert!(found.abs_diff(expected) <= expected / 500, "{found} {expected}");
        }
        assert_eq!((latencies.len(), latencies.each().map(|(_, count)| count).sum::<u64>()), (10_000, 10_000));
    }

    #[test]
    fn what_is_too_long_is_kept_as_the_longest() {
        let mut latencies = Latencies::new().unwrap();
        latencies.record(Duration::MAX);
        assert!(latencies.summary().unwrap().max >= LONGEST);
    }

    #[test]
    fn times_have_three_digits() {
        for (nanoseconds, text) in [
            (0, "0 ns"),
            (999, "999 ns"),
            (1_000, "1.00 µs"),
            (9_999, "10.0 µs"),
            (12_345, "12.3 µs"),
            (999_999, "1000 µs"),
            (5_600_000, "5.60 ms"),
            (LONGEST, "3600 s"),
        ] {
            assert_eq!(time(nanoseconds, Letters::Unicode), text);
            assert!(time(nanoseconds, Letters::Ascii).is_ascii());
        }
    }
}
