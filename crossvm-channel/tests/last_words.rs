//! What an end learns, and receives, when its peer has gone already, or comes at the last moment.

use std::cell::Cell;
use std::sync::atomic::AtomicU64;

use crossvm_channel::{Broken, Channel, Config, Doorbell, RecvError, RingFailed, SendError, Shared, Side, SideState, Silent, Wait, Wake};

type End<'a> = Channel<Shared<'a>, Silent>;

fn words() -> Vec<AtomicU64> {
    (0..512).map(|_| AtomicU64::new(0)).collect()
}

fn open(words: &[AtomicU64], side: Side) -> End<'_> {
    Channel::open(Shared::of(words), Silent, Config::new(side)).unwrap()
}

fn pair(words: &[AtomicU64]) -> (End<'_>, End<'_>) {
    let (mut a, mut b) = (open(words, Side::A), open(words, Side::B));
    while !(a.poll_connect().unwrap() & b.poll_connect().unwrap()) {}
    (a, b)
}

#[test]
fn a_peer_that_has_sent_and_closed_before_this_end_asks_again_is_met_all_the_same() {
    let words = words();
    let (mut a, mut b) = (open(&words, Side::A), open(&words, Side::B));
    assert_eq!((b.poll_connect(), a.poll_connect()), (Ok(false), Ok(true)));
    a.try_send(b"last").unwrap();
    drop(a);
    assert_eq!(b.poll_connect(), Ok(true));
    let mut buffer = [0; 4];
    assert_eq!((b.try_recv(&mut buffer), &buffer), (Ok(4), b"last"));
    assert_eq!(b.try_recv(&mut buffer), Err(RecvError::Broken(Broken::Closed)));
    b.reopen();
    assert_eq!(b.poll_connect(), Ok(false), "it was met once");
    assert_eq!(b.peer().state, SideState::Closed);
}

#[test]
fn a_peer_that_has_closed_before_it_was_accepted_is_not_there() {
    let words = words();
    let (a, mut b) = (open(&words, Side::A), open(&words, Side::B));
    drop(a);
    assert_eq!(b.poll_connect(), Ok(false));
    assert_eq!(b.poll_connect(), Ok(false));
}

#[test]
fn a_sender_that_only_tries_again_learns_that_nobody_will_read() {
    let words = words();
    let fill = |end: &mut End<'_>| while end.try_send(&[0; 100]).is_ok() {};
    let (mut a, b) = pair(&words);
    fill(&mut a);
    assert_eq!(a.try_send(&[0; 100]), Err(SendError::Full));
    drop(b);
    assert_eq!(a.try_send(&[0; 100]), Err(SendError::Broken(Broken::Closed)));
    drop(a);
    let (mut a, b) = pair(&words);
    fill(&mut a);
    std::mem::forget(b);
    let _b = open(&words, Side::B);
    assert_eq!(a.try_send(&[0; 100]), Err(SendError::Broken(Broken::Restarted)));
}

/// Its time is over, and the peer has come meanwhile.
struct LastMoment<'a, 'b>(&'a mut End<'b>);

impl Wait for LastMoment<'_, '_> {
    type Error = ();

    fn wait(&mut self) -> Result<Wake, ()> {
        self.0.poll_connect().unwrap();
        Ok(Wake::TimedOut)
    }
}

#[test]
fn a_peer_that_comes_at_the_last_moment_is_met() {
    let words = words();
    let (mut a, mut b) = (open(&words, Side::A), open(&words, Side::B));
    assert_eq!(a.connect(&mut LastMoment(&mut b)), Ok(()));
}

struct Fails<'a>(&'a Cell<bool>);

impl Doorbell for Fails<'_> {
    fn ring(&self) -> Result<(), RingFailed> {
        if self.0.get() { Err(RingFailed) } else { Ok(()) }
    }
}

#[test]
fn a_message_is_received_although_its_sender_cannot_be_told_of_the_room() {
    let (words, fails) = (words(), Cell::new(false));
    let mut a = Channel::open(Shared::of(&words), Silent, Config::new(Side::A).always_ring()).unwrap();
    let mut b = Channel::open(Shared::of(&words), Fails(&fails), Config::new(Side::B)).unwrap();
    while !(a.poll_connect().unwrap() & b.poll_connect().unwrap()) {}
    a.try_send(&[5; 760]).unwrap();
    fails.set(true);
    let mut buffer = [0; 760];
    assert_eq!(b.try_recv(&mut buffer), Ok(760));
    assert_eq!(buffer, [5; 760]);
    assert_eq!(b.try_recv(&mut buffer), Err(RecvError::Broken(Broken::Doorbell)));
}
