//! Free interrupt lines.

use std::collections::BTreeSet;
use std::fmt;

use crossvm_core::{ErrorKind, ErrorType, Irq, IrqAllocator};

/// Lines that connections may use: GSIs on x86, SPIs (by INTID) on arm64. The lowest is given out first.
#[derive(Debug, Clone)]
pub struct GsiPool {
    free: BTreeSet<Irq>,
    out: BTreeSet<Irq>,
}

impl GsiPool {
    /// The lines `lines`, which no other device of the VM uses.
    pub fn new(lines: impl IntoIterator<Item = Irq>) -> Self {
        Self { free: lines.into_iter().collect(), out: BTreeSet::new() }
    }

    /// The GSIs of a PC's PCI interrupts: 16 to 23, the upper pins of its IOAPIC.
    #[must_use]
    pub fn pc() -> Self {
        Self::new((16..24).map(Irq::new))
    }
}

impl ErrorType for GsiPool {
    type Error = NoGsi;
}

impl IrqAllocator for GsiPool {
    fn allocate(&mut self) -> Result<Irq, NoGsi> {
        let irq = self.free.pop_first().ok_or(NoGsi)?;
        self.out.insert(irq);
        Ok(irq)
    }

    fn release(&mut self, irq: Irq) {
        if self.out.remove(&irq) {
            self.free.insert(irq);
        }
    }
}

/// No line is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoGsi;

impl crossvm_core::Error for NoGsi {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Exhausted
    }
}

impl fmt::Display for NoGsi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("all interrupt lines for connections are in use")
    }
}

impl std::error::Error for NoGsi {}

#[cfg(test)]
mod tests {
    use crossvm_testkit::conformance;

    use super::*;

    #[test]
    fn the_pool_keeps_the_contract() {
        conformance::irq_allocator::all(GsiPool::pc);
        conformance::irq_allocator::all(|| GsiPool::new([Irq::new(90)]));
    }
}
