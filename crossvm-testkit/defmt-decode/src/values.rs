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

/// One line of the log: the path of a type without its parameters, and a value of it.
pub(crate) fn show<T: Format>(value: &T) {
    let path = core::any::type_name::<T>().split('<').next().unwrap_or_default();
    defmt::println!("{=str}: {}", path, value);
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
    show(&AT);
    show(&range());
    show(&FrameSize::MIB_2);
    for width in Width::ALL {
        show(&width);
    }
    show(&GuestAccess::Read { at: AT, width: Width::U32 });
    show(&GuestAccess::Write { at: AT, width: Width::U64, value: u64::MAX });
    show(&GuestAccess::UndecodedWrite(range()));
    show(&GuestAccess::UndecodedRead(range()));
}

fn events() {
    show(&event());
    show(&ExactId::new(0xfeed));
    show(&Event::Bit(event()));
    show(&Event::Exact(ExactId::new(u64::MAX)));
    show(&EventSet::of(event()).with(EventId::new(63).expect("below 64")));
}

fn interrupts() {
    show(&Irq::new(36));
    show(&Level::Low);
    show(&Level::High);
    show(&Message { address: 0x0802_0040, data: 0x51 });
}

fn memory() {
    show(&Rights::Read);
    show(&Rights::ReadWrite);
    show(&MemoryType::WriteBack);
    show(&Mapping { size: FrameSize::KIB_4, rights: Rights::Read, memory_type: MemoryType::WriteBack });
}

fn pci() {
    let bar = Bar { size: FrameSize::KIB_64, width: BarWidth::Bits64, prefetchable: true, fixed: None };
    let class = ClassCode { base: 5, sub: 0, interface: 0x10 };
    let table = MsixTable { vectors: 1, table: (BarIndex::ALL[5], 0), pending: (BarIndex::ALL[5], 2048) };
    show(&bdf());
    show(&BAR1);
    show(&BarWidth::Bits32);
    show(&bar);
    show(&class);
    show(&table);
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
    show(&function);
    show(&ConfigAccess { offset: 16, width: Width::U32 });
    let command = Command { memory_decode: true, bus_master: false, intx_disable: true };
    let msix = MsixControl { enabled: true, masked: false };
    show(&ConfigEffect::BarMoved { bdf: bdf(), bar: BAR1, from: AT, to: GuestAddr::new(0x2000_0000) });
    show(&ConfigEffect::Command { bdf: bdf(), before: Command::default(), after: command });
    show(&ConfigEffect::Msix { bdf: bdf(), before: msix, after: MsixControl::default() });
    show(&command);
    show(&msix);
    show(&InterruptStatus::Clear);
    show(&InterruptStatus::Pending);
}

fn device() {
    for size in [EventBarSize::Kib4, EventBarSize::Kib16, EventBarSize::Kib64] {
        show(&size);
    }
    show(&DeviceClass::Ram);
    show(&DeviceClass::Reference);
    show(&name());
    show(&RegisterWrite::Emit);
    show(&RegisterWrite::SetCount(0));
    show(&RegisterWrite::Acknowledge(5));
    show(&RegisterWrite::Ignored);
    show(&Profile::Reference);
    show(&Profile::Extended);
}

fn connections() {
    let end = DataportEnd { dataport: 9u8, rights: Rights::Read, width: BarWidth::Bits32 };
    let described = Connection::<u8, u8>::new(name()).with_dataport_end(end).expect("the first").with_emit(4).with_event(event());
    show(&InterruptMode::OwnLine);
    show(&InterruptMode::SharedLine);
    show(&end);
    show(&described);
    show(&Removed::<FakeVm, u8, u8> { connection: described, uncovered: Ok(()) });
    show(&TooManyDataports);
    show(&BarStatus { bar: BAR1, size: FrameSize::KIB_4, mapped_at: Some(AT) });
    show(&Messages::Msix);
    show(&Messages::Absent);
    let config = Config { messages: Messages::Absent, ..Config::default() };
    show(&config);
    show(&Parts { memory: 1u8, pci: 2u8, irqs: 3u8, interrupts: 4u8 });

    let mut vm = fake_vm();
    let mut crossvm: CrossVm<FakeVm, FakeDataport, FakeNotifier, 4> = CrossVm::new(config);
    let sound = Name::new("sound card").expect("printable");
    let connections = [Connection::new(name()).with_emit(Doorbell::default().notifier(event())), Connection::new(sound)];
    let ids = crossvm.install(&mut vm, connections).expect("there is room for both");
    show(&ids[1]);
    show(&crossvm);
    show(&crossvm.status(ids[0]).expect("it is installed"));
    show(&Outcome::NotOurs);
    show(&Outcome::Read(17));
    show(&Outcome::Written(ids[0]));
    show(&Outcome::Emitted(ids[0]));
    show(&Outcome::Ignored);
    show(&Outcome::Retry);
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
        show(&kind);
    }
    show(&Invalid::Full { capacity: 4 });
    show(&Invalid::NameTaken);
    show(&Invalid::EventTaken(Event::Bit(event())));
    show(&Invalid::EmptyDataport(BAR1));
    show(&Invalid::DataportTooLarge(BAR1));
    show(&Invalid::TooManyBars);
    show::<InstallCause<FakeVm>>(&InstallCause::Invalid(Invalid::NameTaken));
    show::<InstallCause<FakeVm>>(&InstallCause::Reserve(range(), ErrorKind::Overlap));
    show::<InstallCause<FakeVm>>(&InstallCause::Interrupt(ErrorKind::Exhausted));
    show::<InstallCause<FakeVm>>(&InstallCause::EventPage(ErrorKind::Exhausted));
    let refused = fake_vm().pci.remove(bdf()).expect_err("there is no such function");
    show::<InstallCause<FakeVm>>(&InstallCause::Pci(refused));
    let cause: InstallCause<FakeVm> = InstallCause::Map { bar: BAR1, at: AT, error: ErrorKind::Misaligned };
    show(&cause);
    show(&InstallError { position: 1, name: name(), cause });
    let unmapped: ApplyError<FakeVm> = ApplyError::Map { bdf: bdf(), bar: BAR1, at: AT, error: ErrorKind::Exhausted };
    show(&unmapped);
    show(&Removed::<FakeVm, u8, u8> { connection: Connection::new(name()), uncovered: Err(unmapped) });
    show(&ConsumeError { unknown: EventSet::of(event()), error: ErrorKind::Hypervisor });
    show::<ServeError<ErrorKind, ErrorKind>>(&ServeError::Notify(ErrorKind::Denied));
    show::<ServeError<ErrorKind, ErrorKind>>(&ServeError::Interrupt(ErrorKind::Hypervisor));
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
    show(&Polarity::ActiveHigh);
    show(&Polarity::ActiveLow);
    show(&width);
    show(&PulseNotifier::new(Unwired, Unwired, Polarity::ActiveLow, width));
    show(&ToggleNotifier::new(Unwired));
    show(&HandshakeNotifier::new(Unwired, Unwired));
    show(&HandshakeSource::new(Unwired, Unwired, event()));
    show(&LevelSource::new(Unwired, Polarity::ActiveHigh, event()));
    show(&EdgeSource::new(Unwired, Edge::Both, event()));
    for edge in [Edge::Rising, Edge::Falling, Edge::Both] {
        show(&edge);
    }
    for handshake in [Handshake::Idle, Handshake::OnItsWay, Handshake::Waiting] {
        show(&handshake);
    }
    show::<PinError<ErrorKind>>(&PinError::Output(ErrorKind::Other));
    show::<PinError<Infallible, ErrorKind>>(&PinError::Input(ErrorKind::Other));
    show::<PinError<Infallible>>(&PinError::Busy);
    show(&Timeout::new(Duration::from_secs(2), Duration::from_millis(1)).expect("time passes"));
    show(&Waited::Events(EventSet::of(event())));
    show(&Waited::TimedOut);
}
