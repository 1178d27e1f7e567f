//! Capabilities and the objects behind them.

use core::fmt;

use crossvm_core::{EventSet, Rights};

/// Address of a capability, which is that of its slot, in the caller's CSpace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct CPtr(u64);

impl CPtr {
    /// No capability is there.
    pub const NULL: Self = Self(0);

    /// The slot with this number.
    #[must_use]
    pub const fn new(slot: u64) -> Self {
        Self(slot)
    }

    /// The slot's number.
    #[must_use]
    pub const fn raw(self) -> u64 {
        self.0
    }

    /// The slot `count` behind this one.
    #[must_use]
    pub const fn offset(self, count: u64) -> Self {
        Self(self.0.wrapping_add(count))
    }
}

impl fmt::Display for CPtr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "capability {:#x}", self.0)
    }
}

/// What a capability carries to the receiver of a signal or message. Signals that coalesce are OR-ed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Badge(u64);

impl Badge {
    /// No badge, or no signal.
    pub const NONE: Self = Self(0);

    /// The badge `value`. seL4 5.0.0 keeps the low 28 bits alone.
    #[must_use]
    pub const fn new(value: u64) -> Self {
        Self(value)
    }

    /// Its value.
    #[must_use]
    pub const fn value(self) -> u64 {
        self.0
    }

    /// The events whose bits are set.
    #[must_use]
    pub const fn events(self) -> EventSet {
        EventSet::from_word(self.0)
    }
}

/// What the holder of a capability may do (`seL4_CapRights`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct CapRights {
    /// Receive, wait, load.
    pub read: bool,
    /// Send, signal, store.
    pub write: bool,
    /// Send capabilities along.
    pub grant: bool,
}

impl CapRights {
    /// Everything.
    pub const ALL: Self = Self { read: true, write: true, grant: true };
    /// Loads, waits.
    pub const READ: Self = Self { read: true, write: false, grant: false };
    /// Stores, signals.
    pub const WRITE: Self = Self { read: false, write: true, grant: false };
    /// Loads and stores.
    pub const READ_WRITE: Self = Self { read: true, write: true, grant: false };
    /// What a thread has of the endpoint that its faults go to: send, with what an answer takes. It must not receive there, or it takes the
    /// faults of all others that have the endpoint, and answers them.
    pub const FAULTS: Self = Self { read: false, write: true, grant: true };
    /// Nothing.
    pub const NONE: Self = Self { read: false, write: false, grant: false };

    /// What both permit.
    #[must_use]
    pub const fn intersect(self, other: Self) -> Self {
        Self { read: self.read && other.read, write: self.write && other.write, grant: self.grant && other.grant }
    }
}

impl From<Rights> for CapRights {
    fn from(rights: Rights) -> Self {
        match rights {
            Rights::Read => Self::READ,
            Rights::ReadWrite => Self::READ_WRITE,
        }
    }
}

/// Memory attributes of a mapping. What connections share is never executable where the architecture can say so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Attributes {
    /// Write-back, not executable.
    Memory,
    /// Write-back, executable: code of threads.
    Code,
    /// Not cached: registers of devices.
    Device,
}

/// An address space, by the kind of its tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Space {
    /// Of a thread; on Arm also of a vCPU, whose second stage it is.
    Virtual(CPtr),
    /// The guest-physical memory of an x86 vCPU.
    Ept(CPtr),
}

impl Space {
    /// The capability of its root table.
    #[must_use]
    pub const fn root(self) -> CPtr {
        match self {
            Self::Virtual(root) | Self::Ept(root) => root,
        }
    }
}

/// What untyped memory can be made into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Object {
    /// Untyped memory of 2^n bytes.
    Untyped(u8),
    /// An endpoint.
    Endpoint,
    /// A notification.
    Notification,
    /// A thread.
    Tcb,
    /// A table of 2^n capabilities.
    CNode(u8),
    /// 4 KiB of memory.
    SmallFrame,
    /// 2 MiB of memory.
    LargeFrame,
    /// 1 GiB of memory.
    HugeFrame,
    /// The root table of a thread's address space, on Arm also of a vCPU's.
    VSpace,
    /// A table of such a space that covers 2^n bytes.
    Table(u8),
    /// The root table of guest-physical memory on x86.
    EptRoot,
    /// A table of such a space that covers 2^n bytes.
    EptTable(u8),
    /// A virtual CPU.
    Vcpu,
}
