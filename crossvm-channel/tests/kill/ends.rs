//! The two programs: A streams numbered messages, B checks and acknowledges them. Both die at any moment, and are started anew.
//!
//! Each message is a function of its number, so B knows every byte of it. In a session, numbers follow each other without a gap or a repetition from
//! that on which B has told at its beginning. B keeps what it has received, A what was acknowledged, in words that outlive them.

use std::os::fd::BorrowedFd;
use std::sync::atomic::Ordering;

use crossvm_channel::{Broken, Channel, Config, Error, Memory as _, Protocol, RecvError, SendError, Shared, Side, spec};
use rustix::io::Errno;
use rustix::process::{Signal, getpid, kill_process};

use crate::common::{Bell, Notes, Page, count, message};

/// What a child does wrong on purpose: the checks must notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sabotage {
    None,
    /// A successor opens the channel with its predecessor's generation.
    SameGeneration,
    /// A goes on where it was, and not where B is, when B is another one.
    GoesOn,
    /// A byte of a message is another than it should be.
    WrongByte,
    /// A message is sent twice.
    Twice,
}

impl Sabotage {
    pub(crate) const ALL: [Self; 5] = [Self::None, Self::SameGeneration, Self::GoesOn, Self::WrongByte, Self::Twice];

    pub(crate) fn named(name: &str) -> Self {
        *Self::ALL.iter().find(|sabotage| format!("{sabotage:?}") == name).unwrap()
    }
}

/// A child exits so when its patience is over.
pub(crate) const TIMED_OUT: i32 = 42;

type End = Channel<Shared<'static>, Bell>;

/// One end's process.
struct Process {
    channel: End,
    wait: Bell,
    page: &'static Page,
    side: Side,
    sabotage: Sabotage,
    /// A: which message came next when the last session ended.
    reached: u64,
}

/// How a session ended.
enum Ended {
    /// The peer is another one.
    Restarted,
    /// All is done.
    Done,
}

/// Runs an end until all is sent and acknowledged.
pub(crate) fn run(
    side: Side,
    files: [BorrowedFd<'static>; 3],
    page: &'static Page,
    memory: Shared<'static>,
    sabotage: Sabotage,
    patience: u32,
) {
    let [_, a, b] = files;
    let (own, peers) = if side == Side::A { (a, b) } else { (b, a) };
    let [wait, doorbell] = [own, peers].map(|file| Bell { file, patience });
    if sabotage == Sabotage::SameGeneration {
        let of_generation = spec::OF_GENERATION as usize + if side == Side::A { 0 } else { spec::SIDE as usize };
        memory.store(of_generation, memory.load(of_generation).saturating_sub(1));
    }
    let channel = Channel::open(memory, doorbell, Config::new(side).protocol(Protocol::named(*b"kill"))).unwrap();
    let mut process = Process { channel, wait, page, side, sabotage, reached: 0 };
    loop {
        process.done(|process| process.channel.connect(&mut process.wait));
        count(&process.notes().sessions);
        let ended = if side == Side::A { process.stream() } else { process.collect() };
        match ended {
            Ok(Ended::Done) => return,
            Ok(Ended::Restarted) | Err(Error::Broken(Broken::Restarted)) => {
                count(&process.notes().noticed);
                process.channel.reopen();
            }
            // A closes when all it has to send is acknowledged; it may be so quick that B still sends the last acknowledgement.
            Err(Error::Broken(Broken::Closed)) if side == Side::B && process.is_complete() => return,
            Err(Error::TimedOut) => std::process::exit(TIMED_OUT),
            Err(error) => panic!("{side:?}: {error}"),
        }
    }
}

impl Process {
    fn notes(&self) -> &'static Notes {
        self.page.of(self.side)
    }

    /// Whether all there is was received, or acknowledged.
    fn is_complete(&self) -> bool {
        self.notes().next.load(Ordering::Acquire) == self.page.last.load(Ordering::Acquire)
    }

    /// What must not fail but for time.
    fn done<T>(&mut self, act: impl FnOnce(&mut Self) -> Result<T, Error<Errno>>) -> T {
        match act(self) {
            Ok(value) => value,
            Err(Error::TimedOut) => std::process::exit(TIMED_OUT),
            Err(error) => panic!("{:?}: {error}", self.side),
        }
    }

    /// Sleeps for what `interest` says.
    fn sleep(&mut self, interest: crossvm_channel::Interest) -> Result<(), Error<Errno>> {
        self.channel.wait_for(interest, &mut self.wait)
    }

    /// The next message, with `copying` noted meanwhile.
    fn receive(&mut self, buffer: &mut [u8]) -> Result<usize, Error<Errno>> {
        loop {
            self.notes().copying.store(1, Ordering::Release);
            let received = self.channel.try_recv(buffer);
            self.notes().copying.store(0, Ordering::Release);
            match received {
                Ok(length) => return Ok(length),
                Err(RecvError::Empty) => self.sleep(crossvm_channel::Interest::Message)?,
                Err(RecvError::TooShort { needed }) => return Err(Error::TooShort { needed }),
                Err(RecvError::Broken(broken)) => return Err(broken.into()),
            }
        }
    }

    /// Sends a message, with `copying` noted meanwhile.
    fn send(&mut self, bytes: &[u8], flush: bool) -> Result<(), Error<Errno>> {
        loop {
            self.notes().copying.store(1, Ordering::Release);
            let pushed = self.channel.push(bytes);
            self.notes().copying.store(0, Ordering::Release);
            match pushed {
                Ok(()) if flush => return Ok(self.channel.flush()?),
                Ok(()) => return Ok(()),
                Err(SendError::Full) => self.sleep(crossvm_channel::Interest::Room)?,
                Err(SendError::TooLong { most }) => return Err(Error::TooLong { most }),
                Err(SendError::Broken(broken)) => return Err(broken.into()),
            }
        }
    }

    /// A: streams, from where B says.
    fn stream(&mut self) -> Result<Ended, Error<Errno>> {
        let most = self.channel.max_message();
        let mut buffer = [0; 8];
        let acknowledged = |buffer: [u8; 8], length: usize, from: u64, to: u64| {
            let next = u64::from_le_bytes(buffer);
            assert!(length == 8 && (from..=to).contains(&next), "A: {next} is acknowledged, {length} bytes, of {from}..={to}");
            next
        };
        let kept = self.notes().next.load(Ordering::Acquire);
        let length = self.receive(&mut buffer)?;
        let mut acked = acknowledged(buffer, length, kept, u64::MAX);
        let mut number = acked;
        if self.sabotage == Sabotage::GoesOn {
            number = number.max(self.reached);
        }
        loop {
            self.notes().next.store(acked, Ordering::Release);
            let last = self.page.last.load(Ordering::Acquire);
            if number < last {
                let mut bytes = message(number, most);
                if self.notes().die.load(Ordering::Acquire) != 0 {
                    self.die_writing(&bytes);
                }
                match self.sabotage {
                    Sabotage::WrongByte if number.is_multiple_of(100) => *bytes.last_mut().unwrap() ^= 1,
                    Sabotage::Twice if number.is_multiple_of(100) => self.send(&bytes, false)?,
                    _ => {}
                }
                self.send(&bytes, number.is_multiple_of(3) || number + 1 == last)?;
                number += 1;
                self.reached = number;
            } else if acked == last {
                self.channel.close();
                return Ok(Ended::Done);
            } else {
                let length = self.receive(&mut buffer)?;
                acked = acknowledged(buffer, length, acked, number);
            }
            loop {
                match self.channel.try_recv(&mut buffer) {
                    Ok(length) => acked = acknowledged(buffer, length, acked, number),
                    Err(RecvError::Empty) => break,
                    Err(RecvError::Broken(Broken::Restarted)) => return Ok(Ended::Restarted),
                    Err(error) => panic!("A: {error}"),
                }
            }
        }
    }

    /// B: receives, checks, acknowledges.
    fn collect(&mut self) -> Result<Ended, Error<Errno>> {
        let most = self.channel.max_message();
        let mut buffer = vec![0; most];
        let mut next = self.notes().next.load(Ordering::Acquire);
        self.send(&next.to_le_bytes(), true)?;
        loop {
            if self.notes().die.load(Ordering::Acquire) != 0 {
                self.die_reading();
            }
            let length = self.receive(&mut buffer)?;
            let bytes = buffer.get(..length).unwrap();
            assert!(bytes == message(next, most), "B: message {next} is not what it must be: {length} bytes, {:?}", bytes.get(..8));
            next += 1;
            self.notes().next.store(next, Ordering::Release);
            if next.is_multiple_of(4) || next == self.page.last.load(Ordering::Acquire) {
                self.send(&next.to_le_bytes(), true)?;
            }
        }
    }

    /// Dies with half of a message written.
    fn die_writing(&mut self, bytes: &[u8]) {
        let Ok(mut grant) = self.channel.reserve(bytes.len()) else { return };
        let (half, _) = bytes.split_at(bytes.len() / 2);
        grant.write(0, half).unwrap();
        die();
    }

    /// Dies with half of a message read.
    fn die_reading(&mut self) {
        let Ok(found) = self.channel.peek() else { return };
        let mut half = vec![0; found.len() / 2];
        found.read(0, &mut half).unwrap();
        die();
    }
}

fn die() -> ! {
    kill_process(getpid(), Signal::KILL).unwrap();
    unreachable!("killed");
}
