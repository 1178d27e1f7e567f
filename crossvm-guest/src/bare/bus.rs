//! Finding connections in configuration space.

use core::ops::RangeInclusive;

use pci_types::{ConfigRegionAccess, PciAddress};

use crate::bare::{Error, Function, Window};
use crate::raw;
use crate::spec::{DEVICE, HeaderRegister, IdRegister, Register, VENDOR};

/// Device numbers of a bus.
const DEVICES: u8 = 32;
/// Functions of a device.
const FUNCTIONS: u8 = 8;

/// A PCI segment, through `A`.
#[derive(Debug)]
pub struct Bus<A> {
    access: A,
    buses: RangeInclusive<u8>,
}

impl<A: ConfigRegionAccess> Bus<A> {
    /// Bus 0 of segment 0: where a VM monitor puts connections.
    pub const fn new(access: A) -> Self {
        Self { access, buses: 0..=0 }
    }

    /// With these bus numbers.
    #[must_use]
    pub fn with_buses(mut self, buses: RangeInclusive<u8>) -> Self {
        self.buses = buses;
        self
    }

    /// The functions that are connections, in the order of their addresses.
    pub fn connections(&self) -> impl Iterator<Item = Function<'_, A>> {
        let devices = self.buses.clone().flat_map(|bus| (0..DEVICES).map(move |device| (bus, device)));
        let functions = devices.flat_map(|(bus, device)| {
            // Further functions are there only behind the first (PCI 3.0, 3.2.2.3.4).
            let first = PciAddress::new(0, bus, device, 0);
            let count = match self.id(first) {
                IdRegister::ABSENT => 0,
                _ if HeaderRegister::from_bits(raw::read(&self.access, first, Register::HEADER)).multifunction() => FUNCTIONS,
                _ => 1,
            };
            (0..count).map(move |function| PciAddress::new(0, bus, device, function))
        });
        functions.filter(|address| self.is_connection(*address)).map(|address| Function::new(&self.access, address))
    }

    /// Gives the BARs of all connections new addresses from `window`, and switches their memory on.
    ///
    /// Not for a VM whose monitor has told it to leave addresses as they are: such BARs answer at one address only.
    ///
    /// # Errors
    ///
    /// [`Error::WindowFull`], [`Error::OddDevice`]: connections that have no new address are switched off then.
    pub fn place(&self, mut window: Window) -> Result<(), Error> {
        // All are off before the first moves: none meets one that has not moved yet.
        self.connections().for_each(|function| function.set_memory(false));
        for function in self.connections() {
            function.bars()?.place(&self.access, function.address(), &mut window)?;
            function.set_memory(true);
        }
        Ok(())
    }

    fn id(&self, address: PciAddress) -> u32 {
        raw::read(&self.access, address, Register::ID)
    }

    fn is_connection(&self, address: PciAddress) -> bool {
        let id = IdRegister::from_bits(self.id(address));
        let header = HeaderRegister::from_bits(raw::read(&self.access, address, Register::HEADER));
        id.vendor() == VENDOR && id.device() == DEVICE && header.layout() == HeaderRegister::ENDPOINT
    }
}
