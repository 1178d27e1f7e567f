//! Configuration space as memory: a block of addresses for each function, one behind the other.

use crossvm_core::{Bdf, ConfigAccess, ConfigEffect, GuestAddr, GuestRange, PciSpace, Width};

/// Functions of one bus.
const FUNCTIONS: u64 = 256;

/// A region in which each function has `1 << BITS` bytes: register in the lowest `BITS` bits of an offset, requester id above.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub(crate) struct Region<const BITS: u32> {
    range: GuestRange,
    buses: u16,
}

impl<const BITS: u32> Region<BITS> {
    const FUNCTION_BYTES: u64 = 1 << BITS;

    pub(crate) const fn new(base: GuestAddr, buses: u16) -> Option<Self> {
        if buses == 0 || buses > 256 {
            return None;
        }
        match GuestRange::new(base, Self::FUNCTION_BYTES.saturating_mul(FUNCTIONS).saturating_mul(buses as u64)) {
            Some(range) => Some(Self { range, buses }),
            None => None,
        }
    }

    pub(crate) const fn range(&self) -> GuestRange {
        self.range
    }

    pub(crate) const fn buses(&self) -> u16 {
        self.buses
    }

    pub(crate) fn decode(&self, at: GuestAddr, width: Width) -> Option<(Bdf, ConfigAccess)> {
        if !self.range.contains(at) {
            return None;
        }
        let offset = at.offset_from(self.range.start())?;
        let requester = u16::try_from(offset.wrapping_shr(BITS)).ok()?;
        let register = u16::try_from(offset & Self::FUNCTION_BYTES.wrapping_sub(1)).ok()?;
        Some((Bdf::from_requester_id(requester), ConfigAccess { offset: register, width }))
    }

    pub(crate) fn read<P: PciSpace>(&self, space: &P, at: GuestAddr, width: Width) -> Option<u64> {
        let (bdf, access) = self.decode(at, width)?;
        Some(if width == Width::U64 { u64::MAX } else { u64::from(space.read(bdf, access)) & width.mask() })
    }

    pub(crate) fn write<P: PciSpace>(&self, space: &mut P, at: GuestAddr, width: Width, value: u64) -> Option<ConfigEffect> {
        let (bdf, access) = self.decode(at, width)?;
        if width == Width::U64 {
            return None;
        }
        space.write(bdf, access, u32::try_from(value & width.mask()).ok()?)
    }
}

/// The methods of a region, with documentation, for each public type of one.
macro_rules! region_methods {
    ($name:ident) => {
        impl $name {
            /// The region of `buses` buses (1–256, from bus 0 on) at `base`; `None` where the number is out of range or the region would
            /// pass the end of the address space.
            #[must_use]
            pub const fn new(base: GuestAddr, buses: u16) -> Option<Self> {
                match $crate::region::Region::new(base, buses) {
                    Some(region) => Some(Self(region)),
                    None => None,
                }
            }

            /// The guest-physical addresses that it takes.
            #[must_use]
            pub const fn range(&self) -> GuestRange {
                self.0.range()
            }

            /// How many buses it covers.
            #[must_use]
            pub const fn buses(&self) -> u16 {
                self.0.buses()
            }

            /// The function and register that an access at `at` means; `None` where it lies outside of the region.
            #[must_use]
            pub fn decode(&self, at: GuestAddr, width: Width) -> Option<(Bdf, ConfigAccess)> {
                self.0.decode(at, width)
            }

            /// A guest's load from the region: `None` outside of it. A load that is no configuration cycle (8 bytes, misaligned) gives
            /// all ones.
            #[must_use]
            pub fn read<P: PciSpace>(&self, space: &P, at: GuestAddr, width: Width) -> Option<u64> {
                self.0.read(space, at, width)
            }

            /// A guest's store to the region. Outside of it, and where it is no configuration cycle, nothing happens.
            pub fn write<P: PciSpace>(&self, space: &mut P, at: GuestAddr, width: Width, value: u64) -> Option<ConfigEffect> {
                self.0.write(space, at, width, value)
            }
        }
    };
}
pub(crate) use region_methods;
