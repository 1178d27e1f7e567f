//! The contracts, against every backend that runs on this machine.

use crossvm_arm::spec::message;
use crossvm_arm::spec::{HypervisorControl, ListRegister, MachineControl, State};
use crossvm_arm::{ListRegisters, Messages, Spi, SpiRange, VcpuId, Version, Vgic};
use crossvm_core::{Bdf, ErrorType, EventId, EventSet, GuestAddr, InterruptController, Irq, Level, Message, Width};
use crossvm_pci::{HostBridge, PciBus};
use crossvm_testkit::conformance::interrupt_controller::{self, GuestCpu};
use crossvm_testkit::conformance::notifier::{self, Wires};
use crossvm_testkit::conformance::{guest_memory, irq_allocator, pci_space};
use crossvm_testkit::{Doorbell, FakeBus, FakeIrqs, FakeMemory, FakeNotifier, RAM, WINDOW, range};

#[test]
fn fake_irqs_keep_the_contract() {
    irq_allocator::all(|| FakeIrqs::new(32..40));
}

#[test]
fn fake_bus_keeps_the_contract() {
    // One function for each device number: it never shares a line.
    pci_space::all(|| FakeBus::new(range(WINDOW)));
}

#[test]
fn pci_bus_keeps_the_contract() {
    pci_space::all(|| PciBus::<8>::new(HostBridge::default(), range(WINDOW)));
}

#[test]
fn fake_memory_keeps_the_contract() {
    guest_memory::all(|| FakeMemory::new([range(RAM)]));
}

#[test]
fn virtual_gic_keeps_the_contract() {
    for version in [Version::V2, Version::V3] {
        for registers in [1, 4, 16] {
            interrupt_controller::all(|| Cpu::new(version, registers));
        }
    }
}

#[test]
fn fake_notifiers_keep_the_contract() {
    notifier::all(Bell::new);
    notifier::between_threads(Bell::new);
}

/// A doorbell, and a notifier for some of its events.
struct Bell {
    doorbell: Doorbell,
    notifiers: Vec<(EventId, FakeNotifier)>,
}

impl Bell {
    fn new() -> Self {
        let doorbell = Doorbell::default();
        let events = [0, 1, 31, 32, 63].map(|bit| EventId::new(bit).unwrap());
        Self { notifiers: events.map(|event| (event, doorbell.notifier(event))).into(), doorbell }
    }
}

impl Wires for Bell {
    type Notifier = FakeNotifier;

    fn notifiers(&self) -> &[(EventId, FakeNotifier)] {
        &self.notifiers
    }

    fn receive(&self) -> EventSet {
        self.doorbell.take()
    }
}

/// A vCPU with a virtual GIC: between calls it is in the guest, with its list registers loaded.
struct Cpu {
    gic: Vgic<1, 2>,
    registers: Registers,
}

/// The list registers of a physical CPU, as memory.
struct Registers {
    lists: Vec<ListRegister>,
    control: HypervisorControl,
}

impl ListRegisters for Registers {
    fn count(&self) -> usize {
        self.lists.len()
    }
    fn read(&self, index: usize) -> ListRegister {
        self.lists[index]
    }
    fn write(&mut self, index: usize, value: ListRegister) {
        self.lists[index] = value;
    }
    fn control(&self) -> HypervisorControl {
        self.control
    }
    fn set_control(&mut self, value: HypervisorControl) {
        self.control = value;
    }
    fn machine_control(&self) -> MachineControl {
        MachineControl::new().with_enable_group1(true)
    }
}

const GICD_CTLR: u32 = 0x000;
const GICD_IGROUPR: u32 = 0x080;
const GICD_ISENABLER: u32 = 0x100;
const GICD_ICENABLER: u32 = 0x180;
const GICD_ICFGR: u32 = 0xc00;
const GICR_WAKER: u32 = 0x014;

/// Where the guest has the frame with the register for messages.
const FRAME: u64 = 0x0802_0000;

impl Cpu {
    /// As a guest's driver leaves it: groups set, the redistributor awake, every SPI disabled.
    fn new(version: Version, registers: usize) -> Self {
        let messages = Messages::new(GuestAddr::new(FRAME), SpiRange::new(Spi::new(64).unwrap(), 32).unwrap());
        let mut gic = Vgic::with_version(version).with_messages(messages).unwrap();
        gic.redistributor_write(vcpu(), GICR_WAKER, Width::U32, 0);
        gic.distributor_write(vcpu(), GICD_CTLR, Width::U32, 0b10);
        for word in 1..=2 {
            gic.distributor_write(vcpu(), GICD_IGROUPR + 4 * word, Width::U32, 0xffff_ffff);
        }
        // SPIs 64 to 95, which are for messages, are edges.
        gic.distributor_write(vcpu(), GICD_ICFGR + 16, Width::U64, u64::MAX);
        let registers = Registers { lists: vec![ListRegister::EMPTY; registers], control: HypervisorControl::new() };
        let mut cpu = Self { gic, registers };
        cpu.exit(|_| ());
        cpu
    }

    /// Out of the guest and into it again, as a VMM does it.
    fn exit<T>(&mut self, serve: impl FnOnce(&mut Vgic<1, 2>) -> T) -> T {
        self.gic.save(vcpu(), &mut self.registers);
        let result = serve(&mut self.gic);
        self.gic.load(vcpu(), &mut self.registers);
        result
    }

    /// The list register of `irq` in a state that counts.
    fn list(&mut self, states: &[State]) -> Option<&mut ListRegister> {
        self.registers.lists.iter_mut().find(|list| list.virtual_intid() != 0 && states.contains(&list.state()))
    }
}

impl ErrorType for Cpu {
    type Error = crossvm_arm::Error;
}

impl InterruptController for Cpu {
    fn set_level(&mut self, irq: Irq, level: Level) -> Result<(), Self::Error> {
        self.exit(|gic| gic.set_level(irq, level))
    }

    fn deliver_msi(&mut self, requester: Bdf, message: Message) -> Result<(), Self::Error> {
        self.exit(|gic| gic.deliver_msi(requester, message))
    }
}

impl GuestCpu for Cpu {
    fn line(&self) -> Irq {
        Irq::new(40)
    }
    fn no_line(&self) -> Irq {
        Irq::new(96)
    }
    fn message(&self) -> Option<(Message, Irq)> {
        Some((Message { address: FRAME + u64::from(message::SETSPI), data: 70 }, Irq::new(70)))
    }
    fn set_enabled(&mut self, irq: Irq, enabled: bool) {
        let register = if enabled { GICD_ISENABLER } else { GICD_ICENABLER } + 4 * (irq.number() / 32);
        self.exit(|gic| gic.distributor_write(vcpu(), register, Width::U32, 1 << (irq.number() % 32)));
    }
    fn acknowledge(&mut self) -> Option<Irq> {
        // All interrupts of the suite have one priority: nothing is taken while one is active.
        if self.list(&[State::Active, State::PendingActive]).is_some() {
            return None;
        }
        let list = self.list(&[State::Pending])?;
        list.set_state(State::Active);
        Some(Irq::new(list.virtual_intid()))
    }
    fn end(&mut self, _irq: Irq) {
        if let Some(list) = self.list(&[State::Active]) {
            list.set_state(State::Inactive);
        } else if let Some(list) = self.list(&[State::PendingActive]) {
            list.set_state(State::Pending);
        } else {
            panic!("the guest ended an interrupt that is not active");
        }
        // The maintenance interrupt, if the VMM asked for one, is an exit like any other.
        self.exit(|_| ());
    }
}

fn vcpu() -> VcpuId {
    VcpuId::new(0).unwrap()
}
