//! Two ends in one thread, whatever they do, against two plain queues.

use std::sync::atomic::AtomicU64;
use std::vec::Vec;
use std::{mem, vec};

use proptest::collection::vec as many;
use proptest::prelude::*;

use super::queue::Queue;
use super::{Bell, End, meet, open, words};
use crate::spec::LINE;
use crate::{Armed, Broken, Interest, RecvError, SendError, Side, Statistics};

#[derive(Debug, Clone, Copy)]
enum Action {
    Push(Length),
    TrySend(Length),
    /// Of what is granted, a part is committed, or none.
    Grant(Length, Option<f64>),
    Flush,
    TryRecv,
    RecvTooShort,
    Peek,
    Keep,
    ReturnRoom,
    Arm(Interest),
    Disarm,
    Close,
    Reopen,
    Crash {
        after_reading: bool,
    },
}

/// Of a message.
#[derive(Debug, Clone, Copy)]
enum Length {
    Bytes(usize),
    OfLongest(f64),
    TooLong,
}

fn lengths() -> impl Strategy<Value = Length> {
    prop_oneof![
        8 => (0_usize..64).prop_map(Length::Bytes),
        8 => (0.0..=1.0).prop_map(Length::OfLongest),
        1 => Just(Length::TooLong),
    ]
}

fn actions() -> impl Strategy<Value = Action> {
    let interests = prop_oneof![Just(Interest::Message), Just(Interest::Room), Just(Interest::Both)];
    prop_oneof![
        20 => lengths().prop_map(Action::Push),
        20 => lengths().prop_map(Action::TrySend),
        10 => (lengths(), proptest::option::of(0.0..=1.0)).prop_map(|(length, part)| Action::Grant(length, part)),
        10 => Just(Action::Flush),
        40 => Just(Action::TryRecv),
        4 => Just(Action::RecvTooShort),
        10 => Just(Action::Peek),
        4 => Just(Action::Keep),
        4 => Just(Action::ReturnRoom),
        20 => interests.prop_map(Action::Arm),
        8 => Just(Action::Disarm),
        1 => Just(Action::Close),
        1 => Just(Action::Reopen),
        1 => any::<bool>().prop_map(|after_reading| Action::Crash { after_reading }),
    ]
}

/// Most near the end of what 32 bits hold.
fn positions() -> impl Strategy<Value = u32> {
    prop_oneof![1 => Just(0), 3 => (1_u32..4096).prop_map(|units| 0_u32.wrapping_sub(8 * units))]
}

fn sides() -> impl Strategy<Value = Side> {
    prop_oneof![Just(Side::A), Just(Side::B)]
}

const fn index(side: Side) -> usize {
    match side {
        Side::A => 0,
        Side::B => 1,
    }
}

struct World<'a> {
    words: [&'a [AtomicU64]; 2],
    bells: &'a [Bell; 2],
    ends: [End<'a>; 2],
    /// What each end writes to.
    queues: [Queue; 2],
    statistics: [Statistics; 2],
    /// Rings that each end must have made.
    rings: [u32; 2],
    position: u32,
    number: usize,
}

impl<'a> World<'a> {
    fn new(words: [&'a [AtomicU64]; 2], bells: &'a [Bell; 2], position: u32) -> Self {
        let ends = [open(words[0], &bells[0], Side::A), open(words[1], &bells[1], Side::B)];
        let queues = [Queue::new(0), Queue::new(0)];
        let mut world = Self { words, bells, ends, queues, statistics: Default::default(), rings: [0; 2], position, number: 0 };
        world.meet();
        world
    }

    fn meet(&mut self) {
        meet(&mut self.ends, self.position);
        let size = self.words.iter().map(|words| words.len() * 8).min().unwrap() as u64;
        let capacity = (size - 1024) / 2 / u64::from(LINE) * u64::from(LINE);
        self.queues = [Queue::new(capacity), Queue::new(capacity)];
        for (end, bell) in self.ends.iter().zip(self.bells) {
            assert_eq!(end.max_message() as u64, capacity / 2 - 8);
            bell.0.set(0);
        }
        self.rings = [0; 2];
    }

    fn message(&mut self, length: usize) -> Vec<u8> {
        self.number += 1;
        (0..length).map(|place| (self.number * 31 + place).to_le_bytes()[0]).collect()
    }

    fn sent(&mut self, who: usize, rings: bool) {
        self.rings[who] += u32::from(rings);
        self.statistics[who].sent.doorbells += u64::from(rings);
    }

    fn returned(&mut self, who: usize, rings: bool) {
        self.rings[who] += u32::from(rings);
        self.statistics[who].received.doorbells += u64::from(rings);
    }

    fn flush(&mut self, who: usize) {
        let rings = self.queues[who].flush();
        self.sent(who, rings);
    }

    fn return_room(&mut self, who: usize) {
        let rings = self.queues[1 - who].reader_tells();
        self.returned(who, rings);
    }

    fn send(&mut self, who: usize, length: Length, how: Action) {
        let most = self.ends[who].max_message();
        let length = match length {
            Length::Bytes(bytes) => bytes.min(most),
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "of a length")]
            Length::OfLongest(part) => (most as f64 * part) as usize,
            Length::TooLong => most + 1,
        };
        let mut message = self.message(length);
        let end = &mut self.ends[who];
        let sent = match how {
            Action::Grant(_, part) => end.reserve(length).map(|mut grant| {
                grant.write(0, &message).unwrap();
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "of a length")]
                part.map(|part| (length as f64 * part) as usize).is_some_and(|part| {
                    message.truncate(part);
                    grant.commit(part).unwrap();
                    true
                })
            }),
            Action::Push(_) => end.push(&message).map(|()| true),
            _ => end.try_send(&message).map(|()| true),
        };
        match sent {
            Ok(sent) => {
                self.queues[who].found_room(length);
                if sent {
                    self.statistics[who].sent.messages += 1;
                    self.statistics[who].sent.bytes += message.len() as u64;
                    self.queues[who].push(length, message);
                }
                if matches!(how, Action::TrySend(_)) {
                    self.flush(who);
                }
            }
            Err(SendError::Full) => {
                let rings = self.queues[who].found_no_room(length);
                self.sent(who, rings);
            }
            Err(error) => assert_eq!((error, length), (SendError::TooLong { most }, most + 1)),
        }
    }

    fn empty(&mut self, who: usize) {
        let rings = self.queues[1 - who].found_empty();
        self.returned(who, rings);
    }

    /// `message` was received.
    fn received(&mut self, who: usize, message: &[u8]) {
        assert_eq!(message, self.queues[1 - who].front());
        let rings = self.queues[1 - who].pop();
        self.statistics[who].received.messages += 1;
        self.statistics[who].received.bytes += message.len() as u64;
        self.returned(who, rings);
    }

    fn receive(&mut self, who: usize) -> Result<(), Broken> {
        let mut buffer = vec![0; self.ends[who].max_message()];
        match self.ends[who].try_recv(&mut buffer) {
            Ok(length) => self.received(who, &buffer[..length]),
            Err(RecvError::Empty) => self.empty(who),
            Err(RecvError::Broken(broken)) => return Err(broken),
            Err(error) => panic!("{error}"),
        }
        Ok(())
    }

    fn too_short(&mut self, who: usize) {
        match self.ends[who].try_recv(&mut []) {
            Ok(length) => self.received(who, &vec![0; length]),
            Err(RecvError::TooShort { needed }) => assert_eq!(needed, self.queues[1 - who].front().len()),
            Err(error) => {
                assert_eq!(error, RecvError::Empty);
                self.empty(who);
            }
        }
    }

    fn peek(&mut self, who: usize, keep: bool) {
        let peeked = self.ends[who].peek().map(|message| {
            let mut bytes = vec![0; message.len()];
            message.read(0, &mut bytes).unwrap();
            if keep {
                message.keep();
            }
            bytes
        });
        match peeked {
            Ok(bytes) if keep => assert_eq!(bytes, self.queues[1 - who].front()),
            Ok(bytes) => self.received(who, &bytes),
            Err(error) => {
                assert_eq!(error, RecvError::Empty);
                self.empty(who);
            }
        }
    }

    fn disarm(&mut self, who: usize) {
        self.ends[who].disarm();
        self.awake(who);
    }

    fn awake(&mut self, who: usize) {
        self.queues[1 - who].reader_wakes();
        self.queues[who].writer_wakes();
    }

    fn arm(&mut self, who: usize, interest: Interest) {
        self.disarm(who);
        self.flush(who);
        self.return_room(who);
        let armed = self.ends[who].arm(interest).unwrap();
        let message = interest != Interest::Room;
        let room = interest == Interest::Room || interest == Interest::Both && self.queues[who].wants_room();
        let [may, must] = {
            let (a, b) = (self.queues[1 - who].may_and_must_have(), self.queues[who].may_and_must_have_room());
            [message && a.0 || room && b.0, message && a.1 || room && b.1]
        };
        match armed {
            Armed::Ready => {
                assert!(may, "there is nothing to do");
                // What it has written before it found something does not matter.
                self.disarm(who);
            }
            Armed::Sleep => {
                assert!(!must, "there is something to do");
                if message {
                    self.queues[1 - who].reader_sleeps();
                }
                if room {
                    self.queues[who].writer_sleeps();
                }
            }
        }
    }

    /// The other end receives what is there in order, all that was flushed, and then learns why there is no more.
    fn drain(&mut self, who: usize, why: Broken) {
        loop {
            let left = self.queues[1 - who].may_and_must_have();
            match self.receive(who) {
                Ok(()) => assert!(left.0),
                Err(broken) => {
                    assert_eq!(broken, why);
                    assert!(why != Broken::Closed || !left.1, "closed before all was received");
                    return;
                }
            }
        }
    }

    fn part(&mut self, who: usize, how: Action) {
        let (side, other) = ([Side::A, Side::B][who], 1 - who);
        match how {
            Action::Close => {
                self.ends[who].close();
                self.flush(who);
                self.return_room(who);
                self.rings[who] += 1;
                self.check();
                assert_eq!(self.ends[who].status(), Err(Broken::Closed));
                self.drain(other, Broken::Closed);
                self.ends[who].reopen();
            }
            Action::Crash { after_reading } => {
                if after_reading {
                    while self.queues[who].may_and_must_have().1 {
                        self.receive(other).unwrap();
                    }
                }
                mem::forget(mem::replace(&mut self.ends[who], open(self.words[who], &self.bells[who], side)));
                self.statistics[who] = Statistics::default();
                self.awake(who);
                self.drain(other, Broken::Restarted);
            }
            _ => {
                self.ends[who].reopen();
                self.awake(who);
                self.drain(other, Broken::Restarted);
            }
        }
        self.ends[other].reopen();
        self.meet();
    }

    fn act(&mut self, side: Side, action: Action) {
        let who = index(side);
        match action {
            Action::Push(length) | Action::TrySend(length) | Action::Grant(length, _) => self.send(who, length, action),
            Action::Flush => {
                self.ends[who].sender().flush().unwrap();
                self.flush(who);
            }
            Action::TryRecv => self.receive(who).unwrap(),
            Action::RecvTooShort => self.too_short(who),
            Action::Peek | Action::Keep => self.peek(who, matches!(action, Action::Keep)),
            Action::ReturnRoom => {
                self.ends[who].receiver().flush().unwrap();
                self.return_room(who);
            }
            Action::Arm(interest) => self.arm(who, interest),
            Action::Disarm => self.disarm(who),
            Action::Close | Action::Reopen | Action::Crash { .. } => self.part(who, action),
        }
        self.check();
    }

    fn check(&self) {
        for who in 0..2 {
            assert_eq!(self.bells[who].0.get(), self.rings[who], "rings of end {who}");
            assert_eq!(self.ends[who].statistics(), self.statistics[who], "end {who}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn two_ends_are_two_queues(
        sizes in prop_oneof![[160_usize..320, 160_usize..320], [160_usize..8192, 160_usize..8192]],
        position in positions(),
        script in many((sides(), actions()), 1..400),
    ) {
        let words = words(sizes[0].max(sizes[1]) * 8);
        let bells = [Bell::default(), Bell::default()];
        let mut world = World::new(sizes.map(|size| &words[..size]), &bells, position);
        for (side, action) in script {
            world.act(side, action);
        }
    }
}
