//! The interrupts that the kernel has given to a function.

use std::fs;
use std::path::Path;

use crate::linux::node::Interrupt;
use crate::linux::observation::optional;
use crate::linux::system::{Function, System};

/// How a function's interrupts reach the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interrupts {
    /// By messages, or by a line.
    pub kind: Interrupt,
    /// Each of them: one for a line, and as many as the driver has asked for with messages.
    pub irqs: Vec<Irq>,
}

/// One interrupt as `/sys/kernel/irq` tells of it. What a kernel does not tell is `None`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Irq {
    /// The kernel's number.
    pub number: u32,
    /// The interrupt controller.
    pub controller: Option<String>,
    /// The controller's number.
    pub line: Option<u64>,
    /// `level` or `edge`.
    pub trigger: Option<String>,
    /// Who has asked for it: more than one on a shared line.
    pub users: Vec<String>,
    /// How often it came, on all processors, for whichever of those that share it.
    pub count: Option<u64>,
}

impl System {
    /// The interrupts of `function`; `None` where the kernel has given it none.
    #[must_use]
    pub fn interrupts(&self, function: &Function) -> Option<Interrupts> {
        // The folder is there only while a driver uses messages.
        let messages = fs::read_dir(function.file("msi_irqs")).into_iter().flatten().flatten();
        let mut messages: Vec<u32> = messages.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
        messages.sort_unstable();
        let (kind, numbers) = match messages.is_empty() {
            false => (Interrupt::Msix, messages),
            true => (Interrupt::Intx, vec![optional(&function.file(""), "irq").filter(|number| *number != 0)?]),
        };
        Some(Interrupts { kind, irqs: numbers.into_iter().map(|number| self.irq(number)).collect() })
    }

    fn irq(&self, number: u32) -> Irq {
        let folder = self.sysfs().join("kernel/irq").join(number.to_string());
        let text = |file| text(&folder, file);
        Irq {
            number,
            controller: text("chip_name"),
            line: optional(&folder, "hwirq"),
            trigger: text("type"),
            users: text("actions").map(|users| users.split(',').map(str::to_owned).collect()).unwrap_or_default(),
            count: text("per_cpu_count").and_then(|counts| counts.split(',').map(|count| count.parse::<u64>().ok()).sum()),
        }
    }
}

/// The line in a file of sysfs, without what a terminal must not see; `None` where there is none.
fn text(folder: &Path, file: &str) -> Option<String> {
    let text = fs::read_to_string(folder.join(file)).ok()?;
    let line = text.lines().next()?.trim();
    (!line.is_empty()).then(|| line.escape_default().to_string())
}
