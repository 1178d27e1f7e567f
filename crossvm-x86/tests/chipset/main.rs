//! The whole chipset with a guest's processor behind it: the contract of interrupt controllers through the IOAPIC and through the 8259 pair, and
//! what becomes of interrupts that the local APICs refuse.

mod cpu;

use crossvm_core::{Bdf, Error, ErrorKind, ErrorType, InterruptController, Irq, Level, Message};
use crossvm_testkit::conformance::interrupt_controller::{self, GuestCpu};
use crossvm_x86::{Chipset, ChipsetError, IoApic, PciLine, Pin, Routing};

use crate::cpu::{Machine, end, initialize_pic, level, machine, mask_pic, program};

const VECTOR: u8 = 0x41;
const MESSAGE: u8 = 0x61;
/// A level, for the first processor.
const LEVEL: u32 = 0x8000 | VECTOR as u32;
const EDGE: u32 = VECTOR as u32;
const MASKED: u32 = 1 << 16;

/// A guest that uses the IOAPIC and messages.
struct Apic(Machine, Irq);

/// A guest that uses the 8259 pair.
struct Pic(Machine, Irq);

macro_rules! as_the_machine {
    ($($guest:ty),*) => {$(
        impl ErrorType for $guest {
            type Error = ChipsetError<ErrorKind>;
        }

        impl InterruptController for $guest {
            fn set_level(&mut self, irq: Irq, level: Level) -> Result<(), Self::Error> {
                self.0.set_level(irq, level)
            }

            fn deliver_msi(&mut self, requester: Bdf, message: Message) -> Result<(), Self::Error> {
                self.0.deliver_msi(requester, message)
            }
        }
    )*};
}

as_the_machine!(Apic, Pic);

impl Apic {
    fn new(irq: u32) -> Self {
        let mut machine = machine();
        machine.apics_mut().enabled.insert(VECTOR);
        Self(machine, Irq::new(irq))
    }

    fn pin(&self) -> u64 {
        if self.1.number() == 0 { 2 } else { self.1.number().into() }
    }
}

impl GuestCpu for Apic {
    fn line(&self) -> Irq {
        self.1
    }

    fn no_line(&self) -> Irq {
        Irq::new(24)
    }

    fn message(&self) -> Option<(Message, Irq)> {
        Some((Message { address: 0xfee0_0000, data: MESSAGE.into() }, Irq::new(MESSAGE.into())))
    }

    fn set_enabled(&mut self, irq: Irq, enabled: bool) {
        if irq == self.1 {
            let pin = self.pin();
            program(&mut self.0, pin, LEVEL | if enabled { 0 } else { MASKED });
        } else {
            self.0.apics_mut().enabled.insert(MESSAGE);
        }
    }

    fn acknowledge(&mut self) -> Option<Irq> {
        let vector = self.0.apics_mut().acknowledge()?;
        Some(if vector == VECTOR { self.1 } else { Irq::new(vector.into()) })
    }

    fn end(&mut self, _irq: Irq) {
        end(&mut self.0).unwrap();
    }
}

impl Pic {
    fn new(irq: u32) -> Self {
        let mut machine = machine();
        initialize_pic(&mut machine);
        Self(machine, Irq::new(irq))
    }

    fn input(&self) -> u8 {
        Routing::PC.inputs(self.1, 24).unwrap().pic.unwrap().number()
    }
}

impl GuestCpu for Pic {
    fn line(&self) -> Irq {
        self.1
    }

    fn no_line(&self) -> Irq {
        Irq::new(2)
    }

    fn message(&self) -> Option<(Message, Irq)> {
        None
    }

    fn set_enabled(&mut self, _irq: Irq, enabled: bool) {
        let input = self.input();
        mask_pic(&mut self.0, input, !enabled);
    }

    fn acknowledge(&mut self) -> Option<Irq> {
        if !self.0.interrupt_pending() {
            return None;
        }
        let vector = self.0.acknowledge();
        assert_eq!(vector, 0x30 + self.input(), "no other input interrupts, and nothing is spurious");
        Some(self.1)
    }

    fn end(&mut self, _irq: Irq) {
        if self.input() >= 8 {
            self.0.pic_write(0xa0, 0x20);
        }
        self.0.pic_write(0x20, 0x20);
    }
}

#[test]
fn the_contract_is_kept_through_the_ioapic() {
    for irq in [0, 1, 9, 16, 17, 23] {
        interrupt_controller::all(|| Apic::new(irq));
    }
}

#[test]
fn the_contract_is_kept_through_the_8259_pair() {
    for line in PciLine::ALL {
        interrupt_controller::all(|| Pic::new(line.gsi().number()));
    }
}

#[test]
fn lines_that_end_at_one_input_of_the_8259_pair_are_ored() {
    let mut guest = Pic::new(17);
    guest.set_enabled(Irq::new(17), true);
    for (irq, high, pending) in [(10, true, true), (17, true, true), (10, false, true), (17, false, false), (17, true, true)] {
        guest.set_level(Irq::new(irq), level(high)).unwrap();
        assert_eq!(guest.0.interrupt_pending(), pending);
        assert_eq!(guest.0.level(Irq::new(irq)), level(high));
    }
}

#[test]
fn a_level_goes_to_the_ioapic_and_to_the_8259_pair() {
    let mut guest = Apic::new(18);
    initialize_pic(&mut guest.0);
    mask_pic(&mut guest.0, Routing::PC.pic_irq(PciLine::ALL[2]).number(), false);
    guest.set_enabled(Irq::new(18), true);
    guest.set_level(Irq::new(18), Level::High).unwrap();
    assert_eq!((guest.acknowledge(), guest.0.interrupt_pending(), guest.0.acknowledge()), (Some(Irq::new(18)), true, 0x3b));
}

#[test]
fn a_line_whose_interrupt_is_refused_is_not_raised_and_can_be_again() {
    for entry in [LEVEL, EDGE] {
        let mut guest = Apic::new(17);
        initialize_pic(&mut guest.0);
        mask_pic(&mut guest.0, 10, false);
        program(&mut guest.0, 17, entry);
        guest.0.apics_mut().broken = true;
        let refused = guest.set_level(Irq::new(17), Level::High);
        assert_eq!(refused.map_err(|error| error.kind()), Err(ErrorKind::Hypervisor));
        assert_eq!((guest.0.level(Irq::new(17)), guest.0.ioapic().level(Pin::new(17).unwrap())), (Level::Low, Level::Low), "clause 5");
        assert!(!guest.0.interrupt_pending(), "clause 5: not at the other input either");
        guest.0.apics_mut().broken = false;
        guest.0.retry().unwrap();
        assert_eq!(guest.acknowledge(), None, "clause 5: it is low");
        guest.set_level(Irq::new(17), Level::High).unwrap();
        assert_eq!((guest.acknowledge(), guest.acknowledge()), (Some(Irq::new(17)), None));
    }
}

#[test]
fn a_line_can_be_lowered_whatever_the_local_apics_refuse() {
    let mut guest = Apic::new(17);
    program(&mut guest.0, 17, EDGE);
    guest.0.apics_mut().broken = true;
    assert!(guest.0.pulse(Irq::new(17)).is_err());
    guest.set_level(Irq::new(17), Level::Low).unwrap();
    guest.0.apics_mut().broken = false;
    // The edge had come before.
    guest.set_level(Irq::new(17), Level::Low).unwrap();
    assert_eq!((guest.acknowledge(), guest.acknowledge()), (Some(Irq::new(17)), None));
}

#[test]
fn an_interrupt_that_is_refused_at_the_guests_doing_is_delivered_later() {
    type Retry = fn(&mut Machine);
    let retries: [Retry; 4] = [
        |machine| machine.retry().unwrap(),
        |machine| machine.set_level(Irq::new(5), Level::Low).unwrap(),
        |machine| machine.deliver_msi(Bdf::from_requester_id(8), Message { address: 0, data: 0 }).unwrap(),
        |machine| machine.end_of_interrupt(0x77).unwrap(),
    ];
    for retry in retries {
        // Unmasked while high.
        let mut guest = Apic::new(17);
        guest.set_level(Irq::new(17), Level::High).unwrap();
        guest.0.apics_mut().broken = true;
        assert!(!program(&mut guest.0, 17, LEVEL), "the VMM is told");
        guest.0.apics_mut().broken = false;
        retry(&mut guest.0);
        assert_eq!(guest.acknowledge(), Some(guest.1));
        // Ended while high.
        guest.0.apics_mut().broken = true;
        assert!(end(&mut guest.0).is_err(), "the VMM is told");
        guest.0.apics_mut().broken = false;
        retry(&mut guest.0);
        assert_eq!(guest.acknowledge(), Some(guest.1));
        // A pulse.
        let mut guest = Apic::new(4);
        program(&mut guest.0, 4, EDGE);
        guest.0.apics_mut().broken = true;
        assert!(guest.0.pulse(Irq::new(4)).is_err(), "the VMM is told");
        guest.0.apics_mut().broken = false;
        retry(&mut guest.0);
        assert_eq!((guest.acknowledge(), guest.acknowledge()), (Some(Irq::new(4)), None));
    }
}

#[test]
fn a_message_that_is_refused_is_an_error_and_the_callers_to_repeat() {
    let mut guest = Apic::new(17);
    let (message, _) = guest.message().unwrap();
    guest.0.apics_mut().broken = true;
    let refused = guest.deliver_msi(Bdf::from_requester_id(8), message);
    assert_eq!(refused.map_err(|error| error.kind()), Err(ErrorKind::Hypervisor));
    // What means nothing is no error even now.
    guest.deliver_msi(Bdf::from_requester_id(8), Message { address: 0xfed0_0000, ..message }).unwrap();
    assert!(guest.0.apics().taken.is_empty());
}

#[test]
fn a_pulse_interrupts_once_through_the_ioapic_and_through_the_8259_pair() {
    let mut guest = Apic::new(4);
    initialize_pic(&mut guest.0);
    mask_pic(&mut guest.0, 4, false);
    program(&mut guest.0, 4, EDGE);
    guest.0.pulse(Irq::new(4)).unwrap();
    assert_eq!((guest.acknowledge(), guest.acknowledge()), (Some(Irq::new(4)), None));
    assert_eq!((guest.0.interrupt_pending(), guest.0.acknowledge(), guest.0.interrupt_pending()), (true, 0x34, false));
}

#[test]
fn the_timer_interrupts_at_pin_2_and_input_0() {
    let mut guest = Apic::new(0);
    initialize_pic(&mut guest.0);
    mask_pic(&mut guest.0, 0, false);
    program(&mut guest.0, 2, EDGE);
    guest.0.pulse(Irq::new(0)).unwrap();
    assert_eq!((guest.acknowledge(), guest.0.acknowledge()), (Some(Irq::new(0)), 0x30));
}

#[test]
fn a_line_that_is_none_is_an_error_that_says_which_there_are() {
    let mut machine = machine();
    for gsi in [2, 24, 240, u32::MAX] {
        assert_eq!(machine.set_level(Irq::new(gsi), Level::High), Err(ChipsetError::NoSuchLine { gsi, end: 24 }));
        assert_eq!(machine.pulse(Irq::new(gsi)), Err(ChipsetError::NoSuchLine { gsi, end: 24 }));
    }
    let mut large = Chipset::new(IoApic::<240>::new(), Routing::PC, cpu::LocalApic::default());
    for gsi in (0..240).filter(|gsi| *gsi != 2) {
        large.set_level(Irq::new(gsi), Level::High).unwrap();
        assert_eq!(large.level(Irq::new(gsi)), Level::High);
    }
    assert_eq!(large.set_level(Irq::new(240), Level::High), Err(ChipsetError::NoSuchLine { gsi: 240, end: 240 }));
}

#[test]
fn a_reset_keeps_the_lines_and_forgets_what_the_guest_has_programmed() {
    let mut guest = Apic::new(17);
    initialize_pic(&mut guest.0);
    guest.set_enabled(Irq::new(17), true);
    guest.set_level(Irq::new(17), Level::High).unwrap();
    guest.0.reset();
    guest.0.apics_mut().taken.clear();
    guest.0.retry().unwrap();
    assert!(guest.0.apics().taken.is_empty() && !guest.0.interrupt_pending());
    // The next guest finds the line high.
    guest.set_enabled(Irq::new(17), true);
    assert_eq!(guest.0.apics().taken.len(), 1);
    initialize_pic(&mut guest.0);
    mask_pic(&mut guest.0, 10, false);
    assert!(guest.0.interrupt_pending());
}

#[test]
fn the_pin_whose_entry_changes_is_named_even_where_its_interrupt_is_refused() {
    let mut guest = Apic::new(17);
    guest.set_level(Irq::new(17), Level::High).unwrap();
    guest.0.ioapic_write(0, crossvm_core::Width::U32, 0x32).unwrap();
    guest.0.apics_mut().broken = true;
    let refused = guest.0.ioapic_write(0x10, crossvm_core::Width::U32, LEVEL.into()).unwrap_err();
    assert_eq!((refused.changed, refused.error), (Pin::new(17), ErrorKind::Hypervisor));
}
