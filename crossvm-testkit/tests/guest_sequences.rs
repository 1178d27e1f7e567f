//! Whatever a guest and its peers do, in whatever order: nothing is mapped where it must not be, and the lines follow the counters.

mod common;

use std::collections::BTreeMap;

use common::{Connections, Vm, four, vm};
use crossvm_core::{
    BarIndex, Config, ConfigAccess, ConfigEffect, ConnectionId, EventSet, GuestAddr, GuestRange, MsixTable, Outcome, PciSpace, Rights,
    Width,
};
use crossvm_testkit::strategy::{Step, step};
use crossvm_testkit::{Doorbell, FakeBus, RAM, WINDOW, range};
use proptest::prelude::*;

/// The VM under test, beside the plain model of its bus.
struct World {
    vm: Vm,
    connections: Connections,
    doorbell: Doorbell,
    model: FakeBus,
    /// COUNT of each connection that is installed, by its event's bit, by the plainest arithmetic.
    counts: BTreeMap<usize, u32>,
}

impl World {
    fn new() -> Self {
        let (connections, model) = (Connections::new(Config::default()), FakeBus::new(range(WINDOW)));
        let mut world = Self { vm: vm(), connections, doorbell: Doorbell::default(), model, counts: BTreeMap::new() };
        (0..4).for_each(|bit| world.toggle(bit));
        world
    }

    fn toggle(&mut self, bit: usize) {
        if self.counts.remove(&bit).is_some() {
            let id = self.connections.connections().find(|id| self.bit(*id) == bit).unwrap();
            let bdf = self.connections.status(id).unwrap().bdf;
            self.connections.remove(&mut self.vm, id).unwrap().unwrap().uncovered.unwrap();
            self.model.remove(bdf).unwrap();
        } else {
            let specification = four(|event| self.doorbell.notifier(event)).swap_remove(bit);
            let id = self.connections.install(&mut self.vm, [specification]).unwrap()[0];
            self.counts.insert(bit, 0);
            // The model gets the same function, and puts it at the same place.
            let bdf = self.model.insert(function_of(&self.vm, &self.connections, id)).unwrap();
            assert_eq!(bdf, self.connections.status(id).unwrap().bdf);
        }
    }

    /// The event's bit of a connection of `common::four`: its position there.
    fn bit(&self, id: ConnectionId) -> usize {
        let name = self.connections.status(id).unwrap().name;
        ["small", "large", "pair", "bell"].iter().position(|known| *known == name.as_str()).unwrap()
    }

    fn installed(&self) -> u64 {
        self.counts.keys().fold(0, |word, bit| word | 1 << bit)
    }

    fn apply(&mut self, effect: Option<ConfigEffect>) {
        if let Some(effect) = effect {
            self.connections.apply(&mut self.vm, effect).unwrap();
        }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::ConfigRead(bdf, access) => {
                assert_eq!(self.vm.pci.read(bdf, access), self.model.read(bdf, access), "{bdf} {access:x?}");
            }
            Step::ConfigWrite(bdf, access, value) => {
                let effect = self.vm.pci.write(bdf, access, value);
                assert_eq!(effect, self.model.write(bdf, access, value), "{bdf} {access:x?} {value:#x}");
                self.apply(effect);
            }
            Step::AtBar { connection, bar, offset, access } => {
                let ids: Vec<_> = self.connections.connections().collect();
                let Some(id) = ids.get(connection % ids.len().max(1)) else { return };
                let status = self.connections.status(*id).unwrap();
                if let Some(at) = status.bars[bar % status.bars.len()].mapped_at.and_then(|at| at.checked_add(offset)) {
                    self.access(access.at(at));
                }
            }
            Step::Access(access) => self.access(access),
            Step::Consume(events) => {
                let unknown = self.connections.consume(&mut self.vm, events).unwrap();
                assert_eq!(unknown.word(), events.word() & !self.installed());
                for (bit, count) in &mut self.counts {
                    if events.word() >> bit & 1 == 1 {
                        *count = count.saturating_add(1);
                    }
                }
            }
            Step::Reset => {
                self.connections.reset(&mut self.vm).unwrap();
                self.counts.values_mut().for_each(|count| *count = 0);
                for bdf in self.model.functions().collect::<Vec<_>>() {
                    self.model.reset(bdf);
                }
            }
            Step::Toggle(number) => self.toggle(number % 4),
        }
    }

    /// An access that traps in a real guest: the fake memory tells. Those that do not trap are served as well: the VMM may race.
    fn access(&mut self, access: crossvm_core::GuestAccess) {
        let before = self.doorbell.take();
        assert!(before.is_empty());
        let outcome = self.connections.handle(&mut self.vm, access).unwrap();
        let emitted = self.doorbell.take();
        match outcome {
            Outcome::Emitted(id) => assert_eq!(emitted, EventSet::from_word(1 << self.bit(id))),
            _ => assert!(emitted.is_empty(), "{outcome:?} emitted"),
        }
        let Outcome::Written(id) = outcome else { return };
        let bars = self.connections.status(id).unwrap().bars;
        let crossvm_core::GuestAccess::Write { at, width, value } = access else { panic!("{access} wrote a register") };
        if bars.last().unwrap().mapped_at.and_then(|table| at.offset_from(table)).is_some_and(|offset| offset < 16) {
            return;
        }
        let events = bars[0].mapped_at.unwrap();
        let value = u32::try_from(value & width.mask() & 0xffff_ffff).unwrap();
        let bit = self.bit(id);
        let count = self.counts.get_mut(&bit).unwrap();
        match at.offset_from(events).unwrap() {
            0x04 => *count = value,
            0x48 => *count = count.saturating_sub(value),
            offset => panic!("a write at {offset:#x} changed the counter"),
        }
    }

    /// What must hold after every step.
    fn check(&mut self) {
        for (bdf, message) in self.vm.interrupts.take_messages() {
            assert!(self.model.msix(bdf).enabled && !self.model.msix(bdf).masked, "{message} of {bdf}");
            assert!(self.model.command(bdf).bus_master, "{message} of {bdf}, which is no bus master");
        }
        let (window, ram) = (range(WINDOW), range(RAM));
        let mut last: Option<GuestRange> = None;
        let mut mapped = Vec::new();
        for (at, mapping) in self.vm.memory.mappings() {
            assert!(window.covers(at), "{at} is mapped outside the window");
            assert!(!at.overlaps(ram), "{at} is mapped over RAM");
            assert!(!last.is_some_and(|last| last.overlaps(at)), "{at} is mapped over a neighbour");
            last = Some(at);
            mapped.push((at, mapping.rights));
        }
        // What is mapped is what the plain model of the bus decodes, to the byte.
        let mut expected = Vec::new();
        let mut levels: BTreeMap<_, bool> = BTreeMap::new();
        for id in self.connections.connections() {
            let status = self.connections.status(id).unwrap();
            assert_eq!(status.count, self.counts[&self.bit(id)], "COUNT of {}", status.name);
            let (sizes, rights) = layout(status.name.as_str());
            for (index, (size, rights)) in sizes.iter().zip(rights).enumerate() {
                if let Some(at) = self.model.decoded(status.bdf, BarIndex::ALL[index]) {
                    let pages = frames(at, *size, status.name.as_str() == "large" && index == 1);
                    expected.extend(pages.into_iter().map(|range| (range, *rights)));
                }
            }
            let asserted = status.count != 0 && !self.model.command(status.bdf).intx_disable && !self.model.msix(status.bdf).enabled;
            *levels.entry(status.irq.unwrap()).or_default() |= asserted;
            let pending = self.vm.pci.read(status.bdf, ConfigAccess { offset: 6, width: Width::U16 }) & 8 != 0;
            assert_eq!(pending, status.count != 0, "interrupt status of {}", status.name);
        }
        expected.sort_by_key(|(range, _)| range.start());
        assert_eq!(mapped, expected, "mapped is not what is decoded");
        let expected: Vec<_> = levels.into_iter().filter(|(_, high)| *high).map(|(irq, _)| irq).collect();
        assert_eq!(self.vm.interrupts.high().collect::<Vec<_>>(), expected, "lines that are high");
        let reserved = if self.counts.is_empty() { vec![] } else { vec![window] };
        assert_eq!(self.vm.memory.reserved(), reserved, "the window is reserved while there is a connection");
    }

    /// Interrupt status is the one thing that the model of the bus cannot know: the VMM sets it.
    fn tell_status(&mut self) {
        for id in self.connections.connections() {
            let status = self.connections.status(id).unwrap();
            let pending = if status.count == 0 { crossvm_core::InterruptStatus::Clear } else { crossvm_core::InterruptStatus::Pending };
            self.model.set_interrupt_status(status.bdf, pending);
        }
    }
}

/// True sizes and rights of the BARs of the connections in `common::four`.
fn layout(name: &str) -> (&'static [u64], &'static [Rights]) {
    const RO: Rights = Rights::Read;
    const RW: Rights = Rights::ReadWrite;
    match name {
        "small" => (&[4 << 10, 12 << 10], &[RO, RW]),
        "large" => (&[4 << 10, 1 << 20], &[RO, RW]),
        "pair" => (&[4 << 10, 4 << 10, 8 << 10], &[RO, RO, RW]),
        _ => (&[4 << 10], &[RO]),
    }
}

fn frames(at: GuestAddr, size: u64, large: bool) -> Vec<GuestRange> {
    let frame = if large { size } else { 4 << 10 };
    (0..size / frame).map(|index| GuestRange::new(at.checked_add(index * frame).unwrap(), frame).unwrap()).collect()
}

/// The function that a connection was given, read back from its sizes.
fn function_of(vm: &Vm, connections: &Connections, id: ConnectionId) -> crossvm_core::Function {
    let status = connections.status(id).unwrap();
    let mut bars = [None; 6];
    for bar in &status.bars {
        let prefetchable = bar.bar != BarIndex::ALL[5];
        bars[bar.bar.get()] = Some(crossvm_core::Bar { size: bar.size, width: crossvm_core::BarWidth::Bits32, prefetchable, fixed: None });
    }
    assert_eq!(vm.pci.read(status.bdf, ConfigAccess { offset: 0, width: Width::U32 }), 0xa111_1af4);
    // "xvm1", version 1, ACK and MSI-X, and the true sizes of the dataports.
    let (_, dataports) = layout(status.name.as_str()).0.split_first().unwrap();
    let halves = dataports.iter().flat_map(|size| [*size & 0xffff_ffff, *size >> 32]);
    let body = [0x316d_7678, 1, 3, dataports.len() as u64].into_iter().chain(halves);
    crossvm_core::Function {
        vendor: 0x1af4,
        device: 0xa111,
        revision: 1,
        class: crossvm_core::ClassCode { base: 5, sub: 0, interface: 0 },
        subsystem_vendor: 0,
        subsystem: 0,
        interrupt: status.irq,
        bars,
        vendor_specific: body.map(|dword| u32::try_from(dword).unwrap()).collect(),
        msix: Some(MsixTable { vectors: 1, table: (BarIndex::ALL[5], 0), pending: (BarIndex::ALL[5], 0x800) }),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_keeps_mappings_and_lines_right(steps in prop::collection::vec(step(range(WINDOW)), 1..60)) {
        let mut world = World::new();
        world.check();
        for step in steps {
            world.take(step);
            world.tell_status();
            world.check();
        }
    }
}

/// The property above is worth little if the steps seldom do something: most kinds of outcome must be common.
#[test]
fn the_strategy_reaches_what_it_is_for() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let steps = prop::collection::vec(step(range(WINDOW)), 4000);
    let steps = steps.new_tree(&mut runner).unwrap().current();
    let mut world = World::new();
    let (mut moved, mut remapped, mut raised) = (0, 0, 0);
    for step in steps {
        let before: Vec<_> = world.vm.memory.mappings().collect();
        let addresses = |world: &World| -> Vec<_> {
            world.model.functions().flat_map(|bdf| BarIndex::ALL.map(|bar| world.model.decoded(bdf, bar))).collect()
        };
        let bars = addresses(&world);
        world.take(step);
        world.tell_status();
        moved += usize::from(addresses(&world) != bars);
        remapped += usize::from(world.vm.memory.mappings().collect::<Vec<_>>() != before);
        raised += world.vm.interrupts.take_changes().len();
    }
    assert!(moved > 200 && remapped > 200 && raised > 200, "{moved} moves, {remapped} remappings, {raised} changes of a line");
}
