//! Backends that do nothing and that the optimizer cannot see through.

use core::hint::black_box;
use core::sync::atomic::AtomicU32;

use crossvm_arm::spec::{HypervisorControl, ListRegister, MachineControl};
use crossvm_arm::{GichFrame, ListRegisters, Vgic};
use crossvm_core::{
    Backend, Dataport, ErrorKind, ErrorType, EventPage, FrameSize, GuestAddr, GuestMemory, GuestRange, Irq, IrqAllocator, Mapping, Notifier,
};
use crossvm_pci::PciBus;

pub(crate) struct Memory;

pub(crate) struct Page([AtomicU32; 1024]);

impl EventPage for Page {
    type Frame = u64;

    fn frame(&self) -> &u64 {
        black_box(&7)
    }

    fn words(&self) -> &[AtomicU32] {
        // Of any length: what a guest does must not panic even on a page that is too short.
        black_box(&self.0)
    }
}

impl ErrorType for Memory {
    type Error = ErrorKind;
}

impl GuestMemory for Memory {
    type Frame = u64;
    type EventPage = Page;

    fn reserve(&mut self, range: GuestRange) -> Result<(), ErrorKind> {
        opaque(range)
    }

    fn release(&mut self, range: GuestRange) {
        black_box(range);
    }

    fn map(&mut self, at: GuestAddr, frames: &[u64], mapping: Mapping) -> Result<(), ErrorKind> {
        opaque((at, frames.len(), mapping))
    }

    fn unmap(&mut self, range: GuestRange) {
        black_box(range);
    }

    fn create_event_page(&mut self, size: FrameSize) -> Result<Page, ErrorKind> {
        opaque(size)?;
        Ok(Page([const { AtomicU32::new(0) }; 1024]))
    }

    fn destroy_event_page(&mut self, page: Page) {
        black_box(&page.0);
    }
}

pub(crate) struct Irqs;

impl ErrorType for Irqs {
    type Error = ErrorKind;
}

impl IrqAllocator for Irqs {
    fn allocate(&mut self) -> Result<Irq, ErrorKind> {
        Ok(Irq::new(black_box(40)))
    }

    fn release(&mut self, irq: Irq) {
        black_box(irq);
    }
}

pub(crate) struct Bell;

impl ErrorType for Bell {
    type Error = ErrorKind;
}

impl Notifier for Bell {
    fn notify(&self) -> Result<(), ErrorKind> {
        opaque(())
    }
}

pub(crate) struct Frames;

impl Dataport for Frames {
    type Frame = u64;

    fn frame_size(&self) -> FrameSize {
        black_box(FrameSize::KIB_4)
    }

    fn frames(&self) -> &[u64] {
        black_box(&[1, 2, 3])
    }

    fn fixed_at(&self) -> Option<GuestAddr> {
        black_box(None)
    }
}

pub(crate) struct Vm {
    pub(crate) memory: Memory,
    pub(crate) pci: PciBus<64>,
    pub(crate) irqs: Irqs,
    pub(crate) gic: Vgic<2, 2>,
}

impl Backend for Vm {
    type Memory = Memory;
    type Pci = PciBus<64>;
    type Irqs = Irqs;
    type Interrupts = Vgic<2, 2>;

    fn memory(&mut self) -> &mut Memory {
        &mut self.memory
    }

    fn pci(&mut self) -> &mut PciBus<64> {
        &mut self.pci
    }

    fn irqs(&mut self) -> &mut Irqs {
        &mut self.irqs
    }

    fn interrupts(&mut self) -> &mut Vgic<2, 2> {
        &mut self.gic
    }
}

pub(crate) struct Lists(pub(crate) [u64; 4]);

impl ListRegisters for Lists {
    fn count(&self) -> usize {
        black_box(4)
    }

    fn read(&self, index: usize) -> ListRegister {
        ListRegister::from_bits(black_box(self.0.get(index).copied().unwrap_or(0)))
    }

    fn write(&mut self, index: usize, value: ListRegister) {
        black_box((index, value.into_bits()));
    }

    fn control(&self) -> HypervisorControl {
        HypervisorControl::from_bits(black_box(0))
    }

    fn set_control(&mut self, value: HypervisorControl) {
        black_box(value.into_bits());
    }

    fn machine_control(&self) -> MachineControl {
        MachineControl::from_bits(black_box(0))
    }
}

impl GichFrame for Lists {
    fn read(&self, offset: u32) -> u32 {
        black_box(offset)
    }

    fn write(&mut self, offset: u32, value: u32) {
        black_box((offset, value));
    }
}

/// Success or failure, nobody knows.
fn opaque<T>(of: T) -> Result<(), ErrorKind> {
    black_box(of);
    if black_box(true) { Ok(()) } else { Err(ErrorKind::Other) }
}
