//! The event registers, BAR 0 of a connection, wherever they are mapped.

use core::fmt;

use heapless::{String, Vec};

use crate::count::{EventCount, Profile};
use crate::fault::Fault;
use crate::index::DataportIndex;
use crate::raw::{full_barrier, load_barrier};
use crate::rights::Rights;
use crate::spec::{self, MAX_DATAPORTS, NAME_LENGTH, RightsRegister};
use crate::words::Words;

/// What the extended registers say about a dataport.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct DataportRecord {
    /// True size in bytes.
    pub size: u64,
    /// What this end may do with it.
    pub rights: Rights,
}

/// The event registers of one connection, in the region `R`.
///
/// Reads do not leave the guest; a write to EMIT, COUNT or ACK does. Every access is one aligned 32-bit word.
pub struct EventRegisters<R> {
    /// At least [`spec::BASIC_END`] bytes, and [`spec::EXTENDED_END`] in the extended profile: checked when made.
    region: R,
    profile: Profile,
    name: String<NAME_LENGTH>,
    records: Vec<DataportRecord, MAX_DATAPORTS>,
}

impl<R> fmt::Debug for EventRegisters<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { region: _, profile, name, records } = self;
        f.debug_struct("EventRegisters").field("name", name).field("profile", profile).field("records", records).finish_non_exhaustive()
    }
}

impl<R: Words> EventRegisters<R> {
    /// Takes a region that shows BAR 0 and checks what stands in it. `bars` is the number of BARs that may be dataports.
    ///
    /// # Errors
    ///
    /// [`Fault::EventPage`] where the region is too small, [`Fault::Name`], [`Fault::Version`], [`Fault::TooManyDataports`].
    pub fn new(region: R, bars: usize) -> Result<Self, Fault> {
        if region.len() < spec::BASIC_END {
            return Err(Fault::EventPage);
        }
        let name = read_name(&region)?;
        let extended = region.len() >= spec::EXTENDED_END && load(&region, spec::SIGNATURE) == spec::SIGNATURE_VALUE;
        let (profile, records) = if extended {
            let version = load(&region, spec::VERSION);
            if version == 0 {
                return Err(Fault::Version);
            }
            (Profile::Extended { version }, read_records(&region, bars)?)
        } else {
            (Profile::Reference, Vec::new())
        };
        Ok(Self { region, profile, name, records })
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

    /// What the extended registers say about the dataports; empty in the reference profile.
    #[must_use]
    pub fn records(&self) -> &[DataportRecord] {
        &self.records
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
        let count = EventCount::new(load(&self.region, spec::COUNT));
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
        let waiting = EventCount::new(load(&self.region, spec::COUNT));
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

    /// Forgets the events that wait, whatever their number.
    pub fn clear(&self) {
        self.store(spec::COUNT, 0);
        full_barrier();
    }

    /// Emits of this end that could not be delivered; `None` in the reference profile, which does not count them.
    #[must_use]
    pub fn dropped(&self) -> Option<u32> {
        match self.profile {
            Profile::Extended { .. } => Some(load(&self.region, spec::DROPPED)),
            Profile::Reference => None,
        }
    }

    fn store(&self, offset: usize, value: u32) {
        let stored = self.region.store(offset, value.to_le());
        debug_assert!(stored.is_some(), "all registers lie in the region: its length was checked");
    }
}

/// Loads a register that lies in the region: callers have checked the region's length.
fn load(region: &impl Words, offset: usize) -> u32 {
    let value = region.load::<u32>(offset);
    debug_assert!(value.is_some(), "register {offset:#x} lies in the region");
    u32::from_le(value.unwrap_or(0))
}

/// NAME: printable ASCII, then zeros only.
fn read_name(region: &impl Words) -> Result<String<NAME_LENGTH>, Fault> {
    let mut bytes = [0; NAME_LENGTH];
    for (word, offset) in bytes.as_chunks_mut::<4>().0.iter_mut().zip((spec::NAME..).step_by(4)) {
        *word = load(region, offset).to_le_bytes();
    }
    let length = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    let (name, padding) = bytes.split_at(length);
    let sound = length > 0 && name.iter().all(|byte| matches!(byte, b' '..=b'~')) && padding.iter().all(|byte| *byte == 0);
    let name = str::from_utf8(name).ok().and_then(|name| String::try_from(name).ok());
    name.filter(|_| sound).ok_or(Fault::Name)
}

/// The dataport records: as many as DATAPORTS says, which must not be more than there are BARs.
fn read_records(region: &impl Words, bars: usize) -> Result<Vec<DataportRecord, MAX_DATAPORTS>, Fault> {
    let claimed = load(region, spec::DATAPORTS);
    let count = usize::try_from(claimed).unwrap_or(usize::MAX);
    if count > bars.min(MAX_DATAPORTS) {
        return Err(Fault::TooManyDataports { claimed, bars });
    }
    let records = DataportIndex::all().zip((spec::DATAPORT_RECORDS..).step_by(spec::DATAPORT_RECORD_LENGTH));
    Ok(records
        .take(count)
        .map(|(_, at)| DataportRecord {
            size: u64::from(load(region, at)) | u64::from(load(region, at + 4)) << 32,
            rights: RightsRegister::from_bits(load(region, at + spec::DATAPORT_RECORD_RIGHTS)).into(),
        })
        .collect())
}
