//! The data itself: what there is and how it is connected.

use heapless::{String, Vec};
use serde::{Deserialize, Serialize};

use crate::Error;

/// Longest name, in bytes: what the NAME register of the connection device holds.
pub const MAX_NAME: usize = 48;
/// Longest kernel command line, in bytes.
pub const MAX_COMMAND_LINE: usize = 1024;
/// Most virtual machines in one topology.
pub const MAX_VMS: usize = 8;
/// Most native components in one topology.
pub const MAX_COMPONENTS: usize = 8;
/// Most connections in one topology.
pub const MAX_CONNECTIONS: usize = 64;

/// A whole system: the machines, the components and what connects them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Topology {
    /// The virtual machines; [`Peer::Vm`] is an index into this list.
    pub vms: Vec<Vm, MAX_VMS>,
    /// The native components; [`Peer::Component`] is an index into this list.
    pub components: Vec<Component, MAX_COMPONENTS>,
    /// The connections, in the order in which every VM sees its own.
    pub connections: Vec<Connection, MAX_CONNECTIONS>,
}

/// One virtual machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vm {
    /// Name on the console and in reports, see [`NameRule::Peer`](crate::NameRule::Peer).
    pub name: String<MAX_NAME>,
    /// Guest RAM in bytes, a multiple of 2 MiB.
    pub memory: u64,
    /// The kernel image.
    pub kernel: Image,
    /// The initial RAM disk.
    pub initrd: Option<Image>,
    /// The kernel command line.
    pub command_line: String<MAX_COMMAND_LINE>,
}

/// Where a loader has put an image, in host-physical memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// Host-physical address of its first byte.
    pub address: u64,
    /// Length in bytes.
    pub size: u64,
}

/// A native component: a peer of guests that runs beside the VMM, without a kernel of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Component {
    /// Name in reports, see [`NameRule::Peer`](crate::NameRule::Peer).
    pub name: String<MAX_NAME>,
    /// What it does.
    pub kind: ComponentKind,
}

/// What a native component does with its connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ComponentKind {
    /// On each event takes the line (up to a line feed) at offset 0 of the dataport, writes it reversed, with a line feed,
    /// at half the dataport's size, and emits.
    Reverse,
}

/// A connection: one dataport and events both ways.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connection {
    /// Name that both ends see, see [`NameRule::Connection`](crate::NameRule::Connection).
    pub name: String<MAX_NAME>,
    /// Size of the dataport in bytes, a multiple of 4 KiB.
    pub size: u64,
    /// The two ends: at least one is a VM.
    pub ends: [End; 2],
}

/// One end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// Who is at this end.
    pub peer: Peer,
    /// What this end may do with the dataport.
    pub rights: Rights,
}

/// Who is at an end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Peer {
    /// The VM with this index.
    Vm(u8),
    /// The component with this index.
    Component(u8),
}

/// What an end may do with a dataport.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Rights {
    /// Read only.
    Read,
    /// Read and write.
    ReadWrite,
}

/// A bounded string out of `text`.
///
/// # Errors
/// [`Error::TooLong`] where it does not fit.
pub fn text<const N: usize>(text: &str) -> Result<String<N>, Error> {
    String::try_from(text).map_err(|_| Error::TooLong { limit: N })
}
