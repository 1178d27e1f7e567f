//! The guest's machine: where everything is.
//!
//! ```text
//!  0                RAM
//!  0x0009_fc00      extended BIOS data area ┐
//!  0x000e_0000      ACPI tables, 128 KiB    ┴ reserved
//!  0x0010_0000      RAM, up to 3 GiB
//!  0xc000_0000      window of the PCI bridge, 512 MiB
//!  0xe000_0000      configuration space (ECAM), 16 buses
//!  0xfec0_0000      IOAPIC
//!  0xfee0_0000      local APICs
//!  0x1_0000_0000    RAM that does not fit below
//!  0x40_0000_0000   window of the PCI bridge for BARs of 64 bits; lower where the processor's addresses end before
//! ```

use crossvm_core::{GuestAddr, GuestRange, Irq};
use crossvm_pci::Ecam;

const fn range(start: u64, size: u64) -> GuestRange {
    match GuestRange::new(GuestAddr::new(start), size) {
        Some(range) => range,
        None => panic!("a range of the map is not empty and does not wrap"),
    }
}

/// The bridge's window for BARs.
pub(crate) const PCI_WINDOW: GuestRange = range(0xc000_0000, 0x2000_0000);
/// The bridge's configuration space.
pub(crate) const ECAM: Ecam = match Ecam::new(GuestAddr::new(0xe000_0000), 16) {
    Some(ecam) => ecam,
    None => panic!("16 buses fit below 4 GiB"),
};
/// The IOAPIC's registers.
pub(crate) const IOAPIC: GuestRange = range(0xfec0_0000, 0x1000);
/// The local APICs' registers.
pub(crate) const LOCAL_APIC: GuestRange = range(0xfee0_0000, 0x10_0000);
/// Pages that KVM needs for itself on some processors: the identity map, and behind it the task state segment.
pub(crate) const KVM_IDENTITY_MAP: u64 = 0xfffb_c000;
/// See [`KVM_IDENTITY_MAP`].
pub(crate) const KVM_TSS: usize = 0xfffb_d000;
/// All of what [`KVM_IDENTITY_MAP`] says: one page and three.
pub(crate) const KVM_PAGES: GuestRange = range(KVM_IDENTITY_MAP, 0x4000);

/// End of the RAM below the devices.
pub(crate) const LOW_RAM_END: u64 = PCI_WINDOW.start().get();
/// Where the other RAM starts.
pub(crate) const HIGH_RAM: u64 = 1 << 32;
/// The extended BIOS data area, up to the video memory of a PC.
pub(crate) const EBDA: GuestRange = range(0x9_fc00, 0x400);
/// Where a BIOS is: the ACPI tables, in which a kernel looks for their root.
pub(crate) const BIOS: GuestRange = range(0xe_0000, 0x2_0000);
/// Where kernels are loaded from.
pub(crate) const HIGH_MEMORY: u64 = 0x10_0000;

/// The serial port.
pub(crate) const SERIAL_PORT: u16 = 0x3f8;
/// Its interrupt.
pub(crate) const SERIAL_IRQ: Irq = Irq::new(4);
/// First of the interrupts that connections get: behind those of ISA devices.
pub(crate) const FIRST_CONNECTION_IRQ: u32 = 16;
/// How many interrupts there are for connections: the rest of the IOAPIC's 24 pins.
pub(crate) const CONNECTION_IRQS: u32 = 8;

/// Where devices are, and nothing is ever mapped.
pub(crate) fn devices() -> impl Iterator<Item = GuestRange> {
    [ECAM.range(), IOAPIC, LOCAL_APIC, KVM_PAGES].into_iter()
}

/// The interrupts of connections.
pub(crate) fn connection_irqs() -> impl Iterator<Item = Irq> {
    (FIRST_CONNECTION_IRQ..).take(CONNECTION_IRQS as usize).map(Irq::new)
}

/// Where the RAM of a guest lies: first address and size in bytes of each piece.
pub(crate) fn ram(memory: u64) -> impl Iterator<Item = GuestRange> {
    let low = memory.min(LOW_RAM_END);
    [(0, low), (HIGH_RAM, memory.saturating_sub(low))].into_iter().filter_map(|(start, size)| GuestRange::new(GuestAddr::new(start), size))
}

/// The bridge's window for BARs of 64 bits, on a processor whose physical addresses have so many bits: 256 GiB, or the upper half of what
/// there is where that is less. `None` where nothing is left above `memory` bytes of RAM.
pub(crate) fn high_window(address_bits: u8, memory: u64) -> Option<GuestRange> {
    /// 0x40_0000_0000 to 0x7f_ffff_ffff.
    const BITS: u8 = 39;
    let half = 1u64.checked_shl(u32::from(address_bits.min(BITS)).saturating_sub(1))?;
    let window = GuestRange::new(GuestAddr::new(half), half)?;
    let clear = half >= HIGH_RAM && ram(memory).all(|ram| !ram.overlaps(window));
    clear.then_some(window)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_overlaps() {
        let mut all = vec![PCI_WINDOW, ECAM.range(), IOAPIC, LOCAL_APIC, KVM_PAGES];
        all.extend(ram(8 << 30));
        all.extend(high_window(40, 8 << 30));
        for (index, one) in all.iter().enumerate() {
            for other in &all[..index] {
                assert!(!one.overlaps(*other), "{one} and {other}");
            }
        }
    }

    #[test]
    fn ram_makes_room_for_devices_below_4_gib() {
        let pieces = |memory| ram(memory).map(|range| (range.start().get(), range.size())).collect::<Vec<_>>();
        assert_eq!(pieces(256 << 20), [(0, 256 << 20)]);
        assert_eq!(pieces(3 << 30), [(0, 3 << 30)]);
        assert_eq!(pieces((3 << 30) + 4096), [(0, 3 << 30), (1 << 32, 4096)]);
    }

    #[test]
    fn the_high_window_lies_where_the_processor_reaches_it() {
        let window = |bits, memory| high_window(bits, memory).map(|range| (range.start().get(), range.last().get()));
        assert_eq!(window(48, 1 << 30), Some((0x40_0000_0000, 0x7f_ffff_ffff)));
        assert_eq!(window(39, 1 << 30), Some((0x40_0000_0000, 0x7f_ffff_ffff)));
        assert_eq!(window(36, 1 << 30), Some((0x8_0000_0000, 0xf_ffff_ffff)));
        assert_eq!(window(36, 40 << 30), None, "RAM is where it would be");
        assert_eq!(window(32, 1 << 30), None);
    }
}
