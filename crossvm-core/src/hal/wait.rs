//! Waiting for events with a timeout.

use core::time::Duration;

use embedded_hal::delay::DelayNs;

use crate::EventSet;

/// How long to wait, and how often to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Timeout {
    after: Duration,
    every: Duration,
}

impl Timeout {
    /// Looks at once, then every `every`, and gives up `after` has passed. `None` where `every` is zero: time would not pass.
    #[must_use]
    pub const fn new(after: Duration, every: Duration) -> Option<Self> {
        if every.is_zero() { None } else { Some(Self { after, every }) }
    }
}

/// What became of a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Waited {
    /// These came, at least one.
    Events(EventSet),
    /// None came in time.
    TimedOut,
}

/// Polls `source` until it reports an event or the time is up. It looks once more when the time is up, so an event that came in time is never
/// reported as a timeout. Time is what `delay` has waited; the polls themselves are not counted, so the wait may last longer, never shorter.
///
/// `source` is whatever finds events: `|| source.poll()` with a source of this module, several of them whose sets are put together, or
/// a hypervisor's poll of a notification. For a VMM with nothing else to do: a guest is not served meanwhile.
///
/// # Errors
/// The first of `source`.
pub fn wait_for<E>(
    mut source: impl FnMut() -> Result<EventSet, E>,
    timeout: Timeout,
    delay: &mut (impl DelayNs + ?Sized),
) -> Result<Waited, E> {
    let mut rest = timeout.after;
    loop {
        let events = source()?;
        if !events.is_empty() {
            return Ok(Waited::Events(events));
        }
        if rest.is_zero() {
            return Ok(Waited::TimedOut);
        }
        let step = rest.min(timeout.every);
        pause(step, delay);
        rest = rest.saturating_sub(step);
    }
}

/// Waits for `time`, which may be more than one call of a delay can tell.
fn pause(time: Duration, delay: &mut (impl DelayNs + ?Sized)) {
    const LONGEST: Duration = Duration::from_secs(1);
    let mut rest = time;
    while !rest.is_zero() {
        let step = rest.min(LONGEST);
        // A second is less than a u32 of nanoseconds.
        delay.delay_ns(u32::try_from(step.as_nanos()).unwrap_or(u32::MAX));
        rest = rest.saturating_sub(step);
    }
}
