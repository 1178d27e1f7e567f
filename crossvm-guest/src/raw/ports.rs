//! Configuration space through two ports of a PC.

use pci_types::{ConfigRegionAccess, PciAddress};

/// Where a register's address goes (PCI 3.0, 3.2.2.3.2).
const CONFIG_ADDRESS: u16 = 0xcf8;
/// Where its contents are then.
const CONFIG_DATA: u16 = 0xcfc;
/// In CONFIG_ADDRESS: what follows is a configuration cycle.
const ENABLE: u32 = 1 << 31;

/// Configuration space by the ports 0xcf8 and 0xcfc, 32 bits at a time. The first 256 bytes of each function.
///
/// Two accesses make one cycle: who uses it from an interrupt handler too keeps that from coming between.
#[derive(Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ConfigPorts(());

impl ConfigPorts {
    /// The two ports.
    ///
    /// # Safety
    ///
    /// The program may use ports, and these two are a PCI host bridge's. Nobody else uses them at the same time.
    #[must_use]
    pub const unsafe fn new() -> Self {
        Self(())
    }

    fn select(address: PciAddress, offset: u16) {
        let function = u32::from(address.bus()) << 16 | u32::from(address.device()) << 11 | u32::from(address.function()) << 8;
        out(CONFIG_ADDRESS, ENABLE | function | u32::from(offset & 0xfc));
    }
}

impl ConfigRegionAccess for ConfigPorts {
    unsafe fn read(&self, address: PciAddress, offset: u16) -> u32 {
        if address.segment() != 0 || offset > 0xff {
            return u32::MAX;
        }
        Self::select(address, offset);
        let value: u32;
        // SAFETY: who made `self` said that the port is a host bridge's; reading it touches no memory.
        unsafe { core::arch::asm!("in eax, dx", in("dx") CONFIG_DATA, out("eax") value, options(nomem, nostack, preserves_flags)) };
        value
    }

    unsafe fn write(&self, address: PciAddress, offset: u16, value: u32) {
        if address.segment() == 0 && offset <= 0xff {
            Self::select(address, offset);
            out(CONFIG_DATA, value);
        }
    }
}

fn out(port: u16, value: u32) {
    // SAFETY: only `ConfigPorts` calls it, and who made that said that these ports are a host bridge's.
    unsafe { core::arch::asm!("out dx, eax", in("dx") port, in("eax") value, options(nostack, preserves_flags)) };
}
