//! MSI-X as the guest sees it: one message for each event while unmasked, one pending bit while masked, nothing lost in between.

mod common;

use common::{event, msix_capability};
use crossvm_core::device::{Name, Profile};
use crossvm_core::{
    BarIndex, Bdf, Config, ConfigAccess, Connection, ConnectionId, CrossVm, EventSet, GuestAccess, GuestAddr, Level, Message, Messages,
    Outcome, Parts, PciSpace, Width,
};
use crossvm_pci::{HostBridge, PciBus};
use crossvm_testkit::{
    Doorbell, FakeBus, FakeDataport, FakeInterrupts, FakeIrqs, FakeMemory, FakeNotifier, Faults, Faulty, RAM, WINDOW, range,
};
use proptest::prelude::*;

type Vm<P> = Parts<FakeMemory, P, FakeIrqs, FakeInterrupts>;
type Connections<P> = CrossVm<Vm<P>, FakeDataport, FakeNotifier, 8>;

const MESSAGE: Message = Message { address: 0x0802_0040, data: 81 };
const ADDRESS: u64 = 0;
const CONTROL: u64 = 12;
const PENDING: u64 = 0x800;
/// Bits of the message control, in the dword of the capability.
const ENABLE: u32 = 1 << 31;
const MASK_ALL: u32 = 1 << 30;
const BUS_MASTER: u32 = 0x0006;

/// A connection whose guest uses MSI-X.
struct World<P: PciSpace> {
    vm: Vm<P>,
    connections: Connections<P>,
    id: ConnectionId,
    bdf: Bdf,
    capability: u16,
}

impl<P: PciSpace> World<P> {
    fn new(pci: P) -> Self {
        let memory = FakeMemory::new([range(RAM)]);
        let mut vm = Parts { memory, pci, irqs: FakeIrqs::new(32..64), interrupts: FakeInterrupts::default() };
        let mut connections = Connections::new(Config::default());
        let connection = Connection::new(Name::new("msix").unwrap()).with_event(event(0));
        let id = connections.install(&mut vm, [connection]).unwrap()[0];
        let bdf = connections.status(id).unwrap().bdf;
        let capability = msix_capability(&vm.pci, bdf);
        Self { vm, connections, id, bdf, capability }
    }

    fn configure(&mut self, offset: u16, width: Width, value: u32) {
        if let Some(effect) = self.vm.pci.write(self.bdf, ConfigAccess { offset, width }, value) {
            self.connections.apply(&mut self.vm, effect).unwrap();
        }
    }

    fn control(&mut self, bits: u32) {
        self.configure(self.capability, Width::U32, bits);
    }

    fn table(&self, offset: u64) -> GuestAddr {
        let bars = self.connections.status(self.id).unwrap().bars;
        let bar = bars.iter().find(|bar| bar.bar == BarIndex::ALL[5]).unwrap();
        bar.mapped_at.unwrap().checked_add(offset).unwrap()
    }

    fn store(&mut self, at: GuestAddr, width: Width, value: u64) -> Outcome {
        self.connections.handle(&mut self.vm, GuestAccess::Write { at, width, value }).unwrap()
    }

    fn program(&mut self) {
        self.store(self.table(ADDRESS), Width::U64, MESSAGE.address);
        self.store(self.table(8), Width::U32, MESSAGE.data.into());
        self.store(self.table(CONTROL), Width::U32, 0);
        self.configure(4, Width::U16, BUS_MASTER);
        self.control(ENABLE);
    }

    fn is_pending(&mut self) -> bool {
        let read = GuestAccess::Read { at: self.table(PENDING), width: Width::U64 };
        self.connections.handle(&mut self.vm, read).unwrap() == Outcome::Read(1)
    }

    fn event(&mut self) {
        assert!(self.connections.consume(&mut self.vm, EventSet::of(event(0))).unwrap().is_empty());
    }

    fn write_register(&mut self, offset: u64, value: u64) {
        let events = self.connections.status(self.id).unwrap().bars[0].mapped_at.unwrap();
        self.store(events.checked_add(offset).unwrap(), Width::U32, value);
    }

    /// How many messages came, each of them right.
    fn messages(&mut self) -> usize {
        let messages = self.vm.interrupts.take_messages();
        assert!(messages.iter().all(|message| *message == (self.bdf, MESSAGE)), "{messages:x?}");
        messages.len()
    }

    fn level(&self) -> Level {
        self.vm.interrupts.level(self.connections.status(self.id).unwrap().irq.unwrap())
    }
}

fn fake_bus() -> FakeBus {
    FakeBus::new(range(WINDOW))
}

fn pci_bus() -> PciBus<8> {
    PciBus::new(HostBridge::default(), range(WINDOW))
}

/// Each test on the real bus and on its plain model.
macro_rules! on_both {
    ($($(#[$attribute:meta])* fn $name:ident($world:ident) $body:block)*) => {
        $($(#[$attribute])* #[test] fn $name() {
            fn run<P: PciSpace>(mut $world: World<P>) $body
            run(World::new(fake_bus()));
            run(World::new(pci_bus()));
        })*
    };
}

on_both! {
    fn each_event_sends_one_message_and_the_line_stays_low(world) {
        world.program();
        for _ in 0..3 {
            world.event();
            assert_eq!((world.messages(), world.level(), world.is_pending()), (1, Level::Low, false));
        }
        assert_eq!(world.connections.status(world.id).unwrap().messages_sent, 3);
        // Events that a backend counted together: one message, all counted.
        world.connections.consume_counted(&mut world.vm, event(0).into(), 1000).unwrap();
        assert_eq!((world.messages(), world.connections.status(world.id).unwrap().count), (1, 1003));
    }

    fn while_anything_masks_it_one_bit_is_pending_and_unmasking_sends_it(world) {
        world.program();
        // The vector, the function, the right to master the bus: each alone masks.
        let masks: [fn(&mut World<P>, bool); 3] = [
            |world, masked| { world.store(world.table(CONTROL), Width::U32, masked.into()); },
            |world, masked| world.control(ENABLE | if masked { MASK_ALL } else { 0 }),
            |world, masked| world.configure(4, Width::U16, if masked { 0x0002 } else { BUS_MASTER }),
        ];
        for mask in masks {
            mask(&mut world, true);
            world.event();
            world.event();
            assert_eq!((world.messages(), world.is_pending(), world.level()), (0, true, Level::Low));
            mask(&mut world, false);
            assert_eq!((world.messages(), world.is_pending()), (1, false), "two events, one bit, one message");
            mask(&mut world, true);
            mask(&mut world, false);
            assert_eq!(world.messages(), 0, "nothing new");
        }
    }

    fn what_the_guest_has_seen_while_masked_is_not_sent(world) {
        world.program();
        world.store(world.table(CONTROL), Width::U32, 1);
        world.event();
        world.write_register(0x04, 0);
        assert!(!world.is_pending(), "COUNT was cleared: there is nothing left to report");
        world.store(world.table(CONTROL), Width::U32, 0);
        assert_eq!(world.messages(), 0);
        // An event that was acknowledged only in part is reported.
        world.store(world.table(CONTROL), Width::U32, 1);
        world.event();
        world.event();
        world.write_register(0x48, 1);
        world.store(world.table(CONTROL), Width::U32, 0);
        assert_eq!(world.messages(), 1);
    }

    fn events_before_msix_is_enabled_are_reported_when_it_is(world) {
        for _ in 0..5 {
            world.event();
        }
        assert_eq!((world.messages(), world.level()), (0, Level::High), "INTx until then");
        world.program();
        assert_eq!((world.messages(), world.level()), (1, Level::Low));
        // A driver that goes without looking, and one that comes after it.
        world.control(0);
        assert_eq!(world.level(), Level::High, "COUNT is not zero");
        world.control(ENABLE);
        assert_eq!((world.messages(), world.level()), (1, Level::Low));
    }

    fn with_msix_disabled_nothing_is_sent_and_the_pin_works(world) {
        world.program();
        world.control(0);
        world.event();
        assert_eq!((world.messages(), world.level()), (0, Level::High));
        world.configure(4, Width::U16, BUS_MASTER | 0x0400);
        assert_eq!(world.level(), Level::Low);
    }

    fn the_interrupt_status_follows_count_in_both_ways_of_interrupting(world) {
        world.program();
        let status = |world: &World<P>| world.vm.pci.read(world.bdf, ConfigAccess { offset: 6, width: Width::U16 }) & 8 != 0;
        assert!(!status(&world));
        world.event();
        assert!(status(&world));
        world.write_register(0x04, 0);
        assert!(!status(&world));
    }

    fn a_reset_masks_the_vector_and_forgets_it(world) {
        world.program();
        world.control(ENABLE | MASK_ALL);
        world.event();
        world.connections.reset(&mut world.vm).unwrap();
        let read = |world: &mut World<P>, offset| {
            let at = world.table(offset);
            world.connections.handle(&mut world.vm, GuestAccess::Read { at, width: Width::U64 }).unwrap()
        };
        assert_eq!((read(&mut world, 0), read(&mut world, 8), world.is_pending()), (Outcome::Read(0), Outcome::Read(1 << 32), false));
        assert_eq!(world.vm.pci.msix(world.bdf), crossvm_core::MsixControl::default());
        world.event();
        assert_eq!((world.messages(), world.level()), (0, Level::High));
    }

    fn the_table_moves_with_its_bar_and_is_mapped_nowhere(world) {
        world.program();
        let old = world.table(CONTROL);
        world.configure(0x24, Width::U32, 0x1234_0000);
        assert_eq!(world.table(0), GuestAddr::new(0x1234_0000));
        assert!(world.vm.memory.load(world.table(0), 4).is_err(), "each access traps");
        assert_eq!(world.store(old, Width::U32, 1), Outcome::NotOurs);
        let id = world.id;
        assert_eq!(world.store(world.table(CONTROL), Width::U32, 1), Outcome::Written(id));
        world.event();
        assert!(world.is_pending());
        // Decoding off: nobody answers. The events wait.
        world.configure(4, Width::U16, 0x0004);
        assert_eq!(world.store(GuestAddr::new(0x1234_000c), Width::U32, 0), Outcome::NotOurs);
        world.configure(4, Width::U16, BUS_MASTER);
        world.store(world.table(CONTROL), Width::U32, 0);
        assert_eq!(world.messages(), 1);
    }

    fn pending_bits_and_the_rest_of_the_bar_cannot_be_written(world) {
        world.program();
        for offset in (16..0x1000).step_by(4) {
            assert_eq!(world.store(world.table(offset), Width::U32, u64::MAX), Outcome::Ignored, "{offset:#x}");
        }
        assert!(!world.is_pending());
    }
}

#[test]
fn without_messages_there_is_neither_capability_nor_bar() {
    for config in [Config { profile: Profile::Reference, ..Config::default() }, Config { messages: Messages::Absent, ..Config::default() }]
    {
        let memory = FakeMemory::new([range(RAM)]);
        let mut vm = Parts { memory, pci: pci_bus(), irqs: FakeIrqs::new(32..64), interrupts: FakeInterrupts::default() };
        let mut connections = Connections::new(config);
        let id = connections.install(&mut vm, [Connection::new(Name::new("plain").unwrap()).with_event(event(0))]).unwrap()[0];
        let status = connections.status(id).unwrap();
        assert_eq!(status.bars.len(), 1);
        assert_eq!(vm.pci.read(status.bdf, ConfigAccess { offset: 0x24, width: Width::U32 }), 0);
        let capabilities = vm.pci.read(status.bdf, ConfigAccess { offset: 6, width: Width::U16 }) & 0x10 != 0;
        assert_eq!(capabilities, config.profile == Profile::Extended, "the vendor's capability stays in the extended profile");
    }
}

/// A message that the controller refuses is pending, counted, and sent by the next attempt.
#[test]
fn a_message_that_cannot_be_delivered_is_kept() {
    type FaultyVm = Parts<FakeMemory, PciBus<8>, FakeIrqs, Faulty<FakeInterrupts>>;
    let faults = Faults::default();
    let memory = FakeMemory::new([range(RAM)]);
    let interrupts = faults.wrap(FakeInterrupts::default());
    let mut vm: FaultyVm = Parts { memory, pci: pci_bus(), irqs: FakeIrqs::new(32..64), interrupts };
    let mut connections: CrossVm<FaultyVm, FakeDataport, FakeNotifier, 8> = CrossVm::new(Config::default());
    let doorbell = Doorbell::default();
    let connection = Connection::new(Name::new("msix").unwrap()).with_event(event(0)).with_emit(doorbell.notifier(event(0)));
    let id = connections.install(&mut vm, [connection]).unwrap()[0];
    let status = connections.status(id).unwrap();
    let table = status.bars[1].mapped_at.unwrap();
    for (offset, value) in [(0, MESSAGE.address), (8, MESSAGE.data.into())] {
        let at = table.checked_add(offset).unwrap();
        connections.handle(&mut vm, GuestAccess::Write { at, width: Width::U64, value }).unwrap();
    }
    let capability = msix_capability(&vm.pci, status.bdf);
    for (offset, value) in [(4, BUS_MASTER), (capability, ENABLE)] {
        let effect = vm.pci.write(status.bdf, ConfigAccess { offset, width: Width::U32 }, value).unwrap();
        connections.apply(&mut vm, effect).unwrap();
    }
    faults.fail_at(Some(0));
    connections.consume(&mut vm, EventSet::of(event(0))).unwrap_err();
    assert_eq!(connections.status(id).unwrap().count, 1);
    assert_eq!(vm.interrupts.inner.take_messages(), []);
    connections.refresh(&mut vm).unwrap();
    assert_eq!(vm.interrupts.inner.take_messages(), [(status.bdf, MESSAGE)]);
    connections.refresh(&mut vm).unwrap();
    assert_eq!(vm.interrupts.inner.take_messages(), []);
}

/// What a guest and its peer do around the vector.
#[derive(Debug, Clone, Copy)]
enum Step {
    Event,
    MaskVector(bool),
    Control(bool, bool),
    BusMaster(bool),
    /// The guest takes all of COUNT as its handler does: reads it, then acknowledges so many.
    Handle,
    Clear,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => Just(Step::Event),
        2 => any::<bool>().prop_map(Step::MaskVector),
        2 => any::<(bool, bool)>().prop_map(|(enabled, masked)| Step::Control(enabled, masked)),
        1 => any::<bool>().prop_map(Step::BusMaster),
        2 => Just(Step::Handle),
        1 => Just(Step::Clear),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    /// At every moment, an event that the guest has not taken has interrupted it since it came, or is pending, or its line is high, or the
    /// guest has masked it.
    #[test]
    fn no_event_is_left_without_an_interrupt(steps in prop::collection::vec(step(), 1..80)) {
        let mut world = World::new(pci_bus());
        world.store(world.table(ADDRESS), Width::U64, MESSAGE.address);
        world.store(world.table(8), Width::U32, MESSAGE.data.into());
        let (mut vector, mut enabled, mut function, mut master) = (true, false, false, false);
        // Events not taken, and whether the guest has been told of the last of them by a message.
        let (mut waiting, mut told) = (0u32, true);
        for step in steps {
            match step {
                Step::Event => { world.event(); waiting += 1; told = false; }
                Step::MaskVector(masked) => { vector = masked; world.store(world.table(CONTROL), Width::U32, masked.into()); }
                Step::Control(on, masked) => {
                    told &= enabled || !on || waiting == 0;
                    (enabled, function) = (on, masked);
                    world.control(if on { ENABLE } else { 0 } | if masked { MASK_ALL } else { 0 });
                }
                Step::BusMaster(on) => { master = on; world.configure(4, Width::U16, if on { BUS_MASTER } else { 0x0002 }); }
                Step::Handle => {
                    world.write_register(0x48, waiting.into());
                    (waiting, told) = (0, true);
                }
                Step::Clear => { world.write_register(0x04, 0); (waiting, told) = (0, true); }
            }
            let free = enabled && !vector && !function && master;
            let sent = world.messages();
            prop_assert_eq!(sent, usize::from(free && !told), "{:?}", step);
            told |= sent != 0;
            prop_assert_eq!(world.level().is_high(), waiting != 0 && !enabled, "{:?}", step);
            prop_assert_eq!(world.is_pending(), waiting != 0 && !told, "{:?}", step);
            prop_assert_eq!(world.connections.status(world.id).unwrap().count, waiting);
        }
    }
}
