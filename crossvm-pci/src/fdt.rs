//! The host bridge's node of a flattened device tree (binding `pci-host-ecam-generic`).

extern crate alloc;

use alloc::format;
use alloc::vec::Vec;

use crossvm_core::{Irq, PciSpace};
use vm_fdt::FdtWriter;

use crate::{Ecam, PciBus};

/// The node that the interrupt lines end at.
#[derive(Debug, Clone, Copy)]
pub struct InterruptParent {
    /// Its phandle.
    pub phandle: u32,
    /// Its `#address-cells`: that many zero cells stand between the phandle and the specifier.
    pub address_cells: u32,
    /// The interrupt specifier of a level-triggered, active-high line (its `#interrupt-cells` must be 3, as a GIC's).
    pub specifier: fn(Irq) -> [u32; 3],
}

/// Space codes of `ranges`, IEEE 1275 PCI binding §2.2.1.1: memory of 32 and of 64 bits.
const MEMORY_32: u32 = 0x0200_0000;
const MEMORY_64: u32 = 0x0300_0000;

/// Writes the node of the bridge into the node that is open in `fdt`, whose `#address-cells` and `#size-cells` must be 2.
///
/// Tells the guest the ECAM region, the windows, and the line of every device number that is wired.
///
/// # Errors
/// What the writer reports.
pub fn bridge_node<const F: usize>(fdt: &mut FdtWriter, bus: &PciBus<F>, ecam: Ecam, parent: InterruptParent) -> Result<(), vm_fdt::Error> {
    let range = ecam.range();
    let node = fdt.begin_node(&format!("pcie@{:x}", range.start()))?;
    fdt.property_string("compatible", "pci-host-ecam-generic")?;
    fdt.property_string("device_type", "pci")?;
    fdt.property_u32("#address-cells", 3)?;
    fdt.property_u32("#size-cells", 2)?;
    fdt.property_u32("#interrupt-cells", 1)?;
    fdt.property_u32("linux,pci-domain", 0)?;
    fdt.property_array_u32("bus-range", &[0, u32::from(ecam.buses()).saturating_sub(1)])?;
    fdt.property_array_u64("reg", &[range.start().get(), range.size()])?;
    fdt.property_null("dma-coherent")?;

    let mut ranges = Vec::new();
    for window in bus.windows() {
        let code = if window.last().get() <= u64::from(u32::MAX) { MEMORY_32 } else { MEMORY_64 };
        ranges.push(code);
        // Bus addresses are guest-physical addresses.
        for value in [window.start().get(), window.start().get(), window.size()] {
            ranges.extend(cells(value));
        }
    }
    fdt.property_array_u32("ranges", &ranges)?;

    // By device number and pin.
    fdt.property_array_u32("interrupt-map-mask", &[0xf800, 0, 0, 7])?;
    let mut map = Vec::new();
    for (device, irq) in bus.wires() {
        map.extend([u32::from(device) << 11, 0, 0, 1, parent.phandle]);
        map.extend((0..parent.address_cells).map(|_| 0));
        map.extend((parent.specifier)(irq));
    }
    fdt.property_array_u32("interrupt-map", &map)?;
    fdt.end_node(node)
}

/// The two cells of a 64-bit number.
fn cells(value: u64) -> [u32; 2] {
    let [b0, b1, b2, b3, b4, b5, b6, b7] = value.to_be_bytes();
    [u32::from_be_bytes([b0, b1, b2, b3]), u32::from_be_bytes([b4, b5, b6, b7])]
}
