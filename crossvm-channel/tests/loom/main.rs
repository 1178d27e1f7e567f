//! All interleavings of two ends, within bounds, and all that weak memory may show them: no wake-up is lost (loom says "deadlock"), no message
//! is read while it is written (loom says so of the cell), and what arrives is what was sent. Each ordering is left out once, and
//! a model must notice.

mod memory;

use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crossvm_channel::{Broken, Channel, Config, Error, RecvError, Side, spec};
use loom::thread;

use memory::{Bell, Loomed, Sabotage};

/// Runs `body` in all ways with at most `preemptions`, and fails where these are fewer than `least`: then it proves nothing.
fn model(preemptions: usize, least: usize, body: impl Fn() + Send + Sync + 'static) {
    let runs = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&runs);
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.max_branches = 100_000;
    builder.check(move || {
        count.fetch_add(1, Ordering::Relaxed);
        body();
    });
    let runs = runs.load(Ordering::Relaxed);
    println!("{runs} runs");
    assert!(runs >= least, "{runs} runs are too few");
}

/// One end, with what it sleeps on. It closes only where the model says so, as a close in a failing model would hide why it failed.
struct End {
    channel: ManuallyDrop<Channel<Loomed, Bell>>,
    sleep: Bell,
}

impl End {
    fn open(memory: &Loomed, side: Side, own: &Bell, peer: &Bell) -> Self {
        let channel = Channel::open(memory.clone(), peer.clone(), Config::new(side)).unwrap();
        Self { channel: ManuallyDrop::new(channel), sleep: own.clone() }
    }

    fn connect(&mut self) {
        self.channel.connect(&mut self.sleep).unwrap();
    }

    fn send(&mut self, message: &[u8]) {
        self.channel.send(message, &mut self.sleep).unwrap();
    }

    /// The next message, which has `N` bytes.
    fn recv<const N: usize>(&mut self) -> Result<[u8; N], Broken> {
        let mut buffer = [0; N];
        match self.channel.recv(&mut buffer, &mut self.sleep) {
            Ok(length) => {
                assert_eq!(length, N);
                Ok(buffer)
            }
            Err(Error::Broken(broken)) => Err(broken),
            Err(error) => panic!("{error:?}"),
        }
    }
}

/// Two ends that have met, and have heard all rings.
fn pair(sabotage: Sabotage) -> [End; 2] {
    let memory = Loomed::new(sabotage);
    let bells = [Bell::new(), Bell::new()];
    let mut a = End::open(&memory, Side::A, &bells[0], &bells[1]);
    let mut b = End::open(&memory, Side::B, &bells[1], &bells[0]);
    while !(a.channel.poll_connect().unwrap() & b.channel.poll_connect().unwrap()) {}
    bells.iter().for_each(Bell::clear);
    [a, b]
}

/// Runs both at once, and neither in the model's own thread, which loom would not preempt everywhere.
fn both(a: impl FnOnce() + 'static, b: impl FnOnce() + 'static) {
    let (a, b) = (thread::spawn(a), thread::spawn(b));
    a.join().unwrap();
    b.join().unwrap();
}

/// B sleeps for messages.
fn messages(sabotage: Sabotage) {
    let [mut a, mut b] = pair(sabotage);
    both(
        move || {
            a.send(&[1; 4]);
            a.send(&[2; 4]);
        },
        move || {
            assert_eq!(b.recv(), Ok([1; 4]));
            assert_eq!(b.recv(), Ok([2; 4]));
        },
    );
}

/// A's ring is full, and it sleeps for room.
fn room(sabotage: Sabotage) {
    let [mut a, mut b] = pair(sabotage);
    a.send(&[1; 56]);
    a.send(&[2; 56]);
    assert!(a.channel.try_send(&[3; 56]).is_err());
    both(
        move || a.send(&[3; 56]),
        move || {
            for number in 1..=3 {
                assert_eq!(b.recv(), Ok([number; 56]));
            }
        },
    );
}

#[test]
fn no_wake_up_for_a_message_is_lost() {
    model(3, 1000, || messages(Sabotage::Nothing));
}

#[test]
#[should_panic(expected = "deadlock")]
fn without_fences_one_for_a_message_is_lost() {
    model(3, 1, || messages(Sabotage::NoFence));
}

#[test]
#[should_panic(expected = "Causality violation")]
fn without_release_of_tail_a_message_is_read_while_it_is_written() {
    model(3, 1, || messages(Sabotage::RelaxedStore(spec::OF_TAIL)));
}

#[test]
#[should_panic(expected = "Causality violation")]
fn without_acquire_of_tail_a_message_is_read_while_it_is_written() {
    model(3, 1, || messages(Sabotage::RelaxedLoad(spec::OF_TAIL)));
}

#[test]
fn no_wake_up_for_room_is_lost() {
    model(3, 1000, || room(Sabotage::Nothing));
}

#[test]
#[should_panic(expected = "deadlock")]
fn without_fences_one_for_room_is_lost() {
    model(3, 1, || room(Sabotage::NoFence));
}

#[test]
#[should_panic(expected = "Causality violation")]
fn without_release_of_head_a_message_is_overwritten_while_it_is_read() {
    model(3, 1, || room(Sabotage::RelaxedStore(spec::OF_HEAD)));
}

#[test]
#[should_panic(expected = "Causality violation")]
fn without_acquire_of_head_a_message_is_overwritten_while_it_is_read() {
    model(3, 1, || room(Sabotage::RelaxedLoad(spec::OF_HEAD)));
}

#[test]
fn both_directions_share_a_doorbell_each() {
    model(3, 1000, || {
        let [mut a, mut b] = pair(Sabotage::Nothing);
        both(
            move || {
                a.send(&[1; 4]);
                assert_eq!(a.recv(), Ok([2; 4]));
            },
            move || {
                b.send(&[2; 4]);
                assert_eq!(b.recv(), Ok([1; 4]));
            },
        );
    });
}

/// Both open, meet, and exchange a message: what is left of the ends.
fn from_scratch(sabotage: Sabotage) {
    let (memory, bells) = (Loomed::new(sabotage), [Bell::new(), Bell::new()]);
    let (other, swapped) = (memory.clone(), [bells[1].clone(), bells[0].clone()]);
    both(
        move || {
            let mut a = End::open(&memory, Side::A, &bells[0], &bells[1]);
            a.connect();
            a.send(&[1; 4]);
        },
        move || {
            let mut b = End::open(&other, Side::B, &swapped[0], &swapped[1]);
            b.connect();
            assert_eq!(b.recv(), Ok([1; 4]));
        },
    );
}

#[test]
fn two_ends_that_open_at_once_meet() {
    model(2, 1000, || from_scratch(Sabotage::Nothing));
}

#[test]
fn what_was_sent_before_a_close_is_received() {
    model(3, 1000, || {
        let [mut a, mut b] = pair(Sabotage::Nothing);
        both(
            move || {
                a.channel.push(&[1; 4]).unwrap();
                a.channel.close();
            },
            move || {
                assert_eq!(b.recv(), Ok([1; 4]));
                assert_eq!(b.recv::<4>(), Err(Broken::Closed));
            },
        );
    });
}

#[test]
fn what_was_sent_before_a_close_is_received_by_a_peer_that_still_connects() {
    model(2, 1000, || {
        let (memory, bells) = (Loomed::new(Sabotage::Nothing), [Bell::new(), Bell::new()]);
        let mut a = End::open(&memory, Side::A, &bells[0], &bells[1]);
        let mut b = End::open(&memory, Side::B, &bells[1], &bells[0]);
        both(
            move || {
                a.connect();
                a.send(&[1; 4]);
                a.channel.close();
            },
            move || {
                b.connect();
                assert_eq!(b.recv(), Ok([1; 4]));
                assert_eq!(b.recv::<4>(), Err(Broken::Closed));
            },
        );
    });
}

/// A dies after a message, and its successor opens: B receives the message or not, then learns of it.
fn death(sabotage: Sabotage) {
    let [mut a, mut b] = pair(sabotage);
    a.send(&[1; 4]);
    let (memory, own, peer) = (a.channel.memory().clone(), a.sleep.clone(), a.channel.doorbell().clone());
    both(
        move || drop(End::open(&memory, Side::A, &own, &peer)),
        move || {
            let mut received = b.recv();
            if received == Ok([1; 4]) {
                received = b.recv();
            }
            assert_eq!(received, Err(Broken::Restarted));
        },
    );
}

#[test]
fn a_survivor_learns_of_the_successor() {
    model(3, 1000, || death(Sabotage::Nothing));
}

#[test]
#[should_panic(expected = "Violated")]
fn without_fences_a_successor_is_taken_for_a_liar() {
    model(3, 1, || death(Sabotage::NoFence));
}

/// A has died with messages on their way, its successor is there, and B opens anew meanwhile.
fn return_of(sabotage: Sabotage) {
    let [mut a, mut b] = pair(sabotage);
    a.send(&[1; 4]);
    b.send(&[1; 4]);
    let (memory, own, peer) = (a.channel.memory().clone(), a.sleep.clone(), a.channel.doorbell().clone());
    let a = End::open(&memory, Side::A, &own, &peer);
    let meet = |mut end: End| {
        // Asked again only once: what is not over then goes on below.
        let met = (0..2).any(|_| end.channel.poll_connect().unwrap());
        if met {
            assert_eq!(end.channel.try_recv(&mut [0; 4]), Err(RecvError::Empty));
        }
        end
    };
    let successor = thread::spawn(move || meet(a));
    let survivor = thread::spawn(move || {
        b.channel.reopen();
        meet(b)
    });
    let (mut a, mut b) = (successor.join().unwrap(), survivor.join().unwrap());
    while !(a.channel.poll_connect().unwrap() & b.channel.poll_connect().unwrap()) {}
    a.send(&[2; 4]);
    b.send(&[3; 4]);
    assert_eq!((a.recv(), b.recv()), (Ok([3; 4]), Ok([2; 4])));
}

#[test]
fn a_survivor_meets_the_successor_and_receives_nothing_old() {
    model(1, 1000, || return_of(Sabotage::Nothing));
}

#[test]
#[should_panic(expected = "left: Ok(4)")]
fn without_release_in_the_handshake_something_old_is_received() {
    model(1, 1, || return_of(Sabotage::RelaxedHandshakeStores));
}

#[test]
#[should_panic(expected = "left: Ok(4)")]
fn without_acquire_in_the_handshake_something_old_is_received() {
    model(1, 1, || return_of(Sabotage::RelaxedHandshakeLoads));
}
