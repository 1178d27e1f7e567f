//! How `defmt` shows what cannot derive it.

use defmt::{Format, Formatter, write};

use crate::{HostBridge, PciBus};

impl Format for HostBridge {
    fn format(&self, f: Formatter<'_>) {
        write!(f, "{=u16:04x}:{=u16:04x}", self.vendor, self.device);
    }
}

/// The functions by their addresses.
impl<const F: usize> Format for PciBus<F> {
    fn format(&self, f: Formatter<'_>) {
        write!(f, "[");
        for (place, bdf) in self.functions().enumerate() {
            if place > 0 {
                write!(f, ", ");
            }
            write!(f, "{}", bdf);
        }
        write!(f, "]");
    }
}

#[cfg(feature = "fdt")]
impl Format for crate::fdt::InterruptParent {
    fn format(&self, f: Formatter<'_>) {
        write!(f, "InterruptParent {{ phandle: {=u32}, address_cells: {=u32} }}", self.phandle, self.address_cells);
    }
}
