//! What the host's device tree says about the machine.

use core::fmt;

use fdt::Fdt;
use fdt::node::FdtNode;
use heapless::{String, Vec};

use super::{HostAddr, HostRange};

/// Most CPUs that the VMM can use: one for each vCPU.
pub const MAX_CPUS: usize = 16;
/// Most ranges of RAM.
const MAX_RAM: usize = 8;
/// Longest boot arguments that are read, in bytes.
const MAX_BOOT_ARGUMENTS: usize = 256;

/// Number of a CPU as the VMM counts them: its place in the device tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CpuId(u8);

impl CpuId {
    /// The CPU that the VMM was started on.
    pub const BOOT: Self = Self(0);

    /// CPU `number`.
    #[must_use]
    pub const fn new(number: u8) -> Self {
        Self(number)
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }
}

impl fmt::Display for CpuId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Affinity of a CPU: the affinity fields of MPIDR_EL1, all else zero. PSCI and the interrupt controller name a CPU by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Mpidr(u64);

impl Mpidr {
    /// The affinity fields of `register` (Arm DDI 0487, MPIDR_EL1: Aff3 in bits 39:32, Aff2 to Aff0 in bits 23:0).
    #[must_use]
    pub const fn new(register: u64) -> Self {
        Self(register & 0xff_00ff_ffff)
    }

    /// The fields in the register's layout.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The fields side by side, as GICR_TYPER has them: Aff3 in bits 31:24, Aff0 in bits 7:0.
    #[must_use]
    pub const fn packed(self) -> u32 {
        let [aff0, aff1, aff2, _, aff3, ..] = self.0.to_le_bytes();
        u32::from_le_bytes([aff0, aff1, aff2, aff3])
    }
}

/// A CPU of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cpu {
    /// The VMM's number for it.
    pub id: CpuId,
    /// The machine's number for it.
    pub mpidr: Mpidr,
}

/// The physical interrupt controller: where its registers are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostGic {
    /// GICv2 with virtualization.
    V2 {
        /// GICD.
        distributor: HostRange,
        /// GICC.
        cpu_interface: HostRange,
        /// GICH.
        hypervisor_interface: HostRange,
        /// GICV.
        virtual_interface: HostRange,
    },
    /// GICv3.
    V3 {
        /// GICD.
        distributor: HostRange,
        /// GICR, all of them.
        redistributors: HostRange,
    },
}

impl HostGic {
    /// The registers that the VMM uses itself.
    pub fn registers(self) -> impl Iterator<Item = HostRange> {
        match self {
            Self::V2 { distributor, cpu_interface, hypervisor_interface, .. } => {
                [Some(distributor), Some(cpu_interface), Some(hypervisor_interface)]
            }
            Self::V3 { distributor, redistributors } => [Some(distributor), Some(redistributors), None],
        }
        .into_iter()
        .flatten()
    }
}

/// What the VMM must know about the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// All RAM.
    pub ram: Vec<HostRange, MAX_RAM>,
    /// The first [`MAX_CPUS`] CPUs.
    pub cpus: Vec<Cpu, MAX_CPUS>,
    /// The interrupt controller.
    pub gic: HostGic,
    /// The serial port: a PL011.
    pub uart: HostRange,
    /// The serial port's shared peripheral interrupt, as an INTID.
    pub uart_interrupt: u32,
    /// The VMM's own command line.
    pub boot_arguments: String<MAX_BOOT_ARGUMENTS>,
    /// Random bytes that the firmware gave, to derive the guests' seeds from; empty where it gave none.
    pub seed: Vec<u8, 64>,
}

/// What is wrong with the host's device tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum DescribeError {
    /// There is no device tree at the address.
    NotATree,
    /// No RAM, or in more ranges than the VMM can keep.
    Ram,
    /// No CPU.
    Cpus,
    /// No GICv2 and no GICv3.
    InterruptController,
    /// A GICv2 without what guests need.
    NoVirtualInterface,
    /// No PL011 with an interrupt.
    Uart,
    /// The command line is longer than the VMM can keep.
    BootArguments,
}

impl fmt::Display for DescribeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotATree => "no device tree at the base of RAM: start the VMM as an ELF kernel of QEMU's virt machine",
            Self::Ram => "the device tree names no RAM, or more than 8 ranges",
            Self::Cpus => "the device tree names no CPU",
            Self::InterruptController => "no GICv2 or GICv3 in the device tree: start QEMU with -M virt,gic-version=2 or 3",
            Self::NoVirtualInterface => "the GICv2 has no virtual CPU interface: start QEMU with -M virt,virtualization=on",
            Self::Uart => "no PL011 with an interrupt in the device tree",
            Self::BootArguments => "the VMM's command line is longer than 256 bytes",
        })
    }
}

impl core::error::Error for DescribeError {}

impl Machine {
    /// Reads the flattened device tree `tree`.
    ///
    /// # Errors
    /// What is missing.
    pub fn describe(tree: &[u8]) -> Result<Self, DescribeError> {
        let tree = Fdt::new(tree).map_err(|_| DescribeError::NotATree)?;
        let uart = tree.find_compatible(&["arm,pl011"]).ok_or(DescribeError::Uart)?;
        let chosen = tree.find_node("/chosen");
        let arguments = chosen.and_then(|node| node.property("bootargs")).and_then(|property| property.as_str()).unwrap_or("");
        let seed = chosen.and_then(|node| node.property("rng-seed")).map_or(&[][..], |property| property.value);
        Ok(Self {
            ram: ram(&tree)?,
            cpus: cpus(&tree)?,
            gic: gic(&tree)?,
            uart: range(uart, 0).ok_or(DescribeError::Uart)?,
            uart_interrupt: shared_interrupt(uart).ok_or(DescribeError::Uart)?,
            boot_arguments: String::try_from(arguments).map_err(|_| DescribeError::BootArguments)?,
            seed: Vec::from_slice(seed.get(..64).unwrap_or(seed)).unwrap_or_default(),
        })
    }
}

fn gic(tree: &Fdt<'_>) -> Result<HostGic, DescribeError> {
    if let Some(node) = tree.find_compatible(&["arm,gic-v3"]) {
        let registers = range(node, 0).zip(range(node, 1));
        let (distributor, redistributors) = registers.ok_or(DescribeError::InterruptController)?;
        return Ok(HostGic::V3 { distributor, redistributors });
    }
    let node = tree.find_compatible(&["arm,cortex-a15-gic", "arm,gic-400"]).ok_or(DescribeError::InterruptController)?;
    let (distributor, cpu_interface) = range(node, 0).zip(range(node, 1)).ok_or(DescribeError::InterruptController)?;
    let (hypervisor_interface, virtual_interface) = range(node, 2).zip(range(node, 3)).ok_or(DescribeError::NoVirtualInterface)?;
    Ok(HostGic::V2 { distributor, cpu_interface, hypervisor_interface, virtual_interface })
}

fn ram(tree: &Fdt<'_>) -> Result<Vec<HostRange, MAX_RAM>, DescribeError> {
    let mut ram = Vec::new();
    for node in tree.all_nodes().filter(|node| node.name.split('@').next() == Some("memory")) {
        for index in 0..=MAX_RAM {
            let Some(range) = range(node, index) else { break };
            ram.push(range).map_err(|_| DescribeError::Ram)?;
        }
    }
    if ram.is_empty() { Err(DescribeError::Ram) } else { Ok(ram) }
}

fn cpus(tree: &Fdt<'_>) -> Result<Vec<Cpu, MAX_CPUS>, DescribeError> {
    let nodes = tree.all_nodes().filter(|node| node.property("device_type").and_then(|property| property.as_str()) == Some("cpu"));
    let affinity = |node: FdtNode<'_, '_>| {
        let reg = node.property("reg")?.value;
        let value = reg.iter().take(8).fold(0, |value: u64, byte| value << 8 | u64::from(*byte));
        Some(Mpidr::new(value))
    };
    let cpus: Vec<Cpu, MAX_CPUS> =
        (0..).zip(nodes.filter_map(affinity)).map(|(number, mpidr)| Cpu { id: CpuId::new(number), mpidr }).take(MAX_CPUS).collect();
    if cpus.is_empty() { Err(DescribeError::Cpus) } else { Ok(cpus) }
}

fn range(node: FdtNode<'_, '_>, index: usize) -> Option<HostRange> {
    let region = node.reg()?.nth(index)?;
    HostRange::new(HostAddr::new(region.starting_address.addr() as u64), region.size? as u64)
}

/// The INTID of a node's first interrupt, if that is a shared one: `<0 number flags>` (devicetree binding of the GICv3).
fn shared_interrupt(node: FdtNode<'_, '_>) -> Option<u32> {
    let cells = node.property("interrupts")?.value.as_chunks::<4>().0;
    let [kind, number] = [cells.first()?, cells.get(1)?].map(|cell| u32::from_be_bytes(*cell));
    if kind == 0 { number.checked_add(32) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec as List;
    use vm_fdt::FdtWriter;

    /// A tree as QEMU's `virt` machine gives it, as far as the VMM looks; `leave_out` names a node to be missing.
    fn tree(leave_out: &str) -> List<u8> {
        let mut fdt = FdtWriter::new().unwrap();
        let root = fdt.begin_node("").unwrap();
        fdt.property_u32("#address-cells", 2).unwrap();
        fdt.property_u32("#size-cells", 2).unwrap();
        let mut node = |name: &str, fill: &dyn Fn(&mut FdtWriter)| {
            if name.split('@').next() != Some(leave_out) {
                let node = fdt.begin_node(name).unwrap();
                fill(&mut fdt);
                fdt.end_node(node).unwrap();
            }
        };
        node("chosen", &|fdt| {
            fdt.property_string("bootargs", "crossvm.topology=0x42000000,0x100").unwrap();
            fdt.property("rng-seed", &[3; 32]).unwrap();
        });
        node("memory@40000000", &|fdt| {
            fdt.property_string("device_type", "memory").unwrap();
            fdt.property_array_u64("reg", &[0x4000_0000, 0x4000_0000]).unwrap();
        });
        node("pl011@9000000", &|fdt| {
            fdt.property_string_list("compatible", ["arm,pl011", "arm,primecell"].map(Into::into).into()).unwrap();
            fdt.property_array_u64("reg", &[0x0900_0000, 0x1000]).unwrap();
            fdt.property_array_u32("interrupts", &[0, 1, 4]).unwrap();
        });
        node("intc@8000000", &|fdt| {
            fdt.property_string("compatible", "arm,gic-v3").unwrap();
            fdt.property_array_u64("reg", &[0x0800_0000, 0x1_0000, 0x080a_0000, 0xf6_0000]).unwrap();
        });
        node("cpus", &|fdt| {
            fdt.property_u32("#address-cells", 1).unwrap();
            fdt.property_u32("#size-cells", 0).unwrap();
            for number in [0u32, 1, 0x100] {
                let cpu = fdt.begin_node(&std::format!("cpu@{number:x}")).unwrap();
                fdt.property_string("device_type", "cpu").unwrap();
                fdt.property_u32("reg", number).unwrap();
                fdt.end_node(cpu).unwrap();
            }
        });
        fdt.end_node(root).unwrap();
        fdt.finish().unwrap()
    }

    #[test]
    fn a_machine_is_described_by_its_tree() {
        let machine = Machine::describe(&tree("")).unwrap();
        let range = |start, size| HostRange::new(HostAddr::new(start), size).unwrap();
        assert_eq!(machine.ram[..], [range(0x4000_0000, 0x4000_0000)]);
        assert_eq!(machine.cpus.iter().map(|cpu| (cpu.id.get(), cpu.mpidr.get())).collect::<List<_>>(), [(0, 0), (1, 1), (2, 0x100)]);
        let gic = HostGic::V3 { distributor: range(0x0800_0000, 0x1_0000), redistributors: range(0x080a_0000, 0xf6_0000) };
        assert_eq!(machine.gic, gic);
        assert_eq!((machine.uart, machine.uart_interrupt), (range(0x0900_0000, 0x1000), 33));
        assert_eq!(machine.boot_arguments, "crossvm.topology=0x42000000,0x100");
        assert_eq!(machine.seed[..], [3; 32]);
    }

    #[test]
    fn a_gicv2_is_found_where_it_has_all_of_its_interfaces() {
        let range = |start| HostRange::new(HostAddr::new(start), 0x1_0000).unwrap();
        let reg = [0x0800_0000u64, 0x0801_0000, 0x0803_0000, 0x0804_0000];
        let machine = |count: usize| {
            let mut fdt = FdtWriter::new().unwrap();
            let root = fdt.begin_node("").unwrap();
            fdt.property_u32("#address-cells", 2).unwrap();
            fdt.property_u32("#size-cells", 2).unwrap();
            let node = fdt.begin_node("intc@8000000").unwrap();
            fdt.property_string("compatible", "arm,cortex-a15-gic").unwrap();
            let reg: List<u64> = reg[..count].iter().flat_map(|start| [*start, 0x1_0000]).collect();
            fdt.property_array_u64("reg", &reg).unwrap();
            fdt.end_node(node).unwrap();
            fdt.end_node(root).unwrap();
            gic(&Fdt::new(&fdt.finish().unwrap()).unwrap())
        };
        let [distributor, cpu_interface, hypervisor_interface, virtual_interface] = reg.map(range);
        assert_eq!(machine(4), Ok(HostGic::V2 { distributor, cpu_interface, hypervisor_interface, virtual_interface }));
        assert_eq!(machine(2), Err(DescribeError::NoVirtualInterface));
        assert_eq!(machine(1), Err(DescribeError::InterruptController));
    }

    #[test]
    fn says_what_is_missing() {
        assert_eq!(Machine::describe(&[]), Err(DescribeError::NotATree));
        assert_eq!(Machine::describe(&[0; 64]), Err(DescribeError::NotATree));
        for (missing, error) in [
            ("memory", DescribeError::Ram),
            ("cpus", DescribeError::Cpus),
            ("intc", DescribeError::InterruptController),
            ("pl011", DescribeError::Uart),
        ] {
            assert_eq!(Machine::describe(&tree(missing)), Err(error));
        }
        let machine = Machine::describe(&tree("chosen")).unwrap();
        assert!(machine.boot_arguments.is_empty() && machine.seed.is_empty());
    }

    #[test]
    fn affinities_are_packed_as_the_redistributor_has_them() {
        let mpidr = Mpidr::new(0x8000_0012_8103_0201);
        assert_eq!(mpidr.get(), 0x12_0003_0201);
        assert_eq!(mpidr.packed(), 0x1203_0201);
    }
}
