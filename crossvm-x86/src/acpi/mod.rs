//! ACPI tables of a PC whose interrupt controllers are those of this crate (ACPI 6.5). They are made before the guest starts.
//!
//! | table | says |
//! | --- | --- |
//! | RSDP, XSDT | where the others are |
//! | FADT, FACS | ports of power management and reset; no keyboard controller, no VGA, no real-time clock |
//! | MADT | a local APIC for each vCPU, the IOAPIC, and where the timer's and ACPI's interrupts end |
//! | MCFG | configuration space as memory |
//! | DSDT | the host bridge with its windows and lines, configuration space as a motherboard resource, COM1, S5 |
//!
//! ```
//! use crossvm_core::{GuestAddr, GuestRange};
//! use crossvm_pci::Ecam;
//! use crossvm_x86::acpi::{Machine, PowerPorts, ResetPort, Serial, Tables};
//! use crossvm_x86::{PciLine, PciLines, Routing};
//!
//! let window = GuestRange::new(GuestAddr::new(0xc000_0000), 0x2000_0000).unwrap();
//! let machine = Machine {
//!     vcpus: 2,
//!     ioapic: GuestAddr::new(0xfec0_0000),
//!     ecam: Ecam::new(GuestAddr::new(0xe000_0000), 1).unwrap(),
//!     windows: &[window],
//!     routing: Routing::PC,
//!     lines: PciLines::rotating(),
//!     power: PowerPorts { event: 0x600, control: 0x604 },
//!     reset: ResetPort { port: 0x64, value: 0xfe },
//!     serial: Serial::Com1,
//! };
//! // Where a PC's firmware would have them. Linux also takes the address of the RSDP from its boot parameters.
//! let tables = Tables::build(&machine, GuestAddr::new(0xe_0000))?;
//! assert_eq!(tables.rsdp(), GuestAddr::new(0xe_0000));
//! assert!(tables.bytes().starts_with(b"RSD PTR "));
//! # Ok::<(), crossvm_x86::acpi::AcpiError>(())
//! ```

extern crate alloc;

mod bridge;
mod dsdt;
mod error;
mod fixed;
mod madt;

use alloc::vec::Vec;

use acpi_tables::Aml;
use acpi_tables::facs::FACS;
use acpi_tables::mcfg::MCFG;
use acpi_tables::rsdp::Rsdp;
use acpi_tables::xsdt::XSDT;
use crossvm_core::{GuestAddr, GuestRange};
use crossvm_pci::Ecam;

pub use self::error::AcpiError;

use crate::{PciLines, Routing};

/// Who has made the tables.
const OEM: [u8; 6] = *b"XVMVMM";
/// What they are of.
const OEM_TABLE: [u8; 8] = *b"CROSSVM ";
const OEM_REVISION: u32 = 1;

/// What the tables describe. Addresses and ports are the VMM's to serve.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Machine<'a> {
    /// How many vCPUs there are, 1 to 254. Their local APICs have the identifiers from 0 on.
    pub vcpus: u8,
    /// First byte of the IOAPIC's registers, below 4 GiB. Its first pin is GSI 0, its identifier is 0.
    pub ioapic: GuestAddr,
    /// Configuration space as memory. Guests also find it by the ports 0xcf8 to 0xcff.
    pub ecam: Ecam,
    /// Addresses for BARs, as the bus has them.
    pub windows: &'a [GuestRange],
    /// Where the lines end.
    pub routing: Routing,
    /// The line of each device's interrupt pin A.
    pub lines: PciLines,
    /// Ports of power management: served by [`PowerManagement`](crate::PowerManagement).
    pub power: PowerPorts,
    /// How the guest resets the machine.
    pub reset: ResetPort,
    /// Whether there is a serial port.
    pub serial: Serial,
}

/// I/O ports of power management (ACPI 6.5, §4.8.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct PowerPorts {
    /// First of the four of PM1a's status and enable registers.
    pub event: u16,
    /// First of the two of PM1a's control register.
    pub control: u16,
}

/// I/O port that resets the machine (ACPI 6.5, §4.8.3.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ResetPort {
    /// The port, of one byte.
    pub port: u16,
    /// What the guest writes there.
    pub value: u8,
}

/// Whether there is a serial port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Serial {
    /// None.
    None,
    /// A 16550 at the ports 0x3f8 to 0x3ff with GSI 4.
    Com1,
}

/// The tables in one block of guest memory, which the guest must find reserved: the RSDP first, the others behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tables {
    bytes: Vec<u8>,
    range: GuestRange,
    places: [GuestRange; 6],
}

#[cfg(feature = "defmt")]
impl defmt::Format for Tables {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "ACPI tables at {}", self.range);
    }
}

impl Tables {
    /// Alignment of the block in bytes.
    pub const ALIGNMENT: u64 = 64;

    /// The tables of `machine`, for the guest-physical address `at`.
    ///
    /// Copy [`bytes`](Self::bytes) there, and give the guest [`rsdp`](Self::rsdp) where it does not look for it itself (as it does on 16-byte
    /// boundaries from 0xe0000 to 0xfffff).
    ///
    /// # Errors
    /// [`AcpiError`]; of kind [`Misaligned`](crossvm_core::ErrorKind::Misaligned) where `at` is no multiple of [`ALIGNMENT`](Self::ALIGNMENT),
    /// else [`OutOfRange`](crossvm_core::ErrorKind::OutOfRange).
    pub fn build(machine: &Machine<'_>, at: GuestAddr) -> Result<Self, AcpiError> {
        error::check(machine, at)?;
        let mut block = Block { bytes: alloc::vec![0; Rsdp::len()], at };
        let facs = block.push(&FACS::new())?;
        let dsdt = block.push(&dsdt::table(machine)?)?;
        let fadt = block.push(&fixed::table(machine, facs, dsdt)?)?;
        let madt = block.push(&madt::table(machine)?)?;
        let mcfg = block.push(&mcfg(machine.ecam)?)?;
        let mut xsdt = XSDT::new(OEM, OEM_TABLE, OEM_REVISION);
        [fadt, madt, mcfg].iter().for_each(|table| xsdt.add_entry(table.start().get()));
        let xsdt = block.push(&xsdt)?;
        block.set_root(&Rsdp::new(OEM, xsdt.start().get()));
        let range = block.range(0)?;
        if range.last().get() > u64::from(u32::MAX) {
            return Err(AcpiError::TooHigh { at });
        }
        Ok(Self { bytes: block.bytes, range, places: [xsdt, fadt, facs, dsdt, madt, mcfg] })
    }

    /// What to copy to the guest's memory.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Where to.
    #[must_use]
    pub const fn range(&self) -> GuestRange {
        self.range
    }

    /// Address of the RSDP.
    #[must_use]
    pub const fn rsdp(&self) -> GuestAddr {
        self.range.start()
    }

    /// The tables without the RSDP, each with its signature.
    pub fn tables(&self) -> impl Iterator<Item = ([u8; 4], &[u8])> {
        self.places.iter().filter_map(|place| {
            let from = usize::try_from(place.start().offset_from(self.range.start())?).ok()?;
            let table = self.bytes.get(from..)?.get(..usize::try_from(place.size()).ok()?)?;
            Some((*table.first_chunk()?, table))
        })
    }
}

/// Tables one behind the other.
struct Block {
    bytes: Vec<u8>,
    at: GuestAddr,
}

impl Block {
    /// Appends a table, and tells where it is.
    fn push(&mut self, table: &dyn Aml) -> Result<GuestRange, AcpiError> {
        let start = self.bytes.len().next_multiple_of(64);
        self.bytes.resize(start, 0);
        table.to_aml_bytes(&mut self.bytes);
        self.range(start)
    }

    fn set_root(&mut self, rsdp: &Rsdp) {
        let mut bytes = Vec::new();
        rsdp.to_aml_bytes(&mut bytes);
        self.bytes.iter_mut().zip(bytes).for_each(|(place, byte)| *place = byte);
    }

    /// What is there from `start` on.
    fn range(&self, start: usize) -> Result<GuestRange, AcpiError> {
        let too_high = AcpiError::TooHigh { at: self.at };
        let offset = u64::try_from(start).ok().and_then(|start| self.at.get().checked_add(start)).ok_or(too_high)?;
        let size = u64::try_from(self.bytes.len().saturating_sub(start)).map_err(|_| too_high)?;
        GuestRange::new(GuestAddr::new(offset), size).ok_or(too_high)
    }
}

fn mcfg(ecam: Ecam) -> Result<MCFG, AcpiError> {
    let mut table = MCFG::new(OEM, OEM_TABLE, OEM_REVISION);
    table.add_ecam(ecam.range().start().get(), 0, 0, last_bus(ecam)?);
    Ok(table)
}

/// Number of the last bus.
fn last_bus(ecam: Ecam) -> Result<u8, AcpiError> {
    ecam.buses().checked_sub(1).and_then(|last| u8::try_from(last).ok()).ok_or(AcpiError::Buses { buses: ecam.buses() })
}
