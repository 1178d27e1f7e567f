//! The host bridge's node of a flattened device tree (bindings `pci-host-ecam-generic` and `pci-host-cam-generic`).

extern crate alloc;

use alloc::format;
use alloc::vec::Vec;

use crossvm_core::{GuestRange, Irq, PciSpace};
use vm_fdt::FdtWriter;

use crate::placement::{above_4_gib, below_4_gib};
use crate::{Cam, Ecam, PciBus};

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
/// With the bit for prefetchable: of a window of 4 GiB or more that is not, Linux says that it is too large.
const MEMORY_64: u32 = 0x4300_0000;

/// The controller that takes the messages of MSI-X.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct MessageController {
    /// Its phandle. The message's requester id is its device id there, where it has such ids.
    pub phandle: u32,
}

/// Where the guest finds configuration space: the bindings `pci-host-ecam-generic` and `pci-host-cam-generic`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum ConfigRegion {
    /// 4 KiB a function.
    Ecam(Ecam),
    /// 256 bytes a function.
    Cam(Cam),
}

impl ConfigRegion {
    const fn range(self) -> GuestRange {
        match self {
            Self::Ecam(ecam) => ecam.range(),
            Self::Cam(cam) => cam.range(),
        }
    }

    const fn buses(self) -> u16 {
        match self {
            Self::Ecam(ecam) => ecam.buses(),
            Self::Cam(cam) => cam.buses(),
        }
    }

    /// Name of the node and binding.
    const fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Ecam(_) => ("pcie", "pci-host-ecam-generic"),
            Self::Cam(_) => ("pci", "pci-host-cam-generic"),
        }
    }
}

impl From<Ecam> for ConfigRegion {
    fn from(ecam: Ecam) -> Self {
        Self::Ecam(ecam)
    }
}

impl From<Cam> for ConfigRegion {
    fn from(cam: Cam) -> Self {
        Self::Cam(cam)
    }
}

/// Writes the node of the bridge into the node that is open in `fdt`, whose `#address-cells` and `#size-cells` must be 2.
///
/// Tells the guest the region of configuration space, the windows, the line of every device number that is wired, and where messages go, if
/// anywhere. Where BARs are fixed, the guest must also be told to [keep their addresses](keep_addresses).
///
/// # Errors
/// What the writer reports.
pub fn bridge_node<const F: usize>(
    fdt: &mut FdtWriter,
    bus: &PciBus<F>,
    region: impl Into<ConfigRegion>,
    parent: InterruptParent,
    messages: Option<MessageController>,
) -> Result<(), vm_fdt::Error> {
    let region = region.into();
    let ((name, binding), range) = (region.names(), region.range());
    let node = fdt.begin_node(&format!("{name}@{:x}", range.start()))?;
    fdt.property_string("compatible", binding)?;
    fdt.property_string("device_type", "pci")?;
    fdt.property_u32("#address-cells", 3)?;
    fdt.property_u32("#size-cells", 2)?;
    fdt.property_u32("#interrupt-cells", 1)?;
    fdt.property_u32("linux,pci-domain", 0)?;
    fdt.property_array_u32("bus-range", &[0, u32::from(region.buses()).saturating_sub(1)])?;
    fdt.property_array_u64("reg", &[range.start().get(), range.size()])?;
    fdt.property_null("dma-coherent")?;
    if let Some(MessageController { phandle }) = messages {
        // Every requester id, as it is.
        fdt.property_array_u32("msi-map", &[0, phandle, 0, 0x1_0000])?;
    }

    let low = bus.windows().iter().filter_map(|window| Some((MEMORY_32, below_4_gib(*window)?)));
    let high = bus.windows().iter().filter_map(|window| Some((MEMORY_64, above_4_gib(*window)?)));
    let mut ranges = Vec::new();
    for (code, window) in low.chain(high) {
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

/// Tells Linux to leave the addresses of all BARs as it finds them: for a VM with [fixed](crossvm_core::Bar::fixed) ones. Written into the node `/chosen`,
/// which is open in `fdt`; in the bridge's own node, Linux 6.1 and 6.12 do not look for it.
///
/// # Errors
/// What the writer reports.
pub fn keep_addresses(fdt: &mut FdtWriter) -> Result<(), vm_fdt::Error> {
    fdt.property_u32("linux,pci-probe-only", 1)
}

/// The two cells of a 64-bit number.
fn cells(value: u64) -> [u32; 2] {
    let [b0, b1, b2, b3, b4, b5, b6, b7] = value.to_be_bytes();
    [u32::from_be_bytes([b0, b1, b2, b3]), u32::from_be_bytes([b4, b5, b6, b7])]
}
