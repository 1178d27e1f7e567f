//! The bare-metal driver against the device: what one programs, the other does.

mod machine;

use crossvm_core::device::Profile as DeviceProfile;
use crossvm_core::{BarWidth, Config, EventId, InterruptMode, Rights as End};
use crossvm_guest::bare::{Error, Intx, PhysicalRange, Window};
use crossvm_guest::{DataportIndex, EventCount, Fault, Profile, Rights};
use machine::{Machine, Plan};

const SECOND: DataportIndex = DataportIndex::new(1);

fn plan(dataports: &[(u64, BarWidth, End)]) -> Plan {
    Plan { dataports: dataports.to_vec(), mode: InterruptMode::OwnLine }
}

fn window(start: u64, length: u64) -> Window {
    Window::new(PhysicalRange::new(start, length).unwrap())
}

fn reference() -> Config {
    Config { profile: DeviceProfile::Reference, ..Config::default() }
}

/// A connection with a dataport of 12 KiB to write, and one of 4 KiB to read.
fn pair(config: Config) -> Machine {
    Machine::new(config, &[plan(&[(12 << 10, BarWidth::Bits32, End::ReadWrite), (4 << 10, BarWidth::Bits32, End::Read)])])
}

#[test]
fn a_connection_is_found_and_its_contents_are_told() {
    let machine = pair(Config::default());
    let bus = machine.bus();
    let functions: Vec<_> = bus.connections().collect();
    assert_eq!(functions.len(), 1);
    let connection = functions[0].open(&machine).unwrap();
    assert_eq!(connection.name(), "connection 0");
    assert!(matches!(connection.events().profile(), Profile::Extended { version: 1 }));
    let told: Vec<_> = connection.dataports().iter().map(|info| (info.size, info.bar.size(), info.rights)).collect();
    assert_eq!(told, [(12 << 10, 16 << 10, Rights::ReadWrite), (4 << 10, 4 << 10, Rights::Read)]);
}

#[test]
fn a_reference_device_tells_no_true_sizes() {
    let machine = pair(reference());
    let connection = machine.bus().connections().next().unwrap().open(&machine).unwrap();
    assert_eq!(connection.events().profile(), Profile::Reference);
    let told: Vec<_> = connection.dataports().iter().map(|info| (info.size, info.rights)).collect();
    assert_eq!(told, [(16 << 10, Rights::ReadWrite), (4 << 10, Rights::ReadWrite)]);
}

#[test]
fn dataports_are_shared_with_the_peer_and_bounded() {
    let machine = pair(Config::default());
    let connection = machine.bus().connections().next().unwrap().open(&machine).unwrap();
    let first = connection.dataport(&machine, DataportIndex::FIRST).unwrap();
    let second = connection.dataport(&machine, SECOND).unwrap();
    let peer = machine.0.borrow().shared[0].clone();

    first.write(3, b"unaligned and long enough for words").unwrap();
    assert_eq!(peer[0].load(3, 35), b"unaligned and long enough for words");
    peer[1].store(8, &0x0102_0304_u32.to_le_bytes());
    assert_eq!(second.load::<u32>(8), Ok(0x0102_0304));
    let mut last = [0xff; 2];
    second.read(4094, &mut last).unwrap();
    assert_eq!(last, [0, 0]);

    let beyond = Error::OutOfRange { offset: 4095, length: 2, size: 4096 };
    assert_eq!(second.read(4095, &mut last), Err(beyond));
    assert!(first.store(12 << 10, 0_u8).is_err(), "the true size ends it, not the BAR's");
    assert!(first.load::<u32>(2).is_err(), "misaligned");
    assert_eq!(second.write(0, b"x"), Err(Error::NoRight { needed: Rights::Write, granted: Rights::Read }));
    let missing = Error::NoSuchDataport { index: DataportIndex::new(2), count: 2 };
    assert_eq!(connection.dataport(&machine, DataportIndex::new(2)).unwrap_err(), missing);
}

#[test]
fn an_emit_reaches_the_peer_and_its_answer_interrupts() {
    let machine = pair(Config::default());
    let connection = machine.bus().connections().next().unwrap().open(&machine).unwrap();
    let events = connection.events();
    events.emit();
    assert!(machine.0.borrow().peer.take().contains(EventId::new(0).unwrap()));
    assert_eq!(events.take(EventCount::MAX), None);

    for _ in 0..3 {
        machine.signal(0);
    }
    assert!(machine.interrupted());
    assert_eq!(events.count(), EventCount::new(3));
    assert_eq!(events.take(EventCount::new(2)), Some(EventCount::new(2)));
    assert!(machine.interrupted(), "one event is left");
    assert_eq!(events.take(EventCount::MAX), Some(EventCount::ONE));
    assert!(!machine.interrupted());

    machine.signal(0);
    events.clear();
    assert_eq!(events.count(), EventCount::ZERO);
    assert_eq!(events.dropped(), Some(0));
}

#[test]
fn the_reference_profile_takes_all_by_clearing() {
    let machine = pair(reference());
    let connection = machine.bus().connections().next().unwrap().open(&machine).unwrap();
    machine.signal(0);
    machine.signal(0);
    assert_eq!(connection.events().take(EventCount::ONE), Some(EventCount::new(2)));
    assert_eq!(connection.events().count(), EventCount::ZERO);
    assert_eq!(connection.events().dropped(), None);
}

#[test]
fn a_disabled_line_stays_low_and_rises_when_enabled() {
    let machine = pair(Config::default());
    let bus = machine.bus();
    let function = bus.connections().next().unwrap();
    let connection = function.open(&machine).unwrap();
    function.set_intx(Intx::Disabled);
    machine.signal(0);
    assert!(!machine.interrupted());
    assert!(function.interrupt_pending());
    function.set_intx(Intx::Enabled);
    assert!(machine.interrupted());
    assert!(connection.events().take(EventCount::MAX).is_some());
    assert!(!machine.interrupted() && !function.interrupt_pending());
}

#[test]
fn bars_move_and_take_their_contents_along() {
    let machine = pair(Config::default());
    let bus = machine.bus();
    let function = bus.connections().next().unwrap();
    let before = function.open(&machine).unwrap();
    before.dataport(&machine, DataportIndex::FIRST).unwrap().write(0, b"kept").unwrap();
    bus.place(window(0x1800_0800, 0x10_0000)).unwrap();

    let after = function.open(&machine).unwrap();
    let registers = *function.bars().unwrap().event_registers().unwrap();
    assert_eq!(registers.address(), 0x1800_1000);
    assert_eq!(after.name(), before.name());
    let mut kept = [0; 4];
    after.dataport(&machine, DataportIndex::FIRST).unwrap().read(0, &mut kept).unwrap();
    assert_eq!(&kept, b"kept");
}

#[test]
fn a_window_that_is_too_small_is_an_error_and_leaves_what_does_not_fit_switched_off() {
    let machine = pair(Config::default());
    let bus = machine.bus();
    assert_eq!(bus.place(window(0x1800_0000, 0x2000)), Err(Error::WindowFull { size: 16 << 10 }));
    assert_eq!(machine.0.borrow().vm.memory.mappings().count(), 0);
    assert_eq!(
        bus.place(window(u64::from(u32::MAX) - 0xfff, 1 << 40)),
        Err(Error::WindowFull { size: 16 << 10 }),
        "BARs of 32 bits end at 4 GiB"
    );
}

#[test]
fn a_connection_without_addresses_is_not_opened() {
    let machine = pair(Config::default());
    let bus = machine.bus();
    bus.place(window(0, 0x10_0000)).unwrap();
    let function = bus.connections().next().unwrap();
    assert_eq!(function.open(&machine).unwrap_err(), Error::OddDevice(Fault::ShortBar { bar: 0 }));
}
