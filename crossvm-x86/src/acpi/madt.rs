//! MADT: local APICs, the IOAPIC, and how the lines of ISA differ from what is usual (ACPI 6.5, §5.2.12).

use acpi_tables::Aml;
use acpi_tables::madt::{EnabledStatus, IoApic, ProcessorLocalApic};
use acpi_tables::sdt::Sdt;
use alloc::vec::Vec;
use crossvm_core::Irq;

use super::{AcpiError, Machine, OEM, OEM_REVISION, OEM_TABLE, alloc};
use crate::{PicIrq, Routing, SCI};

/// Bytes before the first structure.
const HEADER: u32 = 44;
/// Where the local APICs' registers are (§5.2.12).
const LOCAL_APIC: u32 = 0xfee0_0000;
/// There is a pair of 8259 as well.
const PCAT_COMPATIBLE: u32 = 1;
/// Identifier of the IOAPIC. Guests may give it another.
const IOAPIC_ID: u8 = 0;

/// Types of structures that the crate `acpi_tables` does not have.
const INTERRUPT_SOURCE_OVERRIDE: u8 = 2;
const LOCAL_APIC_NMI: u8 = 4;
/// All processors.
const EVERY_PROCESSOR: u8 = 0xff;

/// Flags of a line (§5.2.12.5): as is usual on its bus.
const AS_THE_BUS: u16 = 0;
/// Active high and level-triggered.
const HIGH_LEVEL: u16 = 0b1101;

pub(super) fn table(machine: &Machine<'_>) -> Result<Sdt, AcpiError> {
    let ioapic = u32::try_from(machine.ioapic.get()).map_err(|_| AcpiError::IoApicTooHigh { at: machine.ioapic })?;
    let mut structures = Vec::new();
    for id in 0..machine.vcpus {
        ProcessorLocalApic::new(id, id, EnabledStatus::Enabled).to_aml_bytes(&mut structures);
    }
    IoApic::new(IOAPIC_ID, ioapic, 0).to_aml_bytes(&mut structures);
    // As on every PC, the timer's line (0) ends at another pin, and the one of ACPI is a level.
    for (irq, flags) in [(Irq::new(0), AS_THE_BUS), (SCI, HIGH_LEVEL)] {
        structures.extend(line(machine.routing, irq, flags));
    }
    // Pin 1 of each local APIC.
    structures.extend([LOCAL_APIC_NMI, 6, EVERY_PROCESSOR, 0, 0, 1]);

    let mut table = Sdt::new(*b"APIC", HEADER, 5, OEM, OEM_TABLE, OEM_REVISION);
    table.write_u32(36, LOCAL_APIC);
    table.write_u32(40, PCAT_COMPATIBLE);
    table.append_slice(&structures);
    Ok(table)
}

/// Where an input of the 8259 pair ends at the IOAPIC, and how it is triggered there.
fn line(routing: Routing, irq: Irq, flags: u16) -> Vec<u8> {
    let inputs = routing.inputs(irq, 24);
    let (Some(source), Some(pin)) = (inputs.and_then(|inputs| inputs.pic), inputs.and_then(|inputs| inputs.ioapic)) else {
        return Vec::new();
    };
    let mut structure = alloc::vec![INTERRUPT_SOURCE_OVERRIDE, 10, 0, PicIrq::number(source)];
    structure.extend(u32::from(pin.number()).to_le_bytes());
    structure.extend(flags.to_le_bytes());
    structure
}
