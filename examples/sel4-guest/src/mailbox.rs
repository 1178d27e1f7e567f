//! The page through which the VMM tells a guest what to do, and the guest what came of it.

use core::sync::atomic::{AtomicU32, Ordering};

/// Most arguments of a command.
pub const MAX_ARGUMENTS: usize = 4;
/// Most results of a command.
pub const MAX_RESULTS: usize = 8;
/// Most connections that a guest tells of and serves.
pub const MAX_FOUND: usize = 16;
/// Most dataports of a connection.
pub const MAX_DATAPORTS: usize = 5;
/// Length of a connection's name in words.
pub const NAME_WORDS: usize = 12;

/// What a guest shall do. In the lists of arguments and results, "connection" is an index into [`Mailbox::found`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Command {
    /// Find all connections. With argument 0 other than zero, all BARs are moved: placed anew from the address in argument 1 on, within
    /// as many bytes as argument 2 says. Results: how many were found. Fills [`Mailbox::found`]. All other commands need it first.
    Enumerate = 1,
    /// Arguments: connection, rounds. In each round: a request into dataport 0, emit, wait for the interrupt until an event comes, compare the
    /// answer. Results: rounds done, wrong answers, events taken, waits.
    RoundTrips = 2,
    /// Arguments: rounds. The same on all connections at once: emits on each, then waits until each has had an event. Results: as above,
    /// rounds counted once.
    RoundTripsOnAll = 3,
    /// Arguments: connection, times. Emits, and waits for nothing.
    Emit = 4,
    /// Arguments: connection, limit. Takes the events that wait. Results: events taken, events left.
    Take = 5,
    /// Arguments: connection, events. Waits for the interrupt until so many events have been taken. Results: events taken, waits.
    Await = 6,
    /// Arguments: connection, offset, value. A 32-bit store into the event registers. Results: what a load there gave before and after.
    StoreEvents = 7,
    /// Arguments: connection, dataport, offset, value. A 32-bit store into a dataport. Results: what a load there gave before and after.
    StoreDataport = 8,
    /// Arguments: connection, dataport, offset. Results: a 32-bit load from a dataport.
    LoadDataport = 9,
    /// Arguments: address. Jumps there: nothing that this guest does afterwards is defined.
    Jump = 10,
    /// Arguments: address. Results: a 32-bit load, wherever that may be.
    Load = 11,
    /// Arguments: address, value. A 32-bit store, wherever that may be.
    Store = 12,
    /// Arguments: connection, on (1) or off (0). Lets the function raise its line, or not.
    SetInterrupt = 13,
    /// Arguments: seed, steps. Pseudo-random configuration accesses of all functions, any offset and value, with the encodings that
    /// [`thread`](crate::thread) lists; afterwards the guest must enumerate with placement anew. Results: steps done.
    Hostile = 14,
    /// Arguments: connection, number of the instruction, from 0 on. One store to EMIT, or load and store, with an instruction that is not in
    /// the list of [`thread`](crate::thread). Results: 1, or 0 where there is no such instruction and none was executed.
    Odd = 15,
    /// Ends the guest: it does nothing from then on, and does not report.
    Stop = 16,
    /// Arguments: slot. Receives what comes to a capability in this slot of its CSpace. Nothing where there is no CSpace.
    Listen = 17,
}

impl Command {
    /// The command with this number.
    #[must_use]
    pub const fn from_number(number: u32) -> Option<Self> {
        Some(match number {
            1 => Self::Enumerate,
            2 => Self::RoundTrips,
            3 => Self::RoundTripsOnAll,
            4 => Self::Emit,
            5 => Self::Take,
            6 => Self::Await,
            7 => Self::StoreEvents,
            8 => Self::StoreDataport,
            9 => Self::LoadDataport,
            10 => Self::Jump,
            11 => Self::Load,
            12 => Self::Store,
            13 => Self::SetInterrupt,
            14 => Self::Hostile,
            15 => Self::Odd,
            16 => Self::Stop,
            17 => Self::Listen,
            _ => return None,
        })
    }
}

/// What a guest reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Report {
    /// It waits for a command: at the start, and when one is done.
    Ready = 1,
    /// It has come to an end that it did not expect. Where the first result is 1, the second is a processor exception's vector.
    Panic = 2,
}

impl Report {
    /// The report with this number.
    #[must_use]
    pub const fn from_number(number: u32) -> Option<Self> {
        Some(match number {
            1 => Self::Ready,
            2 => Self::Panic,
            _ => return None,
        })
    }
}

/// What came of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Status {
    /// It is not done yet; the VMM sets this.
    Pending = 0,
    /// It was done.
    Done = 1,
    /// It was not: an [`Error`] says why.
    Failed = 2,
}

/// Why a command failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Error {
    /// There is no such command.
    Command = 1,
    /// There is no such connection.
    Connection = 2,
    /// There is no such dataport, or it is too small for the offset, or the guest may not use it so.
    Dataport = 3,
    /// A function's BARs or registers are not a connection's.
    Device = 4,
    /// The BARs do not fit into the window.
    Window = 5,
    /// There are more connections than the guest can serve.
    TooMany = 6,
}

impl Error {
    /// The error with this number.
    #[must_use]
    pub const fn from_number(number: u32) -> Option<Self> {
        Some(match number {
            1 => Self::Command,
            2 => Self::Connection,
            3 => Self::Dataport,
            4 => Self::Device,
            5 => Self::Window,
            6 => Self::TooMany,
            _ => return None,
        })
    }
}

/// A dataport that a guest has found.
#[derive(Debug, Default)]
#[repr(C)]
pub struct FoundDataport {
    /// Guest-physical address.
    pub address: AtomicU32,
    /// True size in bytes.
    pub size: AtomicU32,
    /// Bit 0: the guest may read; bit 1: it may write.
    pub rights: AtomicU32,
}

/// A connection that a guest has found.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Found {
    /// Bus in bits 15:8, device in 7:3, function in 2:0.
    pub function: AtomicU32,
    /// Guest-physical address of the event registers.
    pub events: AtomicU32,
    /// Version of the extended registers; 0 in the reference profile.
    pub version: AtomicU32,
    /// How many of the dataports are valid.
    pub dataport_count: AtomicU32,
    /// The dataports.
    pub dataports: [FoundDataport; MAX_DATAPORTS],
    /// The name, ASCII, padded with zeros, four bytes a word, little endian.
    pub name: [AtomicU32; NAME_WORDS],
}

/// The page that a guest and its VMM share.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Mailbox {
    command: AtomicU32,
    status: AtomicU32,
    error: AtomicU32,
    arguments: [AtomicU32; MAX_ARGUMENTS],
    results: [AtomicU32; MAX_RESULTS],
    found: [Found; MAX_FOUND],
}

const _: () = assert!(size_of::<Mailbox>() <= 4096, "a mailbox is one page");

impl Mailbox {
    /// An empty mailbox.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts a command in: the VMM's part, while the guest is stopped at a report.
    pub fn put(&self, command: Command, arguments: &[u32]) {
        for (index, word) in self.arguments.iter().enumerate() {
            word.store(arguments.get(index).copied().unwrap_or(0), Ordering::Relaxed);
        }
        for word in &self.results {
            word.store(0, Ordering::Relaxed);
        }
        self.error.store(0, Ordering::Relaxed);
        self.status.store(Status::Pending as u32, Ordering::Relaxed);
        self.command.store(command as u32, Ordering::Release);
    }

    /// The command and its arguments: the guest's part. `None` where no command has the number that is there.
    #[must_use]
    pub fn command(&self) -> Option<(Command, [u32; MAX_ARGUMENTS])> {
        let command = Command::from_number(self.command.load(Ordering::Acquire))?;
        Some((command, self.arguments.each_ref().map(|word| word.load(Ordering::Relaxed))))
    }

    /// Says what came of the command: the guest's part.
    pub fn complete(&self, outcome: Result<[u32; MAX_RESULTS], Error>) {
        let (status, error) = match &outcome {
            Ok(_) => (Status::Done, 0),
            Err(error) => (Status::Failed, *error as u32),
        };
        for (word, result) in self.results.iter().zip(outcome.unwrap_or_default()) {
            word.store(result, Ordering::Relaxed);
        }
        self.error.store(error, Ordering::Relaxed);
        self.status.store(status as u32, Ordering::Release);
    }

    /// Says where and how the program has come to an end: the guest's part.
    pub fn describe_panic(&self, place: u32, what: u32) {
        for (word, value) in self.results.iter().zip([place, what]) {
            word.store(value, Ordering::Release);
        }
    }

    /// What came of the command: the VMM's part. `None` while it is not done; the inner error is a number that may be no [`Error`]'s.
    #[must_use]
    pub fn outcome(&self) -> Option<Result<[u32; MAX_RESULTS], u32>> {
        let status = self.status.load(Ordering::Acquire);
        if status == Status::Done as u32 {
            Some(Ok(self.results()))
        } else if status == Status::Failed as u32 {
            Some(Err(self.error.load(Ordering::Relaxed)))
        } else {
            None
        }
    }

    /// Whatever stands in the results, done or not.
    #[must_use]
    pub fn results(&self) -> [u32; MAX_RESULTS] {
        self.results.each_ref().map(|word| word.load(Ordering::Relaxed))
    }

    /// The connections that were found: as many are valid as the first result of [`Command::Enumerate`] said.
    #[must_use]
    pub const fn found(&self) -> &[Found; MAX_FOUND] {
        &self.found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_reaches_the_guest_and_its_outcome_the_vmm() {
        let mailbox = Mailbox::new();
        assert_eq!(mailbox.command(), None);
        mailbox.put(Command::RoundTrips, &[3, 1000]);
        assert_eq!(mailbox.outcome(), None);
        assert_eq!(mailbox.command(), Some((Command::RoundTrips, [3, 1000, 0, 0])));
        mailbox.complete(Ok([1000, 0, 1000, 7, 0, 0, 0, 0]));
        assert_eq!(mailbox.outcome(), Some(Ok([1000, 0, 1000, 7, 0, 0, 0, 0])));
        mailbox.put(Command::Take, &[]);
        mailbox.complete(Err(Error::Connection));
        assert_eq!(mailbox.outcome(), Some(Err(Error::Connection as u32)));
        assert_eq!(mailbox.results(), [0; MAX_RESULTS], "a failure has no results");
    }

    #[test]
    fn numbers_and_names_agree() {
        for number in 0..32 {
            assert!(Command::from_number(number).is_none_or(|command| command as u32 == number));
            assert!(Report::from_number(number).is_none_or(|report| report as u32 == number));
            assert!(Error::from_number(number).is_none_or(|error| error as u32 == number));
        }
        assert_eq!(Command::from_number(Command::Stop as u32), Some(Command::Stop));
    }
}
