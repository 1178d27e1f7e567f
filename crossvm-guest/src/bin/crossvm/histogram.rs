//! A histogram of times, drawn with letters: a line for each step of a logarithmic scale.
//!
//! ```text
//! 4.70 µs - 5.60 µs ████████████████████ 100  79.4 %
//! 5.60 µs - 6.80 µs █████                 25  19.8 %
//! ```

use crate::latency::{Letters, time};

/// Steps in a decade, in hundredths: the preferred numbers E12, E6, E3 and E1. The finest that need no more than [`MOST`] lines are taken.
const SERIES: [&[u64]; 4] =
    [&[100, 120, 150, 180, 220, 270, 330, 390, 470, 560, 680, 820], &[100, 150, 220, 330, 470, 680], &[100, 220, 470], &[100]];
/// From a nanosecond to nearly three hours.
const DECADES: u32 = 14;
/// So many lines are enough.
const MOST: usize = 16;
/// The shortest and the longest that the longest bar can be.
const BAR: (usize, usize) = (10, 60);

/// A line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Step {
    /// The shortest time that counts, in nanoseconds.
    from: u64,
    /// The shortest that counts no more.
    to: u64,
    /// How many there were.
    count: u64,
}

/// Draws `times`, in nanoseconds with how often there was each, in lines of at most `width` columns where that is possible.
pub(crate) fn draw(times: impl Iterator<Item = (u64, u64)>, width: usize, letters: Letters) -> Vec<String> {
    let times: Vec<_> = times.collect();
    let steps = SERIES.into_iter().map(|series| steps(&times, series)).find(|steps| steps.len() <= MOST).unwrap_or_default();
    let most = steps.iter().map(|step| step.count).max().unwrap_or_default();
    let all: u64 = steps.iter().map(|step| step.count).sum();
    let label = |at| time(at, letters);
    let labels: Vec<_> = steps.iter().map(|step| format!("{:>7} - {:>7}", label(step.from), label(step.to))).collect();
    let label_width = labels.iter().map(|label| label.chars().count()).max().unwrap_or_default();
    let count_width = most.to_string().len();
    let beside = label_width.saturating_add(count_width).saturating_add(" ".len() + " ".len() + " 100.0 %".len());
    let bar_width = width.saturating_sub(beside).clamp(BAR.0, BAR.1);
    let line = |(step, label): (&Step, &String)| {
        let bar = bar(step.count, most, bar_width, letters);
        #[expect(clippy::cast_precision_loss, reason = "a share is approximate")]
        let share = 100.0 * step.count as f64 / (all.max(1)) as f64;
        format!("{label:>label_width$} {bar} {:>count_width$} {share:>5.1} %", step.count)
    };
    steps.iter().zip(&labels).map(line).collect()
}

/// The steps from the first that is not empty to the last.
fn steps(times: &[(u64, u64)], series: &[u64]) -> Vec<Step> {
    let mut edges: Vec<u64> = (0..DECADES).flat_map(|decade| series.iter().map(move |step| step * 10_u64.pow(decade) / 100)).collect();
    // Of a few nanoseconds there are no fractions.
    edges.dedup();
    let mut steps: Vec<_> =
        edges.iter().zip(edges.iter().skip(1).chain([&u64::MAX])).map(|(&from, &to)| Step { from, to, count: 0 }).collect();
    for &(time, count) in times {
        let place = edges.partition_point(|edge| *edge <= time).saturating_sub(1);
        if let Some(step) = steps.get_mut(place) {
            step.count = step.count.saturating_add(count);
        }
    }
    let is_used = |step: &Step| step.count != 0;
    let first = steps.iter().position(is_used).unwrap_or(steps.len());
    let end = steps.iter().rposition(is_used).map_or(first, |last| last.saturating_add(1));
    steps.get(first..end).unwrap_or_default().to_vec()
}

/// A bar for `count`, as long as `width` for `most`, and filled up to that with spaces. Where there was anything at all, something is seen.
fn bar(count: u64, most: u64, width: usize, letters: Letters) -> String {
    const EIGHTHS: [char; 7] = ['▏', '▎', '▍', '▌', '▋', '▊', '▉'];
    let (full, parts) = match letters {
        Letters::Unicode => ('█', 8),
        Letters::Ascii => ('#', 1),
    };
    let longest = width.saturating_mul(parts);
    let units = u128::from(count).saturating_mul(longest as u128).div_ceil(u128::from(most.max(1)));
    let units = usize::try_from(units).unwrap_or(longest);
    let part = (units % parts).checked_sub(1).and_then(|part| EIGHTHS.get(part));
    let bar: String = std::iter::repeat_n(full, units / parts).chain(part.copied()).collect();
    format!("{bar:<width$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(times: &[(u64, u64)], width: usize, letters: Letters) -> Vec<String> {
        draw(times.iter().copied(), width, letters)
    }

    #[test]
    fn times_are_drawn_in_steps_and_the_gap_between_them_is_seen() {
        let drawn = lines(&[(4_700, 50), (5_599, 50), (5_600, 25), (10_000, 1)], 50, Letters::Unicode);
        assert_eq!(
            drawn,
            [
                "4.70 µs - 5.60 µs ████████████████████ 100  79.4 %",
                "5.60 µs - 6.80 µs █████                 25  19.8 %",
                "6.80 µs - 8.20 µs                        0   0.0 %",
                "8.20 µs - 10.0 µs                        0   0.0 %",
                "10.0 µs - 12.0 µs ▎                      1   0.8 %",
            ]
        );
    }

    #[test]
    fn without_unicode_all_is_ascii() {
        let drawn = lines(&[(1_000, 2), (1_200, 1)], 50, Letters::Ascii);
        assert_eq!(drawn, ["1.00 us - 1.20 us ###################### 2  66.7 %", "1.20 us - 1.50 us ###########            1  33.3 %"]);
    }

    #[test]
    fn a_wide_range_is_drawn_in_coarser_steps_and_nothing_gets_lost() {
        for spread in [1, 10, 100, 10_000, 3_600_000_000_000] {
            let times = [(1, 3), (spread, 4)];
            let steps = SERIES.into_iter().map(|series| steps(&times, series)).find(|steps| steps.len() <= MOST).unwrap();
            assert_eq!(steps.iter().map(|step| step.count).sum::<u64>(), 7, "{spread}");
            assert!(steps.windows(2).all(|pair| pair[0].to == pair[1].from));
            assert_eq!(lines(&times, 80, Letters::Unicode).len(), steps.len());
        }
    }

    #[test]
    fn every_series_has_few_enough_steps_for_some_range_and_the_last_for_all() {
        let all = [(0, 1), (u64::MAX, 1)];
        assert!(steps(&all, SERIES[3]).len() <= MOST);
        assert!(steps(&all, SERIES[0]).len() > MOST);
    }

    #[test]
    fn nothing_is_drawn_of_nothing_and_the_greatest_numbers_are_drawn() {
        assert!(lines(&[], 80, Letters::Unicode).is_empty());
        assert_eq!(bar(u64::MAX, u64::MAX, 60, Letters::Unicode), "█".repeat(60));
        assert_eq!(bar(1, u64::MAX, 10, Letters::Unicode).trim_end(), "▏");
        assert_eq!(bar(0, 5, 10, Letters::Ascii), " ".repeat(10));
    }

    #[test]
    fn lines_are_no_wider_than_the_terminal_where_that_is_possible() {
        for width in [50, 80, 200] {
            let drawn = lines(&[(999, 123_456), (12_000, 1)], width, Letters::Unicode);
            assert!(drawn.iter().all(|line| line.chars().count() <= width), "{width}");
        }
        assert!(!lines(&[(5, 5)], 0, Letters::Unicode).is_empty());
    }
}
