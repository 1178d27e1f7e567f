//! From a manifest to connected guests on Microkit: the generated system, what its monitors are told, and the backend on fakes.

use std::collections::BTreeMap;
use std::path::Path;

use crossvm_arm::{Ppi, VcpuId, Version, Vgic};
use crossvm_core::device::{EventBarSize, Name};
use crossvm_core::{
    BarWidth, Config, Connection, CrossVm, DataportEnd, Error, ErrorKind, EventPage, EventSet, FrameSize, GuestAccess, GuestAddr,
    GuestMemory, GuestRange, InstallCause, InterruptController, InterruptMode, Irq, Level, Mapping, MemoryType, Outcome, Parts, Rights,
    Status, Width,
};
use crossvm_manifest::manifest::microkit::{Options, System};
use crossvm_manifest::manifest::{Manifest, Source};
use crossvm_manifest::{EventBar, FixedPeer, FixedVm, Interrupt};
use crossvm_pci::{HostBridge, PciBus};
use crossvm_sel4::VcpuInjector;
use crossvm_sel4::arm::Served;
use crossvm_sel4::kernel::{ArmVcpus, Code, KernelError, Label, Message, VcpuRegister};
use crossvm_sel4::microkit::{Channel, ChannelNotifier, FixedError, FixedMemory, MicrokitVcpus, Part, RegionDataport, VcpuNumber};
use crossvm_testkit::conformance::notifier;
use crossvm_testkit::microkit::{FakeMicrokit, FakeRegion, FakeSystem};
use crossvm_testkit::{FakeInterrupts, FakeIrqs};

type Memory = FixedMemory<FakeRegion>;
type Vm = Parts<Memory, PciBus<64>, FakeIrqs, FakeInterrupts>;
type Connections = CrossVm<Vm, RegionDataport, ChannelNotifier<FakeMicrokit>, 64>;

fn range(start: u64, size: u64) -> GuestRange {
    GuestRange::new(GuestAddr::new(start), size).unwrap()
}

fn window((first, last): (u64, u64)) -> GuestRange {
    range(first, last - first + 1)
}

/// A monitor, composed from what its program is told and from nothing else.
struct Monitor {
    vm: Vm,
    connections: Connections,
    events: FakeRegion,
}

/// The address space of the VM, as the system description has made it.
fn memory(told: &FixedPeer, vm: &FixedVm, events: FakeRegion) -> Memory {
    let size = FrameSize::from_bytes(vm.device.event_bar.bytes()).unwrap();
    let mut memory = Memory::new(events, GuestAddr::new(vm.events.guest), size).with_taken(range(vm.ram.guest, vm.ram.size)).unwrap();
    for dataport in told.connections.iter().flat_map(|connection| &connection.dataports) {
        memory = memory.with_region(range(dataport.address, dataport.size), rights(dataport.rights)).unwrap();
    }
    memory
}

const fn rights(rights: crossvm_manifest::Rights) -> Rights {
    match rights {
        crossvm_manifest::Rights::Read => Rights::Read,
        crossvm_manifest::Rights::ReadWrite => Rights::ReadWrite,
    }
}

fn connections(told: &FixedPeer, calls: &FakeMicrokit) -> Vec<Connection<RegionDataport, ChannelNotifier<FakeMicrokit>>> {
    let connection = |told: &crossvm_manifest::FixedConnection| {
        let channel = Channel::new(told.channel).unwrap();
        let interrupt = if told.interrupt == Interrupt::Own { InterruptMode::OwnLine } else { InterruptMode::SharedLine };
        let mut connection = Connection::new(Name::new(&told.name).unwrap())
            .with_emit(ChannelNotifier::new(calls.clone(), channel))
            .with_event(channel.event().unwrap())
            .with_interrupt(interrupt);
        for told in &told.dataports {
            let dataport = RegionDataport::new(range(told.address, told.size)).unwrap();
            let width = if told.width == crossvm_manifest::Width::Bits64 { BarWidth::Bits64 } else { BarWidth::Bits32 };
            connection = connection.with_dataport_end(DataportEnd { dataport, rights: rights(told.rights), width }).unwrap();
        }
        connection
    };
    told.connections.iter().map(connection).collect()
}

impl Monitor {
    fn new(told: &FixedPeer, calls: &FakeMicrokit) -> Self {
        let vm = told.vm.as_ref().unwrap();
        let events = FakeRegion::new(vm.events.program, GuestAddr::new(vm.events.guest), vm.events.size);
        let bus = PciBus::new(HostBridge::default(), window(vm.low_window)).with_window(window(vm.high_window)).unwrap();
        let event_bar = match vm.device.event_bar {
            EventBar::Kib4 => EventBarSize::Kib4,
            EventBar::Kib16 => EventBarSize::Kib16,
            EventBar::Kib64 => EventBarSize::Kib64,
        };
        let mut monitor = Self {
            vm: Parts {
                memory: memory(told, vm, events.clone()),
                pci: bus,
                irqs: FakeIrqs::new(35..66),
                interrupts: FakeInterrupts::default(),
            },
            connections: Connections::new(Config { event_bar, ..Config::default() }),
            events,
        };
        monitor.connections.install(&mut monitor.vm, connections(told, calls)).unwrap_or_else(|error| panic!("{}: {error}", told.name));
        monitor
    }

    fn status(&self, name: &str) -> Status {
        let mut all = self.connections.connections().map(|id| self.connections.status(id).unwrap());
        all.find(|status| status.name == Name::new(name).unwrap()).unwrap()
    }

    /// The guest's COUNT, read from the page that it has.
    fn count(&self, name: &str) -> u32 {
        let events = self.status(name).bars[0].mapped_at.unwrap();
        self.events.guest_load(events.checked_add(4).unwrap()).unwrap()
    }

    fn emit(&mut self, name: &str) {
        let at = self.status(name).bars[0].mapped_at.unwrap();
        let outcome = self.connections.handle(&mut self.vm, GuestAccess::Write { at, width: Width::U32, value: 1 }).unwrap();
        assert!(matches!(outcome, Outcome::Emitted(_)));
    }
}

fn generate(name: &str) -> System {
    let source = Source::read(&Path::new("../examples/manifests").join(name)).unwrap();
    Manifest::parse(&source).unwrap().microkit(&source, &Options::qemu_virt_aarch64()).unwrap()
}

/// Every monitor of a generated system, with the system's channels between them.
fn boot(system: &System) -> (FakeSystem, BTreeMap<String, Monitor>) {
    let channels = FakeSystem::default();
    let number = |name: &str| system.programs.iter().position(|program| program.name == name).unwrap();
    for channel in &system.channels {
        let [one, other] = channel.ends.each_ref().map(|(program, id)| (number(program), Channel::new(*id).unwrap()));
        channels.connect(one, other);
    }
    let monitors = system.programs.iter().enumerate().filter(|(_, program)| program.vm.is_some()).map(|(number, program)| {
        let mut bytes = vec![0; 1 << 16];
        let told = FixedPeer::decode(program.config.encode(&mut bytes).unwrap()).unwrap();
        (told.name.to_string(), Monitor::new(&told, &channels.program(number)))
    });
    let monitors = monitors.collect();
    (channels, monitors)
}

#[test]
fn every_guest_of_a_generated_system_has_its_bars_where_its_memory_is() {
    for name in ["two-guests.toml", "three-guests.toml", "many.toml"] {
        let system = generate(name);
        let (_, monitors) = boot(&system);
        for program in system.programs.iter().filter(|program| program.vm.is_some()) {
            let monitor = &monitors[program.config.name.as_str()];
            for told in &program.config.connections {
                let status = monitor.status(&told.name);
                let maps = &program.vm.as_ref().unwrap().maps;
                for (bar, dataport) in status.bars[1..].iter().zip(&told.dataports) {
                    let map = maps.iter().find(|map| map.address == dataport.address).unwrap();
                    assert!(map.region.contains(told.name.as_str()), "{name}: {}", map.region);
                    assert_eq!(bar.mapped_at, Some(GuestAddr::new(map.address)), "{name}: {}", told.name);
                }
            }
        }
    }
}

#[test]
fn events_go_by_channels_from_guest_to_guest() {
    let system = generate("two-guests.toml");
    let (channels, mut monitors) = boot(&system);
    let (mut zero, mut one) = (monitors.remove("vm0").unwrap(), monitors.remove("vm1").unwrap());
    // Three signals of one channel coalesce; that of another one stays apart.
    zero.emit("bulk");
    zero.emit("bulk");
    zero.emit("bulk");
    zero.emit("ping");
    let signalled = channels.take(1);
    assert_eq!(signalled.word().count_ones(), 2);
    let unknown = one.connections.consume(&mut one.vm, signalled).unwrap();
    assert!(unknown.is_empty());
    assert_eq!((one.count("bulk"), one.count("ping"), zero.count("bulk")), (1, 1, 0));
    one.emit("ping");
    let signalled = channels.take(0);
    assert!(zero.connections.consume(&mut zero.vm, signalled).unwrap().is_empty());
    assert_eq!((zero.count("ping"), zero.count("bulk")), (1, 0));
    zero.emit("reverse");
    let mirror = system.programs.iter().position(|program| program.name == "mirror").unwrap();
    assert_eq!(channels.take(mirror).word(), 1 << system.programs[mirror].config.connections[0].channel);
}

/// A monitor that was told otherwise than its guest's maps are finds out before its guest runs.
#[test]
fn what_the_description_does_not_have_is_refused_and_leaves_nothing() {
    let system = generate("two-guests.toml");
    let told = system.programs[0].config.clone();
    let calls = FakeSystem::default().program(0);
    let install = |change: &dyn Fn(&mut FixedPeer)| {
        let vm = told.vm.as_ref().unwrap();
        let events = FakeRegion::new(vm.events.program, GuestAddr::new(vm.events.guest), vm.events.size);
        let mut parts = Parts {
            memory: memory(&told, vm, events),
            pci: PciBus::<64>::new(HostBridge::default(), window(vm.low_window)),
            irqs: FakeIrqs::new(35..66),
            interrupts: FakeInterrupts::default(),
        };
        let mut changed = told.clone();
        change(&mut changed);
        let mut installed = Connections::new(Config::default());
        let error = installed.install(&mut parts, connections(&changed, &calls)).unwrap_err();
        assert_eq!((installed.connections().count(), parts.pci.functions().count(), parts.irqs.used().count()), (0, 0, 0));
        // Nothing is left: what is right fits now.
        installed.install(&mut parts, connections(&told, &calls)).unwrap();
        error
    };
    let rights = install(&|told| told.connections[1].dataports[0].rights = crossvm_manifest::Rights::Read);
    assert!(matches!(rights.cause, InstallCause::Map { error: FixedError::Rights(_), .. }), "{rights}");
    let elsewhere = install(&|told| told.connections[1].dataports[0].address += 8 << 20);
    assert!(matches!(elsewhere.cause, InstallCause::Map { error: FixedError::NotThere(_), .. }), "{elsewhere}");
    let larger = install(&|told| told.connections[2].dataports[0].size = 0x2000);
    assert!(matches!(larger.cause, InstallCause::Map { error: FixedError::NotThere(_), .. }), "{larger}");
    let more = install(&|told| {
        let mut another = told.connections[2].clone();
        (another.name, another.channel) = (crossvm_manifest::text("more").unwrap(), 9);
        another.dataports.clear();
        told.connections.push(another).unwrap();
    });
    assert!(matches!(more.cause, InstallCause::EventPage(FixedError::NoPage)), "{more}");
    assert_eq!(more.kind(), ErrorKind::Exhausted);
}

/// The clauses of [`GuestMemory`] that a memory keeps in which nothing can be mapped.
#[test]
fn fixed_memory_keeps_the_contract() {
    let guest = GuestAddr::new(0x1000_0000);
    let events = FakeRegion::new(0x10_0000, guest, 0x2000);
    let region = range(0x1010_0000, 0x3000);
    let memory = Memory::new(events.clone(), guest, FrameSize::KIB_4).with_taken(range(0x4000_0000, 0x1000_0000)).unwrap();
    let mut memory = memory.with_region(region, Rights::ReadWrite).unwrap();
    let kind = |result: Result<(), FixedError>| result.map_err(|error| error.kind());
    // Clause 1.
    let window = range(0x1000_0000, 0x2000_0000);
    memory.reserve(window).unwrap();
    for taken in [window, range(0x2fff_ffff, 1), range(0x4000_0000, 1)] {
        assert_eq!(kind(memory.reserve(taken)), Err(ErrorKind::Overlap), "clause 1: {taken}");
    }
    memory.release(window);
    memory.reserve(window).unwrap();
    // Clauses 2, 3, 4 and 7.
    let mapping = |rights| Mapping { size: FrameSize::KIB_4, rights, memory_type: MemoryType::WriteBack };
    let frames = [Part; 3];
    assert_eq!(kind(memory.map(region.start(), &frames, mapping(Rights::Read))), Err(ErrorKind::OutOfRange), "clause 7: rights");
    assert_eq!(kind(memory.map(region.start(), &frames[..2], mapping(Rights::ReadWrite))), Err(ErrorKind::OutOfRange), "clause 7: size");
    assert_eq!(kind(memory.map(GuestAddr::new(0x1020_0000), &frames, mapping(Rights::ReadWrite))), Err(ErrorKind::OutOfRange), "clause 7");
    assert_eq!(kind(memory.map(GuestAddr::new(0x1010_0800), &frames, mapping(Rights::ReadWrite))), Err(ErrorKind::Misaligned), "clause 3");
    for _ in 0..2 {
        memory.map(region.start(), &frames, mapping(Rights::ReadWrite)).unwrap();
        assert_eq!(kind(memory.map(region.start(), &frames, mapping(Rights::ReadWrite))), Err(ErrorKind::Overlap), "clause 3");
        memory.unmap(region);
    }
    // Clause 6: two pages, each all zero whoever had it before, and no third.
    assert_eq!(memory.create_event_page(FrameSize::KIB_16).unwrap_err().kind(), ErrorKind::OutOfRange);
    for _ in 0..2 {
        let pages = [memory.create_event_page(FrameSize::KIB_4).unwrap(), memory.create_event_page(FrameSize::KIB_4).unwrap()];
        assert_eq!(memory.create_event_page(FrameSize::KIB_4).unwrap_err().kind(), ErrorKind::Exhausted);
        for (page, at) in pages.into_iter().zip([0x1000_0000, 0x1000_1000].map(GuestAddr::new)) {
            assert_eq!((page.words().len(), page.fixed_at()), (1024, Some(at)));
            assert_eq!(events.guest_load(at), Some(0), "clause 6: all zero");
            page.words()[0].store(5u32.to_le(), std::sync::atomic::Ordering::Release);
            assert_eq!(events.guest_load(at), Some(5), "clause 6: the guest sees what the monitor stores");
            assert_eq!(kind(memory.map(at, &[Part], mapping(Rights::ReadWrite))), Err(ErrorKind::OutOfRange), "the guest only reads it");
            memory.map(at, &[Part], mapping(Rights::Read)).unwrap();
            memory.unmap(range(at.get(), 0x1000));
            memory.destroy_event_page(page);
        }
    }
}

struct Wires {
    system: FakeSystem,
    notifiers: Vec<(crossvm_core::EventId, ChannelNotifier<FakeMicrokit>)>,
}

impl notifier::Wires for Wires {
    type Notifier = ChannelNotifier<FakeMicrokit>;

    fn notifiers(&self) -> &[(crossvm_core::EventId, Self::Notifier)] {
        &self.notifiers
    }

    fn receive(&self) -> EventSet {
        self.system.take(1)
    }
}

#[test]
fn channels_keep_the_contract_of_notifiers() {
    let make = || {
        let system = FakeSystem::default();
        let notifiers = [0, 1, 30, 61].map(|id| {
            let (channel, other) = (Channel::new(id).unwrap(), Channel::new(61 - id).unwrap());
            system.connect((0, channel), (1, other));
            (other.event().unwrap(), ChannelNotifier::new(system.program(0), channel))
        });
        Wires { notifiers: notifiers.into(), system }
    };
    notifier::all(make);
    notifier::between_threads(make);
    assert_eq!((Channel::new(62), VcpuNumber::new(62)), (None, None));
}

#[test]
fn interrupts_reach_a_guest_through_microkits_calls() {
    let calls = FakeSystem::default().program(0);
    let (number, vcpu) = (VcpuNumber::new(3).unwrap(), VcpuId::new(0).unwrap());
    let mut injector = VcpuInjector::new(MicrokitVcpus(calls.clone()), number.pointer());
    let mut gic: Vgic<1, 2> = Vgic::with_version(Version::V2);
    gic.distributor_write(vcpu, 0x000, Width::U32, 1);
    gic.distributor_write(vcpu, 0x100, Width::U32, u64::from(u32::MAX));
    gic.distributor_write(vcpu, 0x104, Width::U32, u64::from(u32::MAX));
    for line in 40..46 {
        gic.set_level(Irq::new(line), Level::High).unwrap();
    }
    gic.load(vcpu, &mut injector);
    assert_eq!(injector.in_flight(), 4, "as many as there are list registers");
    let mut taken = Vec::new();
    while let Some(intid) = calls.acknowledge(number) {
        taken.push(intid);
        gic.set_level(Irq::new(intid.into()), Level::Low).unwrap();
        let message = calls.end(number).unwrap();
        assert!(matches!(injector.serve(&mut gic, vcpu, &message), Served::Ended(_)));
    }
    taken.sort_unstable();
    assert_eq!((taken, injector.take_failure()), ((40..46).collect(), None));
    // A private interrupt is held back until the guest has ended it.
    let timer = Message { label: Label::VppiEvent, words: [27].into_iter().collect() };
    assert_eq!(injector.serve(&mut gic, vcpu, &timer), Served::Private(Ppi::new(27).unwrap()));
    assert_eq!((calls.acknowledge(number), calls.acknowledged()), (Some(27), vec![]));
    let ended = calls.end(number).unwrap();
    injector.serve(&mut gic, vcpu, &ended);
    assert_eq!(calls.acknowledged(), [27]);
}

#[test]
fn vcpus_are_named_by_their_numbers() {
    let vcpus = MicrokitVcpus(FakeSystem::default().program(0));
    let pointer = VcpuNumber::new(2).unwrap().pointer();
    vcpus.write_register(pointer, VcpuRegister(7), 0x1234).unwrap();
    assert_eq!(vcpus.read_register(pointer, VcpuRegister(7)), Ok(0x1234));
    let nobody = crossvm_sel4::kernel::CPtr::new(62);
    assert_eq!(vcpus.read_register(nobody, VcpuRegister(7)), Err(KernelError::new(Code::InvalidCapability)));
    assert_eq!(vcpus.set_tcb(pointer, pointer), Err(KernelError::new(Code::IllegalOperation)));
}
