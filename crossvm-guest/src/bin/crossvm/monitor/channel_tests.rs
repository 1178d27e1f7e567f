use crossvm_guest::channel::Protocol;

use super::*;

fn side(state: SideState, generation: u32, accepted: u32) -> SideView {
    SideView {
        state,
        version: 1,
        size: 65536,
        protocol: Protocol::named(*b"file"),
        generation,
        accepted,
        written: 0,
        read: 0,
        sleeps_for_message: true,
        sleeps_for_room: false,
    }
}

fn observed(a: SideState, b: SideState) -> Option<Observed> {
    Observed::of(&View { a: side(a, 3, 0), b: side(b, 5, 3) })
}

#[test]
fn the_state_follows_from_what_both_ends_say() {
    use SideState::{Absent, Closed, Down, Failed, Odd, Open};
    for (a, b, state, text) in [
        (Open, Absent, State::Awaited, "A-awaits-B"),
        (Closed, Open, State::Awaited, "B-awaits-A"),
        (Open, Open, State::Awaited, "meeting"),
        (Closed, Down, State::Closed, "closed"),
        (Open, Failed(2), State::Failed, "failed"),
    ] {
        let observed = observed(a, b).unwrap();
        assert_eq!((observed.state, observed.to_string().as_str()), (state, text), "{a:?} {b:?}");
    }
    assert_eq!((observed(Absent, Absent), observed(Odd(9), Absent)), (None, None));
    let met = Observed::of(&View { a: side(Open, 3, 5), b: side(Open, 5, 3) }).unwrap();
    assert_eq!((met.state, met.to_string().as_str(), met.sleepers()), (State::Connected, "connected", Some("A,B")));
}

#[test]
fn an_end_that_has_left_does_not_sleep() {
    let observed = observed(SideState::Open, SideState::Closed).unwrap();
    assert_eq!((observed.sleepers(), observed.b.asleep), (Some("A"), None));
    assert_eq!(observed.a.asleep, Some(Asleep::Message));
}

#[test]
fn bytes_are_counted_over_the_wrap_and_not_over_sessions() {
    let with = |a, b, generation| {
        let mut observed = observed(SideState::Open, SideState::Open).unwrap();
        (observed.a.written, observed.b.written, observed.b.generation) = (a, b, generation);
        observed
    };
    assert_eq!(with(8, 100, 1).since(&with(u32::MAX - 7, 40, 1)), Some([16, 60]));
    assert_eq!(with(8, 100, 2).since(&with(0, 40, 1)), None);
}
