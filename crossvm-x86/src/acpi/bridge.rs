//! The host bridge in the DSDT: its resources, what the guest may control, its lines (PCI Firmware Specification 3.3, §4).

use acpi_tables::Aml;
use acpi_tables::aml::{
    AddressSpace, AddressSpaceCacheable, Arg, CreateDWordField, Device, EISAName, Else, Equal, IO, If, Method, Name, NotEqual, Or,
    PackageBuilder, Path, ResourceTemplate, Return, Scope, Uuid, ZERO,
};
use alloc::vec;
use alloc::vec::Vec;
use crossvm_core::GuestRange;

use super::{AcpiError, Machine, alloc, last_bus};
use crate::{PciLine, PciLines};

/// Whose capabilities `_OSC` is asked for: a PCI host bridge's (PCI Firmware Specification, §4.5).
const HOST_BRIDGE: &str = "33DB4D5B-1FF7-401C-9657-7441C03DD766";
/// Answers in the first dword of `_OSC` (ACPI 6.5, §6.2.11): not for a host bridge, and not this revision.
const UNRECOGNIZED_UUID: u8 = 1 << 2;
const UNRECOGNIZED_REVISION: u8 = 1 << 3;

/// Appends the scope of the bridge.
pub(super) fn scope(machine: &Machine<'_>, code: &mut Vec<u8>) -> Result<(), AcpiError> {
    let ids = [("_HID", "PNP0A08"), ("_CID", "PNP0A03")].map(|(name, id)| Name::new(name.into(), &EISAName::new(id)));
    let numbers = ["_UID", "_SEG", "_BBN"].map(|name| Name::new(name.into(), &ZERO));
    let resources = resources(machine)?;
    let pic = table("PRTP", &machine.lines, |line| u32::from(machine.routing.pic_irq(line).number()));
    let apic = table("PRTA", &machine.lines, |line| line.gsi().number());
    let mut bridge: Vec<&dyn Aml> = Vec::new();
    bridge.extend(ids.iter().chain(&numbers).map(|name| name as &dyn Aml));
    let parts: [&dyn Aml; 5] = [&resources, &pic, &apic, &Lines, &Control];
    bridge.extend(parts);
    Scope::new("_SB_".into(), vec![&Device::new("PCI0".into(), bridge)]).to_aml_bytes(code);
    Ok(())
}

/// `_CRS`: buses, the ports of configuration mechanism #1, windows.
fn resources(machine: &Machine<'_>) -> Result<Name, AcpiError> {
    let buses = AddressSpace::new_bus_number(0_u16, u16::from(last_bus(machine.ecam)?));
    let ports = IO::new(0xcf8, 0xcf8, 1, 8);
    let windows = machine.windows.iter().map(|window| memory(*window)).collect::<Result<Vec<_>, _>>()?;
    let mut resources: Vec<&dyn Aml> = vec![&buses, &ports];
    resources.extend(windows.iter().map(|window| window as &dyn Aml));
    Ok(Name::new("_CRS".into(), &ResourceTemplate::new(resources)))
}

/// A range of memory, in the narrowest descriptor that can say it.
pub(super) enum Memory {
    Bits32(AddressSpace<u32>),
    Bits64(AddressSpace<u64>),
}

impl Aml for Memory {
    fn to_aml_bytes(&self, sink: &mut dyn acpi_tables::AmlSink) {
        match self {
            Self::Bits32(space) => space.to_aml_bytes(sink),
            Self::Bits64(space) => space.to_aml_bytes(sink),
        }
    }
}

/// The descriptor of a range.
pub(super) fn memory(range: GuestRange) -> Result<Memory, AcpiError> {
    let (first, last) = (range.start().get(), range.last().get());
    let low = u32::try_from(first).ok().zip(u32::try_from(last).ok()).filter(|bounds| *bounds != (0, u32::MAX));
    match low {
        Some((first, last)) => Ok(Memory::Bits32(AddressSpace::new_memory(AddressSpaceCacheable::NotCacheable, true, first, last, None))),
        None if (first, last) == (0, u64::MAX) => Err(AcpiError::Window { window: range }),
        None => Ok(Memory::Bits64(AddressSpace::new_memory(AddressSpaceCacheable::Cacheable, true, first, last, None))),
    }
}

/// The line of pin A of each device, as an interrupt that is wired: no link device stands between. Guests take it as a level.
fn table(name: &str, lines: &PciLines, number: impl Fn(PciLine) -> u32) -> Name {
    let mut table = PackageBuilder::new();
    for (device, line) in lines.iter() {
        let mut entry = PackageBuilder::new();
        // All functions of the device; pin A; no source.
        for element in [u32::from(device) << 16 | 0xffff, 0, 0, number(line)] {
            entry.add_element(&element);
        }
        table.add_element(&entry);
    }
    Name::new(name.into(), &table)
}

/// `_PRT`: the table of the interrupt controllers that the guest uses.
struct Lines;

impl Aml for Lines {
    fn to_aml_bytes(&self, sink: &mut dyn acpi_tables::AmlSink) {
        let (mode, pic, apic) = (Path::new("PICM"), Path::new("PRTP"), Path::new("PRTA"));
        let (pic, apic) = (Return::new(&pic), Return::new(&apic));
        let none = Equal::new(&mode, &ZERO);
        let (pic, apic) = (If::new(&none, vec![&pic]), Else::new(vec![&apic]));
        Method::new("_PRT".into(), 0, false, vec![&pic, &apic]).to_aml_bytes(sink);
    }
}

/// `_OSC`: the guest has whatever it asks for, since no firmware keeps anything for itself.
struct Control;

impl Aml for Control {
    fn to_aml_bytes(&self, sink: &mut dyn acpi_tables::AmlSink) {
        let (uuid, status) = (Uuid::new(HOST_BRIDGE), Path::new("CDW1"));
        let field = CreateDWordField::new(&status, &Arg(3), &ZERO);
        let revision = Or::new(&status, &status, &UNRECOGNIZED_REVISION);
        let other = Or::new(&status, &status, &UNRECOGNIZED_UUID);
        let of_bridge = Equal::new(&Arg(0), &uuid);
        let check = NotEqual::new(&Arg(1), &1_u8);
        let check = If::new(&check, vec![&revision]);
        let (of_bridge, of_other) = (If::new(&of_bridge, vec![&check]), Else::new(vec![&other]));
        let answer = Return::new(&Arg(3));
        Method::new("_OSC".into(), 4, true, vec![&field, &of_bridge, &of_other, &answer]).to_aml_bytes(sink);
    }
}
