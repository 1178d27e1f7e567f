//! What the kernel has to say about our PCI functions.

use std::process::Command;

/// The kernel's log.
pub(crate) fn read() -> Result<String, String> {
    let output = Command::new("dmesg").output().map_err(|error| format!("dmesg: {error}"))?;
    if !output.status.success() || output.stdout.is_empty() {
        return Err(format!("dmesg: {}, {} bytes", output.status, output.stdout.len()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Who speaks of PCI in the kernel's log; on a PC also of its tables and controllers.
const SPEAKERS: [&str; 8] = ["pci 0", "pci_bus", "pci-host", "uio_pci_generic", "crossvm 0", "PCI:", "ACPI BIOS", "ACPI Error"];

/// What the kernel says where it cannot give a function what it asks for, or does not believe its registers.
const COMPLAINTS: [&str; 20] = [
    "bogus",
    "cannot",
    "can't",
    "conflict",
    "disabled by",
    "error",
    "fail",
    "firmware bug",
    "ignored",
    "ignoring",
    "invalid",
    "no compatible bridge window",
    "no irq",
    "no space",
    "not assigned",
    "not claimed",
    "overlap",
    "unable",
    "unknown",
    "nobody cared",
];

/// The first line of `log` that complains about a PCI function, bus or bridge, or about an interrupt.
pub(crate) fn complaint(log: &str) -> Option<&str> {
    log.lines().find(|line| {
        let lower = line.to_ascii_lowercase();
        let spoken = SPEAKERS.iter().any(|speaker| line.contains(speaker)) || lower.contains("nobody cared");
        spoken && COMPLAINTS.iter().any(|complaint| lower.contains(complaint))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ordinary_enumeration_is_no_complaint() {
        let log = "\
[    0.41] pci-host-generic 10000000.pcie: host bridge /pcie@10000000 ranges:
[    0.41] pci-host-generic 10000000.pcie:      MEM 0x0050000000..0x005fffffff -> 0x0050000000
[    0.41] pci-host-generic 10000000.pcie: ECAM at [mem 0x10000000-0x100fffff] for [bus 00]
[    0.41] pci-host-generic 10000000.pcie: PCI host bridge to bus 0000:00
[    0.41] pci_bus 0000:00: root bus resource [bus 00]
[    0.41] pci_bus 0000:00: root bus resource [mem 0x50000000-0x5fffffff]
[    0.41] pci 0000:00:00.0: [1b36:0008] type 00 class 0x060000
[    0.41] pci 0000:00:01.0: [1af4:a111] type 00 class 0x050000
[    0.41] pci 0000:00:01.0: reg 0x10: [mem 0x50000000-0x50000fff pref]
[    0.42] pci 0000:00:01.0: BAR 1: assigned [mem 0x50000000-0x500fffff pref]
[    0.43] kauditd: error unrelated";
        assert_eq!(complaint(log), None);
    }

    #[test]
    fn each_way_to_complain_is_found() {
        for line in [
            "[    0.4] pci 0000:00:01.0: BAR 1: no space for [mem size 0x00100000 pref]",
            "[    0.4] pci 0000:00:01.0: BAR 1: failed to assign [mem size 0x00100000 pref]",
            "[    0.4] pci 0000:00:01.0: can't claim BAR 0 [mem 0x0-0xfff pref]: no compatible bridge window",
            "[    0.4] pci 0000:00:01.0: BAR 0: error updating (0x50000008 != 0x00000008)",
            "[    0.4] pci 0000:00:01.0: [Firmware Bug]: reg 0x10: invalid BAR (can't size)",
            "[    0.4] pci 0000:00:01.0: unknown header type 7f, ignoring device",
            "[    1.4] uio_pci_generic 0000:00:01.0: No IRQ assigned to device: no support for interrupts?",
            "[    0.2] ACPI BIOS Error (bug): Could not resolve symbol [\\_SB.PCI0], AE_NOT_FOUND (20220331/dswload2-162)",
            "[    2.0] irq 37: nobody cared (try booting with the \"irqpoll\" option)",
        ] {
            assert_eq!(complaint(&format!("[    0.1] Booting Linux\n{line}\nmore")), Some(line));
        }
    }
}
