//! The guest's device tree.

extern crate alloc;

use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;

use crossvm_arm::Version;
use crossvm_core::{GuestRange, Irq};
use crossvm_pci::PciBus;
use crossvm_pci::fdt::{InterruptParent, MessageController, bridge_node};
use vm_fdt::{Error, FdtWriter};

use super::SEED_BYTES;
use crate::map;

const GIC_PHANDLE: u32 = 1;
const CLOCK_PHANDLE: u32 = 2;
const MESSAGE_FRAME_PHANDLE: u32 = 3;
/// Interrupt types and flags of the GIC's binding.
const SPI: u32 = 0;
const PPI: u32 = 1;
const LEVEL_HIGH: u32 = 4;
/// Frequency of the serial port's clock in Hz; nobody measures it.
const UART_CLOCK: u32 = 24_000_000;

/// The interrupt controller, as the tree describes it, and where messages go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Controller {
    /// GICv2. Messages go to a `GICv2m` frame.
    V2,
    /// GICv3, whose distributor takes messages.
    V3,
    /// GICv3 whose distributor takes no messages, as KVM's. They go to a `GICv2m` frame, which guests accept where there is no ITS.
    V3WithFrame,
}

impl From<Version> for Controller {
    fn from(version: Version) -> Self {
        match version {
            Version::V2 => Self::V2,
            Version::V3 => Self::V3,
        }
    }
}

/// What differs from guest to guest.
#[derive(Debug)]
pub struct Description<'a, const F: usize> {
    /// How many vCPUs there are.
    pub vcpus: usize,
    /// Bytes of RAM.
    pub ram: u64,
    /// The kernel command line, as it is.
    pub command_line: &'a str,
    /// Where the initial RAM disk is.
    pub initrd: Option<GuestRange>,
    /// Random bytes, different at each boot; `None` where the VMM has none.
    pub seed: Option<&'a [u8; SEED_BYTES]>,
    /// The interrupt controller.
    pub gic: Controller,
    /// The bus with its connections.
    pub bus: &'a PciBus<F>,
}

/// The flattened device tree.
///
/// # Errors
/// What the writer reports: a command line with a zero byte in it.
pub fn device_tree<const F: usize>(guest: &Description<'_, F>) -> Result<Vec<u8>, Error> {
    let mut fdt = FdtWriter::new()?;
    let root = fdt.begin_node("")?;
    fdt.property_string("compatible", "linux,dummy-virt")?;
    fdt.property_string("model", "crossvm")?;
    fdt.property_u32("#address-cells", 2)?;
    fdt.property_u32("#size-cells", 2)?;
    fdt.property_u32("interrupt-parent", GIC_PHANDLE)?;
    chosen(&mut fdt, guest)?;
    memory(&mut fdt, guest.ram)?;
    cpus(&mut fdt, guest.vcpus)?;
    firmware(&mut fdt)?;
    timer(&mut fdt)?;
    interrupt_controller(&mut fdt, guest.gic)?;
    serial_port(&mut fdt)?;
    // A controller with a frame below it has addresses of its own.
    let (address_cells, messages) = match guest.gic {
        Controller::V2 | Controller::V3WithFrame => (2, MESSAGE_FRAME_PHANDLE),
        Controller::V3 => (0, GIC_PHANDLE),
    };
    let parent = InterruptParent { phandle: GIC_PHANDLE, address_cells, specifier };
    bridge_node(&mut fdt, guest.bus, map::ECAM, parent, Some(MessageController { phandle: messages }))?;
    fdt.end_node(root)?;
    fdt.finish()
}

/// The specifier of a shared, level-triggered interrupt.
fn specifier(irq: Irq) -> [u32; 3] {
    [SPI, irq.number().saturating_sub(32), LEVEL_HIGH]
}

fn chosen<const F: usize>(fdt: &mut FdtWriter, guest: &Description<'_, F>) -> Result<(), Error> {
    let node = fdt.begin_node("chosen")?;
    fdt.property_string("bootargs", guest.command_line)?;
    fdt.property_string("stdout-path", &format!("/{}", serial_name()))?;
    if let Some(initrd) = guest.initrd {
        fdt.property_u64("linux,initrd-start", initrd.start().get())?;
        fdt.property_u64("linux,initrd-end", initrd.last().get().saturating_add(1))?;
    }
    if let Some(seed) = guest.seed {
        fdt.property("rng-seed", seed)?;
    }
    fdt.end_node(node)
}

fn memory(fdt: &mut FdtWriter, ram: u64) -> Result<(), Error> {
    let node = fdt.begin_node(&format!("memory@{:x}", map::RAM_BASE))?;
    fdt.property_string("device_type", "memory")?;
    fdt.property_array_u64("reg", &[map::RAM_BASE.get(), ram])?;
    fdt.end_node(node)
}

fn cpus(fdt: &mut FdtWriter, vcpus: usize) -> Result<(), Error> {
    let cpus = fdt.begin_node("cpus")?;
    fdt.property_u32("#address-cells", 1)?;
    fdt.property_u32("#size-cells", 0)?;
    for number in (0..).take(vcpus) {
        let cpu = fdt.begin_node(&format!("cpu@{number:x}"))?;
        fdt.property_string("device_type", "cpu")?;
        fdt.property_string("compatible", "arm,armv8")?;
        fdt.property_string("enable-method", "psci")?;
        fdt.property_u32("reg", number)?;
        fdt.end_node(cpu)?;
    }
    fdt.end_node(cpus)
}

fn firmware(fdt: &mut FdtWriter) -> Result<(), Error> {
    let node = fdt.begin_node("psci")?;
    let compatible = ["arm,psci-1.0", "arm,psci-0.2"].map(|name| name.to_string());
    fdt.property_string_list("compatible", compatible.into())?;
    fdt.property_string("method", "hvc")?;
    fdt.end_node(node)
}

fn timer(fdt: &mut FdtWriter) -> Result<(), Error> {
    let node = fdt.begin_node("timer")?;
    fdt.property_string("compatible", "arm,armv8-timer")?;
    // Secure, physical, virtual, hypervisor: the binding wants all, the guest has the second and the third.
    let timers = [29u32, map::PHYSICAL_TIMER, map::VIRTUAL_TIMER, 26];
    let interrupts: Vec<u32> = timers.iter().flat_map(|id| [PPI, id.saturating_sub(16), LEVEL_HIGH]).collect();
    fdt.property_array_u32("interrupts", &interrupts)?;
    fdt.property_null("always-on")?;
    fdt.end_node(node)
}

fn interrupt_controller(fdt: &mut FdtWriter, controller: Controller) -> Result<(), Error> {
    let node = fdt.begin_node(&format!("intc@{:x}", map::DISTRIBUTOR.start()))?;
    fdt.property_null("interrupt-controller")?;
    fdt.property_u32("#interrupt-cells", 3)?;
    fdt.property_phandle(GIC_PHANDLE)?;
    let (binding, second) = match controller {
        Controller::V2 => ("arm,cortex-a15-gic", map::CPU_INTERFACE),
        Controller::V3 | Controller::V3WithFrame => ("arm,gic-v3", map::REDISTRIBUTORS),
    };
    fdt.property_string("compatible", binding)?;
    let frames: Vec<u64> = [map::DISTRIBUTOR, second].iter().flat_map(|range| [range.start().get(), range.size()]).collect();
    fdt.property_array_u64("reg", &frames)?;
    match controller {
        Controller::V3 => {
            fdt.property_null("msi-controller")?;
            fdt.property_array_u32("mbi-ranges", &[map::FIRST_MESSAGE_IRQ, map::MESSAGE_IRQS.into()])?;
        }
        Controller::V2 | Controller::V3WithFrame => {
            fdt.property_u32("#address-cells", 2)?;
            fdt.property_u32("#size-cells", 2)?;
            fdt.property_null("ranges")?;
            message_frame(fdt)?;
        }
    }
    fdt.end_node(node)
}

fn message_frame(fdt: &mut FdtWriter) -> Result<(), Error> {
    let frame = map::MESSAGE_FRAME;
    let node = fdt.begin_node(&format!("v2m@{:x}", frame.start()))?;
    fdt.property_string("compatible", "arm,gic-v2m-frame")?;
    fdt.property_null("msi-controller")?;
    fdt.property_array_u64("reg", &[frame.start().get(), frame.size()])?;
    fdt.property_u32("arm,msi-base-spi", map::FIRST_MESSAGE_IRQ)?;
    fdt.property_u32("arm,msi-num-spis", map::MESSAGE_IRQS.into())?;
    fdt.property_phandle(MESSAGE_FRAME_PHANDLE)?;
    fdt.end_node(node)
}

fn serial_name() -> alloc::string::String {
    format!("pl011@{:x}", map::UART.start())
}

fn serial_port(fdt: &mut FdtWriter) -> Result<(), Error> {
    let clock = fdt.begin_node("apb-pclk")?;
    fdt.property_string("compatible", "fixed-clock")?;
    fdt.property_u32("#clock-cells", 0)?;
    fdt.property_u32("clock-frequency", UART_CLOCK)?;
    fdt.property_phandle(CLOCK_PHANDLE)?;
    fdt.end_node(clock)?;
    let node = fdt.begin_node(&serial_name())?;
    let names = ["arm,pl011", "arm,primecell"].map(|name| name.to_string());
    fdt.property_string_list("compatible", names.into())?;
    fdt.property_array_u64("reg", &[map::UART.start().get(), map::UART.size()])?;
    fdt.property_array_u32("interrupts", &specifier(map::UART_IRQ))?;
    fdt.property_array_u32("clocks", &[CLOCK_PHANDLE, CLOCK_PHANDLE])?;
    let names = ["uartclk", "apb_pclk"].map(|name| name.to_string());
    fdt.property_string_list("clock-names", names.into())?;
    fdt.end_node(node)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossvm_core::GuestAddr;
    use crossvm_pci::HostBridge;

    /// An independent reader finds what a kernel looks for.
    #[test]
    fn a_kernel_finds_its_machine() {
        let bus: PciBus<4> = PciBus::new(HostBridge::default(), map::PCI_WINDOW);
        let seed = [9; SEED_BYTES];
        let initrd = GuestRange::new(GuestAddr::new(0x4f00_0000), 0x1_2345);
        let gic = Controller::V3;
        let guest = Description { vcpus: 3, gic, ram: 256 << 20, command_line: "crossvm.vm=a quiet", initrd, seed: Some(&seed), bus: &bus };
        let bytes = device_tree(&guest).unwrap();
        let tree = fdt::Fdt::new(&bytes).unwrap();

        assert_eq!(tree.chosen().bootargs(), Some("crossvm.vm=a quiet"));
        assert_eq!(tree.chosen().stdout().unwrap().name, "pl011@9000000");
        let chosen = tree.find_node("/chosen").unwrap();
        assert_eq!(chosen.property("linux,initrd-end").unwrap().value, 0x4f01_2345u64.to_be_bytes());
        assert_eq!(chosen.property("rng-seed").unwrap().value, seed);
        let region = tree.memory().regions().next().unwrap();
        assert_eq!((region.starting_address as u64, region.size), (0x4000_0000, Some(256 << 20)));
        let reg = |path: &str| tree.find_node(path).unwrap().reg().unwrap().next().unwrap().starting_address as u64;
        assert_eq!(reg("/pcie@3f000000"), 0x3f00_0000);
        assert_eq!(reg("/intc@8000000"), 0x0800_0000);
        // The affinities that MPIDR_EL1 has.
        assert_eq!(tree.cpus().map(|cpu| cpu.ids().first()).collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!(tree.find_node("/intc@8000000").unwrap().property("mbi-ranges").unwrap().value, [0, 0, 0, 96, 0, 0, 0, 64]);
        assert_eq!(tree.find_node("/psci").unwrap().property("method").unwrap().as_str(), Some("hvc"));
    }

    #[test]
    fn a_kernel_finds_its_frame_for_messages() {
        let bus: PciBus<4> = PciBus::new(HostBridge::default(), map::PCI_WINDOW);
        for (gic, binding, second) in
            [(Controller::V2, "arm,cortex-a15-gic", 0x0801_0000), (Controller::V3WithFrame, "arm,gic-v3", 0x080a_0000)]
        {
            let guest = Description { vcpus: 1, gic, ram: 64 << 20, command_line: "", initrd: None, seed: None, bus: &bus };
            let bytes = device_tree(&guest).unwrap();
            let tree = fdt::Fdt::new(&bytes).unwrap();
            let gic = tree.find_node("/intc@8000000").unwrap();
            assert_eq!(gic.compatible().unwrap().first(), binding);
            assert!(gic.property("mbi-ranges").is_none() && gic.property("msi-controller").is_none());
            let frames: Vec<_> = gic.reg().unwrap().map(|region| region.starting_address as u64).collect();
            assert_eq!(frames, [0x0800_0000, second]);
            let frame = tree.find_node("/intc@8000000/v2m@8020000").unwrap();
            assert_eq!(frame.property("arm,msi-base-spi").unwrap().as_usize(), Some(96));
            let phandle = frame.property("phandle").unwrap().value;
            let messages = tree.find_node("/pcie@3f000000").unwrap().property("msi-map").unwrap().value;
            assert_eq!(&messages[4..8], phandle);
        }
    }
}
