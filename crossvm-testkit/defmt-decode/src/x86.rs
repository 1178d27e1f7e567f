//! The values of `crossvm-x86`.

use crossvm_core::{ErrorKind, ErrorType, GuestAddr, GuestRange, Irq, Level, Width};
use crossvm_pci::Ecam;
use crossvm_x86::acpi::{AcpiError, Machine, PowerPorts, ResetPort, Serial, Tables};
use crossvm_x86::spec::DeliveryMode;
use crossvm_x86::spec::ioapic::{Identifier, RedirectionEntry, VersionRegister};
use crossvm_x86::spec::message::{MessageAddress, MessageData};
use crossvm_x86::spec::pic::{Icw1, Icw4, Ocw2, Ocw3, PollWord};
use crossvm_x86::spec::pit::{ControlWord, CounterStatus, PortB, ReadBack};
use crossvm_x86::spec::power::ControlRegister;
use crossvm_x86::{
    ApicMessage, Chipset, ChipsetError, Destination, Error, IoApic, IoApicVersion, LocalApics, Mask, PciLine, PciLines, Pic, PicIrq, Pin,
    Pit, PowerManagement, Routing, Trigger, Wire,
};

use crate::values::show;

/// Takes nothing.
#[derive(defmt::Format)]
struct Broken;

impl ErrorType for Broken {
    type Error = ErrorKind;
}

impl LocalApics for Broken {
    fn deliver(&mut self, _message: ApicMessage) -> Result<(), ErrorKind> {
        Err(ErrorKind::Hypervisor)
    }
}

/// Logs all of them.
pub(crate) fn log() {
    controllers();
    lines();
    messages();
    registers();
    power();
    tables();
}

fn pin() -> Pin {
    Pin::new(0).expect("0 to 239")
}

fn controllers() {
    show(&pin());
    show(&Wire::ActiveLow);
    show(&IoApicVersion::V20);
    let mut ioapic = IoApic::<1>::new();
    show(&ioapic);
    ioapic.write(0, Width::U32, 0x10);
    ioapic.write(0x10, Width::U32, 0x31);
    show(&ioapic.route(pin()).expect("it has one"));
    show(&Mask::Set);
    let mut pic = Pic::new();
    show(&pic);
    show(&pic.begin_acknowledge());
    let mut chipset = Chipset::new(ioapic, Routing::PC, Broken);
    show(&chipset);
    chipset.ioapic_write(0, Width::U32, 0x10).expect("nothing is due");
    chipset.ioapic_write(0x10, Width::U32, 0x8031).expect("nothing is due");
    show(&Error::NoSuchPin { pin: 3, count: 1 });
    show(&ChipsetError::<ErrorKind>::NoSuchLine { gsi: 2, end: 24 });
    show(&crossvm_x86::Unsent { changed: Some(pin()), error: ErrorKind::Hypervisor });
}

fn lines() {
    let line = PciLine::from_gsi(Irq::new(17)).expect("16 to 23");
    show(&PicIrq::new(10).expect("a device can be wired there"));
    show(&line);
    show(&PciLines::from_fn(|device| (device == 1).then_some(line)));
    show(&Routing::PC);
    show(&Routing::PC.inputs(Irq::new(17), 24).expect("it is there"));
}

fn messages() {
    show(&Trigger::Level);
    show(&Destination::Logical(3));
    show(&DeliveryMode::LowestPriority);
    show(&ApicMessage {
        destination: Destination::Physical(0),
        redirection_hint: false,
        mode: DeliveryMode::Fixed,
        vector: 0x31,
        trigger: Trigger::Level,
        level: Level::High,
    });
    show(&MessageAddress::new().with_destination(3).with_base(MessageAddress::BASE));
    show(&MessageData::new().with_vector(0x31).with_level(true));
}

fn registers() {
    show(&Identifier::new().with_id(3));
    show(&VersionRegister::new().with_version(0x11).with_last_entry(23));
    show(&RedirectionEntry::RESET);
    show(&Icw1::new().with_initialize(true).with_icw4(true));
    show(&Icw4::new().with_auto_eoi(true));
    show(&Ocw2::new().with_eoi(true));
    show(&Ocw3::new().with_ocw3(true).with_poll(true));
    show(&PollWord::new().with_interrupt(true).with_input(3));
    show(&ControlRegister::new().with_sleep(true));
    show(&ControlWord::new().with_mode(2).with_access(3));
    show(&ReadBack::new().with_counters(4));
    show(&CounterStatus::new().with_output(true));
    show(&PortB::new().with_gate(true));
}

fn power() {
    show(&Pit::new());
    let mut power = PowerManagement::new();
    show(&power);
    show(&power.write_control(0, Width::U16, 0x3400).expect("it is off"));
}

fn tables() {
    let windows = [GuestRange::new(GuestAddr::new(0xc000_0000), 0x1000_0000).expect("not empty")];
    let machine = Machine {
        vcpus: 1,
        ioapic: GuestAddr::new(0xfec0_0000),
        ecam: Ecam::new(GuestAddr::new(0xe000_0000), 1).expect("in range"),
        windows: &windows,
        routing: Routing::PC,
        lines: PciLines::from_fn(|_| None),
        power: PowerPorts { event: 0x600, control: 0x604 },
        reset: ResetPort { port: 0xcf9, value: 6 },
        serial: Serial::Com1,
    };
    show(&machine.power);
    show(&machine.reset);
    show(&machine.serial);
    show(&machine);
    show(&Tables::build(&machine, GuestAddr::new(0xe_0000)).expect("it can be said"));
    show(&AcpiError::Vcpus { vcpus: 255 });
}
