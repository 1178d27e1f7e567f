//! What one program of a static system finds: mappings and channels that were fixed when the system was built.

use heapless::{String, Vec};
use serde::{Deserialize, Serialize};

use crate::{Device, Interrupt, MAX_COMMAND_LINE, MAX_CONNECTIONS, MAX_DATAPORTS, MAX_NAME, Reboot, Rights, Width};

/// A VM monitor with one VM, or a component.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct FixedPeer {
    /// The name of the VM or component.
    pub name: String<MAX_NAME>,
    /// Its connections, in the order of the manifest.
    pub connections: Vec<FixedConnection, MAX_CONNECTIONS>,
    /// The VM; a component has none.
    pub vm: Option<FixedVm>,
}

/// A connection as one end has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct FixedConnection {
    /// Its name.
    pub name: String<MAX_NAME>,
    /// The channel that signals the other end, and that its signals come by.
    pub channel: u8,
    /// How events interrupt the VM. Means nothing for a component.
    pub interrupt: Interrupt,
    /// The shared memory.
    pub dataports: Vec<FixedDataport, MAX_DATAPORTS>,
}

/// A dataport where it is mapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct FixedDataport {
    /// Where: a guest-physical address of the VM, or an address of the component's own.
    pub address: u64,
    /// Size in bytes, a multiple of 4 KiB.
    pub size: u64,
    /// What the VM or component may do with it.
    pub rights: Rights,
    /// Width of its base address register.
    pub width: Width,
}

/// A VM, for the program that is its monitor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct FixedVm {
    /// Number of vCPUs; they have the ids from 0 on.
    pub vcpus: u8,
    /// How its connections look to it.
    pub device: Device,
    /// What happens when it resets itself.
    pub on_reboot: Reboot,
    /// Guest RAM.
    pub ram: TwoViews,
    /// The pages with event registers, one behind the other, one for each connection. The guest only reads them.
    pub events: TwoViews,
    /// First and last address of the bridge's window below 4 GiB, in which dataports and event pages are.
    pub low_window: (u64, u64),
    /// The same for the window above 4 GiB.
    pub high_window: (u64, u64),
    /// The channel that the console's interrupt comes by, if the program has the console.
    pub console: Option<u8>,
    /// The kernel command line.
    pub command_line: String<MAX_COMMAND_LINE>,
}

/// Memory that a guest and its monitor both have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct TwoViews {
    /// Guest-physical address.
    pub guest: u64,
    /// Address in the monitor.
    pub program: u64,
    /// Size in bytes.
    pub size: u64,
}
