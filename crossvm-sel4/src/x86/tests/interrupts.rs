//! Lines, messages, and when they go in.

use crossvm_core::{Bdf, Error, ErrorKind, InterruptController, Irq, IrqAllocator, Level, Message};
use crossvm_testkit::conformance::interrupt_controller::{self, GuestCpu};
use crossvm_testkit::conformance::irq_allocator;

use super::machine::{CPUID, HLT, Machine, Ram, Step};
use crate::x86::{Exit, FreeLines, LineError, Lines, Vector};

const FIRST: Vector = Vector::new(0x30).unwrap();
const MESSAGE: u64 = 0xfee0_0000;

/// A guest's CPU, as the suite sees it: what it takes clears EFLAGS.IF, and the end is its IRET.
struct Cpu {
    lines: Lines,
    enabled: bool,
    handling: bool,
}

impl crossvm_core::ErrorType for Cpu {
    type Error = LineError;
}

impl InterruptController for Cpu {
    fn set_level(&mut self, irq: Irq, level: Level) -> Result<(), LineError> {
        self.lines.set_level(irq, level)
    }

    fn deliver_msi(&mut self, requester: Bdf, message: Message) -> Result<(), LineError> {
        self.lines.deliver_msi(requester, message)
    }
}

impl GuestCpu for Cpu {
    fn line(&self) -> Irq {
        Irq::new(3)
    }

    fn no_line(&self) -> Irq {
        Irq::new(4)
    }

    fn message(&self) -> Option<(Message, Irq)> {
        Some((Message { address: MESSAGE, data: 0x50 }, Irq::new(0x50)))
    }

    fn set_enabled(&mut self, _: Irq, enabled: bool) {
        self.enabled = enabled;
    }

    fn acknowledge(&mut self) -> Option<Irq> {
        if !self.enabled || self.handling {
            return None;
        }
        let vector = self.lines.pending()?;
        self.lines.take(vector);
        self.handling = true;
        let line = vector.number().checked_sub(FIRST.number()).filter(|line| *line < 4);
        Some(Irq::new(u32::from(line.unwrap_or(vector.number()))))
    }

    fn end(&mut self, _: Irq) {
        self.handling = false;
    }
}

#[test]
fn lines_and_messages_satisfy_the_contract() {
    interrupt_controller::all(|| Cpu { lines: Lines::new(4, FIRST), enabled: false, handling: false });
}

#[test]
fn free_lines_satisfy_the_contract() {
    irq_allocator::all(|| FreeLines::new(3));
    let mut free = FreeLines::new(1);
    free.allocate().unwrap();
    assert_eq!(free.allocate().map_err(|error| error.kind()), Err(ErrorKind::Exhausted));
}

#[test]
fn lines_end_with_the_vectors() {
    let mut lines = Lines::new(32, Vector::new(0xfe).unwrap());
    assert_eq!(lines.vector(Irq::new(1)).map(Vector::number), Ok(0xff));
    assert!(lines.set_level(Irq::new(2), Level::High).is_err());
    assert_eq!(Vector::new(31), None);
}

#[test]
fn the_highest_vector_goes_first_whether_line_or_message() {
    let mut lines = Lines::new(4, FIRST);
    for (data, highest) in [(0x20, 0x20), (0xef, 0xef), (0x31, 0xef)] {
        lines.deliver_msi(Bdf::from_requester_id(0), Message { address: MESSAGE, data }).unwrap();
        assert_eq!(lines.pending().map(Vector::number), Some(highest));
    }
    assert!(lines.take(lines.pending().unwrap()), "a message");
    lines.set_level(Irq::new(2), Level::High).unwrap();
    assert_eq!(lines.pending().map(Vector::number), Some(0x32));
    lines.set_level(Irq::new(2), Level::Low).unwrap();
    assert_eq!(lines.pending().map(Vector::number), Some(0x31));
    lines.reset();
    assert_eq!(lines.pending(), None);
}

fn high() -> Lines {
    let mut lines = Lines::new(1, FIRST);
    lines.set_level(Irq::new(0), Level::High).unwrap();
    lines
}

#[test]
fn an_interrupt_waits_for_the_window() {
    let machine = Machine::with([CPUID, Step::Sti, CPUID, CPUID]);
    let (mut vcpu, mut lines, ram) = (machine.vcpu(), high(), Ram::with_code(&[]));
    assert!(matches!(vcpu.run(&mut lines, &ram), Ok(Exit::Cpuid { .. })));
    assert_eq!(machine.taken(), [], "the guest takes no interrupts");
    // CPUID right behind STI: no interrupt between the two, and the window is not open.
    assert!(matches!(vcpu.run(&mut lines, &ram), Ok(Exit::Cpuid { .. })));
    assert_eq!(machine.taken(), []);
    // The instruction was skipped, and what STI kept away with it.
    assert!(matches!(vcpu.run(&mut lines, &ram), Ok(Exit::Cpuid { .. })));
    assert_eq!(machine.taken(), [0x30]);
}

#[test]
fn sti_hlt_is_interrupted() {
    let machine = Machine::with([Step::Sti, HLT, Step::Iret, Step::Sti, HLT]);
    let (mut vcpu, mut lines, ram) = (machine.vcpu(), Lines::new(1, FIRST), Ram::with_code(&[]));
    assert_eq!(vcpu.run(&mut lines, &ram), Ok(Exit::Halted { interrupts: true }));
    lines.set_level(Irq::new(0), Level::High).unwrap();
    assert_eq!(vcpu.run(&mut lines, &ram), Ok(Exit::Nothing), "the window behind IRET");
    assert_eq!(machine.taken(), [0x30]);
    lines.set_level(Irq::new(0), Level::Low).unwrap();
    assert_eq!(vcpu.run(&mut lines, &ram), Ok(Exit::Halted { interrupts: true }));
}

#[test]
fn hlt_with_something_pending_does_not_halt() {
    let machine = Machine::with([Step::Sti, HLT]);
    let (mut vcpu, mut lines, ram) = (machine.vcpu(), high(), Ram::with_code(&[]));
    assert_eq!(vcpu.run(&mut lines, &ram), Ok(Exit::Nothing));
    let machine = Machine::with([HLT]);
    assert_eq!(machine.vcpu().run(&mut lines, &ram), Ok(Exit::Halted { interrupts: false }), "halted for good");
}

#[test]
fn a_signal_before_the_entry_loses_no_message() {
    let machine =
        Machine::with([Step::Iret, CPUID, Step::Signal { entered: false, badge: 5 }, Step::Signal { entered: false, badge: 6 }, CPUID]);
    let (mut vcpu, mut lines, ram) = (machine.vcpu(), Lines::new(1, FIRST), Ram::with_code(&[]));
    assert!(matches!(vcpu.run(&mut lines, &ram), Ok(Exit::Cpuid { .. })));
    lines.deliver_msi(Bdf::from_requester_id(0), Message { address: MESSAGE, data: 0x40 }).unwrap();
    assert!(matches!(vcpu.run(&mut lines, &ram), Ok(Exit::Signal(badge)) if badge.value() == 5));
    assert!(matches!(vcpu.run(&mut lines, &ram), Ok(Exit::Signal(badge)) if badge.value() == 6));
    assert_eq!(machine.taken(), []);
    assert!(matches!(vcpu.run(&mut lines, &ram), Ok(Exit::Cpuid { .. })));
    assert_eq!(machine.taken(), [0x40]);
}

#[test]
fn a_line_that_falls_before_the_entry_interrupts_no_more() {
    let machine = Machine::with([Step::Iret, CPUID, Step::Signal { entered: false, badge: 5 }, CPUID]);
    let (mut vcpu, mut lines, ram) = (machine.vcpu(), Lines::new(1, FIRST), Ram::with_code(&[]));
    let _ = vcpu.run(&mut lines, &ram).unwrap();
    lines.set_level(Irq::new(0), Level::High).unwrap();
    assert!(matches!(vcpu.run(&mut lines, &ram), Ok(Exit::Signal(_))));
    lines.set_level(Irq::new(0), Level::Low).unwrap();
    let _ = vcpu.run(&mut lines, &ram).unwrap();
    assert_eq!(machine.taken(), []);
}
