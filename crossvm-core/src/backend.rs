//! The four backends of one VM, as one parameter.

use crate::{GuestMemory, InterruptController, IrqAllocator, PciSpace};

/// What one VM is made of, as far as connections need it. [`CrossVm`](crate::CrossVm) borrows it for each operation and keeps nothing of it.
pub trait Backend {
    /// The guest's address space.
    type Memory: GuestMemory;
    /// The guest's PCI segment.
    type Pci: PciSpace;
    /// The source of free interrupt lines.
    type Irqs: IrqAllocator;
    /// The interrupt controller.
    type Interrupts: InterruptController;

    /// The guest's address space.
    fn memory(&mut self) -> &mut Self::Memory;
    /// The guest's PCI segment.
    fn pci(&mut self) -> &mut Self::Pci;
    /// The source of free interrupt lines.
    fn irqs(&mut self) -> &mut Self::Irqs;
    /// The interrupt controller.
    fn interrupts(&mut self) -> &mut Self::Interrupts;
}

/// Four backends side by side. The fields may be `&mut` of parts that live elsewhere.
#[derive(Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Parts<M, P, A, C> {
    /// The guest's address space.
    pub memory: M,
    /// The guest's PCI segment.
    pub pci: P,
    /// The source of free interrupt lines.
    pub irqs: A,
    /// The interrupt controller.
    pub interrupts: C,
}

impl<M: GuestMemory, P: PciSpace, A: IrqAllocator, C: InterruptController> Backend for Parts<M, P, A, C> {
    type Memory = M;
    type Pci = P;
    type Irqs = A;
    type Interrupts = C;

    fn memory(&mut self) -> &mut M {
        &mut self.memory
    }

    fn pci(&mut self) -> &mut P {
        &mut self.pci
    }

    fn irqs(&mut self) -> &mut A {
        &mut self.irqs
    }

    fn interrupts(&mut self) -> &mut C {
        &mut self.interrupts
    }
}
