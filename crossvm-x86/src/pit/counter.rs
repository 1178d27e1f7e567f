//! One counter of the 8254. Time is in ticks of its clock.

use crate::spec::pit::{ControlWord, CounterStatus};

/// Where the counter is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
enum Progress {
    /// No count has been written since the control word.
    Empty,
    /// Counts since this tick.
    Since(u64),
    /// The gate is low; so many ticks were counted.
    Stopped(u64),
}

/// A counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub(super) struct Counter {
    control: ControlWord,
    /// 1 to 65536.
    reload: u32,
    progress: Progress,
    gate: bool,
    /// The lower byte, written and waiting for the upper.
    half: Option<u8>,
    latch: Option<u16>,
    status: Option<u8>,
    /// The next read gives the upper byte.
    upper: bool,
    /// Rises of the output that have been told.
    told: u64,
}

impl Counter {
    pub(super) const fn new(gate: bool) -> Self {
        let control = ControlWord::new().with_access(3);
        Self { control, reload: 0x1_0000, progress: Progress::Empty, gate, half: None, latch: None, status: None, upper: false, told: 0 }
    }

    /// 0 to 5.
    const fn mode(&self) -> u8 {
        match self.control.mode() {
            mode @ 0..=5 => mode,
            mode => mode & 3,
        }
    }

    /// Ticks since the count was loaded.
    const fn elapsed(&self, now: u64) -> Option<u64> {
        match self.progress {
            Progress::Empty => None,
            Progress::Since(start) => Some(now.saturating_sub(start)),
            Progress::Stopped(elapsed) => Some(elapsed),
        }
    }

    /// Ticks in the current period. `reload` is never zero.
    fn phase(&self, elapsed: u64) -> u64 {
        elapsed.checked_rem(self.reload.into()).unwrap_or(0)
    }

    /// The count as it would be read.
    fn count(&self, now: u64) -> u16 {
        let reload = u64::from(self.reload);
        let count = match self.elapsed(now) {
            None => 0,
            Some(elapsed) => match self.mode() {
                2 => reload.wrapping_sub(self.phase(elapsed)),
                // By twos, twice in a period.
                3 => (reload & !1).wrapping_sub(self.phase(elapsed).wrapping_mul(2).checked_rem((reload & !1).max(2)).unwrap_or(0)),
                _ => reload.wrapping_sub(elapsed),
            },
        };
        let [low, high, ..] = count.to_le_bytes();
        u16::from_le_bytes([low, high])
    }

    pub(super) fn output(&self, now: u64) -> bool {
        let Some(elapsed) = self.elapsed(now) else { return self.mode() != 0 };
        let reload = u64::from(self.reload);
        match self.mode() {
            0 | 1 => elapsed >= reload,
            2 => !self.gate || self.phase(elapsed) != reload.wrapping_sub(1),
            3 => !self.gate || self.phase(elapsed) < reload.div_ceil(2),
            _ => elapsed != reload,
        }
    }

    /// Rises of the output since the count was loaded.
    fn rises(&self, elapsed: u64) -> u64 {
        let reload = u64::from(self.reload);
        match self.mode() {
            0 | 1 => u64::from(elapsed >= reload),
            2 | 3 => elapsed.checked_div(reload).unwrap_or(0),
            _ => u64::from(elapsed > reload),
        }
    }

    /// Rises that have not been told.
    pub(super) fn take_rises(&mut self, now: u64) -> u64 {
        let Some(elapsed) = self.elapsed(now) else { return 0 };
        let rises = self.rises(elapsed);
        let new = rises.saturating_sub(self.told);
        self.told = rises;
        new
    }

    /// The tick of the next rise that has not been told.
    pub(super) fn next_rise(&self) -> Option<u64> {
        let Progress::Since(start) = self.progress else { return None };
        let reload = u64::from(self.reload);
        let after = match self.mode() {
            2 | 3 => self.told.checked_add(1)?.checked_mul(reload)?,
            _ if self.told != 0 => return None,
            0 | 1 => reload,
            _ => reload.wrapping_add(1),
        };
        start.checked_add(after)
    }

    pub(super) fn set_gate(&mut self, gate: bool, now: u64) {
        if gate == self.gate {
            return;
        }
        self.gate = gate;
        self.progress = match (self.progress, self.mode(), gate) {
            (Progress::Empty, _, _) => Progress::Empty,
            // A rise begins a new period, or triggers.
            (_, 1 | 2 | 3 | 5, true) => {
                self.told = 0;
                Progress::Since(now)
            }
            (progress, 1 | 5, false) => progress,
            (Progress::Stopped(elapsed), _, true) => Progress::Since(now.saturating_sub(elapsed)),
            (Progress::Since(start), _, false) => Progress::Stopped(now.saturating_sub(start)),
            (progress, ..) => progress,
        };
    }

    pub(super) const fn write_control(&mut self, control: ControlWord) {
        *self = Self { control, reload: 0x1_0000, ..Self::new(self.gate) };
    }

    /// Keeps the count for the next read, unless one is kept already.
    pub(super) fn latch_count(&mut self, now: u64) {
        self.latch = self.latch.or_else(|| Some(self.count(now)));
    }

    pub(super) fn latch_status(&mut self, now: u64) {
        let status = CounterStatus::from_bits(self.control.into_bits() & 0x3f);
        let status = status.with_no_count(self.progress == Progress::Empty).with_output(self.output(now));
        self.status = self.status.or(Some(status.into_bits()));
    }

    pub(super) fn read(&mut self, now: u64) -> u8 {
        if let Some(status) = self.status.take() {
            return status;
        }
        let [low, high] = self.latch.unwrap_or_else(|| self.count(now)).to_le_bytes();
        let both = self.control.access() == 3;
        let upper = if both { self.upper } else { self.control.access() == 2 };
        self.upper = both && !self.upper;
        // A latched count is kept until all of it is read.
        if !self.upper {
            self.latch = None;
        }
        if upper { high } else { low }
    }

    pub(super) fn write(&mut self, value: u8, now: u64) {
        let count = match (self.control.access(), self.half.take()) {
            (1, _) => u16::from(value),
            (2, _) => u16::from_le_bytes([0, value]),
            (_, Some(low)) => u16::from_le_bytes([low, value]),
            (_, None) => {
                self.half = Some(value);
                return;
            }
        };
        self.reload = if count == 0 { 0x1_0000 } else { count.into() };
        self.told = 0;
        // Those that a gate triggers wait for it; those that a gate stops, stop.
        self.progress = match (self.mode(), self.gate) {
            (1 | 5, _) => Progress::Empty,
            (_, true) => Progress::Since(now),
            (_, false) => Progress::Stopped(0),
        };
    }
}
