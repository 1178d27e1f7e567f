//! Connections between two guests, from end to end: both on one kernel, each with a VMM's part of its own.

use crossvm_core::device::{EventBarSize, Name, spec};
use crossvm_core::{
    Bdf, Config, ConfigAccess, Connection, ConnectionId, CrossVm, Event, EventId, EventSet, ExactId, GuestAccess, GuestAddr, Level,
    Outcome, Parts, PciSpace, Rights, Width,
};
use crossvm_pci::{HostBridge, PciBus};
use crossvm_sel4::badge::consume_exact;
use crossvm_sel4::kernel::{Badge, CPtr, CapRights, Kernel, Object};
use crossvm_sel4::{BadgeSet, Frame, FrameDataport, FrameKind, NotificationNotifier};
use crossvm_testkit::sel4::{Arch, SimKernel, SpaceFault};
use crossvm_testkit::{FakeInterrupts, FakeIrqs, WINDOW, range};

use crate::machine::{ALL, Kind, Machine, pool};

type Backends = Parts<Machine, PciBus<8>, FakeIrqs, FakeInterrupts>;
type Connections = CrossVm<Backends, FrameDataport<Vec<Frame>>, NotificationNotifier<SimKernel>, 8>;
type Ends = Vec<Connection<FrameDataport<Vec<Frame>>, NotificationNotifier<SimKernel>>>;

/// A guest with its connections, and where its events arrive.
struct Vm {
    backends: Backends,
    connections: Connections,
    bell: CPtr,
}

impl Vm {
    fn new(memory: Machine, config: Config) -> Self {
        let bell = memory.make(Object::Notification);
        let pci = PciBus::new(HostBridge::default(), range(WINDOW));
        let backends = Parts { memory, pci, irqs: FakeIrqs::new(32..64), interrupts: FakeInterrupts::default() };
        Self { backends, connections: Connections::new(config), bell }
    }

    fn kernel(&self) -> &SimKernel {
        &self.backends.memory.kernel
    }

    /// Signals this VM under `event`.
    fn notifier(&self, event: u8) -> NotificationNotifier<SimKernel> {
        let slot = self.backends.memory.slot();
        NotificationNotifier::mint(self.kernel().clone(), self.bell, slot, EventId::new(event).unwrap()).unwrap()
    }

    fn install(&mut self, ends: Ends) -> Vec<ConnectionId> {
        self.connections.install(&mut self.backends, ends).unwrap().into_iter().collect()
    }

    fn bar(&self, id: ConnectionId, bar: usize) -> GuestAddr {
        self.connections.status(id).unwrap().bars[bar].mapped_at.unwrap()
    }

    fn load(&self, at: GuestAddr) -> Option<u32> {
        self.backends.memory.load(at)
    }

    /// The guest stores a word: on its own, or with the VMM's help.
    fn store(&mut self, at: GuestAddr, value: u32) -> Option<Outcome> {
        match self.kernel().store(self.backends.memory.root, at.get(), &value.to_le_bytes()) {
            Ok(()) => None,
            Err(SpaceFault::ReadOnly(fault) | SpaceFault::NotMapped(fault)) => {
                assert_eq!(fault, at.get());
                let access = GuestAccess::Write { at, width: Width::U32, value: value.into() };
                Some(self.connections.handle(&mut self.backends, access).unwrap())
            }
        }
    }

    /// The VMM takes what has been signalled, and gives back what is none of its connections'.
    fn serve(&mut self, set: BadgeSet) -> Badge {
        let badge = self.kernel().poll(self.bell);
        set.consume(&mut self.connections, &mut self.backends, badge).unwrap()
    }

    fn configure(&mut self, bdf: Bdf, access: ConfigAccess, value: u32) {
        if let Some(effect) = self.backends.pci.write(bdf, access, value) {
            self.connections.apply(&mut self.backends, effect).unwrap();
        }
    }

    fn irq(&self, id: ConnectionId) -> Level {
        self.backends.interrupts.level(self.connections.status(id).unwrap().irq.unwrap())
    }
}

fn name(name: &str) -> Name {
    Name::new(name).unwrap()
}

/// Two VMs of one VMM.
fn two((arch, kind): (Arch, Kind), config: Config) -> [Vm; 2] {
    let (kernel, pool) = pool(arch);
    [0x1000_0000, 0x1020_0000].map(|window| Vm::new(Machine::with(kernel.clone(), pool, kind, window), config))
}

/// Both ends of a connection: the second guest may only load.
fn ends([first, second]: &[Vm; 2], frames: Vec<Frame>, event: u8) -> [Ends; 2] {
    let copies = frames
        .iter()
        .map(|frame| {
            let slot = second.backends.memory.slot();
            second.kernel().copy(frame.capability(), slot, CapRights::READ).unwrap();
            Frame::new(slot, frame.kind())
        })
        .collect::<Vec<_>>();
    let end = |frames, rights, peer: &Vm| {
        let dataport = FrameDataport::checked(peer.kernel(), frames).unwrap();
        let connection = Connection::new(name("camera")).with_dataport(dataport, rights).unwrap();
        vec![connection.with_emit(peer.notifier(event)).with_event(EventId::new(event).unwrap())]
    };
    [end(frames, Rights::ReadWrite, second), end(copies, Rights::Read, first)]
}

#[test]
fn guests_share_memory_with_their_rights_and_interrupt_each_other() {
    for space in ALL {
        for kind in [FrameKind::Small, FrameKind::Large] {
            let mut vms = two(space, Config::default());
            let frames = vec![vms[0].backends.memory.frame(kind), vms[0].backends.memory.frame(kind)];
            let [a, b] = ends(&vms, frames, 5);
            let ids = [vms[0].install(a)[0], vms[1].install(b)[0]];
            let [first, second] = &mut vms;
            let last = |vm: &Vm, id| vm.bar(id, 1).checked_add(2 * kind.size().bytes() - 4).unwrap();
            assert_eq!(first.store(last(first, ids[0]), 0x1234_5678), None);
            assert_eq!(second.load(last(second, ids[1])), Some(0x1234_5678));
            assert_eq!(second.store(last(second, ids[1]), 1), Some(Outcome::Ignored), "it may only load");
            assert_eq!(first.load(last(first, ids[0])), Some(0x1234_5678));
            // Three emits that coalesce, with a timer of the VMM beside them.
            let timer = BadgeSet::new(EventSet::from_word(0xff));
            for _ in 0..3 {
                assert_eq!(first.store(first.bar(ids[0], 0), 1), Some(Outcome::Emitted(ids[0])));
            }
            let slot = second.backends.memory.slot();
            second.kernel().mint(second.bell, slot, CapRights::WRITE, Badge::new(1 << 20)).unwrap();
            second.kernel().signal(slot);
            assert_eq!(second.serve(timer), Badge::new(1 << 20));
            let count = second.bar(ids[1], 0).checked_add(spec::COUNT).unwrap();
            assert_eq!((second.load(count), second.irq(ids[1])), (Some(1), Level::High));
            assert_eq!(second.store(count, 0), Some(Outcome::Written(ids[1])));
            assert_eq!((second.load(count), second.irq(ids[1])), (Some(0), Level::Low));
            assert_eq!(second.store(second.bar(ids[1], 0), 1), Some(Outcome::Emitted(ids[1])));
            assert_eq!((first.serve(timer), first.irq(ids[0])), (Badge::NONE, Level::High));
        }
    }
}

#[test]
fn a_connection_alone_on_its_notification_may_have_any_badge() {
    let [mut vm, _] = two(ALL[4], Config::default());
    let badge = Badge::new(0x00be_e005);
    let end = Connection::new(name("clock")).with_event(Event::Exact(ExactId::new(badge.value())));
    let id = vm.install(vec![end])[0];
    let slot = vm.backends.memory.slot();
    vm.kernel().mint(vm.bell, slot, CapRights::WRITE, badge).unwrap();
    vm.kernel().signal(slot);
    let received = vm.kernel().poll(vm.bell);
    assert_eq!(consume_exact(&mut vm.connections, &mut vm.backends, received).unwrap(), Some(id));
    assert_eq!((vm.connections.status(id).unwrap().count, vm.irq(id)), (1, Level::High));
    assert_eq!(consume_exact(&mut vm.connections, &mut vm.backends, Badge::new(5)).unwrap(), None);
}

/// Three connections: two frames, one large frame, and two dataports behind event registers of this size.
fn three(vm: &mut Vm) -> Ends {
    let small: Vec<Frame> = (0..5).map(|_| vm.backends.memory.frame(FrameKind::Small)).collect();
    let large = vm.backends.memory.frame(FrameKind::Large);
    let dataport = |frames: &[Frame]| FrameDataport::new(frames.to_vec()).unwrap();
    vec![
        Connection::new(name("small")).with_dataport(dataport(&small[..2]), Rights::ReadWrite).unwrap(),
        Connection::new(name("large")).with_dataport(dataport(&[large]), Rights::ReadWrite).unwrap(),
        Connection::new(name("pair"))
            .with_dataport(dataport(&small[2..3]), Rights::Read)
            .unwrap()
            .with_dataport(dataport(&small[3..]), Rights::ReadWrite)
            .unwrap(),
    ]
}

#[test]
fn an_install_that_fails_at_any_call_leaves_the_kernels_objects_as_before() {
    for space in ALL {
        for event_bar in [EventBarSize::Kib4, EventBarSize::Kib16, EventBarSize::Kib64] {
            let [mut vm, _] = two(space, Config { event_bar, ..Config::default() });
            let connections = three(&mut vm);
            let (left, mappings) = (vm.backends.memory.left(), vm.kernel().mappings(vm.backends.memory.root));
            // Once before, so that the pool has split its memory: then the kernel's own books are to be the same as well.
            let ids = vm.install(connections.clone());
            for id in ids {
                vm.connections.remove(&mut vm.backends, id).unwrap();
            }
            let account = vm.kernel().account();
            let mut calls = 0;
            loop {
                vm.kernel().faults().fail_at(Some(calls));
                let result = vm.connections.install(&mut vm.backends, connections.clone());
                vm.kernel().faults().fail_at(None);
                match result {
                    Ok(_) => break,
                    Err(error) => assert!(error.position < 3, "{error}"),
                }
                assert_eq!(vm.backends.memory.left(), left, "call {calls} of {space:?}");
                assert_eq!(vm.kernel().account(), account, "call {calls} of {space:?}");
                assert_eq!(vm.kernel().mappings(vm.backends.memory.root), mappings);
                calls += 1;
                assert!(calls < 1000, "it fails without a fault");
            }
            assert!(calls > 30, "only {calls} calls");
            let installed: Vec<ConnectionId> = vm.connections.connections().collect();
            assert_eq!(installed.len(), 3);
            for id in installed {
                vm.connections.remove(&mut vm.backends, id).unwrap();
            }
            assert_eq!((vm.backends.memory.left(), vm.kernel().account()), (left, account));
        }
    }
}

#[test]
fn a_guest_may_move_its_bars_for_ever() {
    for space in ALL {
        let [mut vm, _] = two(space, Config::default());
        let connections = three(&mut vm);
        let ids = vm.install(connections);
        let home = vm.backends.memory.left();
        let bdfs: Vec<Bdf> = ids.iter().map(|id| vm.connections.status(*id).unwrap().bdf).collect();
        let dword = |offset| ConfigAccess { offset, width: Width::U32 };
        let places: Vec<u32> = bdfs.iter().map(|bdf| vm.backends.pci.read(*bdf, dword(0x14)) & !0xf).collect();
        for round in 0..200u32 {
            for (index, bdf) in (0u32..).zip(&bdfs) {
                let size = if index == 1 { 0x20_0000 } else { 0x2000 };
                // Over the neighbours, out of the window, and back.
                let place = 0x1000_0000 + round.wrapping_mul(0x0123_4567).wrapping_add(0x77_0000 * index) % 0x1200_0000;
                vm.configure(*bdf, dword(0x14), place & !(size - 1));
            }
            if round % 7 == 0 {
                let command = ConfigAccess { offset: 4, width: Width::U16 };
                vm.configure(bdfs[1], command, 0);
                vm.configure(bdfs[1], command, 2);
            }
        }
        for (bdf, place) in bdfs.iter().zip(&places) {
            vm.configure(*bdf, dword(0x14), *place);
        }
        assert_eq!(vm.backends.memory.left(), home, "{space:?}");
        for id in ids {
            assert!(vm.bar(id, 1).get() >= WINDOW.0);
        }
    }
}
