//! What two processes share for a pair of VMs: the memory of their connections, and an eventfd for each direction of each.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use crossvm_kvm::{EventNotifier, Memfd, MemfdError, NotifierError};
use crossvm_manifest::Topology;
use rustix::io::Errno;
use rustix::rand::{GetRandomFlags, getrandom};

use super::message::Generation;

/// How many descriptors a connection has beside its dataports: the memory in which the receivers count, and an eventfd for each direction.
pub(crate) const BESIDE: usize = 3;
/// Size in bytes of the memory in which the receivers count.
const COUNTS: u64 = 4096;

/// Why there are no wires, or why those that another process sent are refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum WireError {
    /// The memory in which the receivers count cannot be made, or what was sent is none.
    Counts {
        /// The connection.
        connection: String,
        /// Why.
        error: MemfdError,
    },
    /// A dataport cannot be made, or what was sent is none.
    Dataport {
        /// The connection.
        connection: String,
        /// Which of its dataports.
        dataport: usize,
        /// Why.
        error: MemfdError,
    },
    /// There is no eventfd for one end of the connection, or what was sent is none.
    Event {
        /// The connection.
        connection: String,
        /// Why.
        error: NotifierError,
    },
    /// There came more or fewer descriptors than the connection has.
    Count {
        /// The connection.
        connection: String,
        /// How many it has.
        expected: usize,
        /// How many came.
        found: usize,
    },
    /// The topology has no connection of this number.
    Unknown(usize),
    /// A call failed.
    Call(&'static str, Errno),
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Counts { connection, error } => write!(f, "the counts of the connection `{connection}`: {error}"),
            Self::Dataport { connection, dataport, error } => write!(f, "dataport {dataport} of the connection `{connection}`: {error}"),
            Self::Event { connection, error } => write!(f, "the events of the connection `{connection}`: {error}"),
            Self::Count { connection, expected, found } => {
                write!(f, "{found} descriptors came for the connection `{connection}`, which has {expected}")
            }
            Self::Unknown(index) => write!(f, "there is no connection {index}"),
            Self::Call(call, errno) => write!(f, "{call}: {errno}"),
        }
    }
}

impl std::error::Error for WireError {}

/// Where the receiver at one end of a connection counts the events that it has taken, for the other end's report. The other process can write there
/// whatever it likes.
#[derive(Debug, Clone)]
pub(crate) struct Tally {
    counts: Arc<Memfd>,
    place: u64,
}

impl Tally {
    /// The count; zero where it cannot be read.
    pub(crate) fn get(&self) -> u64 {
        let mut bytes = [0; size_of::<u64>()];
        match rustix::io::pread(self.counts.as_fd(), &mut bytes, self.place) {
            Ok(_) => u64::from_ne_bytes(bytes),
            Err(_) => 0,
        }
    }

    /// Changes it.
    pub(crate) fn set(&self, count: u64) {
        // Only a report is wrong without it.
        let _ = rustix::io::pwrite(self.counts.as_fd(), &count.to_ne_bytes(), self.place);
    }
}

/// One connection's memory and events.
#[derive(Debug)]
pub(crate) struct Wire {
    /// Its index in the topology.
    index: usize,
    name: String,
    dataports: Vec<Arc<Memfd>>,
    /// How many events the VM that comes first in the topology has taken, and how many the other one: two numbers of 64 bits. Only for reports.
    counts: Arc<Memfd>,
    /// What signals the VM that comes first in the topology, and the other one.
    signals: [EventNotifier; 2],
}

impl Wire {
    /// Makes the memory, all zero, and the eventfds of connection `index`.
    ///
    /// # Errors
    /// [`WireError`].
    pub(crate) fn create(topology: &Topology, index: usize) -> Result<Self, WireError> {
        let connection = topology.connections.get(index).ok_or(WireError::Unknown(index))?;
        let name = connection.name.as_str().to_owned();
        let memory = |(dataport, described): (usize, &crossvm_manifest::Dataport)| {
            let made = Memfd::create(&name, described.size).map(Arc::new);
            made.map_err(|error| WireError::Dataport { connection: name.clone(), dataport, error })
        };
        let dataports = connection.dataports.iter().enumerate().map(memory).collect::<Result<_, _>>()?;
        let counts = Memfd::create("counts", COUNTS).map(Arc::new);
        let counts = counts.map_err(|error| WireError::Counts { connection: name.clone(), error })?;
        let event = || EventNotifier::new().map_err(|error| WireError::Event { connection: name.clone(), error });
        let signals = [event()?, event()?];
        Ok(Self { index, dataports, counts, signals, name })
    }

    /// Takes in what another process sent for connection `index`.
    ///
    /// # Errors
    /// [`WireError`]. The descriptors are closed then.
    pub(crate) fn adopt(topology: &Topology, index: usize, descriptors: Vec<OwnedFd>) -> Result<Self, WireError> {
        let connection = topology.connections.get(index).ok_or(WireError::Unknown(index))?;
        let name = connection.name.as_str().to_owned();
        let (expected, found) = (connection.dataports.len().saturating_add(BESIDE), descriptors.len());
        let count = || WireError::Count { connection: name.clone(), expected, found };
        if found != expected {
            return Err(count());
        }
        let mut descriptors = descriptors.into_iter();
        let mut dataports = Vec::new();
        for (dataport, (described, descriptor)) in connection.dataports.iter().zip(descriptors.by_ref()).enumerate() {
            let memory = Memfd::from_fd(descriptor, described.size).map(Arc::new);
            dataports.push(memory.map_err(|error| WireError::Dataport { connection: name.clone(), dataport, error })?);
        }
        let counts = Memfd::from_fd(descriptors.next().ok_or_else(count)?, COUNTS).map(Arc::new);
        let counts = counts.map_err(|error| WireError::Counts { connection: name.clone(), error })?;
        let event = |descriptor| EventNotifier::from_fd(descriptor).map_err(|error| WireError::Event { connection: name.clone(), error });
        let signals: Vec<EventNotifier> = descriptors.map(event).collect::<Result<_, _>>()?;
        let signals = signals.try_into().map_err(|_| count())?;
        Ok(Self { index, name, dataports, counts, signals })
    }

    /// Its index in the topology.
    pub(crate) const fn index(&self) -> usize {
        self.index
    }

    /// Its name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The memory of its dataports, in their order.
    pub(crate) fn dataports(&self) -> &[Arc<Memfd>] {
        &self.dataports
    }

    /// What signals the VM that comes first in the topology (`true`), or the other one.
    pub(crate) const fn signal(&self, first: bool) -> &EventNotifier {
        let [to_first, to_second] = &self.signals;
        if first { to_first } else { to_second }
    }

    /// Where the VM that comes first in the topology counts what it takes (`true`), or the other one.
    pub(crate) fn tally(&self, first: bool) -> Tally {
        Tally { counts: Arc::clone(&self.counts), place: if first { 0 } else { size_of::<u64>() as u64 } }
    }

    /// All its descriptors, as [`Wire::adopt`] takes them.
    pub(crate) fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        let memory = self.dataports.iter().chain([&self.counts]).map(|memory| memory.as_fd());
        memory.chain(self.signals.iter().map(AsFd::as_fd)).collect()
    }
}

/// All connections of a pair of VMs.
#[derive(Debug)]
pub(crate) struct Wires {
    generation: Generation,
    wires: Vec<Wire>,
}

impl Wires {
    /// Makes a new generation.
    ///
    /// # Errors
    /// [`WireError`].
    pub(crate) fn create(topology: &Topology, connections: &[usize]) -> Result<Self, WireError> {
        let mut number = [0; 16];
        let filled = getrandom(&mut number, GetRandomFlags::empty()).map_err(|errno| WireError::Call("getrandom", errno))?;
        debug_assert_eq!(filled, number.len(), "the kernel does not cut requests this short");
        let wires = connections.iter().map(|index| Wire::create(topology, *index)).collect::<Result<_, _>>()?;
        Ok(Self { generation: Generation::new(number), wires })
    }

    /// What another process gave.
    pub(crate) const fn adopt(generation: Generation, wires: Vec<Wire>) -> Self {
        Self { generation, wires }
    }

    /// Their generation.
    pub(crate) const fn generation(&self) -> &Generation {
        &self.generation
    }

    /// The connections.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Wire> {
        self.wires.iter()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::link::channel::tests::event;
    use crate::link::share::tests::topology;
    use crossvm_manifest::Peer;
    use rustix::fs::{MemfdFlags, ftruncate, memfd_create};

    fn copies(wire: &Wire) -> Vec<OwnedFd> {
        wire.descriptors().into_iter().map(|descriptor| descriptor.try_clone_to_owned().unwrap()).collect()
    }

    /// A memfd whose size is not sealed.
    pub(crate) fn unsealed(size: u64) -> OwnedFd {
        let memory = memfd_create("unsealed", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
        ftruncate(&memory, size).unwrap();
        memory
    }

    #[test]
    fn wires_are_adopted_as_they_were_made() {
        let topology = topology(2, &[[Peer::Vm(0), Peer::Vm(1)], [Peer::Vm(1), Peer::Vm(0)]]);
        let made = Wires::create(&topology, &[0, 1]).unwrap();
        assert_ne!(made.generation(), Wires::create(&topology, &[]).unwrap().generation());
        for wire in made.iter() {
            let adopted = Wire::adopt(&topology, wire.index(), copies(wire)).unwrap();
            assert_eq!((adopted.index(), adopted.name()), (wire.index(), wire.name()));
            let sizes = |wire: &Wire| wire.dataports().iter().map(|memory| memory.bytes()).collect::<Vec<_>>();
            assert_eq!(sizes(&adopted), [64 << 10, 4 << 10]);
            rustix::io::write(wire.signal(true), &3u64.to_ne_bytes()).unwrap();
            assert_eq!((adopted.signal(false).take(), adopted.signal(true).take()), (Ok(0), Ok(3)));
            wire.tally(true).set(9);
            assert_eq!((adopted.tally(true).get(), adopted.tally(false).get()), (9, 0));
            rustix::io::pwrite(wire.dataports()[1].as_fd(), b"shared", 4000).unwrap();
            let mut text = [0; 6];
            rustix::io::pread(adopted.dataports()[1].as_fd(), &mut text, 4000).unwrap();
            assert_eq!(&text, b"shared");
        }
    }

    #[test]
    fn what_is_not_what_it_should_be_is_refused() {
        let topology = topology(2, &[[Peer::Vm(0), Peer::Vm(1)]]);
        let made = Wire::create(&topology, 0).unwrap();
        let with = |change: &dyn Fn(&mut Vec<OwnedFd>)| {
            let mut descriptors = copies(&made);
            change(&mut descriptors);
            Wire::adopt(&topology, 0, descriptors).unwrap_err()
        };
        let dataport = |error: WireError, number: usize| matches!(error, WireError::Dataport { dataport, .. } if dataport == number);
        assert!(dataport(with(&|sent| sent[0] = unsealed(64 << 10)), 0), "unsealed");
        assert!(dataport(with(&|sent| sent.swap(0, 1)), 0), "of another size");
        assert!(dataport(with(&|sent| sent[1] = event()), 1), "no memory");
        assert!(dataport(with(&|sent| sent[1] = std::fs::File::open("/dev/zero").unwrap().into()), 1), "a file");
        assert!(matches!(with(&|sent| sent[2] = unsealed(4096)), WireError::Counts { .. }));
        let no_event = WireError::Event { connection: "c0".into(), error: NotifierError::NoEventFd };
        assert_eq!(with(&|sent| sent[3] = unsealed(8)), no_event);
        assert_eq!(with(&|sent| sent[4] = rustix::pipe::pipe().unwrap().0), no_event);
        assert_eq!(with(&|sent| drop(sent.pop())), WireError::Count { connection: "c0".into(), expected: 5, found: 4 });
        assert_eq!(with(&|sent| sent.push(event())), WireError::Count { connection: "c0".into(), expected: 5, found: 6 });
        assert_eq!(Wire::adopt(&topology, 1, Vec::new()).unwrap_err(), WireError::Unknown(1));
    }
}
