//! The interrupt controller that a run's guests see.

use std::fmt;

use clap::ValueEnum;
use crossvm_manifest::manifest;

use super::Gic;

/// Who emulates the IOAPIC and the 8259 on KVM. The local APICs are always the kernel's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Irqchip {
    /// The kernel
    #[default]
    Kernel,
    /// kvm-vmm, with crossvm-x86
    Split,
}

impl Irqchip {
    /// Its name as a flag of kvm-vmm.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::Split => "split",
        }
    }
}

impl From<manifest::Irqchip> for Irqchip {
    fn from(irqchip: manifest::Irqchip) -> Self {
        match irqchip {
            manifest::Irqchip::Kernel => Self::Kernel,
            manifest::Irqchip::Split => Self::Split,
        }
    }
}

/// The interrupt controller that guests see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interrupts {
    /// Arm's.
    Gic(Gic),
    /// A PC's.
    Pc {
        /// Who emulates it.
        irqchip: Irqchip,
        /// The guests are told not to use the IOAPIC: lines come through the 8259.
        noapic: bool,
    },
}

impl Interrupts {
    /// What tells its runs from others', in names of files.
    pub(crate) fn mark(self) -> String {
        match self {
            Self::Gic(gic) => format!("gic{gic}"),
            Self::Pc { irqchip, noapic: false } => irqchip.name().to_owned(),
            Self::Pc { irqchip, noapic: true } => format!("{}-noapic", irqchip.name()),
        }
    }

    /// The version of Arm's controller.
    pub(crate) fn gic(self) -> Option<Gic> {
        match self {
            Self::Gic(gic) => Some(gic),
            Self::Pc { .. } => None,
        }
    }

    /// The kernel's command line for guests that see it: `line`, and what it takes.
    pub(crate) fn command_line(self, line: &str) -> String {
        match self {
            Self::Pc { noapic: true, .. } => format!("{line} noapic").trim_start().to_owned(),
            _ => line.to_owned(),
        }
    }
}

impl fmt::Display for Interrupts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gic(gic) => write!(f, "a GICv{gic}"),
            Self::Pc { irqchip, noapic } => {
                let owner = if *irqchip == Irqchip::Kernel { "the kernel's" } else { "kvm-vmm's" };
                let controller = if *noapic { "8259 (noapic)" } else { "IOAPIC" };
                write!(f, "{owner} {controller}")
            }
        }
    }
}
