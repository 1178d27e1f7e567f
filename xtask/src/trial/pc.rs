//! A PC as its guest's kernel has found it: through ACPI, with the controllers that it should have.

use super::findings::Finding;
use super::transcript::{Guest, Life};

/// What must be said of the PCI bus, whatever the interrupt controllers: each of one of these forms, which change with the kernel.
const BUS: [&[&str]; 3] = [
    &["ACPI: PCI Root Bridge [PCI0]"],
    &["PCI: MMCONFIG for domain 0000", "for domain 0000 [bus 00"],
    &["PCI: Using ACPI for IRQ routing"],
];
/// Of the IOAPIC.
const IOAPIC: [&[&str]; 2] = [&["IOAPIC[0]: apic_id"], &["ACPI: Using IOAPIC for interrupt routing"]];
/// Of the 8259, where the kernel is told not to use the IOAPIC.
const PIC: [&[&str]; 2] = [&["ACPI: Skipping IOAPIC probe due to 'noapic' option"], &["ACPI: Using PIC for interrupt routing"]];

/// Whether a line of the kernel says something that is looked for here.
pub(super) fn is_of_interest(line: &str) -> bool {
    BUS.iter().chain(&IOAPIC).chain(&PIC).flat_map(|forms| *forms).any(|form| line.contains(form))
}

/// The kernel has found bus and controllers each time that it booted; without the IOAPIC, where it is told so.
pub(crate) fn found(guest: &Guest, noapic: bool) -> Finding {
    for life in &guest.lives {
        complete(life, noapic)?;
    }
    let controller = if noapic { "interrupts through the 8259 (noapic)" } else { "interrupts through the IOAPIC" };
    Ok(format!("root bridge and configuration space found through ACPI, {controller}"))
}

fn complete(life: &Life, noapic: bool) -> Result<(), String> {
    let (wanted, other) = if noapic { (PIC, IOAPIC) } else { (IOAPIC, PIC) };
    let said = |forms: &[&str]| life.boot.iter().any(|line| forms.iter().any(|form| line.contains(form)));
    if let Some(missing) = BUS.iter().chain(&wanted).find(|forms| !said(forms)) {
        return Err(format!("the kernel does not say `{}`", missing.first().unwrap_or(&"")));
    }
    match other.iter().find(|forms| said(forms)) {
        Some(wrong) => Err(format!("the kernel says `{}`, which it should not", wrong.first().unwrap_or(&""))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guest(lines: &[&str]) -> Guest {
        let boot = lines.iter().filter(|line| is_of_interest(line)).map(|line| (*line).to_owned()).collect();
        Guest { lives: vec![Life { boot, ..Life::default() }], ..Guest::default() }
    }

    const BUS_6_1: [&str; 3] = [
        "[    0.1] ACPI: PCI Root Bridge [PCI0] (domain 0000 [bus 00])",
        "[    0.1] PCI: MMCONFIG for domain 0000 [bus 00-00] at [mem 0xe0000000-0xe00fffff] (base 0xe0000000)",
        "[    0.2] PCI: Using ACPI for IRQ routing",
    ];
    const BUS_6_12: [&str; 3] =
        [BUS_6_1[0], "[    0.1] PCI: ECAM [mem 0xe0000000-0xe00fffff] (base 0xe0000000) for domain 0000 [bus 00-00]", BUS_6_1[2]];
    const APIC: [&str; 2] =
        ["[    0.0] IOAPIC[0]: apic_id 0, version 17, address 0xfec00000, GSI 0-23", "[    0.1] ACPI: Using IOAPIC for interrupt routing"];
    const NOAPIC: [&str; 2] =
        ["[    0.0] ACPI: Skipping IOAPIC probe due to 'noapic' option.", "[    0.1] ACPI: Using PIC for interrupt routing"];

    #[test]
    fn each_line_must_be_there_and_none_of_the_other_controller() {
        for bus in [BUS_6_1, BUS_6_12] {
            for (lines, noapic) in [(APIC, false), (NOAPIC, true)] {
                let all = [&bus[..], &lines].concat();
                assert!(found(&guest(&all), noapic).is_ok(), "{all:?}");
                assert!(found(&guest(&all), !noapic).is_err(), "{all:?}");
                for missing in 0..all.len() {
                    let mut lines = all.clone();
                    lines.remove(missing);
                    assert!(found(&guest(&lines), noapic).is_err(), "without {}", all[missing]);
                }
            }
        }
        assert!(found(&guest(&[&BUS_6_1[..], &APIC, &NOAPIC[1..]].concat()), false).unwrap_err().contains("should not"));
    }
}
