//! Capabilities.

use crossvm_sel4::kernel::{CapRights, Object};

use super::arch::Arch;

/// A capability: an object in physical memory, and what its holder may do with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cap {
    /// Physical address of the object.
    pub(super) base: u64,
    /// Its size, as a power of two.
    pub(super) bits: u8,
    pub(super) kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// `free`: the offset behind the last object made.
    Untyped {
        free: u64,
    },
    Endpoint(Port),
    Notification(Port),
    Tcb,
    CNode,
    Frame {
        rights: VmRights,
        mapped: Option<Mapped>,
    },
    /// A translation table whose entry in the next higher one covers 2^`covers` bytes.
    Table {
        ept: bool,
        covers: u8,
        mapped: Option<Mapped>,
    },
    /// The root of an address space.
    Root {
        ept: bool,
        asid: Option<u16>,
    },
    Vcpu,
    AsidPool,
}

/// What a capability of an endpoint or a notification has of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Port {
    pub(super) badge: u64,
    pub(super) rights: CapRights,
}

/// Where a capability has mapped its object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mapped {
    pub(super) asid: u16,
    pub(super) ept: bool,
    pub(super) at: u64,
}

/// What can be done with mapped memory. There is no writing without reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum VmRights {
    KernelOnly,
    Read,
    ReadWrite,
}

impl VmRights {
    pub(super) fn masked(self, rights: CapRights) -> Self {
        match self {
            Self::Read | Self::ReadWrite if !rights.read => Self::KernelOnly,
            Self::ReadWrite if !rights.write => Self::Read,
            same => same,
        }
    }
}

impl Cap {
    /// The first capability of a new object.
    pub(super) fn new(object: Object, base: u64, arch: Arch) -> Self {
        let port = Port { badge: 0, rights: CapRights::ALL };
        let kind = match object {
            Object::Untyped(_) => Kind::Untyped { free: 0 },
            Object::Endpoint => Kind::Endpoint(port),
            Object::Notification => Kind::Notification(port),
            Object::Tcb => Kind::Tcb,
            Object::CNode(_) => Kind::CNode,
            Object::SmallFrame | Object::LargeFrame | Object::HugeFrame => Kind::Frame { rights: VmRights::ReadWrite, mapped: None },
            Object::VSpace => Kind::Root { ept: false, asid: None },
            Object::EptRoot => Kind::Root { ept: true, asid: None },
            Object::Table(covers) => Kind::Table { ept: false, covers, mapped: None },
            Object::EptTable(covers) => Kind::Table { ept: true, covers, mapped: None },
            Object::Vcpu => Kind::Vcpu,
            other => panic!("the simulated kernel has no {other:?}"),
        };
        Self { base, bits: arch.object_bits(object), kind }
    }

    /// The last byte of the object.
    fn last(&self) -> u64 {
        self.base + ((1 << self.bits) - 1)
    }

    /// Whether what `other` stands for lies in what this stands for.
    pub(super) fn same_region(&self, other: &Self) -> bool {
        let within = self.base <= other.base && other.last() <= self.last();
        match (&self.kind, &other.kind) {
            (Kind::Untyped { .. }, _) => within,
            (Kind::Frame { .. }, Kind::Frame { .. }) => within,
            (Kind::Table { ept, covers, .. }, Kind::Table { ept: other_ept, covers: other_covers, .. }) => {
                self.base == other.base && ept == other_ept && covers == other_covers
            }
            (mine, others) => self.base == other.base && core::mem::discriminant(mine) == core::mem::discriminant(others),
        }
    }

    /// Whether both stand for the same object. Untyped memory is no object: each of its capabilities stands alone.
    pub(super) fn same_object(&self, other: &Self) -> bool {
        match self.kind {
            Kind::Untyped { .. } => false,
            Kind::Frame { .. } => self.same_region(other) && self.bits == other.bits,
            _ => self.same_region(other),
        }
    }

    /// The capability with no more than these rights. Only those of endpoints, notifications and frames have any.
    pub(super) fn masked(mut self, rights: CapRights) -> Self {
        match &mut self.kind {
            Kind::Endpoint(port) | Kind::Notification(port) => port.rights = port.rights.intersect(rights),
            Kind::Frame { rights: mine, .. } => *mine = mine.masked(rights),
            _ => {}
        }
        self
    }

    /// The badge, where there can be one.
    pub(super) fn badge(&self) -> Option<u64> {
        match self.kind {
            Kind::Endpoint(port) | Kind::Notification(port) => Some(port.badge),
            _ => None,
        }
    }
}
