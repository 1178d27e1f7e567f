//! The values.

use core::convert::Infallible;
use core::time::Duration;

use crossvm_core::device::{DeviceClass, EventBarSize, Name, Profile, RegisterWrite};
use crossvm_core::hal::{
    Edge, EdgeSource, Handshake, HandshakeNotifier, HandshakeSource, LevelSource, PinError, Polarity, PulseNotifier, PulseWidth, Timeout,
    ToggleNotifier, Waited,
};
use crossvm_core::{
    ApplyError, Bar, BarIndex, BarStatus, BarWidth, Bdf, ClassCode, Command, Config, ConfigAccess, ConfigEffect, Connection, ConsumeError,
    CrossVm, DataportEnd, ErrorKind, Event, EventId, EventSet, ExactId, FrameSize, Function, GuestAccess, GuestAddr, GuestRange,
    InstallCause, InstallError, InterruptMode, InterruptStatus, Invalid, Irq, Level, Mapping, MemoryType, Message, Messages, MsixControl,
    MsixTable, Outcome, Parts, PciSpace, Removed, Rights, ServeError, TooManyDataports, Width,
};
use crossvm_testkit::{Doorbell, FakeDataport, FakeNotifier, FakeVm, fake_vm};
use defmt::Format;
use embedded_hal::delay::DelayNs;
use embedded_hal::digital::{ErrorType, InputPin, OutputPin, StatefulOutputPin};

/// One line of the log: the name of a type, and a value of it.
pub(crate) fn show<T: Format>(type_name: &str, value: &T) {
    defmt::println!("{=str}: {}", type_name, value);
}

/// Logs all of them.
pub(crate) fn log() {
    addresses();
    events();
    interrupts();
    memory();
    pci();
    device();
    connections();
    errors();
    doorbells();
}

const AT: GuestAddr = GuestAddr::new(0x1000_0000);
const BAR1: BarIndex = BarIndex::ALL[1];

fn bdf() -> Bdf {
    Bdf::new(0, 0x1f, 7).expect("in range")
}

fn range() -> GuestRange {
    GuestRange::new(AT, 0x1000).expect("not empty")
}

fn event() -> EventId {
    EventId::new(3).expect("below 64")
}

fn name() -> Name {
    Name::new("camera").expect("printable")
}

fn addresses() {
    show("GuestAddr", &AT);
    show("GuestRange", &range());
    show("FrameSize", &FrameSize::MIB_2);
    for width in Width::ALL {
        show("Width", &width);
    }
    show("GuestAccess", &GuestAccess::Read { at: AT, width: Width::U32 });
    show("GuestAccess", &GuestAccess::Write { at: AT, width: Width::U64, value: u64::MAX });
    show("GuestAccess", &GuestAccess::UndecodedWrite(range()));
    show("GuestAccess", &GuestAccess::UndecodedRead(range()));
}

fn events() {
    show("EventId", &event());
    show("ExactId", &ExactId::new(0xfeed));
    show("Event", &Event::Bit(event()));
    show("Event", &Event::Exact(ExactId::new(u64::MAX)));
    show("EventSet", &EventSet::of(event()).with(EventId::new(63).expect("below 64")));
}

fn interrupts() {
    show("Irq", &Irq::new(36));
    show("Level", &Level::Low);
    show("Level", &Level::High);
    show("Message", &Message { address: 0x0802_0040, data: 0x51 });
}

fn memory() {
    show("Rights", &Rights::Read);
    show("Rights", &Rights::ReadWrite);
    show("MemoryType", &MemoryType::WriteBack);
    show("Mapping", &Mapping { size: FrameSize::KIB_4, rights: Rights::Read, memory_type: MemoryType::WriteBack });
}

fn pci() {
    let bar = Bar { size: FrameSize::KIB_64, width: BarWidth::Bits64, prefetchable: true };
    let class = ClassCode { base: 5, sub: 0, interface: 0x10 };
    let table = MsixTable { vectors: 1, table: (BarIndex::ALL[5], 0), pending: (BarIndex::ALL[5], 2048) };
    show("Bdf", &bdf());
    show("BarIndex", &BAR1);
    show("BarWidth", &BarWidth::Bits32);
    show("Bar", &bar);
    show("ClassCode", &class);
    show("MsixTable", &table);
    let function = Function {
        vendor: 1,
        device: 2,
        revision: 3,
        class,
        subsystem_vendor: 4,
        subsystem: 5,
        interrupt: Some(Irq::new(33)),
        bars: [Some(bar), None, None, None, None, None],
        vendor_specific: [7, 8].into_iter().collect(),
        msix: Some(table),
    };
    show("Function", &function);
    show("ConfigAccess", &ConfigAccess { offset: 16, width: Width::U32 });
    let command = Command { memory_decode: true, bus_master: false, intx_disable: true };
    let msix = MsixControl { enabled: true, masked: false };
    show("ConfigEffect", &ConfigEffect::BarMoved { bdf: bdf(), bar: BAR1, from: AT, to: GuestAddr::new(0x2000_0000) });
    show("ConfigEffect", &ConfigEffect::Command { bdf: bdf(), before: Command::default(), after: command });
    show("ConfigEffect", &ConfigEffect::Msix { bdf: bdf(), before: msix, after: MsixControl::default() });
    show("Command", &command);
    show("MsixControl", &msix);
    show("InterruptStatus", &InterruptStatus::Clear);
    show("InterruptStatus", &InterruptStatus::Pending);
}

fn device() {
    for size in [EventBarSize::Kib4, EventBarSize::Kib16, EventBarSize::Kib64] {
        show("EventBarSize", &size);
    }
    show("DeviceClass", &DeviceClass::Ram);
    show("DeviceClass", &DeviceClass::Reference);
    show("Name", &name());
    show("RegisterWrite", &RegisterWrite::Emit);
    show("RegisterWrite", &RegisterWrite::SetCount(0));
    show("RegisterWrite", &RegisterWrite::Acknowledge(5));
    show("RegisterWrite", &RegisterWrite::Ignored);
    show("Profile", &Profile::Reference);
    show("Profile", &Profile::Extended);
}

fn connections() {
    let end = DataportEnd { dataport: 9u8, rights: Rights::Read, width: BarWidth::Bits32 };
    let described = Connection::<u8, u8>::new(name()).with_dataport_end(end).expect("the first").with_emit(4).with_event(event());
    show("InterruptMode", &InterruptMode::OwnLine);
    show("InterruptMode", &InterruptMode::SharedLine);
    show("DataportEnd", &end);
    show("Connection", &described);
    show("Removed", &Removed::<FakeVm, u8, u8> { connection: described, uncovered: Ok(()) });
    show("TooManyDataports", &TooManyDataports);
    show("BarStatus", &BarStatus { bar: BAR1, size: FrameSize::KIB_4, mapped_at: Some(AT) });
    show("Messages", &Messages::Msix);
    show("Messages", &Messages::Absent);
    let config = Config { messages: Messages::Absent, ..Config::default() };
    show("Config", &config);
    show("Parts", &Parts { memory: 1u8, pci: 2u8, irqs: 3u8, interrupts: 4u8 });

    let mut vm = fake_vm();
    let mut crossvm: CrossVm<FakeVm, FakeDataport, FakeNotifier, 4> = CrossVm::new(config);
    let sound = Name::new("sound card").expect("printable");
    let connections = [Connection::new(name()).with_emit(Doorbell::default().notifier(event())), Connection::new(sound)];
    let ids = crossvm.install(&mut vm, connections).expect("there is room for both");
    show("ConnectionId", &ids[1]);
    show("CrossVm", &crossvm);
    show("Status", &crossvm.status(ids[0]).expect("it is installed"));
    show("Outcome", &Outcome::NotOurs);
    show("Outcome", &Outcome::Read(17));
    show("Outcome", &Outcome::Written(ids[0]));
    show("Outcome", &Outcome::Emitted(ids[0]));
    show("Outcome", &Outcome::Ignored);
    show("Outcome", &Outcome::Retry);
}

fn errors() {
    for kind in [
        ErrorKind::Exhausted,
        ErrorKind::Overlap,
        ErrorKind::Misaligned,
        ErrorKind::OutOfRange,
        ErrorKind::NotFound,
        ErrorKind::Unsupported,
        ErrorKind::Denied,
        ErrorKind::Hypervisor,
        ErrorKind::Other,
    ] {
        show("ErrorKind", &kind);
    }
    show("Invalid", &Invalid::Full { capacity: 4 });
    show("Invalid", &Invalid::NameTaken);
    show("Invalid", &Invalid::EventTaken(Event::Bit(event())));
    show("Invalid", &Invalid::EmptyDataport(BAR1));
    show("Invalid", &Invalid::DataportTooLarge(BAR1));
    show("Invalid", &Invalid::TooManyBars);
    show::<InstallCause<FakeVm>>("InstallCause", &InstallCause::Invalid(Invalid::NameTaken));
    show::<InstallCause<FakeVm>>("InstallCause", &InstallCause::Reserve(range(), ErrorKind::Overlap));
    show::<InstallCause<FakeVm>>("InstallCause", &InstallCause::Interrupt(ErrorKind::Exhausted));
    show::<InstallCause<FakeVm>>("InstallCause", &InstallCause::EventPage(ErrorKind::Exhausted));
    let refused = fake_vm().pci.remove(bdf()).expect_err("there is no such function");
    show::<InstallCause<FakeVm>>("InstallCause", &InstallCause::Pci(refused));
    let cause: InstallCause<FakeVm> = InstallCause::Map { bar: BAR1, at: AT, error: ErrorKind::Misaligned };
    show("InstallCause", &cause);
    show("InstallError", &InstallError { position: 1, name: name(), cause });
    let unmapped: ApplyError<FakeVm> = ApplyError::Map { bdf: bdf(), bar: BAR1, at: AT, error: ErrorKind::Exhausted };
    show("ApplyError", &unmapped);
    show("Removed", &Removed::<FakeVm, u8, u8> { connection: Connection::new(name()), uncovered: Err(unmapped) });
    show("ConsumeError", &ConsumeError { unknown: EventSet::of(event()), error: ErrorKind::Hypervisor });
    show::<ServeError<ErrorKind, ErrorKind>>("ServeError", &ServeError::Notify(ErrorKind::Denied));
    show::<ServeError<ErrorKind, ErrorKind>>("ServeError", &ServeError::Interrupt(ErrorKind::Hypervisor));
}

/// A pin, or a delay, that does nothing.
struct Unwired;

impl ErrorType for Unwired {
    type Error = Infallible;
}

impl OutputPin for Unwired {
    fn set_low(&mut self) -> Result<(), Infallible> {
        Ok(())
    }

    fn set_high(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}

impl StatefulOutputPin for Unwired {
    fn is_set_high(&mut self) -> Result<bool, Infallible> {
        Ok(false)
    }

    fn is_set_low(&mut self) -> Result<bool, Infallible> {
        Ok(true)
    }
}

impl InputPin for Unwired {
    fn is_high(&mut self) -> Result<bool, Infallible> {
        Ok(false)
    }

    fn is_low(&mut self) -> Result<bool, Infallible> {
        Ok(true)
    }
}

impl DelayNs for Unwired {
    fn delay_ns(&mut self, _: u32) {}
}

fn doorbells() {
    let width = PulseWidth::from_nanos(500).expect("below the maximum");
    show("Polarity", &Polarity::ActiveHigh);
    show("Polarity", &Polarity::ActiveLow);
    show("PulseWidth", &width);
    show("PulseNotifier", &PulseNotifier::new(Unwired, Unwired, Polarity::ActiveLow, width));
    show("ToggleNotifier", &ToggleNotifier::new(Unwired));
    show("HandshakeNotifier", &HandshakeNotifier::new(Unwired, Unwired));
    show("HandshakeSource", &HandshakeSource::new(Unwired, Unwired, event()));
    show("LevelSource", &LevelSource::new(Unwired, Polarity::ActiveHigh, event()));
    show("EdgeSource", &EdgeSource::new(Unwired, Edge::Both, event()));
    for edge in [Edge::Rising, Edge::Falling, Edge::Both] {
        show("Edge", &edge);
    }
    for handshake in [Handshake::Idle, Handshake::OnItsWay, Handshake::Waiting] {
        show("Handshake", &handshake);
    }
    show::<PinError<ErrorKind>>("PinError", &PinError::Output(ErrorKind::Other));
    show::<PinError<Infallible, ErrorKind>>("PinError", &PinError::Input(ErrorKind::Other));
    show::<PinError<Infallible>>("PinError", &PinError::Busy);
    show("Timeout", &Timeout::new(Duration::from_secs(2), Duration::from_millis(1)).expect("time passes"));
    show("Waited", &Waited::Events(EventSet::of(event())));
    show("Waited", &Waited::TimedOut);
}
