//! The root task's time.

/// Milliseconds in a second.
const SECOND: u64 = 1000;

/// Time since the root task was started, for one that may not read the processor's counter: whole seconds from a clock, and the turns of its own loop
/// in place of what is between them. It moves with each turn, so what waits for a later time is tried again; without a clock, a turn stands for a
/// millisecond.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Uptime {
    second: u64,
    /// Turns since that second began.
    turns: u64,
}

impl Uptime {
    /// The loop has turned once more.
    pub const fn turn(&mut self) {
        self.turns = self.turns.saturating_add(1);
    }

    /// Milliseconds, with `seconds` of a clock that was 0 at the start, where there is a clock. Never less than before.
    pub const fn milliseconds(&mut self, seconds: Option<u64>) -> u64 {
        let Some(seconds) = seconds else { return self.turns };
        if seconds > self.second {
            *self = Self { second: seconds, turns: 0 };
        }
        let turns = if self.turns < SECOND { self.turns } else { SECOND - 1 };
        self.second.saturating_mul(SECOND).saturating_add(turns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What it shows after so many turns.
    fn after(uptime: &mut Uptime, turns: u32, seconds: Option<u64>) -> u64 {
        (0..turns).for_each(|_| uptime.turn());
        uptime.milliseconds(seconds)
    }

    #[test]
    fn it_moves_between_the_seconds_and_never_back() {
        let mut uptime = Uptime::default();
        let shown =
            [(0, 0), (10, 0), (5000, 0), (0, 1), (1, 1), (0, 0), (0, 7)].map(|(turns, seconds)| after(&mut uptime, turns, Some(seconds)));
        assert_eq!(shown, [0, 10, 999, 1000, 1001, 1001, 7000]);
    }

    #[test]
    fn it_moves_without_a_clock() {
        let mut uptime = Uptime::default();
        assert_eq!([0, 10, 5000].map(|turns| after(&mut uptime, turns, None)), [0, 10, 5010]);
    }
}
