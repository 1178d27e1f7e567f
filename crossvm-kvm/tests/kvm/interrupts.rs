//! Interrupts with all controllers in the kernel: the contract, and eventfds.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossvm_core::{Bdf, ErrorType, InterruptController, Irq, Level, Message};
use crossvm_kvm::{InterruptError, IrqFd, KernelInterrupts, ResampledIrqFd, Route};
use crossvm_testkit::conformance::interrupt_controller::{self, GuestCpu};
use crossvm_x86::{PciLine, Routing};

use crate::apic::{self, LOCAL_APIC};
use crate::machine::{DONE, Exit, Machine, usable, vm};
use crate::program::{Bytes, Program};

const IOAPIC: u64 = 0xfec0_0000;

/// The line of the suite, and the vectors of its interrupt and of the message's. The message's is of a lower priority class.
const LINE: Irq = Irq::new(9);
const LINE_VECTOR: u8 = 0x61;
const MESSAGE_VECTOR: u8 = 0x51;

/// Bits of a redirection entry.
const MASKED: u32 = 1 << 16;
const LEVEL: u32 = 1 << 15;

struct Guest {
    machine: Machine,
    interrupts: KernelInterrupts,
}

impl Guest {
    fn new() -> Self {
        let vm = vm();
        let interrupts = KernelInterrupts::create(Arc::clone(&vm), &Routing::PC).unwrap();
        let mut guest = Self { machine: Machine::on(vm), interrupts };
        apic::enable(&mut guest.machine);
        guest
    }

    /// The guest programs the entry of a pin.
    fn redirect(&mut self, pin: u32, low: u32) {
        let write = |program: Program, register: u32, value: u32| {
            program.store(IOAPIC, Bytes::Four, register.into()).store(IOAPIC + 0x10, Bytes::Four, value.into())
        };
        let program = write(write(Program::new(), 0x11 + 2 * pin, 0), 0x10 + 2 * pin, low);
        assert_eq!(self.machine.exits_of(&program.out(DONE, 0)), []);
    }

    /// The next interrupt of an eventfd: the kernel may take its time.
    fn next(&self) -> Option<u8> {
        let end = Instant::now() + Duration::from_secs(20);
        loop {
            match apic::acknowledge(&self.machine.vcpu) {
                None if Instant::now() < end => std::thread::sleep(Duration::from_millis(1)),
                vector => return vector,
            }
        }
    }

    /// What the 8259 pair has requested, as the guest reads it.
    fn requested_at_pic(&mut self) -> u16 {
        let program = Program::new().out(0x20, 0x0a).input(0x20).raw(&[0x88, 0xc1]).out(0xa0, 0x0a).input(0xa0);
        // mov ah, al; mov al, cl
        let exits = self.machine.exits_of(&program.raw(&[0x88, 0xc4, 0x88, 0xc8]).out_word(0x30).out(DONE, 0));
        match exits[..] {
            // Input 2 is the second chip.
            [Exit::Out(0x30, value)] => u16::try_from(value & 0xfffb).unwrap(),
            _ => panic!("{exits:?}"),
        }
    }
}

impl ErrorType for Guest {
    type Error = InterruptError;
}

impl InterruptController for Guest {
    fn set_level(&mut self, irq: Irq, level: Level) -> Result<(), InterruptError> {
        self.interrupts.set_level(irq, level)
    }

    fn deliver_msi(&mut self, requester: Bdf, message: Message) -> Result<(), InterruptError> {
        self.interrupts.deliver_msi(requester, message)
    }
}

/// The guest at the start of a test of the suite.
fn guest_of_the_suite() -> Guest {
    let mut guest = Guest::new();
    guest.set_enabled(LINE, false);
    guest.set_enabled(Irq::new(MESSAGE_VECTOR.into()), false);
    guest
}

impl GuestCpu for Guest {
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
            apic::set_task_class(&mut self.machine, if enabled { 0 } else { MESSAGE_VECTOR >> 4 });
        }
    }

    fn acknowledge(&mut self) -> Option<Irq> {
        let vector = apic::acknowledge(&self.machine.vcpu)?;
        Some(if vector == LINE_VECTOR { LINE } else { Irq::new(vector.into()) })
    }

    fn end(&mut self, _: Irq) {
        assert_eq!(apic::end(&mut self.machine), []);
    }
}

#[test]
fn interrupt_controllers_in_the_kernel_keep_the_contract() {
    if usable("the contract of interrupt controllers") {
        interrupt_controller::all(guest_of_the_suite);
    }
}

#[test]
fn a_pci_line_reaches_the_ioapic_and_its_own_input_of_the_8259() {
    if !usable("interrupt lines") {
        return;
    }
    let mut guest = Guest::new();
    assert_eq!(guest.requested_at_pic(), 0);
    for line in PciLine::ALL {
        let vector = 0x60 + u8::try_from(line.gsi().number()).unwrap();
        guest.redirect(line.gsi().number(), LEVEL | u32::from(vector));
        guest.set_level(line.gsi(), Level::High).unwrap();
        assert_eq!(guest.requested_at_pic(), 1 << Routing::PC.pic_irq(line).number(), "GSI {}", line.gsi());
        assert!(apic::is_requested(&guest.machine.vcpu, vector), "GSI {}", line.gsi());
        guest.set_level(line.gsi(), Level::Low).unwrap();
        assert_eq!(guest.requested_at_pic(), 0, "level-triggered: GSI {}", line.gsi());
    }
    // All at once, and one falls.
    let set_all = |guest: &mut Guest, level| PciLine::ALL.into_iter().for_each(|line| guest.set_level(line.gsi(), level).unwrap());
    set_all(&mut guest, Level::High);
    let all = PciLine::ALL.into_iter().fold(0, |bits, line| bits | 1 << Routing::PC.pic_irq(line).number());
    assert_eq!(guest.requested_at_pic(), all);
    guest.set_level(Irq::new(17), Level::Low).unwrap();
    assert_eq!(guest.requested_at_pic(), all & !(1 << Routing::PC.pic_irq(PciLine::ALL[1]).number()));
    set_all(&mut guest, Level::Low);
    guest.interrupts.reset().unwrap();
    assert_eq!(guest.requested_at_pic(), 0);
}

#[test]
fn an_irqfd_interrupts_by_its_route() {
    if !usable("irqfd") {
        return;
    }
    let mut guest = Guest::new();
    let message =
        |vector: u8| Route::Message { requester: Bdf::from_requester_id(8), message: Message { address: LOCAL_APIC, data: vector.into() } };
    let gsi = guest.interrupts.routes().add(Irq::new(24), message(0x71)).unwrap();
    assert_eq!(gsi, Irq::new(24));
    let irqfd = IrqFd::new(Arc::clone(&guest.machine.vm), gsi).unwrap();
    irqfd.trigger().unwrap();
    assert_eq!((guest.next(), apic::end(&mut guest.machine)), (Some(0x71), vec![]));
    // The guest gives the message another vector.
    guest.interrupts.routes().set(gsi, &[message(0x81)]).unwrap();
    irqfd.trigger().unwrap();
    assert_eq!((guest.next(), apic::end(&mut guest.machine)), (Some(0x81), vec![]));
    // A line: the routes of the PC are still there.
    guest.redirect(20, 0x91);
    let line = IrqFd::new(Arc::clone(&guest.machine.vm), Irq::new(20)).unwrap();
    line.trigger().unwrap();
    assert_eq!((guest.next(), apic::end(&mut guest.machine)), (Some(0x91), vec![]));
    // Nowhere.
    guest.interrupts.routes().set(gsi, &[]).unwrap();
    irqfd.trigger().unwrap();
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(apic::acknowledge(&guest.machine.vcpu), None);
    // One that is dropped does not interrupt any more.
    let event = line.event().try_clone().unwrap();
    drop(line);
    event.write(1).unwrap();
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(apic::acknowledge(&guest.machine.vcpu), None);
}

#[test]
fn a_resampled_irqfd_tells_of_the_end_of_interrupt() {
    if !usable("irqfd with resample") {
        return;
    }
    let mut guest = Guest::new();
    guest.redirect(21, LEVEL | 0x75);
    let irqfd = ResampledIrqFd::new(Arc::clone(&guest.machine.vm), Irq::new(21)).unwrap();
    for _ in 0..3 {
        irqfd.raise().unwrap();
        assert_eq!(guest.next(), Some(0x75));
        assert!(irqfd.resample().read().is_err(), "the interrupt has not ended");
        apic::end(&mut guest.machine);
        assert_eq!(irqfd.resample().read().unwrap(), 1);
        assert_eq!(apic::acknowledge(&guest.machine.vcpu), None, "the line has fallen");
    }
}
