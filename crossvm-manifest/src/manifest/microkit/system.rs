//! What a system description says, as data.

use crate::FixedPeer;

/// A Microkit system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct System {
    /// Memory, and devices' registers.
    pub regions: Vec<Region>,
    /// The protection domains: monitors in the order of their VMs, then components.
    pub programs: Vec<Program>,
    /// The channels, one for each connection.
    pub channels: Vec<Channel>,
}

/// A memory region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Region {
    /// Its name.
    pub name: String,
    /// Where its bytes come from.
    pub image: Image,
    /// Where it is in the machine, if that matters.
    pub physical: Option<u64>,
}

/// What a memory region holds at the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Image {
    /// This many zeros, or what a device has there.
    Size(u64),
    /// This file; the region is as large.
    File(String),
}

/// A protection domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// Its name.
    pub name: String,
    /// Its priority, 0–254.
    pub priority: u8,
    /// Its program image.
    pub image: String,
    /// What it has in its address space.
    pub maps: Vec<Map>,
    /// The interrupts that it gets.
    pub irqs: Vec<Irq>,
    /// The VM that it is the monitor of.
    pub vm: Option<Machine>,
    /// What it must know, for [`Program::config_file`].
    pub config: FixedPeer,
}

impl Program {
    /// The file that its configuration belongs in.
    #[must_use]
    pub fn config_file(&self) -> String {
        format!("{}.config", self.name)
    }
}

/// A region in an address space.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Map {
    /// Name of the region.
    pub region: String,
    /// Where.
    pub address: u64,
    /// What may be done with it.
    pub permissions: Permissions,
    /// Whether through caches.
    pub cached: bool,
    /// The variable of the program that gets the address.
    pub address_symbol: Option<&'static str>,
    /// The variable of the program that gets the length of the file.
    pub size_symbol: Option<&'static str>,
}

/// What may be done with a map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Permissions {
    /// Read.
    Read,
    /// Read and write.
    ReadWrite,
    /// Read, write and execute.
    All,
}

/// A hardware interrupt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Irq {
    /// Its number. It is level-triggered.
    pub irq: u32,
    /// The channel id.
    pub id: u8,
}

/// A virtual machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// Its name.
    pub name: String,
    /// Its priority, 0–254.
    pub priority: u8,
    /// How many vCPUs it has; their ids are the numbers from 0 on.
    pub vcpus: u8,
    /// Its guest-physical addresses.
    pub maps: Vec<Map>,
}

/// A channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Channel {
    /// What the connection is called.
    pub connection: String,
    /// For each end the protection domain, and the channel's id there.
    pub ends: [(String, u8); 2],
}
