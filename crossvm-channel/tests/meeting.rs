//! How two ends meet, talk, part, and meet again, in one thread.

use std::cell::Cell;
use std::sync::atomic::AtomicU64;

use crossvm_channel::{
    Armed, Broken, Channel, Config, Doorbell, Incompatible, Interest, Memory, Protocol, RecvError, RingFailed, SendError, Shared, Side,
    SideState, Silent, View, spec,
};

type End<'a> = Channel<Shared<'a>, Silent>;

fn words(bytes: usize) -> Vec<AtomicU64> {
    (0..bytes / 8).map(|_| AtomicU64::new(0)).collect()
}

fn open(words: &[AtomicU64], side: Side) -> End<'_> {
    Channel::open(Shared::of(words), Silent, Config::new(side)).unwrap()
}

fn meet<D: Doorbell, E: Doorbell>(a: &mut Channel<Shared<'_>, D>, b: &mut Channel<Shared<'_>, E>) {
    for _ in 0..3 {
        let met = (a.poll_connect().unwrap(), b.poll_connect().unwrap());
        if met == (true, true) {
            return;
        }
    }
    panic!("they do not meet");
}

fn pair(words: &[AtomicU64]) -> (End<'_>, End<'_>) {
    let (mut a, mut b) = (open(words, Side::A), open(words, Side::B));
    meet(&mut a, &mut b);
    (a, b)
}

fn recv<D: Doorbell>(channel: &mut Channel<Shared<'_>, D>) -> Result<Vec<u8>, RecvError> {
    let mut buffer = vec![0; channel.max_message()];
    let length = channel.try_recv(&mut buffer)?;
    buffer.truncate(length);
    Ok(buffer)
}

#[test]
fn messages_of_all_lengths_arrive_in_order_in_both_directions_past_the_rings_end() {
    for size in [1280, 4096, 5000, 65536] {
        let words = words(size);
        let (mut a, mut b) = pair(&words);
        let most = a.max_message();
        for round in 0..400_usize {
            let message: Vec<u8> = (0..(round * 37) % (most + 1)).map(|byte| (byte ^ round).to_le_bytes()[0]).collect();
            a.try_send(&message).unwrap();
            b.try_send(&message).unwrap();
            assert_eq!(recv(&mut b).unwrap(), message);
            assert_eq!(recv(&mut a).unwrap(), message);
        }
        assert_eq!(a.try_send(&vec![0; most + 1]), Err(SendError::TooLong { most }));
        assert_eq!(a.statistics().sent.messages, 400);
        assert_eq!(a.statistics(), b.statistics());
    }
}

#[test]
fn a_full_ring_takes_no_more_until_the_peer_has_read() {
    let words = words(4096);
    let (mut a, mut b) = pair(&words);
    let mut sent = 0_u32;
    while a.push(&sent.to_le_bytes()).is_ok() {
        sent += 1;
    }
    assert_eq!(sent, 1536 / 16);
    assert_eq!(a.push(&[0; 4]), Err(SendError::Full));
    for number in 0..sent {
        assert_eq!(recv(&mut b).unwrap(), number.to_le_bytes());
    }
    assert_eq!(recv(&mut b), Err(RecvError::Empty));
    a.try_send(&[0; 4]).unwrap();
}

#[test]
fn a_message_is_left_where_the_buffer_is_too_short() {
    let words = words(4096);
    let (mut a, mut b) = pair(&words);
    a.try_send(b"hello").unwrap();
    assert_eq!(b.try_recv(&mut [0; 4]), Err(RecvError::TooShort { needed: 5 }));
    b.peek().unwrap().keep();
    assert_eq!(recv(&mut b).unwrap(), b"hello");
}

#[test]
fn grants_are_messages_in_place() {
    let words = words(4096);
    let (mut a, mut b) = pair(&words);
    let mut grant = a.reserve(100).unwrap();
    assert!(grant.write(96, &[1; 5]).is_err() && grant.write(usize::MAX, &[1]).is_err());
    grant.write(0, b"in place").unwrap();
    assert!(grant.pointer().is_some());
    grant.commit(8).unwrap();
    assert!(a.reserve(10).unwrap().commit(11).is_err());
    drop(a.reserve(50).unwrap());
    a.flush().unwrap();
    let message = b.peek().unwrap();
    let mut part = [0; 5];
    assert!(message.read(4, &mut part).is_err());
    message.read(3, &mut part).unwrap();
    assert_eq!((&part, message.len()), (b"place", 8));
    drop(message);
    assert_eq!(recv(&mut b), Err(RecvError::Empty), "an uncommitted grant sends nothing");
}

#[test]
fn what_was_sent_before_the_close_is_received() {
    let words = words(4096);
    let (mut a, mut b) = pair(&words);
    a.push(b"last").unwrap();
    drop(a);
    assert_eq!(recv(&mut b).unwrap(), b"last");
    assert_eq!(recv(&mut b), Err(RecvError::Broken(Broken::Closed)));
    assert_eq!(b.try_send(b"x"), Ok(()), "the peer could have read it before it closed");
    assert_eq!(b.try_send(b"x"), Err(SendError::Broken(Broken::Closed)));
    assert_eq!(b.peer().state, SideState::Closed);
}

#[test]
fn an_answer_to_a_peer_that_takes_it_and_closes_at_once_is_no_error() {
    let words = words(4096);
    let (mut a, mut b) = pair(&words);
    b.push(b"the answer").unwrap();
    // In real life after the answer was told, and before this end looks at the peer again.
    a.close();
    assert_eq!(b.flush(), Ok(()));
    assert_eq!(b.push(b"more"), Err(SendError::Broken(Broken::Closed)));
}

#[test]
fn a_peer_that_dies_is_noticed_when_its_successor_comes_and_nothing_old_is_received() {
    let words = words(4096);
    let (mut a, mut b) = pair(&words);
    a.try_send(b"old").unwrap();
    b.try_send(b"old").unwrap();
    std::mem::forget(a);
    assert_eq!(recv(&mut b).unwrap(), b"old", "it had told");
    let mut a = open(&words, Side::A);
    assert_eq!(recv(&mut b), Err(RecvError::Broken(Broken::Restarted)));
    assert_eq!(a.poll_connect(), Ok(false), "the survivor has not accepted it");
    b.reopen();
    meet(&mut a, &mut b);
    assert_eq!(recv(&mut a), Err(RecvError::Empty), "what was on its way is lost");
    a.try_send(b"new").unwrap();
    assert_eq!(recv(&mut b).unwrap(), b"new");
    assert_eq!(b.statistics().received.messages, 2, "over all sessions");
}

#[test]
fn a_survivor_that_only_sends_notices_too() {
    let words = words(4096);
    let (a, mut b) = pair(&words);
    std::mem::forget(a);
    let _a = open(&words, Side::A);
    assert_eq!(b.try_send(b"x"), Err(SendError::Broken(Broken::Restarted)));
}

#[test]
fn ends_that_cannot_talk_say_so() {
    let words = words(4096);
    let protocol = |name: &[u8; 4]| Config::new(Side::A).protocol(Protocol::named(*name));
    let mut a = Channel::open(Shared::of(&words), Silent, protocol(b"ping")).unwrap();
    let mut b = open(&words, Side::B);
    assert_eq!(a.poll_connect(), Ok(false));
    let other = Broken::Incompatible(Incompatible::Protocol(Protocol::named(*b"ping")));
    assert_eq!(b.poll_connect(), Err(other));
    assert_eq!(other.to_string(), "the peer speaks 'ping'");
    assert!(matches!(a.poll_connect(), Err(Broken::Incompatible(Incompatible::Protocol(_)))));
    drop(a);
    let mut a = open(&words, Side::A);
    Shared::of(&words).store(spec::OF_VERSION as usize, 2);
    b.reopen();
    assert_eq!((b.poll_connect(), a.poll_connect()), (Ok(false), Ok(true)));
    assert_eq!(b.poll_connect(), Err(Broken::Incompatible(Incompatible::Version(2))));
}

#[test]
fn the_smaller_memory_decides() {
    let words = words(65536);
    let mut a = open(&words, Side::A);
    let mut b = open(&words[..512], Side::B);
    meet(&mut a, &mut b);
    assert_eq!((a.max_message(), b.max_message()), (760, 760));
    b.try_send(&[5; 760]).unwrap();
    assert_eq!(recv(&mut a).unwrap(), [5; 760]);
    assert!(Channel::open(Shared::of(&words[..159]), Silent, Config::new(Side::A)).is_err());
}

#[derive(Default)]
struct Bell(Cell<u32>);

impl Doorbell for &Bell {
    fn ring(&self) -> Result<(), RingFailed> {
        self.0.set(self.0.get() + 1);
        Ok(())
    }
}

#[test]
fn the_doorbell_rings_once_for_each_sleep_and_never_else() {
    let words = words(4096);
    let bells = (Bell::default(), Bell::default());
    let mut a = Channel::open(Shared::of(&words), &bells.0, Config::new(Side::A)).unwrap();
    let mut b = Channel::open(Shared::of(&words), &bells.1, Config::new(Side::B)).unwrap();
    meet(&mut a, &mut b);
    bells.0.0.set(0);
    bells.1.0.set(0);
    let rung = || (bells.0.0.take(), bells.1.0.take());
    a.try_send(b"1").unwrap();
    assert_eq!(rung(), (0, 0), "b is awake");
    recv(&mut b).unwrap();
    assert_eq!(b.arm(Interest::Message), Ok(Armed::Sleep));
    a.push(b"2").unwrap();
    assert_eq!(rung(), (0, 0), "not yet told");
    a.flush().unwrap();
    a.try_send(b"3").unwrap();
    assert_eq!(rung(), (1, 0), "once for both");
    b.disarm();
    while a.try_send(&[0; 100]).is_ok() {}
    assert_eq!(a.arm(Interest::Room), Ok(Armed::Sleep));
    recv(&mut b).unwrap();
    recv(&mut b).unwrap();
    b.flush().unwrap();
    assert_eq!(rung(), (0, 0), "not enough for 100 bytes");
    recv(&mut b).unwrap();
    b.flush().unwrap();
    recv(&mut b).unwrap();
    b.flush().unwrap();
    assert_eq!(rung(), (0, 1));
    a.disarm();
    a.try_send(&[0; 100]).unwrap();
    assert_eq!(a.statistics().doorbells() + b.statistics().doorbells(), 2);
}

#[test]
fn a_peer_that_does_not_say_when_it_sleeps_is_rung_always() {
    let words = words(4096);
    let bell = Bell::default();
    let mut a = Channel::open(Shared::of(&words), &bell, Config::new(Side::A)).unwrap();
    let mut b = Channel::open(Shared::of(&words), Silent, Config::new(Side::B).always_ring()).unwrap();
    meet(&mut a, &mut b);
    bell.0.set(0);
    a.try_send(b"1").unwrap();
    a.try_send(b"2").unwrap();
    assert_eq!(bell.0.get(), 2);
}

#[test]
fn a_peer_that_polls_is_not_rung_for_messages() {
    let words = words(4096);
    let bells = (Bell::default(), Bell::default());
    let mut a = Channel::open(Shared::of(&words), &bells.0, Config::new(Side::A)).unwrap();
    let mut b = Channel::open(Shared::of(&words), &bells.1, Config::new(Side::B).polling()).unwrap();
    meet(&mut a, &mut b);
    bells.0.0.set(0);
    bells.1.0.set(0);
    assert_eq!(b.arm(Interest::Message), Ok(Armed::Sleep));
    a.try_send(b"1").unwrap();
    assert_eq!(recv(&mut b).unwrap(), b"1");
    assert_eq!(bells.0.0.get(), 0);
    assert_eq!(a.arm(Interest::Message), Ok(Armed::Sleep));
    b.try_send(b"2").unwrap();
    assert_eq!(bells.1.0.get(), 1, "the other one sleeps as ever");
}

#[test]
fn a_view_shows_both_sides_without_taking_part() {
    let words = words(4096);
    assert_eq!(View::of(&Shared::of(&words)).a.state, SideState::Absent);
    let (mut a, b) = pair(&words);
    a.try_send(b"12345678").unwrap();
    let view = View::of(&Shared::of(&words));
    assert!(view.connected());
    assert_eq!((view.a.written, view.b.read, view.a.generation), (16, 0, 1));
    drop(b);
    assert!(!View::of(&Shared::of(&words)).connected());
}

#[test]
fn halves_and_who_waits_for_either_sleep_for_what_they_want() {
    use crossvm_channel::{Armed, Interest};
    let words = words(4096);
    let bell = Bell::default();
    let mut a = Channel::open(Shared::of(&words), Silent, Config::new(Side::A)).unwrap();
    let mut b = Channel::open(Shared::of(&words), &bell, Config::new(Side::B)).unwrap();
    meet(&mut a, &mut b);
    assert_eq!(a.arm(Interest::Both), Ok(Armed::Sleep), "nothing wants room");
    bell.0.set(0);
    b.try_send(b"x").unwrap();
    assert_eq!(bell.0.take(), 1);
    assert_eq!(a.arm(Interest::Both), Ok(Armed::Ready));
    recv(&mut a).unwrap();
    while a.try_send(&[0; 100]).is_ok() {}
    let (mut sender, mut receiver) = a.split();
    assert_eq!((receiver.arm(), sender.arm()), (Ok(Armed::Sleep), Ok(Armed::Sleep)));
    while recv(&mut b).is_ok() {}
    assert_eq!(bell.0.take(), 1, "for the room");
    assert_eq!(sender.arm(), Ok(Armed::Ready));
    b.try_send(b"y").unwrap();
    assert_eq!((bell.0.take(), receiver.arm()), (1, Ok(Armed::Ready)), "for the message");
    sender.disarm();
    receiver.disarm();
}
