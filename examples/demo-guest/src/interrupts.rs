//! The interrupts of a connection, as `/proc/interrupts` counts them.

use std::fs;
use std::time::{Duration, Instant};

use crossvm_guest::PciAddress;

use crate::driver;

/// How long to wait between two looks.
const PAUSE: Duration = Duration::from_millis(5);

/// How a function interrupts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// By a line.
    Intx,
    /// By messages.
    Msix,
}

impl Kind {
    /// As the field calls it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Intx => "INTx",
            Self::Msix => "MSI-X",
        }
    }
}

/// One line of `/proc/interrupts`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    /// The kernel's number of the interrupt.
    pub(crate) irq: u32,
    /// How often it came, on all CPUs.
    pub(crate) count: u64,
    /// What stands behind the counts, joined by `+`: controller, its number, trigger, handlers.
    pub(crate) source: String,
}

/// How the function at `address` interrupts, and its line of `/proc/interrupts`: none before a driver asks for the interrupt.
pub(crate) fn of(address: PciAddress) -> Result<(Kind, Option<Line>), String> {
    let folder = driver::folder(address);
    let message = fs::read_dir(folder.join("msi_irqs")).into_iter().flatten().flatten();
    let message = message.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).next();
    let (kind, irq) = match message {
        Some(irq) => (Kind::Msix, irq),
        None => {
            let path = folder.join("irq");
            let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
            (Kind::Intx, text.trim().parse().map_err(|error| format!("{}: {error}", path.display()))?)
        }
    };
    let table = fs::read_to_string("/proc/interrupts").map_err(|error| format!("/proc/interrupts: {error}"))?;
    Ok((kind, find(&table, irq)))
}

/// Waits until the function at `address` has interrupted at least once.
pub(crate) fn wait_for_first(address: PciAddress, timeout: Duration) -> Result<(Kind, Line), String> {
    let begin = Instant::now();
    loop {
        match of(address)? {
            (kind, Some(line)) if line.count > 0 => return Ok((kind, line)),
            (kind, _) if begin.elapsed() >= timeout => {
                return Err(format!("no interrupt ({}) within {} s", kind.name(), timeout.as_secs()));
            }
            _ => std::thread::sleep(PAUSE),
        }
    }
}

/// The line of interrupt `irq` in the text of `/proc/interrupts`.
fn find(table: &str, irq: u32) -> Option<Line> {
    let mut lines = table.lines();
    let cpus = lines.next()?.split_ascii_whitespace().count();
    let rest = lines.find_map(|line| line.trim_start().strip_prefix(&format!("{irq}:")))?;
    let mut words = rest.split_ascii_whitespace();
    let mut count = 0;
    for _ in 0..cpus {
        count += words.next()?.parse::<u64>().ok()?;
    }
    Some(Line { irq, count, source: words.collect::<Vec<_>>().join("+") })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
           CPU0       CPU1
 11:       1480        733     GICv3  27 Level     arch_timer
 13:         12          0     GICv3  33 Level     uart-pl011
 21:       5360          2     GICv3  36 Level     uio_pci_generic
 22:          0          7  mbigen-v3-pMSI   0 Edge      crossvm
121:          9          9     GICv3  99 Level     other
IPI0:        33        812       Rescheduling interrupts
";

    #[test]
    fn counts_of_all_cpus_are_added() {
        let line = Line { irq: 21, count: 5362, source: "GICv3+36+Level+uio_pci_generic".to_owned() };
        assert_eq!(find(TABLE, 21), Some(line));
        assert_eq!(find(TABLE, 22).map(|line| (line.count, line.source)), Some((7, "mbigen-v3-pMSI+0+Edge+crossvm".to_owned())));
    }

    #[test]
    fn a_pc_s_controllers_are_understood() {
        const PC: &str = "\
            CPU0       CPU1
   4:        731          5   IO-APIC   4-edge      ttyS0
  17:       5360          2   IO-APIC  17-fasteoi   uio_pci_generic
  10:         12          0    XT-PIC      uio_pci_generic, uio_pci_generic
  25:          0          7   PCI-MSI 49152-edge      crossvm
  26:          1          1  PCI-MSIX-0000:00:04.0   0-edge      crossvm
 NMI:          0          0   Non-maskable interrupts
 LOC:       9731       8815   Local timer interrupts
";
        let found = |irq| find(PC, irq).map(|line| (line.count, line.source));
        assert_eq!(found(17), Some((5362, "IO-APIC+17-fasteoi+uio_pci_generic".to_owned())));
        assert_eq!(found(10), Some((12, "XT-PIC+uio_pci_generic,+uio_pci_generic".to_owned())));
        assert_eq!(found(25), Some((7, "PCI-MSI+49152-edge+crossvm".to_owned())));
        assert_eq!(found(26), Some((2, "PCI-MSIX-0000:00:04.0+0-edge+crossvm".to_owned())));
        assert_eq!(found(1), None);
    }

    #[test]
    fn only_the_whole_number_counts() {
        assert_eq!(find(TABLE, 2), None);
        assert_eq!(find(TABLE, 1), None);
        assert_eq!(find("", 21), None);
    }
}
