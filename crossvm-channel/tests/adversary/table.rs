//! What an end says of each thing that its peer may not do, of each that it may, and in which calls.

use crossvm_channel::{Broken, Channel, Incompatible, Interest, Memory, Protocol, Side, Silent, Violation, spec};

use crate::honest::{Call, call, honest, make, peer};
use crate::memory::{Script, Watched, Words};

/// Rings of 512 bytes.
const SIZE: usize = 2048;
/// Where the peer's ring begins: it is B.
const RING: usize = 1024 + 512;

type Honest<'a> = Channel<Watched<'a>, Silent>;
type Peer<'a> = Channel<&'a Words, Silent>;

/// The peer's word.
const fn of_peer(offset: u32) -> usize {
    (spec::SIDE + offset) as usize
}

/// Connected, and each has received one message of 8 bytes: TAIL and HEAD are 16.
fn connected(words: &Words) -> (Honest<'_>, Peer<'_>) {
    let (mut a, mut b) = (honest(words, Side::A, Script::Nothing), peer(words, Side::B));
    for _ in 0..2 {
        call(&mut a, Call::PollConnect).unwrap();
        make(&mut b, Call::PollConnect).unwrap();
    }
    call(&mut a, Call::TrySend(8)).unwrap();
    make(&mut b, Call::TrySend(8)).unwrap();
    call(&mut a, Call::TryRecv(8)).unwrap();
    make(&mut b, Call::Recv(8)).unwrap();
    assert_eq!((a.status(), b.status()), (Ok(()), Ok(())));
    (a, b)
}

/// The end notices in this call, gives up, says so to its peer, and recovers when both begin anew.
fn gives_up(words: &Words, a: &mut Honest<'_>, b: &mut Peer<'_>, what: Call, violation: Violation) {
    assert_eq!(call(a, what), Err(Broken::Violated(violation)), "{what:?}");
    assert_eq!(words.load(spec::OF_STATE as usize), spec::FAILED);
    assert_eq!(words.load(spec::OF_VIOLATION as usize), violation.code());
    assert_eq!(call(a, what), Err(Broken::Violated(violation)), "{what:?} once more");
    assert_eq!(a.status(), Err(Broken::Violated(violation)));
    call(a, Call::Reopen).unwrap();
    make(b, Call::Reopen).unwrap();
    for _ in 0..2 {
        call(a, Call::PollConnect).unwrap();
        make(b, Call::PollConnect).unwrap();
    }
    assert_eq!((a.status(), b.status()), (Ok(()), Ok(())));
}

const READS: [Call; 6] =
    [Call::TryRecv(100), Call::TryRecv(0), Call::Peek, Call::Keep, Call::Arm(Interest::Message), Call::Arm(Interest::Both)];
const SLEEPING_READS: [Call; 2] = [Call::Recv(100), Call::WaitFor(Interest::Message)];

#[test]
fn an_impossible_tail() {
    // Backwards, beyond the ring, between two records.
    for tail in [8, 0, 0xffff_fff8, 16 + 512 + 8, 1 << 31, 17, 20, 23] {
        for what in READS.into_iter().chain(SLEEPING_READS) {
            let words = Words::new(SIZE);
            let (mut a, mut b) = connected(&words);
            words.store(of_peer(spec::OF_TAIL), tail);
            gives_up(&words, &mut a, &mut b, what, Violation::Tail);
        }
    }
}

#[test]
fn an_impossible_head() {
    // Backwards, beyond what was told, between two records.
    for head in [216, 16, 0, 0xffff_fff8, 720 + 8, 1 << 31, 225, 228, 231] {
        for what in [Call::Push(200), Call::TrySend(200), Call::Grant(200), Call::Arm(Interest::Room), Call::Send(200)] {
            let words = Words::new(SIZE);
            let (mut a, mut b) = connected(&words);
            // What was read already is known, and then the ring is full.
            while a.try_send(&[0; 200]).is_ok() {}
            make(&mut b, Call::Recv(200)).unwrap();
            make(&mut b, Call::Flush).unwrap();
            call(&mut a, Call::TrySend(200)).unwrap();
            while a.try_send(&[0; 200]).is_ok() {}
            let known = [of_peer(spec::OF_HEAD), spec::OF_TAIL as usize].map(|word| words.load(word));
            assert_eq!(known, [224, 720]);
            words.store(of_peer(spec::OF_HEAD), head);
            gives_up(&words, &mut a, &mut b, what, Violation::Head);
        }
    }
}

#[test]
fn an_impossible_record() {
    const HERE: usize = RING + 16;
    let max = 512 / 2 - 8;
    for (length, kind, violation) in [
        (max + 1, spec::DATA, Violation::Length),
        (u32::MAX, spec::DATA, Violation::Length),
        (1 << 31, spec::DATA, Violation::Length),
        // Longer than what was told.
        (33, spec::DATA, Violation::Length),
        (max, spec::DATA, Violation::Length),
        (32, 0, Violation::Kind),
        (32, 3, Violation::Kind),
        (32, u32::MAX, Violation::Kind),
        // Nothing follows.
        (0, spec::SKIP, Violation::Skip),
    ] {
        for what in [Call::TryRecv(100), Call::TryRecv(0), Call::Peek, Call::Keep, Call::Recv(100)] {
            let words = Words::new(SIZE);
            let (mut a, mut b) = connected(&words);
            make(&mut b, Call::TrySend(32)).unwrap();
            words.store(HERE, length);
            words.store(HERE + 4, kind);
            gives_up(&words, &mut a, &mut b, what, violation);
        }
    }
}

#[test]
fn a_gap_where_none_can_be() {
    let words = Words::new(SIZE);
    let (mut a, mut b) = connected(&words);
    // Up to the ring's end, and then another one at its start.
    words.store(RING + 16 + 4, spec::SKIP);
    words.store(RING, 8);
    words.store(RING + 4, spec::SKIP);
    words.store(of_peer(spec::OF_TAIL), 512 + 16);
    gives_up(&words, &mut a, &mut b, Call::TryRecv(100), Violation::Skip);
    // One with which the ring begins.
    words.store(RING + 4, spec::SKIP);
    words.store(of_peer(spec::OF_TAIL), 512);
    gives_up(&words, &mut a, &mut b, Call::TryRecv(100), Violation::Skip);
}

#[test]
fn a_record_that_goes_beyond_the_end_of_its_ring() {
    let words = Words::new(SIZE);
    let (mut a, mut b) = connected(&words);
    // 16 bytes are read; 240 follow twice.
    for length in [232, 200] {
        make(&mut b, Call::TrySend(length)).unwrap();
        call(&mut a, Call::TryRecv(300)).unwrap();
    }
    let tail = words.load(of_peer(spec::OF_TAIL));
    assert_eq!(tail, 16 + 240 + 208);
    words.store(of_peer(spec::OF_TAIL), tail + 256);
    words.store(RING + tail as usize, 100);
    words.store(RING + tail as usize + 4, spec::DATA);
    gives_up(&words, &mut a, &mut b, Call::TryRecv(300), Violation::Length);
}

#[test]
fn an_impossible_state() {
    for what in READS.into_iter().chain(SLEEPING_READS) {
        let words = Words::new(SIZE);
        let (mut a, mut b) = connected(&words);
        words.store(of_peer(spec::OF_STATE), 77);
        gives_up(&words, &mut a, &mut b, what, Violation::State);
    }
    let words = Words::new(SIZE);
    let (mut a, mut b) = connected(&words);
    words.store(of_peer(spec::OF_STATE), 4);
    gives_up(&words, &mut a, &mut b, Call::TrySend(1), Violation::State);
}

#[test]
fn news_of_the_peer() {
    for (offset, value, broken) in [
        (spec::OF_STATE, spec::CLOSED, Broken::Closed),
        (spec::OF_STATE, spec::DOWN, Broken::Restarted),
        (spec::OF_STATE, spec::FAILED, Broken::Refused(0)),
        (spec::OF_GENERATION, 2, Broken::Restarted),
        (spec::OF_GENERATION, 0, Broken::Restarted),
        (spec::OF_GENERATION, u32::MAX, Broken::Restarted),
    ] {
        for what in READS.into_iter().chain(SLEEPING_READS).chain([Call::TrySend(1), Call::Send(1)]) {
            let words = Words::new(SIZE);
            let (mut a, _b) = connected(&words);
            words.store(of_peer(offset), value);
            // What a peer that closes was told at the last moment it may have read.
            if broken == Broken::Closed && matches!(what, Call::TrySend(_) | Call::Send(_)) {
                call(&mut a, what).unwrap();
            }
            assert_eq!(call(&mut a, what), Err(broken), "{what:?}");
            assert_eq!(words.load(spec::OF_STATE as usize), spec::OPEN, "no violation");
        }
    }
}

#[test]
fn what_does_not_matter_while_connected() {
    for offset in [spec::OF_MAGIC, spec::OF_VERSION, spec::OF_SIZE, spec::OF_FEATURES, spec::OF_PROTOCOL, spec::OF_ACCEPTED]
        .into_iter()
        .chain([spec::OF_VIOLATION, spec::OF_WAKE_READER, spec::OF_WAKE_WRITER])
    {
        for value in [0, 1, 77, u32::MAX] {
            let words = Words::new(SIZE);
            let (mut a, mut b) = connected(&words);
            words.store(of_peer(offset), value);
            for _ in 0..100 {
                call(&mut a, Call::TrySend(50)).unwrap();
                make(&mut b, Call::Recv(50)).unwrap();
                make(&mut b, Call::TrySend(50)).unwrap();
                call(&mut a, Call::Recv(50)).unwrap();
            }
            assert_eq!(a.statistics().received.messages, 101);
        }
    }
}

/// The peer has accepted this end, and this end asks next.
fn connecting(words: &Words) -> (Honest<'_>, Peer<'_>) {
    let (a, mut b) = (honest(words, Side::A, Script::Nothing), peer(words, Side::B));
    make(&mut b, Call::PollConnect).unwrap();
    (a, b)
}

#[test]
fn what_is_wrong_while_connecting() {
    let words = Words::new(SIZE);
    let (mut a, _b) = connecting(&words);
    call(&mut a, Call::PollConnect).unwrap();
    assert_eq!(a.status(), Ok(()), "it would connect");
    for (offset, value, why) in [
        (spec::OF_VERSION, 2, Incompatible::Version(2)),
        (spec::OF_PROTOCOL, 77, Incompatible::Protocol(Protocol(77))),
        (spec::OF_SIZE, 0, Incompatible::Size(0)),
        (spec::OF_SIZE, spec::MIN_SIZE - 1, Incompatible::Size(spec::MIN_SIZE - 1)),
    ] {
        for what in [Call::PollConnect, Call::Connect] {
            let words = Words::new(SIZE);
            let (mut a, _b) = connecting(&words);
            words.store(of_peer(offset), value);
            assert_eq!(call(&mut a, what), Err(Broken::Incompatible(why)), "{what:?}");
        }
    }
}

#[test]
fn what_is_not_there_yet() {
    for (offset, value) in [
        (spec::OF_MAGIC, 0),
        (spec::OF_GENERATION, 0),
        (spec::OF_ACCEPTED, 0),
        (spec::OF_ACCEPTED, 2),
        (spec::OF_STATE, spec::DOWN),
        (spec::OF_STATE, spec::CLOSED),
        (spec::OF_STATE, spec::FAILED),
        (spec::OF_STATE, 77),
    ] {
        for what in [Call::PollConnect, Call::Connect] {
            let words = Words::new(SIZE);
            let (mut a, _b) = connecting(&words);
            words.store(of_peer(offset), value);
            assert_eq!(call(&mut a, what), Ok(()));
            assert_eq!(a.status(), Err(Broken::NotConnected), "{offset} {value}");
        }
    }
}

#[test]
fn a_peer_that_claims_more_memory_gets_no_more() {
    let words = Words::new(SIZE);
    let (mut a, _b) = connecting(&words);
    words.store(of_peer(spec::OF_SIZE), u32::MAX);
    call(&mut a, Call::PollConnect).unwrap();
    assert_eq!((a.status(), a.max_message()), (Ok(()), 248));
}
