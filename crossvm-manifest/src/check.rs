//! What every topology must satisfy, whoever composes it.

use core::fmt;

use crate::{NameRule, Peer, Topology};

/// Why a topology cannot be composed. The indices are positions in the topology's lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
    /// The size of a dataport is no positive multiple of 4 KiB.
    Size {
        /// The connection.
        connection: usize,
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
            Self::Size { connection } => write!(f, "connection {connection}: the size must be a positive multiple of 4 KiB"),
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
        }
        for connection in 0..self.connections.len() {
            self.check_connection(connection)?;
        }
        Ok(())
    }

    fn check_connection(&self, index: usize) -> Result<(), Problem> {
        let Some(connection) = self.connections.get(index) else { return Ok(()) };
        if !NameRule::Connection.admits(&connection.name) {
            return Err(Problem::ConnectionName { connection: index });
        }
        if connection.size == 0 || !connection.size.is_multiple_of(4 << 10) {
            return Err(Problem::Size { connection: index });
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
        let shares_end = |peer: Peer| peer == one || peer == other;
        let same = self
            .connections
            .iter()
            .take(index)
            .any(|earlier| earlier.name == connection.name && earlier.ends.iter().any(|end| shares_end(end.peer)));
        if same { Err(Problem::SameConnectionName { connection: index }) } else { Ok(()) }
    }

    fn exists(&self, peer: Peer) -> bool {
        match peer {
            Peer::Vm(index) => usize::from(index) < self.vms.len(),
            Peer::Component(index) => usize::from(index) < self.components.len(),
        }
    }
}
