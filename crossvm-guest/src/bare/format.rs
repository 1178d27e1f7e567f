//! How `defmt` shows what cannot derive it.

use defmt::{Format, Formatter, write};
use pci_types::{ConfigRegionAccess, PciAddress};

use crate::bare::{Bus, Connection, Dataport, Ecam, Function, MappedRegion, Msix, PhysicalRange};
use crate::words::Words;

/// A function's address, which is `pci_types`' own.
struct Address(PciAddress);

impl Format for Address {
    fn format(&self, f: Formatter<'_>) {
        write!(f, "{=u8:02x}:{=u8:02x}.{=u8}", self.0.bus(), self.0.device(), self.0.function());
    }
}

impl Format for PhysicalRange {
    fn format(&self, f: Formatter<'_>) {
        write!(f, "{=u64:#x}..={=u64:#x}", self.start(), self.last());
    }
}

/// The connections by their addresses: it looks for them.
impl<A: ConfigRegionAccess> Format for Bus<A> {
    fn format(&self, f: Formatter<'_>) {
        write!(f, "[");
        for (place, function) in self.connections().enumerate() {
            if place > 0 {
                write!(f, ", ");
            }
            write!(f, "{}", function);
        }
        write!(f, "]");
    }
}

impl<A: ConfigRegionAccess> Format for Function<'_, A> {
    fn format(&self, f: Formatter<'_>) {
        write!(f, "{}", Address(self.address()));
    }
}

impl<A: ConfigRegionAccess, R: Words> Format for Msix<'_, A, R> {
    fn format(&self, f: Formatter<'_>) {
        write!(f, "{} {=u16} vectors", Address(self.address()), self.vectors());
    }
}

impl<R: Words> Format for Connection<R> {
    fn format(&self, f: Formatter<'_>) {
        write!(f, "{} {}", Address(self.address()), self.events());
    }
}

impl<R: Words> Format for Dataport<R> {
    fn format(&self, f: Formatter<'_>) {
        write!(f, "{=usize} bytes, {}", self.size(), self.rights());
    }
}

impl Format for Ecam {
    fn format(&self, f: Formatter<'_>) {
        write!(f, "Ecam({=u64:#x} bytes)", self.length());
    }
}

impl Format for MappedRegion {
    fn format(&self, f: Formatter<'_>) {
        write!(f, "MappedRegion({=usize:#x} bytes)", self.len());
    }
}
