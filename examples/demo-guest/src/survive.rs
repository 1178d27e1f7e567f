//! `demo.survive`: a VM whose peer may die at any moment, and come back: it goes on, says what it sees of that, and checks all that it hears.
//!
//! Each side sends *beats* on every connection, for ever: it writes one to its half of the dataport, and emits. Which half is whose,
//! `demo.survive=first` and `demo.survive=second` say.
//!
//! ```text
//!   0        8      16                           1016     1024           1032
//!   │ number │ life │ data that nobody can guess │ CRC-32 │ number again │      where the numbers differ, it is being written
//! ```
//!
//! `life` is a random number that a guest chooses when it boots. What a guest sees of its peer, it prints:
//! `DEMO peer vm=NAME connection=NAME state=STATE life=NUMBER beats=NUMBER dropped=NUMBER`, where the state is
//!
//! | state | means |
//! | --- | --- |
//! | `new` | the first beat of a life |
//! | `talks` | [`ENOUGH`] beats of this life since it was `new` or `gone`, each checked |
//! | `gone` | emits are dropped: nobody is there |
//! | `waits` | still nobody is there, and this guest lives; once in [`STILL`] |

use std::thread;
use std::time::{Duration, Instant};

use crc32fast::Hasher;
use crossvm_guest::{Dataport, DataportIndex, Endpoint, EventCount, System};

use crate::devices::{self, Holder};
use crate::driver::Driver;
use crate::events::Events;
use crate::link::Shared;
use crate::random::Random;
use crate::report::{Failure, Report};

const CHECK: &str = "survive";
/// Time between two beats.
const PAUSE: Duration = Duration::from_millis(20);
/// How many beats are talk.
const ENOUGH: u64 = 50;
/// How often a guest says that it waits.
const STILL: Duration = Duration::from_secs(1);
/// How many beats can be unreadable one after the other, as they are being written each time.
const PATIENCE: u64 = 200;

/// Length of a beat.
const BEAT: usize = 1032;
/// Where its parts are.
const LIFE: usize = 8;
const DATA: usize = 16;
const SUM: usize = 1016;
const AGAIN: usize = 1024;

/// Which half of the dataports a guest writes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Half {
    /// The lower one.
    First,
    /// The upper one.
    Second,
}

impl Half {
    /// The other one.
    const fn other(self) -> Self {
        match self {
            Self::First => Self::Second,
            Self::Second => Self::First,
        }
    }

    const fn offset(self, size: usize) -> usize {
        match self {
            Self::First => 0,
            Self::Second => size / 2,
        }
    }
}

/// What a beat says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Beat {
    life: u64,
    number: u64,
}

impl Beat {
    /// Writes it to `offset`, so that who reads meanwhile notices.
    fn write(self, memory: &impl Shared, offset: usize, random: &mut Random) -> Result<(), String> {
        let write = |place: usize, bytes: &[u8]| memory.write(offset + place, bytes).map_err(|error| error.to_string());
        let mut body = [0; SUM - LIFE];
        if let Some((life, data)) = body.split_at_mut_checked(DATA - LIFE) {
            life.copy_from_slice(&self.life.to_le_bytes());
            random.fill(data);
        }
        let number = self.number.to_le_bytes();
        write(0, &number)?;
        write(LIFE, &body)?;
        write(SUM, &u64::from(sum(&number, &body)).to_le_bytes())?;
        write(AGAIN, &number)
    }

    /// The beat at `offset`; `None` where it is being written.
    fn read(memory: &impl Shared, offset: usize) -> Result<Option<Self>, String> {
        let mut bytes = [0; BEAT];
        memory.read(offset, &mut bytes).map_err(|error| error.to_string())?;
        // What was read last of it must be what is there first now: then it was not overwritten meanwhile.
        let mut first = [0; LIFE];
        memory.read(offset, &mut first).map_err(|error| error.to_string())?;
        let word = |place: usize| bytes.get(place..).and_then(|bytes| bytes.first_chunk()).map_or(0, |bytes| u64::from_le_bytes(*bytes));
        if u64::from_le_bytes(first) != word(AGAIN) || word(0) != word(AGAIN) {
            return Ok(None);
        }
        let expected = sum(&first, bytes.get(LIFE..SUM).unwrap_or_default());
        if word(SUM) != u64::from(expected) {
            return Err(format!("beat {} has the CRC {:08x} instead of {expected:08x}", word(0), word(SUM)));
        }
        Ok(Some(Self { life: word(LIFE), number: word(0) }))
    }
}

fn sum(number: &[u8], body: &[u8]) -> u32 {
    let mut crc = Hasher::new();
    crc.update(number);
    crc.update(body);
    crc.finalize()
}

/// What can be said of the peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    New,
    Talks,
    Gone,
}

impl State {
    const fn name(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Talks => "talks",
            Self::Gone => "gone",
        }
    }
}

/// What is known of the peer on one connection.
#[derive(Debug, Default)]
struct Peer {
    state: Option<State>,
    life: u64,
    /// The number of its last beat in this life.
    number: u64,
    /// How many were checked in it.
    beats: u64,
    /// Those since it was last new or gone.
    since: u64,
    dropped: u32,
    unreadable: u64,
}

impl Peer {
    /// So many emits were dropped so far. Says whether its state is another one.
    fn dropped(&mut self, dropped: u32) -> bool {
        let news = dropped != self.dropped && self.state != Some(State::Gone);
        if dropped != self.dropped {
            (self.dropped, self.state, self.since) = (dropped, Some(State::Gone), 0);
        }
        news
    }

    /// It has beaten. Says whether its state is another one.
    fn beat(&mut self, beat: Option<Beat>) -> Result<bool, String> {
        let Some(beat) = beat else {
            self.unreadable += 1;
            return if self.unreadable < PATIENCE {
                Ok(false)
            } else {
                Err(format!("{PATIENCE} beats could not be read, one after the other"))
            };
        };
        self.unreadable = 0;
        let known = self.beats > 0 && self.life == beat.life;
        if known && beat.number < self.number {
            return Err(format!("beat {} after {} of the same life", beat.number, self.number));
        }
        if !known {
            (self.life, self.beats, self.since) = (beat.life, 0, 0);
        }
        self.number = beat.number;
        self.beats += 1;
        self.since += 1;
        let state = if self.since >= ENOUGH { State::Talks } else { State::New };
        Ok(self.state.replace(state) != Some(state) || !known)
    }

    fn report(&self, report: &Report, connection: &str, state: &str) {
        report.peer(&[
            ("connection", connection.to_owned()),
            ("state", state.to_owned()),
            ("life", format!("{:016x}", self.life)),
            ("beats", self.beats.to_string()),
            ("dropped", self.dropped.to_string()),
        ]);
    }
}

/// One connection.
#[derive(Debug)]
struct Line<'endpoint> {
    endpoint: &'endpoint Endpoint,
    dataport: Dataport,
    events: Events<'endpoint>,
    peer: Peer,
}

impl Line<'_> {
    /// Beats once, and listens.
    fn round(&mut self, own: Half, beat: Beat, random: &mut Random, report: &Report) -> Result<(), String> {
        let name = self.endpoint.name();
        let (own, other) = (own.offset(self.dataport.size()), own.other().offset(self.dataport.size()));
        beat.write(&self.dataport, own, random)?;
        self.events.emit(EventCount::ONE)?;
        let dropped = self.endpoint.dropped().map_err(|error| error.to_string())?.unwrap_or(0);
        if self.peer.dropped(dropped) {
            self.peer.report(report, name, State::Gone.name());
        }
        if self.events.take()? > 0 && self.peer.beat(Beat::read(&self.dataport, other)?)? {
            self.peer.report(report, name, self.peer.state.map_or("-", State::name));
        }
        Ok(())
    }
}

/// Beats until somebody stops this VM.
///
/// # Errors
/// Where the peer, or the connection, does what it should not.
pub(crate) fn run(half: Half, system: &System, report: &Report) -> Result<std::convert::Infallible, Failure> {
    // By name: so that both kinds of interrupt are tried.
    let driver = |name: &str| if name.ends_with("-msix") { Driver::CrossVm } else { Driver::Uio };
    let endpoints = devices::set_up(system, report, |name| Ok(Holder::Now(driver(name))))?;
    beat(half, &endpoints, report).map_err(|reason| Failure::new(CHECK, reason))
}

fn beat(half: Half, endpoints: &[Endpoint], report: &Report) -> Result<std::convert::Infallible, String> {
    let mut random = Random::from_kernel().map_err(|error| error.to_string())?;
    let life = random.next();
    let mut lines = Vec::new();
    for endpoint in endpoints {
        let dataport = endpoint.dataport(DataportIndex::FIRST).map_err(|error| error.to_string())?;
        lines.push(Line { endpoint, dataport, events: Events::open(endpoint)?, peer: Peer::default() });
    }
    let mut said = Instant::now();
    for number in 1.. {
        for line in &mut lines {
            line.round(half, Beat { life, number }, &mut random, report).map_err(|reason| format!("{}: {reason}", line.endpoint.name()))?;
        }
        if said.elapsed() >= STILL {
            said = Instant::now();
            for line in lines.iter().filter(|line| line.peer.state == Some(State::Gone)) {
                line.peer.report(report, line.endpoint.name(), "waits");
            }
        }
        thread::sleep(PAUSE);
    }
    Err("there are no more numbers".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::fake::Memory;

    const OFFSET: usize = 64;

    fn beat(life: u64, number: u64) -> Option<Beat> {
        Some(Beat { life, number })
    }

    #[test]
    fn a_beat_is_read_as_written_or_not_at_all() {
        let (memory, mut random) = (Memory::new(4096), Random::from_kernel().unwrap());
        for number in 1..50 {
            Beat { life: 7, number }.write(&memory, OFFSET, &mut random).unwrap();
            assert_eq!(Beat::read(&memory, OFFSET), Ok(beat(7, number)));
        }
        // Half of the next one.
        memory.write(OFFSET, &50u64.to_le_bytes()).unwrap();
        assert_eq!(Beat::read(&memory, OFFSET), Ok(None));
        Beat { life: 7, number: 51 }.write(&memory, OFFSET, &mut random).unwrap();
        let mut byte = [0];
        memory.read(OFFSET + 500, &mut byte).unwrap();
        memory.write(OFFSET + 500, &[byte[0] ^ 1]).unwrap();
        assert!(Beat::read(&memory, OFFSET).unwrap_err().contains("CRC"));
    }

    #[test]
    fn the_halves_are_apart() {
        for size in [4096, 64 << 10] {
            assert!(Half::First.offset(size) + BEAT <= Half::Second.offset(size) && Half::Second.offset(size) + BEAT <= size);
        }
        assert_eq!(Half::First.other(), Half::Second);
    }

    #[test]
    fn what_is_seen_of_a_peer_that_dies_and_comes_back() {
        let mut peer = Peer::default();
        assert!(!peer.dropped(0));
        assert_eq!(peer.beat(beat(1, 10)), Ok(true), "new");
        let news: Vec<u64> = (11..100).filter(|number| peer.beat(beat(1, *number)).unwrap()).collect();
        assert_eq!((news, peer.state), (vec![59], Some(State::Talks)), "after fifty");
        assert!(peer.dropped(1) && !peer.dropped(2) && !peer.dropped(2));
        assert_eq!(peer.beat(beat(2, 1)), Ok(true), "another life");
        assert_eq!((peer.state, peer.beats), (Some(State::New), 1));
        assert!(peer.dropped(3));
        assert_eq!(peer.beat(beat(2, 2)), Ok(true), "the same again");
        assert_eq!((peer.state, peer.beats), (Some(State::New), 2));
        assert!(peer.beat(beat(2, 1)).is_err(), "backwards");
    }

    #[test]
    fn a_beat_that_is_never_complete_is_a_fault() {
        let mut peer = Peer::default();
        assert!((1..PATIENCE).all(|_| peer.beat(None) == Ok(false)));
        assert!(peer.beat(None).is_err());
    }
}
