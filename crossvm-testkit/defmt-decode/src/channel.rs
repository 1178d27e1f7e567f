//! The values of `crossvm-channel`, of two ends that have met.

use std::sync::atomic::AtomicU64;

use crossvm_channel::{
    Armed, Broken, Channel, Config, Error, Incompatible, Interest, Notified, OutOfMessage, Protocol, RecvError, RingFailed, SendError,
    Shared, Side, SideState, Signal, Silent, TooSmall, View, Violation, Wake,
};

use crate::values::show;

/// Logs all of them.
pub(crate) fn log() {
    ends();
    small();
    errors();
}

fn ends() {
    let words: Vec<AtomicU64> = (0..512).map(|_| AtomicU64::new(0)).collect();
    show(&Shared::of(&words));
    show(&View::of(&Shared::of(&words)));
    let open =
        |side| Channel::open(Shared::of(&words), Silent, Config::new(side).protocol(Protocol::named(*b"test"))).expect("large enough");
    let (mut a, mut b) = (open(Side::A), open(Side::B));
    show(&a);
    while !(a.poll_connect().expect("nothing breaks") & b.poll_connect().expect("nothing breaks")) {}
    show(&a);
    show(a.config());
    show(&a.sender());
    let mut grant = a.reserve(100).expect("there is room");
    grant.write(0, b"seen").expect("it fits");
    show(&grant);
    grant.commit(4).expect("it was granted");
    a.flush().expect("nothing breaks");
    show(&a.statistics());
    show(&a.statistics().sent);
    show(&b.receiver());
    show(&b.peek().expect("there is one"));
    show(&b.statistics().received);
    show(&b.peer());
    a.close();
    show(&a);
}

fn small() {
    for side in [Side::A, Side::B] {
        show(&side);
    }
    for interest in [Interest::Message, Interest::Room, Interest::Both] {
        show(&interest);
    }
    show(&Armed::Ready);
    show(&Armed::Sleep);
    show(&Wake::Rung);
    show(&Wake::TimedOut);
    show(&Silent);
    show(&Notified(7_u8));
    show(&Signal::new());
    show(&Protocol::named(*b"test"));
    for state in [SideState::Absent, SideState::Down, SideState::Open, SideState::Closed, SideState::Failed(1), SideState::Odd(9)] {
        show(&state);
    }
}

fn errors() {
    for violation in [Violation::Tail, Violation::Head, Violation::Length, Violation::Kind, Violation::Skip, Violation::State] {
        show(&violation);
    }
    for why in [Incompatible::Version(2), Incompatible::Protocol(Protocol(3)), Incompatible::Size(4)] {
        show(&why);
    }
    let all = [
        Broken::NotConnected,
        Broken::Closed,
        Broken::Restarted,
        Broken::Violated(Violation::Tail),
        Broken::Refused(1),
        Broken::Incompatible(Incompatible::Version(2)),
        Broken::Doorbell,
    ];
    for broken in all {
        show(&broken);
    }
    for error in [SendError::Full, SendError::TooLong { most: 760 }, SendError::Broken(Broken::Closed)] {
        show(&error);
    }
    for error in [RecvError::Empty, RecvError::TooShort { needed: 5 }, RecvError::Broken(Broken::Closed)] {
        show(&error);
    }
    let all = [
        Error::TimedOut,
        Error::TooLong { most: 760 },
        Error::TooShort { needed: 5 },
        Error::Broken(Broken::Closed),
        Error::Wait(RingFailed),
    ];
    for error in all {
        show(&error);
    }
    show(&RingFailed);
    show(&OutOfMessage);
    show(&TooSmall { len: 4 });
}
