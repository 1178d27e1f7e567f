//! An end that dies between any two of its stores, whatever it does then: its successor and the survivor meet, nothing old or torn is received, and
//! neither takes the other for a liar.

use std::cell::Cell;
use std::sync::atomic::AtomicU64;

use crossvm_channel::{Broken, Channel, Config, Doorbell, Interest, Memory, RecvError, RingFailed, SendError, Shared, Side};

/// Memory of an end that dies after so many stores: the rest never happen, and of a message half.
#[derive(Debug)]
struct Dying<'a> {
    memory: Shared<'a>,
    left: &'a Cell<u32>,
}

impl Dying<'_> {
    fn lives(&self) -> bool {
        let left = self.left.get();
        self.left.set(left.saturating_sub(1));
        left != 0
    }
}

impl Memory for Dying<'_> {
    fn len(&self) -> usize {
        self.memory.len()
    }
    fn load(&self, offset: usize) -> u32 {
        self.memory.load(offset)
    }
    fn load_acquire(&self, offset: usize) -> u32 {
        self.memory.load_acquire(offset)
    }
    fn store(&self, offset: usize, value: u32) {
        if self.lives() {
            self.memory.store(offset, value);
        }
    }
    fn store_release(&self, offset: usize, value: u32) {
        if self.lives() {
            self.memory.store_release(offset, value);
        }
    }
    fn fence(&self) {}
    fn read(&self, offset: usize, buffer: &mut [u8]) {
        self.memory.read(offset, buffer);
    }
    fn write(&self, offset: usize, bytes: &[u8]) {
        if self.lives() {
            self.memory.write(offset, bytes);
        } else {
            self.memory.write(offset, &bytes[..bytes.len() / 2]);
        }
    }
}

/// The dead ring no more either.
struct Bell<'a>(&'a Cell<u32>, &'a Cell<bool>);

impl Doorbell for Bell<'_> {
    fn ring(&self) -> Result<(), RingFailed> {
        if self.0.get() != 0 {
            self.1.set(true);
        }
        Ok(())
    }
}

type End<'a> = Channel<Dying<'a>, Bell<'a>>;

/// What a message of one life of one end is: all bytes are the same.
const FIRST: u8 = 1;
const SUCCESSOR: u8 = 100;
const SURVIVOR: u8 = 200;
const LENGTH: usize = 40;

fn open<'a>(words: &'a [AtomicU64], side: Side, left: &'a Cell<u32>, rung: &'a Cell<bool>) -> End<'a> {
    Channel::open(Dying { memory: Shared::of(words), left }, Bell(left, rung), Config::new(side)).unwrap()
}

/// Receives what there is; all of it must be whole. An end that learns that it must begin anew does.
fn receive(end: &mut End<'_>) -> Vec<u8> {
    let mut received = Vec::new();
    loop {
        let mut buffer = [0; 100];
        match end.try_recv(&mut buffer) {
            Ok(length) => {
                assert_eq!(length, LENGTH);
                assert!(buffer[..length].iter().all(|byte| *byte == buffer[0]), "torn: {buffer:?}");
                received.push(buffer[0]);
            }
            Err(RecvError::Empty | RecvError::Broken(Broken::NotConnected)) => return received,
            Err(RecvError::Broken(Broken::Restarted | Broken::Closed)) => end.reopen(),
            Err(error) => panic!("{error}"),
        }
    }
}

fn send(end: &mut End<'_>, what: u8) {
    match end.try_send(&[what; LENGTH]) {
        Ok(()) | Err(SendError::Full | SendError::Broken(Broken::NotConnected)) => (),
        Err(SendError::Broken(Broken::Restarted | Broken::Closed)) => end.reopen(),
        Err(error) => panic!("{error}"),
    }
}

/// What the survivor does between two steps of the other, and whether it sleeps meanwhile.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Survivor {
    Busy,
    Idle,
    Sleeping,
}

/// The end `side` dies after `left` stores. Gives whether it came to its end before.
fn life_and_death(side: Side, left: u32, how: Survivor) -> bool {
    let words: Vec<AtomicU64> = (0..160 + 32).map(|_| AtomicU64::new(0)).collect();
    let (stores, immortal) = (Cell::new(left), Cell::new(u32::MAX));
    let (rung, rung_survivor) = (Cell::new(false), Cell::new(false));
    let mut survivor = open(&words, side.peer(), &immortal, &rung);
    let mut dying = open(&words, side, &stores, &rung_survivor);
    let mut expected = FIRST..;
    let mut between = |survivor: &mut End<'_>, last: bool| {
        if how == Survivor::Busy || last {
            for message in receive(survivor) {
                // In order; what was sent in an earlier session may be lost.
                assert!(expected.by_ref().take(30).any(|next| next == message), "{message} is old");
            }
            send(survivor, SURVIVOR);
        }
        let _ = survivor.poll_connect().unwrap();
        if how == Survivor::Sleeping && survivor.status().is_ok() {
            let _ = survivor.arm(Interest::Both);
        }
    };
    let mut number = FIRST;
    for session in 0..2 {
        for step in 0..14 {
            match step {
                0..3 => drop(dying.poll_connect()),
                3..7 => {
                    send(&mut dying, number);
                    number += 1;
                }
                7 => drop(receive(&mut dying)),
                8 => drop(dying.arm(Interest::Both)),
                9 => dying.disarm(),
                10 => {
                    let _ = dying.push(&[number; LENGTH]);
                    number += 1;
                }
                11 => drop(dying.flush()),
                12 if session == 0 => dying.reopen(),
                13 if session == 1 => dying.close(),
                _ => (),
            }
            if stores.get() == 0 {
                break;
            }
            between(&mut survivor, false);
        }
    }
    let ended = stores.get() != 0;
    std::mem::forget(dying);
    rung_survivor.set(false);
    let mut successor = open(&words, side, &immortal, &rung_survivor);
    assert!(rung_survivor.get(), "a survivor that sleeps hears of the successor");
    between(&mut survivor, true);
    for _ in 0..4 {
        assert_eq!(receive(&mut successor), [], "something old");
        let _ = successor.poll_connect().unwrap();
        assert_eq!(receive(&mut survivor), [], "something old");
        let _ = survivor.poll_connect().unwrap();
    }
    assert_eq!((successor.status(), survivor.status()), (Ok(()), Ok(())), "they do not meet");
    send(&mut successor, SUCCESSOR);
    send(&mut survivor, SURVIVOR);
    assert_eq!((receive(&mut survivor), receive(&mut successor)), (vec![SUCCESSOR], vec![SURVIVOR]));
    ended
}

#[test]
fn an_end_that_dies_between_any_two_stores_has_a_successor() {
    for side in [Side::A, Side::B] {
        for how in [Survivor::Busy, Survivor::Idle, Survivor::Sleeping] {
            let deaths = (0..).take_while(|left| !life_and_death(side, *left, how)).count();
            assert!(deaths > 40, "{deaths} deaths are few");
        }
    }
}
