//! Interrupts with all controllers in the kernel: the contract, and eventfds.

use std::sync::Arc;
use std::time::Duration;

use crossvm_core::{Bdf, Error, ErrorKind, InterruptController, Irq, Level, Message};
use crossvm_kvm::{Call, IrqFd, KernelInterrupts, ResampledIrqFd, Route};
use crossvm_testkit::conformance::interrupt_controller;
use crossvm_x86::{PciLine, Routing};

use crate::apic::{self, LOCAL_APIC};
use crate::failing::{SET_GSI_ROUTING, let_fail};
use crate::guest::{Guest, LEVEL};
use crate::machine::{DONE, Exit, usable};
use crate::program::Program;

/// What the 8259 pair has requested, as the guest reads it.
fn requested_at_pic(guest: &mut Guest<KernelInterrupts>) -> u16 {
    let program = Program::new().out(0x20, 0x0a).input(0x20).raw(&[0x88, 0xc1]).out(0xa0, 0x0a).input(0xa0);
    // mov ah, al; mov al, cl
    let exits = guest.machine.exits_of(&program.raw(&[0x88, 0xc4, 0x88, 0xc8]).out_word(0x30).out(DONE, 0));
    match exits[..] {
        // Input 2 is the second chip.
        [Exit::Out(0x30, value)] => u16::try_from(value & 0xfffb).unwrap(),
        _ => panic!("{exits:?}"),
    }
}

#[test]
fn interrupt_controllers_in_the_kernel_keep_the_contract() {
    if usable("the contract of interrupt controllers") {
        interrupt_controller::all(Guest::<KernelInterrupts>::of_the_suite);
    }
}

#[test]
fn a_pci_line_reaches_the_ioapic_and_its_own_input_of_the_8259() {
    if !usable("interrupt lines") {
        return;
    }
    let mut guest = Guest::<KernelInterrupts>::new();
    assert_eq!(requested_at_pic(&mut guest), 0);
    for line in PciLine::ALL {
        let vector = 0x60 + u8::try_from(line.gsi().number()).unwrap();
        guest.redirect(line.gsi().number(), LEVEL | u32::from(vector));
        guest.set_level(line.gsi(), Level::High).unwrap();
        assert_eq!(requested_at_pic(&mut guest), 1 << Routing::PC.pic_irq(line).number(), "GSI {}", line.gsi());
        assert!(apic::is_requested(&guest.machine.vcpu, vector), "GSI {}", line.gsi());
        guest.set_level(line.gsi(), Level::Low).unwrap();
        assert_eq!(requested_at_pic(&mut guest), 0, "level-triggered: GSI {}", line.gsi());
    }
    // All at once, and one falls.
    let set_all =
        |guest: &mut Guest<KernelInterrupts>, level| PciLine::ALL.into_iter().for_each(|line| guest.set_level(line.gsi(), level).unwrap());
    set_all(&mut guest, Level::High);
    let all = PciLine::ALL.into_iter().fold(0, |bits, line| bits | 1 << Routing::PC.pic_irq(line).number());
    assert_eq!(requested_at_pic(&mut guest), all);
    guest.set_level(Irq::new(17), Level::Low).unwrap();
    assert_eq!(requested_at_pic(&mut guest), all & !(1 << Routing::PC.pic_irq(PciLine::ALL[1]).number()));
    set_all(&mut guest, Level::Low);
    // The ISA line of the same number as an input of a PCI line's is not in its way.
    guest.set_level(Irq::new(16), Level::High).unwrap();
    let input = Routing::PC.pic_irq(PciLine::ALL[0]).number();
    guest.set_level(Irq::new(input.into()), Level::Low).unwrap();
    assert_eq!(requested_at_pic(&mut guest), 1 << input);
    guest.set_level(Irq::new(16), Level::Low).unwrap();
    // GSI 2 is none: the second chip is there.
    assert_eq!(guest.set_level(Irq::new(2), Level::High).map_err(|error| error.kind()), Err(ErrorKind::OutOfRange));
}

#[test]
fn a_message_to_nobody_is_dropped() {
    if !usable("messages") {
        return;
    }
    let mut guest = Guest::<KernelInterrupts>::new();
    // To the local APIC 5, fixed and by lowest priority, physical and logical; and a vector that is none.
    for (address, data) in [(0x5000, 0x71), (0x5000, 0x171), (0x500c, 0x71), (0x500c, 0x171), (0, 0xf)] {
        guest.deliver_msi(Bdf::from_requester_id(8), Message { address: LOCAL_APIC + address, data }).unwrap();
        assert_eq!(apic::acknowledge(&guest.machine.vcpu), None, "{address:#x} {data:#x}");
    }
}

#[test]
fn a_reset_forgets_what_the_guest_has_programmed() {
    if !usable("reset") {
        return;
    }
    let mut guest = Guest::<KernelInterrupts>::new();
    guest.redirect(16, LEVEL | 0x66);
    guest.run(Program::new().out(0x21, 0xa5));
    guest.interrupts.reset().unwrap();
    guest.set_level(Irq::new(16), Level::High).unwrap();
    assert_eq!(apic::acknowledge(&guest.machine.vcpu), None, "the entry is masked again");
    let exits = guest.machine.exits_of(&Program::new().raw(&[0x31, 0xc0]).input(0x21).out_word(0x30).out(DONE, 0));
    assert_eq!(exits, [Exit::Out(0x30, 0)], "and so is the 8259 pair's mask");
}

#[test]
fn a_route_that_kvm_does_not_take_is_not_there() {
    if !usable("failing calls") {
        return;
    }
    let mut guest = Guest::<KernelInterrupts>::new();
    let message = Route::Message { requester: Bdf::from_requester_id(8), message: Message { address: LOCAL_APIC, data: 0x71 } };
    let (gsi, routes) = (Irq::new(30), guest.interrupts.routes());
    std::thread::scope(|scope| {
        let set = || {
            let_fail(SET_GSI_ROUTING);
            let error = routes.set(gsi, &[message]).unwrap_err();
            assert_eq!((error.call(), error.errno(), error.kind()), (Call::SetGsiRouting, libc::ENOMEM, ErrorKind::Exhausted));
            assert!(routes.get(gsi).is_empty());
            let before = routes.get(Irq::new(17)).to_vec();
            assert!(routes.set(Irq::new(17), &[]).is_err());
            assert_eq!(routes.get(Irq::new(17)), before);
        };
        scope.spawn(set).join().unwrap();
    });
    guest.interrupts.routes().set(gsi, &[message]).unwrap();
    assert_eq!(guest.interrupts.routes().add(gsi, message).unwrap(), Irq::new(31), "the next that is free");
}

#[test]
fn an_irqfd_interrupts_by_its_route() {
    if !usable("irqfd") {
        return;
    }
    let mut guest = Guest::<KernelInterrupts>::new();
    let message =
        |vector: u8| Route::Message { requester: Bdf::from_requester_id(8), message: Message { address: LOCAL_APIC, data: vector.into() } };
    let gsi = guest.interrupts.routes().add(Irq::new(24), message(0x71)).unwrap();
    assert_eq!(gsi, Irq::new(24));
    let irqfd = IrqFd::new(Arc::clone(&guest.machine.vm), gsi).unwrap();
    irqfd.trigger().unwrap();
    assert_eq!(guest.next(), Some(0x71));
    guest.end_of_interrupt();
    // The guest gives the message another vector.
    guest.interrupts.routes().set(gsi, &[message(0x81)]).unwrap();
    irqfd.trigger().unwrap();
    assert_eq!(guest.next(), Some(0x81));
    guest.end_of_interrupt();
    // A line: the routes of the PC are still there.
    guest.redirect(20, 0x91);
    let line = IrqFd::new(Arc::clone(&guest.machine.vm), Irq::new(20)).unwrap();
    line.trigger().unwrap();
    assert_eq!(guest.next(), Some(0x91));
    guest.end_of_interrupt();
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
    let mut guest = Guest::<KernelInterrupts>::new();
    guest.redirect(21, LEVEL | 0x75);
    let irqfd = ResampledIrqFd::new(Arc::clone(&guest.machine.vm), Irq::new(21)).unwrap();
    for _ in 0..3 {
        irqfd.raise().unwrap();
        assert_eq!(guest.next(), Some(0x75));
        assert!(irqfd.resample().read().is_err(), "the interrupt has not ended");
        guest.end_of_interrupt();
        assert_eq!(irqfd.resample().read().unwrap(), 1);
        assert_eq!(apic::acknowledge(&guest.machine.vcpu), None, "the line has fallen");
    }
}
