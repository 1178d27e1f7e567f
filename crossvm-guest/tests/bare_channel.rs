//! A message channel between a guest without an operating system and a native component, over the device model.

mod machine;

use crossvm_core::{BarWidth, Config as DeviceConfig, EventId, InterruptMode, Rights as End};
use crossvm_guest::bare::Error;
use crossvm_guest::channel::{Armed, Channel, Config, Doorbell, Interest, Memory, RingFailed, Side};
use crossvm_guest::{DataportIndex, EventCount, Rights};
use crossvm_testkit::FakeDataport;
use machine::{Machine, Plan};

fn plan(rights: End) -> Plan {
    Plan { dataports: vec![(8 << 10, BarWidth::Bits32, rights)], mode: InterruptMode::OwnLine }
}

/// The component's view of the dataport: one thread plays all parts, so there is nothing to order.
struct Native(FakeDataport);

impl Memory for Native {
    fn len(&self) -> usize {
        8 << 10
    }
    fn load(&self, offset: usize) -> u32 {
        u32::from_le_bytes(self.0.load(offset as u64, 4).try_into().unwrap())
    }
    fn load_acquire(&self, offset: usize) -> u32 {
        self.load(offset)
    }
    fn store(&self, offset: usize, value: u32) {
        self.0.store(offset as u64, &value.to_le_bytes());
    }
    fn store_release(&self, offset: usize, value: u32) {
        self.store(offset, value);
    }
    fn fence(&self) {}
    fn read(&self, offset: usize, buffer: &mut [u8]) {
        buffer.copy_from_slice(&self.0.load(offset as u64, buffer.len() as u64));
    }
    fn write(&self, offset: usize, bytes: &[u8]) {
        self.0.store(offset as u64, bytes);
    }
}

/// The component signals through the VM monitor.
struct Signal(Machine);

impl Doorbell for Signal {
    fn ring(&self) -> Result<(), RingFailed> {
        self.0.signal(0);
        Ok(())
    }
}

#[test]
fn a_bare_guest_and_a_native_component_exchange_messages_and_wake_each_other() {
    let machine = Machine::new(DeviceConfig::default(), &[plan(End::ReadWrite)]);
    let connection = machine.bus().connections().next().unwrap().open(&machine).unwrap();
    let memory = connection.dataport(&machine, DataportIndex::FIRST).unwrap().into_memory().unwrap();
    let events = connection.events();
    let mut guest = Channel::open(memory, events, Config::new(Side::A)).unwrap();
    let native = Native(machine.0.borrow().shared[0][0].clone());
    let mut component = Channel::open(native, Signal(machine.clone()), Config::new(Side::B)).unwrap();
    while !(guest.poll_connect().unwrap() & component.poll_connect().unwrap()) {}
    assert!(machine.interrupted(), "the component's coming interrupts");
    assert!(events.take(EventCount::MAX).is_some() && !machine.interrupted());

    assert_eq!(guest.arm(Interest::Message), Ok(Armed::Sleep));
    component.try_send(b"wake up").unwrap();
    assert!(machine.interrupted(), "a guest that sleeps is interrupted");
    assert!(events.take(EventCount::MAX).is_some());
    guest.disarm();
    let mut buffer = [0; 64];
    assert_eq!(guest.try_recv(&mut buffer), Ok(7));
    component.try_send(b"again").unwrap();
    assert!(!machine.interrupted(), "one that is awake is not");
    assert_eq!(guest.try_recv(&mut buffer), Ok(5));

    let event = EventId::new(0).unwrap();
    let _ = machine.0.borrow().peer.take();
    for round in 0..200_usize {
        guest.try_send(&vec![7; round * 8]).unwrap();
        assert_eq!(component.peek().unwrap().len(), round * 8);
    }
    assert!(machine.0.borrow().peer.take().is_empty());
    assert_eq!(component.arm(Interest::Message), Ok(Armed::Sleep));
    guest.try_send(b"x").unwrap();
    assert!(machine.0.borrow().peer.take().contains(event));
}

#[test]
fn a_dataport_that_may_only_be_read_is_no_memory_for_a_channel() {
    let machine = Machine::new(DeviceConfig::default(), &[plan(End::Read)]);
    let connection = machine.bus().connections().next().unwrap().open(&machine).unwrap();
    let dataport = connection.dataport(&machine, DataportIndex::FIRST).unwrap();
    assert_eq!(dataport.into_memory().unwrap_err(), Error::NoRight { needed: Rights::Write, granted: Rights::Read });
}
