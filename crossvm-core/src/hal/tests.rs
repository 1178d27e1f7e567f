//! The doorbells on pins that fail when they are told to. Whole runs with random timing are in `crossvm-testkit/tests/handshake.rs`.

use core::convert::Infallible;
use core::time::Duration;
use std::cell::Cell;
use std::io;
use std::vec::Vec;

use embedded_hal::delay::DelayNs;
use embedded_hal::digital::{ErrorType, OutputPin, StatefulOutputPin};
use embedded_hal_mock::eh1::MockError;
use embedded_hal_mock::eh1::delay::{CheckedDelay, NoopDelay, Transaction as Delay};
use embedded_hal_mock::eh1::digital::{Mock, State, Transaction as Pin};

use super::*;
use crate::{Error, ErrorKind, EventId, EventSet, Notifier};

const FAILURE: MockError = MockError::Io(io::ErrorKind::NotConnected);
const HIGH: State = State::High;
const LOW: State = State::Low;

fn event() -> EventId {
    EventId::new(5).unwrap()
}

fn one() -> EventSet {
    EventSet::of(event())
}

fn width(nanoseconds: u32) -> PulseWidth {
    PulseWidth::from_nanos(nanoseconds).unwrap()
}

#[test]
fn a_width_has_bounds() {
    assert_eq!(PulseWidth::from_nanos(0), None);
    assert_eq!(width(1).nanos(), 1);
    assert_eq!(width(PulseWidth::MAX_NANOS).nanos(), 100_000);
    assert_eq!(PulseWidth::from_nanos(PulseWidth::MAX_NANOS + 1), None);
}

#[test]
fn pulses_have_their_width_and_a_rest_between_them() {
    for (polarity, active, rest) in [(Polarity::ActiveHigh, HIGH, LOW), (Polarity::ActiveLow, LOW, HIGH)] {
        let pin = Mock::new(&[Pin::set(rest), Pin::set(active), Pin::set(rest), Pin::set(active), Pin::set(rest)]);
        let delay = CheckedDelay::new(&[(); 5].map(|()| Delay::delay_ns(700)));
        let notifier = PulseNotifier::new(pin, delay, polarity, width(700));
        notifier.notify().unwrap();
        notifier.notify().unwrap();
        let (mut pin, mut delay) = notifier.release();
        pin.done();
        delay.done();
    }
}

#[test]
fn a_pulse_behind_one_that_failed_has_an_edge() {
    let pin = Mock::new(&[
        Pin::set(LOW),
        Pin::set(HIGH),
        Pin::set(LOW),
        Pin::set(HIGH).with_error(FAILURE),
        // The line may be high: it rests first.
        Pin::set(LOW),
        Pin::set(HIGH),
        Pin::set(LOW).with_error(FAILURE),
        Pin::set(LOW).with_error(FAILURE),
        Pin::set(LOW),
        Pin::set(HIGH),
        Pin::set(LOW),
    ]);
    let notifier = PulseNotifier::new(pin, NoopDelay::new(), Polarity::ActiveHigh, width(1));
    let results: Vec<_> = (0..5).map(|_| notifier.notify()).collect();
    let failed = || Err(PinError::Output(FAILURE));
    assert_eq!(results, [Ok(()), failed(), failed(), failed(), Ok(())]);
    notifier.release().0.done();
}

#[test]
fn a_toggle_that_fails_is_an_error_with_a_kind() {
    let notifier = ToggleNotifier::new(Mock::new(&[Pin::toggle(), Pin::toggle().with_error(FAILURE), Pin::toggle()]));
    assert_eq!(notifier.notify(), Ok(()));
    let error = notifier.notify().unwrap_err();
    assert_eq!((&error, error.kind()), (&PinError::Output(FAILURE), ErrorKind::Other));
    assert_eq!(notifier.notify(), Ok(()));
    notifier.release().done();
}

/// A pin whose driver rings the doorbell that it belongs to.
struct Reentrant<'a>(&'a Cell<Option<&'a dyn Notifier<Error = PinError<Infallible>>>>, &'a Cell<Option<PinError<Infallible>>>);

impl ErrorType for Reentrant<'_> {
    type Error = Infallible;
}

impl OutputPin for Reentrant<'_> {
    fn set_low(&mut self) -> Result<(), Infallible> {
        self.1.set(self.0.get().and_then(|notifier| notifier.notify().err()));
        Ok(())
    }

    fn set_high(&mut self) -> Result<(), Infallible> {
        self.set_low()
    }
}

impl StatefulOutputPin for Reentrant<'_> {
    fn is_set_high(&mut self) -> Result<bool, Infallible> {
        Ok(true)
    }

    fn is_set_low(&mut self) -> Result<bool, Infallible> {
        Ok(false)
    }
}

#[test]
fn a_doorbell_that_its_own_pin_rings_is_busy_and_does_not_panic() {
    let (ring, seen) = (Cell::new(None), Cell::new(None));
    let notifier = ToggleNotifier::new(Reentrant(&ring, &seen));
    ring.set(Some(&notifier));
    assert_eq!(notifier.notify(), Ok(()));
    assert_eq!(seen.get(), Some(PinError::Busy));
}

#[test]
fn clause_1_a_request_is_held_until_it_is_acknowledged_and_one_that_came_meanwhile_follows() {
    let request = Mock::new(&[Pin::set(HIGH), Pin::set(LOW), Pin::set(HIGH)]);
    // Nothing is acknowledged, twice; then the first request, then the second.
    let acknowledge =
        Mock::new(&[Pin::get(LOW), Pin::get(LOW), Pin::get(HIGH), Pin::get(HIGH), Pin::get(LOW), Pin::get(LOW), Pin::get(HIGH)]);
    let notifier = HandshakeNotifier::new(request, acknowledge);
    notifier.notify().unwrap();
    // The line's level was not known: one more signal is to follow.
    assert_eq!(notifier.poll(), Ok(Handshake::Waiting));
    assert_eq!(notifier.poll(), Ok(Handshake::OnItsWay));
    // While that one is on its way, an event more.
    notifier.notify().unwrap();
    assert_eq!(notifier.poll(), Ok(Handshake::OnItsWay));
    assert_eq!(notifier.poll(), Ok(Handshake::OnItsWay));
    assert_eq!(notifier.poll(), Ok(Handshake::Idle));
    let (mut request, mut acknowledge) = notifier.release();
    request.done();
    acknowledge.done();
}

#[test]
fn a_request_whose_pins_failed_is_sent_later() {
    let request = Mock::new(&[Pin::set(HIGH).with_error(FAILURE), Pin::set(HIGH)]);
    let acknowledge = Mock::new(&[Pin::get(LOW).with_error(FAILURE), Pin::get(LOW), Pin::get(LOW), Pin::get(LOW)]);
    let notifier = HandshakeNotifier::new(request, acknowledge);
    assert_eq!(notifier.notify(), Err(PinError::Input(FAILURE)));
    assert_eq!(notifier.notify(), Err(PinError::Output(FAILURE)));
    assert_eq!(notifier.poll(), Ok(Handshake::Waiting));
    assert_eq!(notifier.poll(), Ok(Handshake::Waiting));
    let (mut request, mut acknowledge) = notifier.release();
    request.done();
    acknowledge.done();
}

#[test]
fn a_request_is_acknowledged_once_and_reported_once() {
    let request = Mock::new(&[Pin::get(LOW), Pin::get(LOW), Pin::get(HIGH), Pin::get(HIGH), Pin::get(LOW)]);
    let acknowledge = Mock::new(&[Pin::set(LOW), Pin::set(HIGH), Pin::set(LOW)]);
    let mut source = HandshakeSource::new(request, acknowledge, event());
    let polled: Vec<_> = (0..5).map(|_| source.poll().unwrap()).collect();
    assert_eq!(polled, [one(), EventSet::EMPTY, one(), EventSet::EMPTY, one()]);
    let (mut request, mut acknowledge) = source.release();
    request.done();
    acknowledge.done();
}

#[test]
fn an_event_whose_acknowledgement_failed_is_reported_by_the_next_poll() {
    let request = Mock::new(&[Pin::get(HIGH), Pin::get(LOW).with_error(FAILURE), Pin::get(LOW), Pin::get(HIGH), Pin::get(HIGH)]);
    let acknowledge = Mock::new(&[Pin::set(HIGH), Pin::set(LOW).with_error(FAILURE), Pin::set(HIGH)]);
    let mut source = HandshakeSource::new(request, acknowledge, event());
    assert_eq!(source.poll(), Ok(one()));
    assert_eq!(source.poll(), Err(PinError::Input(FAILURE)));
    assert_eq!(source.poll(), Err(PinError::Output(FAILURE)));
    // The line may show the new level all the same, and the sender have answered it: high again is news.
    assert_eq!(source.poll(), Ok(one()));
    assert_eq!(source.poll(), Ok(EventSet::EMPTY));
    let (mut request, mut acknowledge) = source.release();
    request.done();
    acknowledge.done();
}

#[test]
fn a_level_is_reported_at_each_poll_while_it_is_held() {
    for (polarity, active, rest) in [(Polarity::ActiveHigh, HIGH, LOW), (Polarity::ActiveLow, LOW, HIGH)] {
        let pin = Mock::new(&[Pin::get(rest), Pin::get(active), Pin::get(active).with_error(FAILURE), Pin::get(active), Pin::get(rest)]);
        let mut source = LevelSource::new(pin, polarity, event());
        let polled: Vec<_> = (0..5).map(|_| source.poll()).collect();
        let nothing = || Ok(EventSet::EMPTY);
        assert_eq!(polled, [nothing(), Ok(one()), Err(PinError::Input(FAILURE)), Ok(one()), nothing()]);
        source.release().done();
    }
}

#[test]
fn an_edge_is_reported_once_and_a_failed_sample_forgets_none() {
    let samples = [Some(LOW), Some(LOW), Some(HIGH), Some(HIGH), None, Some(LOW), None, Some(HIGH)];
    let events = |edge, samples: &[Option<State>]| -> Vec<bool> {
        let pins: Vec<_> = samples.iter().map(|sample| sample.map_or(Pin::get(LOW).with_error(FAILURE), Pin::get)).collect();
        let mut source = EdgeSource::new(Mock::new(&pins), edge, event());
        let polled = pins.iter().map(|_| source.poll().is_ok_and(|events| events == one())).collect();
        source.release().done();
        polled
    };
    assert_eq!(events(Edge::Rising, &samples), [false, false, true, false, false, false, false, true]);
    assert_eq!(events(Edge::Falling, &samples), [true, false, false, false, false, true, false, false]);
    assert_eq!(events(Edge::Both, &samples), [true, false, true, false, false, true, false, true]);
    // What a sampled line cannot tell: two toggles between two samples.
    assert_eq!(events(Edge::Both, &[Some(LOW), Some(LOW)]), [true, false]);
}

/// Counts the time that it was told to wait.
#[derive(Default)]
struct Clock(Duration);

impl DelayNs for Clock {
    fn delay_ns(&mut self, nanoseconds: u32) {
        self.0 += Duration::from_nanos(nanoseconds.into());
    }
}

#[test]
fn a_wait_ends_with_the_event_or_when_the_time_is_up_and_not_before() {
    let timeout = Timeout::new(Duration::from_micros(10), Duration::from_micros(4)).unwrap();
    let mut delay = CheckedDelay::new(&[Delay::delay_us(4), Delay::delay_us(4), Delay::delay_us(2)]);
    let mut polls = 0;
    let mut nothing = || {
        polls += 1;
        Ok::<_, Infallible>(EventSet::EMPTY)
    };
    assert_eq!(wait_for(&mut nothing, timeout, &mut delay), Ok(Waited::TimedOut));
    delay.done();
    assert_eq!(polls, 4, "once at first, once when the time is up");

    // An event that comes with the last delay is in time.
    let mut source =
        LevelSource::new(Mock::new(&[Pin::get(LOW), Pin::get(LOW), Pin::get(LOW), Pin::get(HIGH)]), Polarity::ActiveHigh, event());
    assert_eq!(wait_for(|| source.poll(), timeout, &mut NoopDelay::new()), Ok(Waited::Events(one())));
    source.release().done();
}

#[test]
fn a_wait_of_no_time_looks_once_and_one_for_hours_waits_for_hours() {
    let nothing = || Ok::<_, Infallible>(EventSet::EMPTY);
    let mut clock = Clock::default();
    let at_once = Timeout::new(Duration::ZERO, Duration::from_secs(1)).unwrap();
    assert_eq!(wait_for(nothing, at_once, &mut clock), Ok(Waited::TimedOut));
    assert_eq!(wait_for(|| Ok::<_, Infallible>(one()), at_once, &mut clock), Ok(Waited::Events(one())));
    assert_eq!(clock.0, Duration::ZERO);
    let long = Duration::from_secs(7200) + Duration::from_nanos(1);
    assert_eq!(wait_for(nothing, Timeout::new(long, Duration::from_secs(5000)).unwrap(), &mut clock), Ok(Waited::TimedOut));
    assert_eq!(clock.0, long);
    assert_eq!(Timeout::new(long, Duration::ZERO), None);
}

#[test]
fn a_wait_ends_with_the_first_failure() {
    let timeout = Timeout::new(Duration::from_secs(1), Duration::from_millis(1)).unwrap();
    let mut source = EdgeSource::new(Mock::new(&[Pin::get(LOW), Pin::get(LOW).with_error(FAILURE)]), Edge::Rising, event());
    assert_eq!(wait_for(|| source.poll(), timeout, &mut NoopDelay::new()), Err(PinError::Input(FAILURE)));
    source.release().done();
}
