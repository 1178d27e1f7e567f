//! The guest's interrupt controller, and the shared interrupts that connections can have.

use crossvm_arm::{Messages, Spi, SpiRange, Version, Vgic};
use crossvm_core::{Error, ErrorKind, ErrorType, GuestAddr, GuestRange, Irq, IrqAllocator};

use super::{ComposeError, Gic};
use crate::host::HostRange;
use crate::map;
use crate::platform::Platform;
use crate::space::GuestSpace;

/// The interrupt controller that the hardware has for a guest: a guest finds the version of the physical one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GuestGic {
    /// GICv2.
    V2 {
        /// The physical virtual CPU interface (GICV), which the guest gets as its CPU interface.
        virtual_interface: HostRange,
    },
    /// GICv3.
    V3,
}

/// A page of registers.
const PAGE: u64 = 4096;

/// The guest's interrupt controller at power-on, with its registers in the guest's address space.
pub(super) fn controller<P: Platform>(gic: GuestGic, memory: &mut P::Memory) -> Result<Gic, ComposeError<P>> {
    let interface = map::CPU_INTERFACE;
    let (version, frame) = match gic {
        GuestGic::V2 { virtual_interface } => {
            let page = |start: GuestAddr| GuestRange::new(start, PAGE);
            let second = interface.start().checked_add(PAGE).and_then(page);
            if let (Some(first), Some(second)) = (page(interface.start()), second) {
                memory.add_registers(first, virtual_interface).map_err(ComposeError::Memory)?;
                memory.add_device(second).map_err(ComposeError::Memory)?;
            }
            memory.add_device(map::MESSAGE_FRAME).map_err(ComposeError::Memory)?;
            (Version::V2, map::MESSAGE_FRAME)
        }
        GuestGic::V3 => {
            memory.add_device(map::REDISTRIBUTORS).map_err(ComposeError::Memory)?;
            (Version::V3, map::DISTRIBUTOR)
        }
    };
    let spis = Spi::new(map::FIRST_MESSAGE_IRQ).and_then(|first| SpiRange::new(first, map::MESSAGE_IRQS));
    let gic = Vgic::with_version(version);
    match spis {
        Some(spis) => gic.with_messages(Messages::new(frame.start(), spis)).map_err(ComposeError::Gic),
        None => Ok(gic),
    }
}

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

/// How many of `wanted` connections can have a line of their own, beside `shared` ones that share one, in a VM with so many `lines`. Those that
/// cannot share it too.
///
/// A line of its own takes a device number; functions that share a line share device numbers, eight each.
#[must_use]
pub fn own_lines(wanted: usize, shared: usize, lines: u32) -> usize {
    let lines = usize::try_from(lines).unwrap_or(usize::MAX);
    let fits = |own: usize| {
        let sharing = wanted.saturating_sub(own).saturating_add(shared);
        // The shared line is one of the lines as well.
        own.saturating_add(usize::from(sharing > 0)) <= lines && own.saturating_add(sharing.div_ceil(FUNCTIONS)) <= NUMBERS
    };
    (0..=wanted).rev().find(|own| fits(*own)).unwrap_or(0)
}

/// Functions of a device number.
const FUNCTIONS: usize = 8;
/// Device numbers beside the bridge's.
const NUMBERS: usize = 31;

#[cfg(test)]
mod tests {
    use super::*;
    use crossvm_testkit::conformance::irq_allocator;

    #[test]
    fn allocates_as_the_contract_says() {
        irq_allocator::all(Spis::new);
    }

    #[test]
    fn as_many_connections_as_possible_have_a_line_of_their_own() {
        for (wanted, shared, own) in
            [(0, 0, 0), (31, 0, 31), (30, 8, 30), (30, 9, 29), (32, 0, 30), (40, 0, 29), (64, 0, 26), (0, 64, 0), (24, 40, 24)]
        {
            assert_eq!(own_lines(wanted, shared, map::CONNECTION_IRQS), own, "{wanted} and {shared}");
        }
        // Few lines, as on a PC.
        for (wanted, shared, own) in [(8, 0, 8), (9, 0, 7), (7, 3, 7), (8, 1, 7), (40, 0, 7), (64, 0, 7), (0, 64, 0), (8, 192, 6)] {
            assert_eq!(own_lines(wanted, shared, 8), own, "{wanted} and {shared} with 8 lines");
        }
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
