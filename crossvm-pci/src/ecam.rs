//! The enhanced configuration access mechanism (PCI Express 3.0, §7.2.2): configuration space as memory, 4 KiB a function.

use crossvm_core::{Bdf, ConfigAccess, ConfigEffect, GuestAddr, GuestRange, PciSpace, Width};

/// Bytes of configuration space of one bus: 256 functions of 4 KiB.
const BUS_BYTES: u64 = 1 << 20;

/// An ECAM region of the guest's address space.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ecam {
    range: GuestRange,
    buses: u16,
}

impl Ecam {
    /// The region of `buses` buses (1–256, from bus 0 on) at `base`; `None` where the number is out of range or the region would pass
    /// the end of the address space.
    #[must_use]
    pub const fn new(base: GuestAddr, buses: u16) -> Option<Self> {
        if buses == 0 || buses > 256 {
            return None;
        }
        match GuestRange::new(base, BUS_BYTES.saturating_mul(buses as u64)) {
            Some(range) => Some(Self { range, buses }),
            None => None,
        }
    }

    /// The guest-physical addresses that it takes.
    #[must_use]
    pub const fn range(&self) -> GuestRange {
        self.range
    }

    /// How many buses it covers.
    #[must_use]
    pub const fn buses(&self) -> u16 {
        self.buses
    }

    /// The function and register that an access at `at` means; `None` where it lies outside of the region.
    #[must_use]
    pub fn decode(&self, at: GuestAddr, width: Width) -> Option<(Bdf, ConfigAccess)> {
        if !self.range.contains(at) {
            return None;
        }
        let offset = u32::try_from(at.offset_from(self.range.start())?).ok()?;
        // Bus in bits 27:20, device in 19:15, function in 14:12, register in 11:0. An ECAM region has 256 MiB at most.
        let requester = u16::try_from(offset >> 12).ok()?;
        let register = u16::try_from(offset & 0xfff).ok()?;
        Some((Bdf::from_requester_id(requester), ConfigAccess { offset: register, width }))
    }

    /// A guest's load from the region: `None` outside of it. A load that is no configuration cycle (8 bytes, misaligned) gives all ones.
    #[must_use]
    pub fn read<P: PciSpace>(&self, space: &P, at: GuestAddr, width: Width) -> Option<u64> {
        let (bdf, access) = self.decode(at, width)?;
        Some(if width == Width::U64 { u64::MAX } else { u64::from(space.read(bdf, access)) & width.mask() })
    }

    /// A guest's store to the region. Outside of it, and where it is no configuration cycle, nothing happens.
    pub fn write<P: PciSpace>(&self, space: &mut P, at: GuestAddr, width: Width, value: u64) -> Option<ConfigEffect> {
        let (bdf, access) = self.decode(at, width)?;
        space.write(bdf, access, u32::try_from(value & width.mask()).ok()?)
    }
}
