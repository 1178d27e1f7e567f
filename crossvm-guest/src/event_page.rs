//! The event registers, BAR 0 of a connection.

use std::fmt;

use crate::dataport::DataportIndex;
use crate::error::Fault;
use crate::map::{Map, Words, full_barrier, load_barrier};
use crate::rights::Rights;
use crate::spec::{self, RightsRegister};
use crate::wait::Counter;

/// A number of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct EventCount(u32);

impl EventCount {
    /// No event.
    pub const ZERO: Self = Self(0);
    /// One event.
    pub const ONE: Self = Self(1);
    /// As many as the register can hold.
    pub const MAX: Self = Self(u32::MAX);

    /// `count` events.
    #[must_use]
    pub const fn new(count: u32) -> Self {
        Self(count)
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for EventCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Which registers a device has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Profile {
    /// EMIT, COUNT and NAME only, as seL4's device. Events that come while COUNT is cleared are not counted (nobody sleeps
    /// through them, though).
    Reference,
    /// Also the registers from 0x40 on: counts are exact, sizes and rights are told.
    Extended {
        /// Version of the registers.
        version: u32,
    },
}

/// What the extended registers say about a dataport.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DataportRecord {
    pub(crate) size: u64,
    pub(crate) rights: Rights,
}

/// The event registers of one connection, mapped.
///
/// Reads do not leave the guest; a write to EMIT, COUNT or ACK does. Every access is one aligned 32-bit word.
#[derive(Debug)]
pub struct EventPage {
    /// At least [`spec::BASIC_END`] bytes, and [`spec::EXTENDED_END`] in the extended profile: checked when made.
    map: Map,
    profile: Profile,
    name: String,
    records: Vec<DataportRecord>,
}

impl EventPage {
    /// Takes a map of BAR 0 and checks what stands in it. `bars` is the number of BARs that may be dataports.
    pub(crate) fn new(map: Map, bars: usize) -> Result<Self, Fault> {
        if map.len() < spec::BASIC_END {
            return Err(Fault::EventPage);
        }
        let name = read_name(&map)?;
        let extended = map.len() >= spec::EXTENDED_END && load(&map, spec::SIGNATURE) == spec::SIGNATURE_VALUE;
        let (profile, records) = if extended {
            let version = load(&map, spec::VERSION);
            if version == 0 {
                return Err(Fault::Version);
            }
            (Profile::Extended { version }, read_records(&map, bars)?)
        } else {
            (Profile::Reference, Vec::new())
        };
        Ok(Self { map, profile, name, records })
    }

    /// Which registers the device has.
    #[must_use]
    pub const fn profile(&self) -> Profile {
        self.profile
    }

    /// The connection's name: printable ASCII.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Signals the peer. All that was written to the dataports before is there when the peer sees the event.
    ///
    /// Signals on their way to the same peer may join into one event, as with seL4's notifications: a protocol that counts them
    /// waits for an answer to each.
    pub fn emit(&self) {
        full_barrier();
        // A peer needs no value: the write is the signal.
        self.store(spec::EMIT, 1);
    }

    /// How many events wait to be taken. What the peer wrote before it emitted them is seen by later reads of the dataports.
    #[must_use]
    pub fn count(&self) -> EventCount {
        let count = EventCount(load(&self.map, spec::COUNT));
        load_barrier();
        count
    }

    /// Takes the events that wait, at most `limit`, and says how many they were: `None` where none waits or the limit is zero.
    ///
    /// In the extended profile no event is ever forgotten, and what is beyond the limit keeps waiting. In the reference profile
    /// COUNT can only be cleared: all that wait are taken, whatever the limit, and one that comes between reading and clearing is
    /// not counted. It is not lost as a wake-up: what the peer wrote before it is seen by later reads of the dataports.
    #[must_use]
    pub fn take(&self, limit: EventCount) -> Option<EventCount> {
        let waiting = EventCount(load(&self.map, spec::COUNT));
        if waiting == EventCount::ZERO || limit == EventCount::ZERO {
            return None;
        }
        let taken = match self.profile {
            Profile::Extended { .. } => {
                let taken = waiting.min(limit);
                self.store(spec::ACK, taken.get());
                taken
            }
            Profile::Reference => {
                self.store(spec::COUNT, 0);
                waiting
            }
        };
        // The full barrier: nothing of the dataports is read before COUNT was, nor before it was cleared.
        full_barrier();
        Some(taken)
    }

    /// Emits of this end that could not be delivered; `None` in the reference profile, which does not count them.
    #[must_use]
    pub fn dropped(&self) -> Option<u32> {
        match self.profile {
            Profile::Extended { .. } => Some(load(&self.map, spec::DROPPED)),
            Profile::Reference => None,
        }
    }

    /// What the extended registers say about the dataports; empty in the reference profile.
    pub(crate) fn records(&self) -> &[DataportRecord] {
        &self.records
    }

    fn store(&self, offset: usize, value: u32) {
        let stored = self.map.store(offset, value.to_le());
        debug_assert!(stored.is_some(), "all registers lie in the map: its length was checked");
    }
}

impl Counter for EventPage {
    fn take(&self, limit: EventCount) -> Option<EventCount> {
        Self::take(self, limit)
    }
}

/// Loads a register that lies in the map: callers have checked the map's length.
fn load(map: &Map, offset: usize) -> u32 {
    let value = map.load::<u32>(offset);
    debug_assert!(value.is_some(), "register {offset:#x} lies in the map");
    u32::from_le(value.unwrap_or(0))
}

/// NAME: printable ASCII, then zeros only.
fn read_name(map: &Map) -> Result<String, Fault> {
    let mut bytes = [0; spec::NAME_LENGTH];
    for (word, offset) in bytes.as_chunks_mut::<4>().0.iter_mut().zip((spec::NAME..).step_by(4)) {
        *word = load(map, offset).to_le_bytes();
    }
    let length = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    let (name, padding) = bytes.split_at(length);
    let sound = length > 0 && name.iter().all(|byte| matches!(byte, b' '..=b'~')) && padding.iter().all(|byte| *byte == 0);
    let name = str::from_utf8(name).map_err(|_| Fault::Name)?;
    if sound { Ok(name.to_owned()) } else { Err(Fault::Name) }
}

/// The dataport records: as many as DATAPORTS says, which must not be more than there are BARs.
fn read_records(map: &Map, bars: usize) -> Result<Vec<DataportRecord>, Fault> {
    let claimed = load(map, spec::DATAPORTS);
    let count = usize::try_from(claimed).unwrap_or(usize::MAX);
    if count > bars.min(spec::MAX_DATAPORTS) {
        return Err(Fault::TooManyDataports { claimed, bars });
    }
    let records = DataportIndex::all().zip((spec::DATAPORT_RECORDS..).step_by(spec::DATAPORT_RECORD_LENGTH));
    Ok(records
        .take(count)
        .map(|(_, at)| DataportRecord {
            size: u64::from(load(map, at)) | u64::from(load(map, at + 4)) << 32,
            rights: RightsRegister::from_bits(load(map, at + spec::DATAPORT_RECORD_RIGHTS)).into(),
        })
        .collect())
}
