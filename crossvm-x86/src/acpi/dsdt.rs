//! DSDT: what a guest cannot find out by itself (ACPI 6.5, §5.2.11.1).

use acpi_tables::Aml;
use acpi_tables::aml::{
    Arg, Device, EISAName, IO, Interrupt, Memory32Fixed, Method, Name, PackageBuilder, Path, ResourceTemplate, Scope, Store,
};
use acpi_tables::sdt::Sdt;
use alloc::vec;
use alloc::vec::Vec;

use super::{AcpiError, Machine, OEM, OEM_REVISION, OEM_TABLE, Serial, alloc, bridge};
use crate::spec::power::S5;

/// Bytes of a table's header.
const HEADER: u32 = 36;
/// Revision from which on integers have 64 bits.
const REVISION: u8 = 2;

pub(super) fn table(machine: &Machine<'_>) -> Result<Sdt, AcpiError> {
    let mut code = Vec::new();
    // The guest says which interrupt controllers it uses (§5.8.1): 0, the 8259 pair; 1, the IOAPIC.
    Name::new("PICM".into(), &0_u8).to_aml_bytes(&mut code);
    Method::new("_PIC".into(), 1, false, vec![&Store::new(&Path::new("PICM"), &Arg(0))]).to_aml_bytes(&mut code);
    sleep().to_aml_bytes(&mut code);
    bridge::scope(machine, &mut code)?;
    motherboard(machine, &mut code)?;
    if machine.serial == Serial::Com1 {
        serial(&mut code);
    }
    let mut table = Sdt::new(*b"DSDT", HEADER, REVISION, OEM, OEM_TABLE, OEM_REVISION);
    table.append_slice(&code);
    Ok(table)
}

/// How the guest switches the machine off (§7.4.2).
fn sleep() -> Name {
    let mut package = PackageBuilder::new();
    for element in [S5, S5, 0, 0] {
        package.add_element(&element);
    }
    Name::new("_S5_".into(), &package)
}

/// Configuration space belongs to the motherboard: guests use it only where they find it so.
fn motherboard(machine: &Machine<'_>, code: &mut Vec<u8>) -> Result<(), AcpiError> {
    let range = machine.ecam.range();
    let low =
        u32::try_from(range.start().get()).ok().zip(u32::try_from(range.size()).ok()).filter(|_| range.last().get() <= u64::from(u32::MAX));
    let fixed = low.map(|(base, size)| Memory32Fixed::new(true, base, size));
    let wide = bridge::memory(range)?;
    let resource: &dyn Aml = match &fixed {
        Some(fixed) => fixed,
        None => &wide,
    };
    let id = Name::new("_HID".into(), &EISAName::new("PNP0C02"));
    let number = Name::new("_UID".into(), &0_u8);
    let resources = Name::new("_CRS".into(), &ResourceTemplate::new(vec![resource]));
    let device = Device::new("MBRD".into(), vec![&id, &number, &resources]);
    Scope::new("_SB_".into(), vec![&device]).to_aml_bytes(code);
    Ok(())
}

fn serial(code: &mut Vec<u8>) {
    let id = Name::new("_HID".into(), &EISAName::new("PNP0501"));
    let number = Name::new("_UID".into(), &1_u8);
    let ports = IO::new(0x3f8, 0x3f8, 1, 8);
    // An edge, active high, shared with nobody.
    let interrupt = Interrupt::new(true, true, false, false, 4);
    let resources = Name::new("_CRS".into(), &ResourceTemplate::new(vec![&ports, &interrupt]));
    let device = Device::new("COM1".into(), vec![&id, &number, &resources]);
    Scope::new("_SB_".into(), vec![&device]).to_aml_bytes(code);
}
