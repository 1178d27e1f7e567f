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
/// Most connections in one topology, and so of one VM: each has an event id of its own.
pub const MAX_CONNECTIONS: usize = 64;
/// Most vCPUs of one VM.
pub const MAX_VCPUS: u8 = 8;
/// Most dataports of one connection.
pub const MAX_DATAPORTS: usize = 3;
/// Base address registers that a connection's dataports share; see [`Width::registers`].
pub const DATAPORT_REGISTERS: usize = 3;

/// A whole system: the machines, the components and what connects them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
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
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Vm {
    /// Name on the console and in reports, see [`NameRule::Peer`](crate::NameRule::Peer).
    pub name: String<MAX_NAME>,
    /// Guest RAM in bytes, a multiple of 2 MiB.
    pub memory: u64,
    /// Number of vCPUs, 1 to [`MAX_VCPUS`].
    pub vcpus: u8,
    /// How its connections look to it.
    pub device: Device,
    /// What happens when it resets itself.
    pub on_reboot: Reboot,
    /// The kernel image.
    pub kernel: Image,
    /// The initial RAM disk.
    pub initrd: Option<Image>,
    /// The kernel command line.
    pub command_line: String<MAX_COMMAND_LINE>,
}

/// How the connections of a VM look to its guest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Device {
    /// The registers that the guest finds.
    pub profile: Profile,
    /// Size of the BAR that holds them.
    pub event_bar: EventBar,
}

/// The registers of a connection device.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Profile {
    /// EMIT, COUNT and NAME.
    Reference,
    /// These and all that this project adds: exact acknowledgement, sizes and rights of the dataports, MSI-X.
    #[default]
    Extended,
}

/// Size of the BAR with the event registers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum EventBar {
    /// 4 KiB.
    #[default]
    Kib4,
    /// 16 KiB, for guests with pages of that size.
    Kib16,
    /// 64 KiB, for guests with pages of that size.
    Kib64,
}

impl EventBar {
    /// The size in bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        match self {
            Self::Kib4 => 4 << 10,
            Self::Kib16 => 16 << 10,
            Self::Kib64 => 64 << 10,
        }
    }
}

/// What happens when a guest resets its machine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Reboot {
    /// It starts again from its images.
    #[default]
    Restart,
    /// It stops, as if it had switched itself off.
    Stop,
}

/// Where a loader has put an image, in host-physical memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Image {
    /// Host-physical address of its first byte.
    pub address: u64,
    /// Length in bytes.
    pub size: u64,
}

/// A native component: a peer of guests that runs beside the VMM, without a kernel of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Component {
    /// Name in reports, see [`NameRule::Peer`](crate::NameRule::Peer).
    pub name: String<MAX_NAME>,
    /// What it does.
    pub kind: ComponentKind,
}

/// What a native component does with its connections. Each event means: one or more events since the last time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum ComponentKind {
    /// On each event takes the line (up to a line feed) at offset 0 of the first dataport, writes it reversed, with a line feed,
    /// at half the dataport's size, and emits.
    Reverse,
    /// On each event writes the CRC-32 (ISO-HDLC) of the whole first dataport, little endian, to the start of the second, and emits.
    Digest,
    /// On its n-th event, n = 1, 2, …, fills the first dataport with 32-bit little-endian words, `n.wrapping_mul(0x9e37_79b9) ^ index`,
    /// and emits.
    Source,
}

impl ComponentKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Reverse, Self::Digest, Self::Source];

    /// Its name in manifests and reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Reverse => "reverse",
            Self::Digest => "digest",
            Self::Source => "source",
        }
    }

    /// The kind of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// The rights that the component needs to the dataports of each of its connections, the first dataport first. Further dataports are
    /// left alone.
    #[must_use]
    pub const fn needs(self) -> &'static [Rights] {
        match self {
            Self::Reverse | Self::Source => &[Rights::ReadWrite],
            Self::Digest => &[Rights::Read, Rights::ReadWrite],
        }
    }
}

/// A connection: dataports, and events both ways.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Connection {
    /// Name that both ends see, see [`NameRule::Connection`](crate::NameRule::Connection).
    pub name: String<MAX_NAME>,
    /// The shared memory, in the order in which both ends find it. None: the connection carries events only.
    pub dataports: Vec<Dataport, MAX_DATAPORTS>,
    /// The two ends: at least one is a VM.
    pub ends: [End; 2],
}

/// Memory that both ends of a connection share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Dataport {
    /// Size in bytes, a multiple of 4 KiB.
    pub size: u64,
    /// What each end may do with it, in the order of [`Connection::ends`].
    pub rights: [Rights; 2],
    /// Where the guest may put it.
    pub width: Width,
}

/// Width of the addresses at which a guest may put a dataport.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Width {
    /// 32 bits: below 4 GiB.
    #[default]
    Bits32,
    /// 64 bits: anywhere.
    Bits64,
}

impl Width {
    /// How many of the [`DATAPORT_REGISTERS`] such a dataport takes.
    #[must_use]
    pub const fn registers(self) -> usize {
        match self {
            Self::Bits32 => 1,
            Self::Bits64 => 2,
        }
    }

    /// The largest dataport in bytes: a BAR has the next power of two as its size.
    #[must_use]
    pub const fn most(self) -> u64 {
        match self {
            Self::Bits32 => 2 << 30,
            Self::Bits64 => 1 << 40,
        }
    }
}

/// One end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct End {
    /// Who is at this end.
    pub peer: Peer,
    /// How events interrupt a VM at this end. Means nothing for a component.
    pub interrupt: Interrupt,
}

/// Who is at an end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Peer {
    /// The VM with this index.
    Vm(u8),
    /// The component with this index.
    Component(u8),
}

/// What an end may do with a dataport.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Rights {
    /// Read only.
    Read,
    /// Read and write.
    ReadWrite,
}

/// The INTx line of a connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Interrupt {
    /// A line of its own.
    #[default]
    Own,
    /// The line that all connections of the VM share that say so.
    Shared,
}

impl Interrupt {
    /// The line of an end where nothing else is said: an own one while all of the VM's connections can have one, else the shared one.
    /// `connections` is how many the VM has.
    #[must_use]
    pub const fn usual(connections: usize) -> Self {
        if connections <= crate::check::DEVICE_NUMBERS { Self::Own } else { Self::Shared }
    }
}

/// A bounded string out of `text`.
///
/// # Errors
/// [`Error::TooLong`] where it does not fit.
pub fn text<const N: usize>(text: &str) -> Result<String<N>, Error> {
    String::try_from(text).map_err(|_| Error::TooLong { limit: N })
}
