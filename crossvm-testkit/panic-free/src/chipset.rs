//! A PC's interrupt controllers, and local APICs of which nobody knows what they take.

use core::hint::black_box;

use crossvm_core::{Bdf, ErrorKind, ErrorType, InterruptController, Irq, Level, Message, Width};
use crossvm_x86::{ApicMessage, Chipset, IoApic, IoApicVersion, LocalApics, Pic, PicIrq, Pin, Pit, PowerManagement, Routing, Wire};

struct Apics;

impl ErrorType for Apics {
    type Error = ErrorKind;
}

impl LocalApics for Apics {
    fn deliver(&mut self, message: ApicMessage) -> Result<(), ErrorKind> {
        black_box(Message::from(message));
        if black_box(true) { Ok(()) } else { Err(ErrorKind::Hypervisor) }
    }
}

/// Everything that a VMM calls: for a guest, for a device and for a local APIC. With the usual number of pins, and with the most.
pub(crate) fn controllers() {
    chipset::<24>();
    chipset::<240>();
    pic();
    timer();
    let mut power = PowerManagement::new();
    power.write_event(black_box(0), width(), black_box(0));
    black_box(power.write_control(black_box(0), width(), black_box(0)).is_some());
    black_box((power.read_event(black_box(0), width()), power.read_control(black_box(0), width())));
}

fn width() -> Width {
    black_box(Width::U32)
}

fn level() -> Level {
    black_box(Level::High)
}

fn chipset<const PINS: usize>() {
    let version = if black_box(true) { IoApicVersion::V11 } else { IoApicVersion::V20 };
    let Some(pin) = Pin::new(black_box(17)) else { return };
    let Ok(ioapic) = IoApic::<PINS>::new().with_version(version).with_wire(pin, black_box(Wire::ActiveLow)) else { return };
    let mut chipset = Chipset::new(ioapic, Routing::PC, Apics);
    loop {
        black_box(chipset.ioapic_read(black_box(0), width()));
        black_box(chipset.ioapic_write(black_box(0), width(), black_box(0)).is_ok());
        black_box(chipset.end_of_interrupt(black_box(0)).is_ok());
        black_box(chipset.set_level(Irq::new(black_box(17)), level()).is_ok());
        black_box(chipset.pulse(Irq::new(black_box(17))).is_ok());
        let message = Message { address: black_box(1), data: black_box(2) };
        black_box(chipset.deliver_msi(Bdf::from_requester_id(black_box(8)), message).is_ok());
        black_box(chipset.pic_read(black_box(0x20)));
        black_box(chipset.pic_write(black_box(0x20), black_box(0)));
        black_box((chipset.interrupt_pending(), chipset.acknowledge()));
        black_box((chipset.ioapic().route(pin), chipset.ioapic().next_message(pin), chipset.ioapic().entry(pin)));
        black_box((Routing::gsi(pin), chipset.level(Irq::new(black_box(17)))));
        black_box(chipset.retry().is_ok());
        chipset.reset();
        if black_box(true) {
            return;
        }
    }
}

fn pic() {
    let Some(irq) = PicIrq::new(black_box(10)) else { return };
    let mut pic = Pic::new();
    loop {
        pic.set_level(irq, level());
        pic.pulse(irq);
        let chosen = pic.begin_acknowledge();
        pic.set_level(irq, level());
        black_box(pic.finish_acknowledge(chosen));
        black_box(pic.write(black_box(0x20), black_box(0)));
        black_box(pic.read(black_box(0x20)));
        if black_box(true) {
            return;
        }
    }
}

/// The optimizer must not know how the counters stand.
fn timer() {
    let mut pit = Pit::new();
    loop {
        black_box(pit.write(black_box(0x40), black_box(0), black_box(0)));
        black_box((pit.read(black_box(0x40), black_box(0)), pit.next_tick(), pit.take_ticks(black_box(0))));
        if black_box(true) {
            return;
        }
    }
}
