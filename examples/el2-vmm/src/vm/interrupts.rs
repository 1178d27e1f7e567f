//! The shared interrupts that connections can have.

use crossvm_core::{Error, ErrorKind, ErrorType, Irq, IrqAllocator};

use crate::map;

/// No shared interrupt is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoLine;

impl Error for NoLine {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Exhausted
    }
}

/// Which of the interrupts from [`map::FIRST_CONNECTION_IRQ`] on are in use: one bit each.
#[derive(Debug, Default)]
pub struct Spis {
    used: u64,
}

impl Spis {
    /// None is in use.
    #[must_use]
    pub const fn new() -> Self {
        Self { used: 0 }
    }
}

impl ErrorType for Spis {
    type Error = NoLine;
}

impl IrqAllocator for Spis {
    fn allocate(&mut self) -> Result<Irq, NoLine> {
        let index = self.used.trailing_ones();
        if index >= map::CONNECTION_IRQS {
            return Err(NoLine);
        }
        self.used |= 1u64.checked_shl(index).ok_or(NoLine)?;
        Ok(Irq::new(map::FIRST_CONNECTION_IRQ.number().checked_add(index).ok_or(NoLine)?))
    }

    fn release(&mut self, irq: Irq) {
        let index = irq.number().checked_sub(map::FIRST_CONNECTION_IRQ.number());
        if let Some(bit) = index.filter(|index| *index < map::CONNECTION_IRQS).and_then(|index| 1u64.checked_shl(index)) {
            self.used &= !bit;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossvm_testkit::conformance::irq_allocator;

    #[test]
    fn allocates_as_the_contract_says() {
        irq_allocator::all(Spis::new);
    }

    #[test]
    fn every_line_exists_in_the_interrupt_controller() {
        let mut spis = Spis::new();
        let lines: std::vec::Vec<Irq> = core::iter::from_fn(|| spis.allocate().ok()).collect();
        assert_eq!(lines.len(), 31);
        let mut gic = crate::vm::Gic::new();
        for irq in lines {
            assert_ne!(irq, map::UART_IRQ);
            crossvm_core::InterruptController::set_level(&mut gic, irq, crossvm_core::Level::High).unwrap();
        }
    }
}
