//! A guest that programs interrupt controllers, wherever they are.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossvm_core::{Bdf, ErrorType, InterruptController, Irq, Level, Message};
use crossvm_kvm::{InterruptError, KernelInterrupts};
use crossvm_testkit::conformance::interrupt_controller::GuestCpu;
use crossvm_x86::Routing;
use kvm_ioctls::VmFd;

use crate::apic::{self, LOCAL_APIC};
use crate::machine::{DONE, Exit, Machine, vm};
use crate::program::{Bytes, Program};

pub(crate) const IOAPIC: u64 = 0xfec0_0000;

/// The line of the suite, and the vectors of its interrupt and of the message's. The message's is of a lower priority class.
pub(crate) const LINE: Irq = Irq::new(9);
pub(crate) const LINE_VECTOR: u8 = 0x61;
pub(crate) const MESSAGE_VECTOR: u8 = 0x51;

/// Bits of a redirection entry.
pub(crate) const MASKED: u32 = 1 << 16;
pub(crate) const LEVEL: u32 = 1 << 15;

/// Interrupt controllers of a VM.
pub(crate) trait Controllers: InterruptController<Error = InterruptError> {
    fn create(vm: Arc<VmFd>) -> Self;
    /// Serves an exit of the guest's; false: it is not for these.
    fn serve(&mut self, exit: &Exit) -> bool;
}

impl Controllers for KernelInterrupts {
    fn create(vm: Arc<VmFd>) -> Self {
        Self::create(vm, &Routing::PC).unwrap()
    }

    fn serve(&mut self, _: &Exit) -> bool {
        false
    }
}

pub(crate) struct Guest<C> {
    pub(crate) machine: Machine,
    pub(crate) interrupts: C,
}

impl<C: Controllers> Guest<C> {
    pub(crate) fn new() -> Self {
        let vm = vm();
        let interrupts = C::create(Arc::clone(&vm));
        let mut guest = Self { machine: Machine::on(vm), interrupts };
        guest.run(apic::enable());
        guest
    }

    /// The guest at the start of a test of the suite.
    pub(crate) fn of_the_suite() -> Self {
        let mut guest = Self::new();
        guest.set_enabled(LINE, false);
        guest.set_enabled(Irq::new(MESSAGE_VECTOR.into()), false);
        guest
    }

    /// Runs the program to its end. There are no exits but those that the controllers serve.
    pub(crate) fn run(&mut self, program: Program) {
        self.machine.start(&program.out(DONE, 0));
        loop {
            match self.machine.run() {
                Exit::Out(port, _) if port == u16::from(DONE) => return,
                exit => assert!(self.interrupts.serve(&exit), "{exit:?}"),
            }
        }
    }

    /// The guest ends the interrupt that it is in.
    pub(crate) fn end_of_interrupt(&mut self) {
        self.run(apic::end());
        // Some KVMs tell of it only when the vCPU runs again.
        self.run(Program::new());
    }

    /// The guest programs the entry of a pin.
    pub(crate) fn redirect(&mut self, pin: u32, low: u32) {
        let write = |program: Program, register: u32, value: u32| {
            program.store(IOAPIC, Bytes::Four, register.into()).store(IOAPIC + 0x10, Bytes::Four, value.into())
        };
        let program = write(write(Program::new(), 0x11 + 2 * pin, 0), 0x10 + 2 * pin, low);
        self.run(program);
    }

    /// The next interrupt of an eventfd: the kernel may take its time.
    pub(crate) fn next(&self) -> Option<u8> {
        let end = Instant::now() + Duration::from_secs(20);
        loop {
            match apic::acknowledge(&self.machine.vcpu) {
                None if Instant::now() < end => std::thread::sleep(Duration::from_millis(1)),
                vector => return vector,
            }
        }
    }
}

impl<C> ErrorType for Guest<C> {
    type Error = InterruptError;
}

impl<C: Controllers> InterruptController for Guest<C> {
    fn set_level(&mut self, irq: Irq, level: Level) -> Result<(), InterruptError> {
        self.interrupts.set_level(irq, level)
    }

    fn deliver_msi(&mut self, requester: Bdf, message: Message) -> Result<(), InterruptError> {
        self.interrupts.deliver_msi(requester, message)
    }
}

impl<C: Controllers> GuestCpu for Guest<C> {
    fn line(&self) -> Irq {
        LINE
    }

    fn no_line(&self) -> Irq {
        Irq::new(24)
    }

    fn message(&self) -> Option<(Message, Irq)> {
        Some((Message { address: LOCAL_APIC, data: MESSAGE_VECTOR.into() }, Irq::new(MESSAGE_VECTOR.into())))
    }

    fn set_enabled(&mut self, irq: Irq, enabled: bool) {
        if irq == LINE {
            self.redirect(LINE.number(), LEVEL | if enabled { 0 } else { MASKED } | u32::from(LINE_VECTOR));
        } else {
            self.run(apic::set_task_class(if enabled { 0 } else { MESSAGE_VECTOR >> 4 }));
        }
    }

    fn acknowledge(&mut self) -> Option<Irq> {
        let vector = apic::acknowledge(&self.machine.vcpu)?;
        Some(if vector == LINE_VECTOR { LINE } else { Irq::new(vector.into()) })
    }

    fn end(&mut self, _: Irq) {
        self.end_of_interrupt();
    }
}
