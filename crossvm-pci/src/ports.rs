//! Configuration mechanism #1 (PCI 3.0, §3.2.2.3.2): an address port and a data port.

use core::ops::RangeInclusive;

use crossvm_core::{Bdf, ConfigAccess, ConfigEffect, PciSpace, Width};

use crate::spec::ConfigAddress;

/// Port of [`ConfigAddress`]: 4 bytes.
const CONFIG_ADDRESS: u16 = 0xcf8;
/// First port of the window on the register that the address selects: 4 bytes.
const CONFIG_DATA: RangeInclusive<u16> = 0xcfc..=0xcff;

/// The I/O ports 0xcf8 to 0xcff: an address that the guest has written, and a window on the register that it selects.
///
/// Only an access of 4 bytes at 0xcf8 is one to the address. All others at 0xcf8 to 0xcfb belong to whatever else is there (0xcf9 is the reset
/// port of many machines): [`read`](Self::read) gives `None` for them, and the VMM goes on as for any port that nothing answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ConfigPorts {
    address: ConfigAddress,
}

impl ConfigPorts {
    /// The ports, among which some accesses are meant for others.
    pub const PORTS: RangeInclusive<u16> = 0xcf8..=0xcff;

    /// At power-on: the address is zero and disabled.
    #[must_use]
    pub const fn new() -> Self {
        Self { address: ConfigAddress::new() }
    }

    /// The function and register that an access to the data ports means now; `None` at other ports, and while the address is disabled.
    #[must_use]
    pub fn decode(&self, port: u16, width: Width) -> Option<(Bdf, ConfigAccess)> {
        if !CONFIG_DATA.contains(&port) || !self.address.enable() {
            return None;
        }
        // The address selects a dword; the port selects the first byte in it.
        let offset = u16::from(self.address.register()).wrapping_mul(4) | (port & 3);
        Some((Bdf::from_requester_id(self.address.requester_id()), ConfigAccess { offset, width }))
    }

    /// A guest's `in`: `None` where the access is meant for another device.
    ///
    /// While the address is disabled the data ports read all ones, as does an access to them that is no configuration cycle (not aligned to its
    /// width).
    #[must_use]
    pub fn read<P: PciSpace>(&self, space: &P, port: u16, width: Width) -> Option<u32> {
        if (port, width) == (CONFIG_ADDRESS, Width::U32) {
            return Some(self.address.into_bits());
        }
        if !CONFIG_DATA.contains(&port) {
            return None;
        }
        Some(self.decode(port, width).map_or(u32::MAX, |(bdf, access)| space.read(bdf, access)) & ones(width))
    }

    /// A guest's `out`. Nothing happens where the access is meant for another device, is no configuration cycle, or the address is disabled.
    pub fn write<P: PciSpace>(&mut self, space: &mut P, port: u16, width: Width, value: u32) -> Option<ConfigEffect> {
        if (port, width) == (CONFIG_ADDRESS, Width::U32) {
            self.address = without_reserved(ConfigAddress::from_bits(value));
            return None;
        }
        let (bdf, access) = self.decode(port, width)?;
        space.write(bdf, access, value & ones(width))
    }
}

/// Reserved bits read as zero.
const fn without_reserved(address: ConfigAddress) -> ConfigAddress {
    ConfigAddress::new().with_register(address.register()).with_requester_id(address.requester_id()).with_enable(address.enable())
}

/// A value with all bits of the width set, at most 32.
const fn ones(width: Width) -> u32 {
    match width {
        Width::U8 => 0xff,
        Width::U16 => 0xffff,
        Width::U32 | Width::U64 => u32::MAX,
    }
}
