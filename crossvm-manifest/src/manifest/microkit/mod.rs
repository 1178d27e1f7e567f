//! A manifest as a system of seL4's Microkit: its description in XML, and what each program of it must know. Needs the feature `microkit`.
//!
//! ```text
//!   Manifest ──check──▶ names, channels, room ──layout──▶ System ──xml──▶ the description, for the tool
//!                └▶ Diagnostics                              └──────────▶ a FixedPeer for each program, as a file
//! ```
//!
//! Every VM gets a protection domain of its own, its VM monitor, with the VM in it; every component one, too. A connection becomes a channel, and a
//! memory region for each dataport, which the guest has in its address space from the start: nothing is mapped later. A monitor does not
//! have the dataports of its own guest.
//!
//! The rules are those of Microkit 2.3 for AArch64.

mod check;
mod layout;
mod spec;
mod system;
mod xml;

use std::fmt;

pub use system::{Channel, Image, Irq, Machine, Map, Permissions, Program, Region, System};

use super::diagnostic::Collector;
use super::{Diagnostics, Manifest, Source};

/// What the board has, and what the programs are called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The VM monitor's program image.
    pub monitor: String,
    /// Physical address of the GICv2's virtual CPU interface (GICV), which guests have as their CPU interface. `None`: the board has a GICv3.
    pub gicv: Option<u64>,
    /// The serial port that the first VM's monitor gets. `None`: nobody has one.
    pub console: Option<Console>,
}

/// A serial port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Console {
    /// Physical address of its registers, one page.
    pub address: u64,
    /// Number of its interrupt.
    pub irq: u32,
}

impl Options {
    /// What Microkit's board `qemu_virt_aarch64` has.
    #[must_use]
    pub fn qemu_virt_aarch64() -> Self {
        Self { gicv: Some(0x0804_0000), console: Some(Console { address: 0x0900_0000, irq: 33 }), ..Self::other() }
    }

    /// A board with neither.
    #[must_use]
    pub fn other() -> Self {
        Self { monitor: "vmm.elf".to_owned(), gicv: None, console: None }
    }

    fn check(&self) -> Result<(), Unusable> {
        let pages = [("the GICV", self.gicv), ("the console", self.console.map(|console| console.address))];
        for (what, address) in pages {
            if let Some(address) = address.filter(|address| !address.is_multiple_of(spec::SMALL_PAGE)) {
                return Err(Unusable(format!("{what} at {address:#x} is at no multiple of a page, {:#x}", spec::SMALL_PAGE)));
            }
        }
        match (self.gicv, self.console) {
            (Some(gicv), Some(console)) if gicv == console.address => {
                Err(Unusable(format!("the GICV and the console cannot both be at {gicv:#x}")))
            }
            _ => Ok(()),
        }
    }
}

/// Options that no board can have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unusable(String);

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Unusable {}

/// Why there is no system.
#[derive(Debug, Clone)]
pub enum Refused {
    /// What the manifest asks for cannot be.
    Manifest(Diagnostics),
    /// What the options say cannot be.
    Options(Unusable),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Manifest(diagnostics) => diagnostics.fmt(f),
            Self::Options(unusable) => unusable.fmt(f),
        }
    }
}

impl std::error::Error for Refused {}

impl Manifest {
    /// The Microkit system that the manifest describes. `source` is what it was read from.
    ///
    /// # Errors
    /// Everything that Microkit has no room or no name for.
    pub fn microkit(&self, source: &Source, options: &Options) -> Result<System, Refused> {
        options.check().map_err(Refused::Options)?;
        let mut found = Collector::new(source);
        check::check(&mut found, self, options);
        let system = layout::system(&mut found, self, options);
        found.finish(()).map_err(Refused::Manifest)?;
        // Without a system there was a report.
        system.ok_or_else(|| Refused::Options(Unusable("there is no room for the system".to_owned())))
    }
}
