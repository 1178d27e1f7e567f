//! What a guest's kernel says when it is unhappy with its machine.

use std::sync::LazyLock;

use regex::RegexSet;

/// Patterns of lines that must not be on a guest's console.
const PATTERNS: [&str; 33] = [
    // PCI resources
    r"BAR \d+.*: (no space|failed to assign|error updating|not assigned|can't)",
    r"can't claim",
    r"no compatible bridge window",
    r"(?i)\bconflicts?\b",
    r"(?i)pci.*\binvalid\b",
    r"pci.*: .*ignoring",
    r"\[Firmware (Bug|Warn)\]",
    // ACPI, and what a PC's firmware leaves to be told
    r"ACPI( BIOS)? (Error|Warning|Exception)",
    r"ACPI: .*([Uu]nable to|[Ff]ailed|not found)",
    r"PCI INT .: (no GSI|failed|not connected)",
    r"can't (derive routing|map (MMCONFIG|ECAM))",
    r"PCI: not using (MMCONFIG|ECAM)",
    r"(MMCONFIG|ECAM) .*not reserved in ACPI",
    r"PCI: Fatal",
    r"can't find IRQ",
    r"(?i)\bBIOS bug\b",
    r"IO-APIC.*(doesn't work|not connected)",
    // Interrupts
    r"(?i)irq \d+: nobody cared",
    r"[Nn]o irq handler for vector",
    r"(?i)spurious (8259A |APIC )?interrupt",
    r"unchecked MSR access error",
    r"uio_pci_generic .*([Nn]o IRQ|[Ff]ail|[Ee]rror)",
    // Memory and exceptions
    r"Unable to handle",
    r"Internal error",
    r"Unhandled fault",
    r"SError",
    r"Bad mode in",
    r"BUG:",
    r"WARNING: CPU",
    r"(?i)call trace",
    r"Kernel panic",
    // Time
    r"(?i)soft lockup|hung task|blocked for more than",
    r"rcu.*(stall|starved)",
];

/// `None` only if a pattern were wrong, which the tests exclude.
static COMPLAINTS: LazyLock<Option<RegexSet>> = LazyLock::new(|| RegexSet::new(PATTERNS).ok());

/// Whether `line` is a complaint. Without patterns every line counts as one: better a false alarm than silence.
pub(crate) fn found_in(line: &str) -> bool {
    COMPLAINTS.as_ref().is_none_or(|patterns| patterns.is_match(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_complaint_is_seen() {
        for line in [
            "pci 0000:00:01.0: BAR 1: no space for [mem size 0x00100000 pref]",
            "pci 0000:00:01.0: BAR 1: failed to assign [mem size 0x00100000 pref]",
            "pci 0000:00:01.0: BAR 1 [mem size 0x00100000 pref]: can't assign; no space",
            "pci 0000:00:01.0: BAR 1 [mem size 0x00100000 pref]: failed to assign",
            "pci 0000:00:01.0: BAR 0: error updating (0x10000008 != 0x00000008)",
            "pci 0000:00:01.0: can't claim BAR 0 [mem 0x00000000-0x00000fff]: no compatible bridge window",
            "pci 0000:00:01.0: BAR 1: [mem 0x1000-0x1fff] has address conflict with System RAM",
            "pci 0000:00:02.0: [Firmware Bug]: reg 0x10: invalid BAR (can't size)",
            "irq 37: nobody cared (try booting with the \"irqpoll\" option)",
            "uio_pci_generic 0000:00:01.0: No IRQ assigned to device",
            "Unable to handle kernel paging request at virtual address ffff800008000000",
            "Call trace:",
            "Kernel panic - not syncing: Attempted to kill init!",
            "watchdog: BUG: soft lockup - CPU#0 stuck for 22s!",
            "rcu: INFO: rcu_preempt self-detected stall on CPU",
            "WARNING: CPU: 0 PID: 1 at kernel/irq/manage.c:1",
            "ACPI BIOS Error (bug): Could not resolve symbol [\\_SB.PCI0], AE_NOT_FOUND (20220331/dswload2-162)",
            "ACPI Error: Aborting method \\_SB.PCI0._CRS due to previous error (AE_NOT_FOUND) (20220331/psparse-529)",
            "ACPI BIOS Warning (bug): Incorrect checksum in table [DSDT] - 0x00, should be 0x5A (20220331/tbprint-173)",
            "ACPI Warning: GPE type mismatch (level/edge) (20220331/evxface-792)",
            "ACPI: Unable to load the System Description Tables",
            "[Firmware Bug]: TSC doesn't count with P0 frequency!",
            "PCI: not using MMCONFIG",
            "PCI: MMCONFIG at [mem 0xe0000000-0xe00fffff] not reserved in ACPI motherboard resources",
            "PCI: Fatal: No config space access function found",
            "..MP-BIOS bug: 8254 timer not connected to IO-APIC",
            "pci 0000:00:01.0: can't find IRQ for PCI INT A; please try using pci=biosirq",
            "uio_pci_generic 0000:00:01.0: PCI INT A: no GSI",
            "uio_pci_generic 0000:00:01.0: PCI INT A: failed to register GSI",
            "uio_pci_generic 0000:00:01.0: can't derive routing for PCI INT A",
            "PCI: can't map MMCONFIG at [mem 0xe0000000-0xe00fffff]",
            "ACPI: Failed to find ioapic for gsi : 24",
            "__common_interrupt: 0.33 No irq handler for vector",
            "spurious 8259A interrupt: IRQ7.",
            "unchecked MSR access error: WRMSR to 0x1b (tried to write 0x0) at rIP: 0xffffffff81000000",
        ] {
            assert!(found_in(&format!("[    1.000000] {line}")), "{line}");
        }
    }

    #[test]
    fn an_ordinary_boot_has_none() {
        for boot in [include_str!("../demo/fixtures/good.log"), include_str!("../demo/fixtures/kvm.log")] {
            let complaints: Vec<_> = boot.lines().filter(|line| found_in(line)).collect();
            assert_eq!(complaints, [""; 0]);
        }
    }
}
