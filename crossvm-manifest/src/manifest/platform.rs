//! `[platform.NAME]`: what only one of the VM monitors has.

use super::diagnostic::Collector;
use super::table::Table;

/// The names of all platforms.
pub(super) const NAMES: [&str; 2] = ["el2", "kvm"];

/// The options of each platform; those of the others do not matter to one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Platforms {
    /// Our bare-metal hypervisor at EL2.
    pub el2: El2,
    /// The VMM on KVM.
    pub kvm: Kvm,
}

/// Options of the bare-metal hypervisor at EL2. What is not given is the command's choice.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct El2 {
    /// Interrupt controller of machine and guests.
    pub gic: Option<GicVersion>,
    /// Model of the emulated machine's CPUs.
    pub cpu: Option<String>,
}

/// Version of the Arm Generic Interrupt Controller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GicVersion {
    /// GICv2.
    V2,
    /// GICv3.
    V3,
}

/// Options of the VMM on KVM. What is not given is the command's choice.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Kvm {
    /// Who emulates the interrupt controllers of a PC.
    pub irqchip: Option<Irqchip>,
}

/// Who emulates the IOAPIC and the 8259. The local APICs are always the kernel's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Irqchip {
    /// The kernel.
    Kernel,
    /// The VMM.
    Split,
}

/// Reads the options of the VMM on KVM.
pub(super) fn kvm(found: &mut Collector<'_>, table: &Table<'_>) -> Kvm {
    table.only(found, &["irqchip"]);
    Kvm { irqchip: table.choice(found, "irqchip", &[("kernel", Irqchip::Kernel), ("split", Irqchip::Split)]) }
}

/// Reads the options of the EL2 hypervisor.
pub(super) fn el2(found: &mut Collector<'_>, table: &Table<'_>) -> El2 {
    table.only(found, &["gic", "cpu"]);
    let gic = table.number(found, "gic", (2, 3), "write `gic = 2` or `gic = 3`");
    El2 {
        gic: gic.map(|gic| if gic.value == 2 { GicVersion::V2 } else { GicVersion::V3 }),
        cpu: table.text(found, "cpu", "\"cortex-a72\"").map(|cpu| cpu.value.to_owned()),
    }
}
