//! What every topology must satisfy, whoever composes it.

use core::fmt;

use crate::{ComponentKind, Connection, DATAPORT_REGISTERS, Dataport, Interrupt, MAX_VCPUS, NameRule, Peer, Rights, Topology};

/// Device numbers of a VM's bus that connections can have: all but the host bridge's.
pub(crate) const DEVICE_NUMBERS: usize = 31;
/// Connections that fit on one device number: all that share it have the same line.
pub(crate) const FUNCTIONS: usize = 8;

/// Whether a VM's bus has room for connections with these lines, installed in this order: each gets a device number of its own while there
/// is one, and then only one that shares its line finds a place, beside others of that line.
pub(crate) fn fits_bus(lines: impl Iterator<Item = Interrupt>) -> bool {
    let (mut numbers, mut beside) = (DEVICE_NUMBERS, 0usize);
    for line in lines {
        if let Some(left) = numbers.checked_sub(1) {
            numbers = left;
            if line == Interrupt::Shared {
                beside = beside.saturating_add(FUNCTIONS.saturating_sub(1));
            }
        } else if let (Interrupt::Shared, Some(left)) = (line, beside.checked_sub(1)) {
            beside = left;
        } else {
            return false;
        }
    }
    true
}

/// Why a topology cannot be composed. The indices are positions in the topology's lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Problem {
    /// The name of a VM or component breaks [`NameRule::Peer`].
    PeerName {
        /// The VM or component.
        peer: Peer,
    },
    /// The name of a connection breaks [`NameRule::Connection`].
    ConnectionName {
        /// The connection.
        connection: usize,
    },
    /// Two VMs or components have the same name.
    SameName,
    /// Two connections of one VM have the same name.
    SameConnectionName {
        /// The second of the two connections.
        connection: usize,
    },
    /// The memory of a VM is no positive multiple of 2 MiB.
    Memory {
        /// The VM.
        vm: usize,
    },
    /// A VM has no vCPU, or more than [`MAX_VCPUS`].
    Vcpus {
        /// The VM.
        vm: usize,
    },
    /// The size of a dataport is no positive multiple of 4 KiB.
    Size {
        /// The connection.
        connection: usize,
        /// The dataport.
        dataport: usize,
    },
    /// A dataport is larger than its BAR can be: see [`Width::most`](crate::Width::most).
    TooLarge {
        /// The connection.
        connection: usize,
        /// The dataport.
        dataport: usize,
    },
    /// The dataports of a connection take more than [`DATAPORT_REGISTERS`].
    Registers {
        /// The connection.
        connection: usize,
    },
    /// Neither end may write to a dataport: it would be zero for ever.
    NobodyWrites {
        /// The connection.
        connection: usize,
        /// The dataport.
        dataport: usize,
    },
    /// The component at an end lacks a dataport or rights that its kind needs: see [`ComponentKind::needs`].
    ComponentNeeds {
        /// The connection.
        connection: usize,
        /// The dataport that is missing or may not be written.
        dataport: usize,
        /// The component's kind.
        kind: ComponentKind,
    },
    /// A VM has more connections than its PCI bus holds with the lines they ask for.
    BusFull {
        /// The VM.
        vm: usize,
    },
    /// An end names a VM or component that does not exist.
    UnknownPeer {
        /// The connection.
        connection: usize,
    },
    /// Both ends are the same VM or component.
    Loop {
        /// The connection.
        connection: usize,
    },
    /// Neither end is a VM. A component acts when a VM has emitted; for what another component emits nobody would run it.
    NoVm {
        /// The connection.
        connection: usize,
    },
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PeerName { peer: Peer::Vm(index) } => write!(f, "VM {index}: {}", NameRule::Peer),
            Self::PeerName { peer: Peer::Component(index) } => write!(f, "component {index}: {}", NameRule::Peer),
            Self::ConnectionName { connection } => write!(f, "connection {connection}: {}", NameRule::Connection),
            Self::SameName => write!(f, "two VMs or components have the same name"),
            Self::SameConnectionName { connection } => {
                write!(f, "connection {connection}: another connection of the same VM or component has this name")
            }
            Self::Memory { vm } => write!(f, "VM {vm}: the memory must be a positive multiple of 2 MiB"),
            Self::Vcpus { vm } => write!(f, "VM {vm}: it must have 1 to {MAX_VCPUS} vCPUs"),
            Self::Size { connection, dataport } => {
                write!(f, "connection {connection}: the size of dataport {dataport} must be a positive multiple of 4 KiB")
            }
            Self::TooLarge { connection, dataport } => {
                write!(f, "connection {connection}: dataport {dataport} is too large: 2 GiB at most, 1 TiB where it is wide")
            }
            Self::Registers { connection } => {
                write!(f, "connection {connection}: there are {DATAPORT_REGISTERS} registers for dataports, and a wide one takes two")
            }
            Self::NobodyWrites { connection, dataport } => {
                write!(f, "connection {connection}: neither end may write to dataport {dataport}; one must")
            }
            Self::ComponentNeeds { connection, dataport, kind } => {
                let rights = if kind.needs().get(*dataport) == Some(&Rights::ReadWrite) { "read and write" } else { "read" };
                write!(
                    f,
                    "connection {connection}: a component of kind `{}` must have a dataport {dataport} that it may {rights}",
                    kind.name()
                )
            }
            Self::BusFull { vm } => write!(
                f,
                "VM {vm}: too many connections; its PCI bus has {DEVICE_NUMBERS} places, each for one with an interrupt line of its own or for \
                 {FUNCTIONS} that share one, and those that share take whole places while there are any"
            ),
            Self::UnknownPeer { connection } => write!(f, "connection {connection}: an end names a VM or component that does not exist"),
            Self::Loop { connection } => write!(f, "connection {connection}: both ends are the same"),
            Self::NoVm { connection } => write!(f, "connection {connection}: neither end is a VM; one must be, components only answer VMs"),
        }
    }
}

impl core::error::Error for Problem {}

impl Topology {
    /// Checks everything that does not depend on the platform.
    ///
    /// # Errors
    /// The first [`Problem`] found.
    pub fn check(&self) -> Result<(), Problem> {
        let vms = || (0u8..).map(Peer::Vm).zip(self.vms.iter().map(|vm| &vm.name));
        let components = || (0u8..).map(Peer::Component).zip(self.components.iter().map(|component| &component.name));
        let names = || vms().chain(components());
        for (index, (peer, name)) in names().enumerate() {
            if !NameRule::Peer.admits(name) {
                return Err(Problem::PeerName { peer });
            }
            if names().take(index).any(|(_, earlier)| earlier == name) {
                return Err(Problem::SameName);
            }
        }
        for (vm, machine) in self.vms.iter().enumerate() {
            if machine.memory == 0 || !machine.memory.is_multiple_of(2 << 20) {
                return Err(Problem::Memory { vm });
            }
            if !(1..=MAX_VCPUS).contains(&machine.vcpus) {
                return Err(Problem::Vcpus { vm });
            }
        }
        for connection in 0..self.connections.len() {
            self.check_connection(connection)?;
        }
        for (vm, peer) in (0u8..).map(Peer::Vm).take(self.vms.len()).enumerate() {
            let ends = self.connections.iter().flat_map(|connection| &connection.ends);
            if !fits_bus(ends.filter(|end| end.peer == peer).map(|end| end.interrupt)) {
                return Err(Problem::BusFull { vm });
            }
        }
        Ok(())
    }

    fn check_connection(&self, index: usize) -> Result<(), Problem> {
        let Some(connection) = self.connections.get(index) else { return Ok(()) };
        if !NameRule::Connection.admits(&connection.name) {
            return Err(Problem::ConnectionName { connection: index });
        }
        for (number, dataport) in connection.dataports.iter().enumerate() {
            check_dataport(dataport, index, number)?;
        }
        if connection.dataports.iter().map(|dataport| dataport.width.registers()).sum::<usize>() > DATAPORT_REGISTERS {
            return Err(Problem::Registers { connection: index });
        }
        let [one, other] = connection.ends.map(|end| end.peer);
        if !self.exists(one) || !self.exists(other) {
            return Err(Problem::UnknownPeer { connection: index });
        }
        if one == other {
            return Err(Problem::Loop { connection: index });
        }
        if let [Peer::Component(_), Peer::Component(_)] = [one, other] {
            return Err(Problem::NoVm { connection: index });
        }
        self.check_component(connection, index)?;
        let shares_end = |peer: Peer| peer == one || peer == other;
        let same = self
            .connections
            .iter()
            .take(index)
            .any(|earlier| earlier.name == connection.name && earlier.ends.iter().any(|end| shares_end(end.peer)));
        if same { Err(Problem::SameConnectionName { connection: index }) } else { Ok(()) }
    }

    /// Whether a component at an end finds the dataports that it works on.
    fn check_component(&self, connection: &Connection, index: usize) -> Result<(), Problem> {
        for (side, end) in connection.ends.iter().enumerate() {
            let Peer::Component(component) = end.peer else { continue };
            let Some(component) = self.components.get(usize::from(component)) else { continue };
            for (number, need) in component.kind.needs().iter().enumerate() {
                let rights = connection.dataports.get(number).and_then(|dataport| dataport.rights.get(side));
                let enough = rights.is_some_and(|rights| *rights == Rights::ReadWrite || *need == Rights::Read);
                if !enough {
                    return Err(Problem::ComponentNeeds { connection: index, dataport: number, kind: component.kind });
                }
            }
        }
        Ok(())
    }

    fn exists(&self, peer: Peer) -> bool {
        match peer {
            Peer::Vm(index) => usize::from(index) < self.vms.len(),
            Peer::Component(index) => usize::from(index) < self.components.len(),
        }
    }
}

fn check_dataport(dataport: &Dataport, connection: usize, number: usize) -> Result<(), Problem> {
    if dataport.size == 0 || !dataport.size.is_multiple_of(4 << 10) {
        return Err(Problem::Size { connection, dataport: number });
    }
    if dataport.size > dataport.width.most() {
        return Err(Problem::TooLarge { connection, dataport: number });
    }
    if dataport.rights == [Rights::Read; 2] {
        return Err(Problem::NobodyWrites { connection, dataport: number });
    }
    Ok(())
}
