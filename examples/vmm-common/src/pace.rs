//! How much of a vCPU's time its peers may take.
//!
//! Whoever emits makes the receiver's CPU leave its guest. Peers that emit without end could do that again as soon as the guest is entered, and it
//! would never execute an instruction. So the CPU keeps an account: the time outside of the guest that kicks have cost is owed to the
//! guest, and what the guest runs pays it back. As long as little is owed, every event kicks at once. When it is more than a burst,
//! senders do not kick ([`Mailbox::hold`](crate::mail::Mailbox::hold)) until a timer of EL2 has let the guest run for four times what it is owed:
//!
//! ```text
//!   look ──┬─ Look::Nothing ─────────────────────────────────┐
//!     ▲    ├─ Look::Hold ────▶ hold the mailbox, arm the timer ┼─▶ take the mail ──▶ entered ──▶ guest ──▶ left ──┐
//!     │    └─ Look::Release ─▶ the mailbox kicks again ────────┘                                                  │
//!     └───────────────────────────────────────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! An event that comes alone, or is answered before the next one, never waits: its receiver runs for longer than the kick took.

/// A count of the physical counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticks(u64);

impl Ticks {
    /// So many.
    #[must_use]
    pub const fn new(count: u64) -> Self {
        Self(count)
    }

    /// How many.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// Why the guest was left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// By a kick, perhaps among other things.
    Kick,
    /// By something else.
    Other,
}

/// What is to be done with the mailbox, before its mail is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a mailbox that stays held is not looked at"]
pub enum Look {
    /// Nothing.
    Nothing,
    /// It is held until this time, at which the CPU must look again. Said at each look until then.
    Hold(Ticks),
    /// It is not held any more.
    Release,
}

/// Fraction of a second that kicks may cost at once: 100 µs.
const BURST: u64 = 10_000;
/// Fraction of a second that is owed at most: 250 µs, so that no event waits for more than 1 ms.
const MOST: u64 = 4_000;
/// How long a mailbox is held, in times of what is owed: what the timer and the first kick afterwards cost must not be as much again.
const HELD: u64 = 4;

/// The account of one CPU.
#[derive(Debug)]
pub struct Pace {
    burst: u64,
    most: u64,
    owed: u64,
    left_at: Ticks,
    entered_at: Ticks,
    /// The time outside of the guest is owed to it.
    charged: bool,
    held_until: Option<Ticks>,
}

impl Pace {
    /// Nothing is owed. The counter counts `frequency` ticks a second.
    #[must_use]
    pub const fn new(frequency: Ticks) -> Self {
        let (burst, most) = (frequency.0 / BURST, frequency.0 / MOST);
        Self { burst, most, owed: 0, left_at: Ticks(0), entered_at: Ticks(0), charged: false, held_until: None }
    }

    /// The guest is about to be entered. While the mailbox is held: until when, anew, as what was owed for this exit is known now.
    #[must_use = "a mailbox that stays held is not looked at"]
    pub fn entered(&mut self, now: Ticks) -> Option<Ticks> {
        if core::mem::take(&mut self.charged) {
            // Whatever else took long then: what is owed has an end.
            self.owed = self.owed.saturating_add(now.since(self.left_at)).min(self.most);
        }
        self.entered_at = now;
        let until = self.end(now);
        self.held_until.as_mut().map(|held| {
            *held = until;
            until
        })
    }

    /// The guest was left.
    pub fn left(&mut self, now: Ticks, cause: Cause) {
        self.owed = self.owed.saturating_sub(now.since(self.entered_at));
        self.left_at = now;
        self.charged = cause == Cause::Kick;
    }

    /// What to do before mail is taken.
    pub fn look(&mut self, now: Ticks) -> Look {
        match self.held_until {
            Some(until) if now < until && self.owed > 0 => Look::Hold(until),
            Some(_) => {
                self.held_until = None;
                // The mail that has gathered costs time as well.
                self.charged = true;
                Look::Release
            }
            None if self.charged && self.owed > self.burst => {
                let until = self.end(now);
                self.held_until = Some(until);
                Look::Hold(until)
            }
            None => Look::Nothing,
        }
    }

    /// Until when a mailbox is held, if the guest runs from now on.
    const fn end(&self, now: Ticks) -> Ticks {
        Ticks(now.0.saturating_add(self.owed.saturating_mul(HELD)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A million ticks a second: one is a microsecond.
    const FREQUENCY: Ticks = Ticks::new(1_000_000);

    /// A CPU, its guest and peers that emit all the time.
    struct Cpu {
        pace: Pace,
        now: u64,
        timer: Option<u64>,
        ran: u64,
        longest: u64,
    }

    impl Cpu {
        fn new() -> Self {
            let mut pace = Pace::new(FREQUENCY);
            let _ = pace.entered(Ticks::new(0));
            Self { pace, now: 0, timer: None, ran: 0, longest: 0 }
        }

        /// The guest runs for `guest`, or until the timer where it is held, and is left for `outside`.
        fn turn(&mut self, guest: u64, outside: u64) -> Look {
            let (run, cause) = match self.timer {
                Some(until) => (until - self.now.min(until), Cause::Other),
                None => (guest, Cause::Kick),
            };
            self.now += run;
            self.ran += run;
            self.longest = self.longest.max(run);
            self.pace.left(Ticks::new(self.now), cause);
            let look = self.pace.look(Ticks::new(self.now));
            match look {
                Look::Nothing => {}
                Look::Hold(_) => {}
                Look::Release => assert_eq!(self.timer, Some(self.now)),
            }
            self.now += outside;
            self.timer = self.pace.entered(Ticks::new(self.now)).map(Ticks::get);
            look
        }
    }

    #[test]
    fn events_that_are_answered_before_the_next_one_never_wait() {
        let mut cpu = Cpu::new();
        for _ in 0..1000 {
            assert_eq!(cpu.turn(5, 4), Look::Nothing);
        }
        // Nor does a burst after a while.
        for _ in 0..20 {
            assert_eq!(cpu.turn(0, 5), Look::Nothing);
        }
    }

    #[test]
    fn a_guest_whose_peers_emit_without_end_has_most_of_its_cpu() {
        for outside in [1, 3, 20, 90, 300] {
            let mut cpu = Cpu::new();
            let held = (0..100_000).filter(|_| matches!(cpu.turn(0, outside), Look::Hold(_))).count();
            assert!(held > 0);
            assert!(cpu.ran * 100 >= cpu.now * 60, "{outside}: {} of {}", cpu.ran, cpu.now);
            assert!((100..=1000).contains(&cpu.longest), "{outside}: {}", cpu.longest);
        }
    }

    #[test]
    fn what_is_held_is_released_at_the_first_look_after_its_time() {
        let mut pace = Pace::new(FREQUENCY);
        assert_eq!(pace.entered(Ticks::new(0)), None);
        pace.left(Ticks::new(0), Cause::Kick);
        assert_eq!(pace.look(Ticks::new(0)), Look::Nothing);
        // Seconds outside: the debt has an end.
        assert_eq!(pace.entered(Ticks::new(5_000_000)), None);
        pace.left(Ticks::new(5_000_000), Cause::Kick);
        assert_eq!(pace.look(Ticks::new(5_000_000)), Look::Hold(Ticks::new(5_001_000)));
        assert_eq!(pace.look(Ticks::new(5_000_999)), Look::Hold(Ticks::new(5_001_000)));
        // A vCPU that is not entered any more: the clock alone releases.
        assert_eq!(pace.look(Ticks::new(5_001_000)), Look::Release);
    }

    #[test]
    fn what_a_guest_has_run_for_is_released_at_an_exit_of_its_own() {
        let mut pace = Pace::new(FREQUENCY);
        let mut turn = |left, cause, entered| {
            pace.left(Ticks::new(left), cause);
            (pace.look(Ticks::new(left)), pace.entered(Ticks::new(entered)))
        };
        assert_eq!(turn(0, Cause::Kick, 150), (Look::Nothing, None));
        assert_eq!(turn(150, Cause::Kick, 200), (Look::Hold(Ticks::new(750)), Some(Ticks::new(1000))));
        assert_eq!(turn(300, Cause::Other, 350), (Look::Hold(Ticks::new(1000)), Some(Ticks::new(750))), "100 are owed still");
        assert_eq!(turn(450, Cause::Other, 460), (Look::Release, None));
        assert_eq!(turn(460, Cause::Kick, 470), (Look::Nothing, None));
    }

    #[test]
    fn exits_of_its_own_owe_a_guest_nothing() {
        let mut pace = Pace::new(FREQUENCY);
        for now in (0..100_000).step_by(100) {
            assert_eq!(pace.entered(Ticks::new(now)), None);
            pace.left(Ticks::new(now), Cause::Other);
            assert_eq!(pace.look(Ticks::new(now)), Look::Nothing);
        }
    }
}
