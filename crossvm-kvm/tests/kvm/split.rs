//! Interrupts with the IOAPIC and the 8259 pair in user space.

use std::sync::Arc;

use crossvm_core::{Error, ErrorKind, GuestAddr, InterruptController, Irq, Level, Width};
use crossvm_kvm::SplitInterrupts;
use crossvm_testkit::conformance::interrupt_controller;
use crossvm_x86::{IoApic, Routing};
use kvm_ioctls::VmFd;

use crate::apic;
use crate::failing::{SET_GSI_ROUTING, let_fail};
use crate::guest::{Controllers, Guest, IOAPIC, LEVEL, LINE, LINE_VECTOR, MASKED};
use crate::machine::{DONE, Exit, usable};
use crate::program::Program;

type SplitGuest = Guest<SplitInterrupts>;

impl Controllers for SplitInterrupts {
    fn create(vm: Arc<VmFd>) -> Self {
        Self::create(vm, IoApic::new(), Routing::PC).unwrap()
    }

    fn serve(&mut self, exit: &Exit) -> bool {
        match exit {
            Exit::Store(address, bytes) => {
                let offset = GuestAddr::new(*address).offset_from(GuestAddr::new(IOAPIC)).and_then(|offset| u32::try_from(offset).ok());
                let (Some(offset), Ok(value)) = (offset, <[u8; 4]>::try_from(&bytes[..])) else { return false };
                self.ioapic_write(offset, Width::U32, u32::from_le_bytes(value).into()).unwrap();
                true
            }
            Exit::EndOfInterrupt(vector) => {
                self.end_of_interrupt(*vector).unwrap();
                true
            }
            _ => false,
        }
    }
}

#[test]
fn interrupt_controllers_in_user_space_keep_the_contract() {
    if usable("the contract of interrupt controllers") {
        interrupt_controller::all(SplitGuest::of_the_suite);
    }
}

#[test]
fn an_interrupt_ends_while_its_pin_is_masked() {
    if !usable("split irqchip") {
        return;
    }
    let mut guest = SplitGuest::new();
    let entry = LEVEL | u32::from(LINE_VECTOR);
    guest.redirect(LINE.number(), entry);
    guest.set_level(LINE, Level::High).unwrap();
    assert_eq!(apic::acknowledge(&guest.machine.vcpu), Some(LINE_VECTOR));
    guest.redirect(LINE.number(), entry | MASKED);
    guest.end_of_interrupt();
    assert_eq!(apic::acknowledge(&guest.machine.vcpu), None);
    guest.redirect(LINE.number(), entry);
    assert_eq!(apic::acknowledge(&guest.machine.vcpu), Some(LINE_VECTOR), "remote IRR was cleared, and the line is still high");
}

#[test]
fn no_interrupt_is_sent_before_kvm_knows_of_its_end() {
    if !usable("failing calls") {
        return;
    }
    let mut guest = SplitGuest::new();
    guest.set_level(LINE, Level::High).unwrap();
    let entry = u64::from(LEVEL | u32::from(LINE_VECTOR));
    std::thread::scope(|scope| {
        let write = || {
            let_fail(SET_GSI_ROUTING);
            guest.interrupts.ioapic_write(0, Width::U32, u64::from(0x10 + 2 * LINE.number())).unwrap();
            assert_eq!(guest.interrupts.ioapic_write(0x10, Width::U32, entry).map_err(|error| error.kind()), Err(ErrorKind::Exhausted));
            assert_eq!(apic::acknowledge(&guest.machine.vcpu), None);
            // Nor do other calls send it, and a line can fall all the same.
            assert!(guest.interrupts.set_level(Irq::new(10), Level::High).is_err());
            guest.interrupts.set_level(Irq::new(10), Level::Low).unwrap();
            assert!(guest.interrupts.end_of_interrupt(0x99).is_err());
            assert_eq!(apic::acknowledge(&guest.machine.vcpu), None);
        };
        scope.spawn(write).join().unwrap();
    });
    // The next call makes up for it.
    guest.interrupts.end_of_interrupt(0x99).unwrap();
    assert_eq!(apic::acknowledge(&guest.machine.vcpu), Some(LINE_VECTOR));
    guest.end_of_interrupt();
    assert_eq!(apic::acknowledge(&guest.machine.vcpu), Some(LINE_VECTOR), "still high, and KVM has told of the end");
}

#[test]
fn a_reset_forgets_what_the_guest_has_programmed() {
    if !usable("reset") {
        return;
    }
    let mut guest = SplitGuest::new();
    guest.redirect(LINE.number(), LEVEL | u32::from(LINE_VECTOR));
    assert_eq!(guest.interrupts.routes().get(LINE).len(), 1);
    std::thread::scope(|scope| {
        let reset = || {
            let_fail(SET_GSI_ROUTING);
            assert_eq!(guest.interrupts.reset().map_err(|error| error.kind()), Err(ErrorKind::Exhausted));
        };
        scope.spawn(reset).join().unwrap();
    });
    // The next call makes up for it.
    guest.set_level(LINE, Level::High).unwrap();
    assert!(guest.interrupts.routes().get(LINE).is_empty());
    assert_eq!(apic::acknowledge(&guest.machine.vcpu), None);
}

/// A guest whose 8259 pair has vectors from 0x20 on, and all inputs unmasked.
fn with_pic() -> SplitGuest {
    let mut guest = SplitGuest::new();
    for (port, value) in
        [(0x20, 0x11), (0x21, 0x20), (0x21, 4), (0x21, 1), (0x21, 0), (0xa0, 0x11), (0xa1, 0x28), (0xa1, 2), (0xa1, 1), (0xa1, 0)]
    {
        assert!(guest.interrupts.pic_write(port, value));
    }
    // The PCI lines are levels: input 10 is GSI 17's.
    assert!(guest.interrupts.pic_write(0x4d1, 1 << 2));
    guest
}

/// What is in service at the second chip.
fn in_service(guest: &mut SplitGuest) -> u8 {
    assert!(guest.interrupts.pic_write(0xa0, 0x0b));
    guest.interrupts.pic_read(0xa0).unwrap()
}

/// `sti`, then `nop`s and the end.
fn with_interrupts_on() -> Program {
    Program::new().raw(&[0xfb, 0x90, 0x90]).out(DONE, 0)
}

#[test]
fn the_8259_pair_interrupts_as_soon_as_the_guest_can_take_it() {
    if !usable("the 8259 pair in user space") {
        return;
    }
    let mut guest = with_pic();
    let program = (0..8).fold(Program::new().out(0x11, 0).raw(&[0xfb, 0x90]), |program, _| program.out(0x12, 0));
    guest.machine.start(&program.out(DONE, 0));
    assert!(!guest.interrupts.take_kick());
    guest.interrupts.set_level(Irq::new(17), Level::High).unwrap();
    assert_eq!([guest.interrupts.take_kick(), guest.interrupts.take_kick()], [true, false], "one kick for one interrupt");
    guest.interrupts.before_run(&mut guest.machine.vcpu).unwrap();
    assert_eq!((guest.machine.run(), in_service(&mut guest)), (Exit::Out(0x11, 0), 0), "interrupts are off: the guest goes on");
    // Interrupts are on: it stops, at once or where it would have anyway, and has the interrupt.
    let mut exits = Vec::new();
    loop {
        guest.interrupts.before_run(&mut guest.machine.vcpu).unwrap();
        assert!(!guest.interrupts.take_kick(), "vCPU 0 knows");
        if in_service(&mut guest) == 1 << 2 {
            break;
        }
        exits.push(guest.machine.run());
        assert!(exits.len() < 8 && matches!(exits[exits.len() - 1], Exit::WindowOpen | Exit::Out(0x12, 0)), "{exits:?}");
    }
    // The guest is in it: the line may fall and rise, and nothing new is on the way before its end.
    guest.interrupts.set_level(Irq::new(17), Level::Low).unwrap();
    guest.interrupts.set_level(Irq::new(17), Level::High).unwrap();
    assert!(!guest.interrupts.take_kick());
    // Non-specific ends of interrupt, at both chips.
    assert!(guest.interrupts.pic_write(0xa0, 0x20) && guest.interrupts.pic_write(0x20, 0x20));
    assert!(guest.interrupts.take_kick(), "still high");
}

#[test]
fn a_line_that_fell_before_the_guest_could_take_it_interrupts_nobody() {
    if !usable("the 8259 pair in user space") {
        return;
    }
    let mut guest = with_pic();
    guest.interrupts.set_level(Irq::new(17), Level::High).unwrap();
    guest.interrupts.set_level(Irq::new(17), Level::Low).unwrap();
    assert!(!guest.interrupts.take_kick());
    guest.machine.start(&with_interrupts_on());
    guest.interrupts.before_run(&mut guest.machine.vcpu).unwrap();
    assert_eq!(guest.machine.run(), Exit::Out(DONE.into(), 0));
}

#[test]
fn a_guest_that_has_the_8259_pair_masked_at_its_local_apic_is_not_stopped() {
    if !usable("the 8259 pair in user space") {
        return;
    }
    let mut guest = with_pic();
    guest.run(apic::mask_pic());
    guest.interrupts.set_level(Irq::new(17), Level::High).unwrap();
    guest.machine.start(&with_interrupts_on());
    guest.interrupts.before_run(&mut guest.machine.vcpu).unwrap();
    assert_eq!((guest.machine.run(), in_service(&mut guest)), (Exit::Out(DONE.into(), 0), 0));
}
