//! The guest's machine: where everything is. The layout is that of QEMU's `virt` machine, which many kernels know.

#![expect(clippy::panic, reason = "the constants of the map are checked when they are compiled")]

use crossvm_core::{GuestAddr, GuestRange, Irq};
use crossvm_pci::Ecam;

const fn range(start: u64, size: u64) -> GuestRange {
    match GuestRange::new(GuestAddr::new(start), size) {
        Some(range) => range,
        None => panic!("a range of the map is not empty and does not wrap"),
    }
}

/// The interrupt controller's distributor (GICD).
pub const DISTRIBUTOR: GuestRange = range(0x0800_0000, 0x1_0000);
/// GICv2: the CPU interface (GICC). Its first page is the physical virtual CPU interface, without exits; its second one traps.
pub const CPU_INTERFACE: GuestRange = range(0x0801_0000, 0x2000);
/// GICv2: the frame that takes messages.
pub const MESSAGE_FRAME: GuestRange = range(0x0802_0000, 0x1000);
/// Size of one redistributor (GICR): two frames of 64 KiB.
pub const REDISTRIBUTOR_BYTES: u64 = 0x2_0000;
/// GICv3: the redistributors of up to [`VCPUS`] vCPUs.
pub const REDISTRIBUTORS: GuestRange = range(0x080a_0000, REDISTRIBUTOR_BYTES * VCPUS as u64);
/// The serial port.
pub const UART: GuestRange = range(0x0900_0000, crate::uart::spec::SIZE);
/// The bridge's window for BARs.
pub const PCI_WINDOW: GuestRange = range(0x1000_0000, 0x2eff_0000);
/// The bridge's window for BARs of 64 bits: 256 GiB, in the upper half of what stage 2 translates.
pub const PCI_HIGH_WINDOW: GuestRange = range(0x40_0000_0000, 0x40_0000_0000);
/// The bridge's configuration space.
pub const ECAM: Ecam = match Ecam::new(GuestAddr::new(0x3f00_0000), 16) {
    Some(ecam) => ecam,
    None => panic!("16 buses fit below 4 GiB"),
};
/// Where the guest's RAM starts.
pub const RAM_BASE: GuestAddr = GuestAddr::new(0x4000_0000);
/// Most RAM of a guest in bytes: up to the high window.
pub const MAX_RAM: u64 = PCI_HIGH_WINDOW.start().get() - RAM_BASE.get();

/// Most vCPUs of a VM.
pub const VCPUS: usize = crossvm_arm::VcpuId::MAX;
/// Words of 32 shared interrupts.
pub const SPI_WORDS: usize = 4;
/// First of the shared interrupts that messages raise: SPI 64.
pub const FIRST_MESSAGE_IRQ: u32 = 96;
/// How many interrupts there are for messages: one for each connection.
pub const MESSAGE_IRQS: u16 = 64;
/// The serial port's interrupt: SPI 1.
pub const UART_IRQ: Irq = Irq::new(33);
/// First of the interrupts that connections get: SPI 3.
pub const FIRST_CONNECTION_IRQ: Irq = Irq::new(35);
/// How many interrupts there are for connections: one for each device number of the bus but the bridge's.
pub const CONNECTION_IRQS: u32 = 31;
/// The virtual timer's interrupt: PPI 11.
pub const VIRTUAL_TIMER: u32 = 27;
/// The physical timer's interrupt: PPI 14.
pub const PHYSICAL_TIMER: u32 = 30;
