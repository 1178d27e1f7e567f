//! List registers of an Arm vCPU through the kernel.

use std::collections::{BTreeMap, BTreeSet};

use crossvm_arm::spec::message;
use crossvm_arm::{IntId, ListRegisters, Messages, Spi, SpiRange, VcpuId, Version, Vgic};
use crossvm_core::{Bdf, ErrorType, GuestAddr, InterruptController, Irq, Level, Message, Width};
use crossvm_sel4::arm::Served;
use crossvm_sel4::kernel::{ArmVcpus, Badge, CPtr, CapRights, Code, Kernel, Label, Object, ThreadSpaces, Threads, VirtualInterrupt};
use crossvm_sel4::{Objects, VcpuInjector, kernel};
use crossvm_testkit::conformance::interrupt_controller::{self, GuestCpu};
use crossvm_testkit::sel4::{Arch, ListRegister, SimKernel};
use proptest::prelude::*;

use crate::machine::pool;

const GICD_CTLR: u32 = 0x000;
const GICD_ISENABLER: u32 = 0x100;
const GICD_ICENABLER: u32 = 0x180;
const GICD_IPRIORITYR: u32 = 0x400;
const GICD_ICFGR: u32 = 0xc00;
/// Where the guest has the frame with the register for messages.
const FRAME: u64 = 0x0802_0000;
/// The virtual timer.
const TIMER: u16 = 27;

/// An interrupt that somebody else has injected.
const FOREIGN: VirtualInterrupt = VirtualInterrupt { intid: 99, priority: 0, group: 0, index: 0 };

/// A VMM with a guest of one vCPU, which has a GICv2.
struct Board {
    kernel: SimKernel,
    vcpu: CPtr,
    endpoint: CPtr,
    gic: Vgic<1, 2>,
    injector: VcpuInjector<SimKernel>,
    /// What the messages were about.
    served: Vec<Served>,
}

fn first() -> VcpuId {
    VcpuId::new(0).unwrap()
}

impl Board {
    /// SPIs 64 to 95 are for messages, and edges, as are 56 to 63; every SPI is disabled.
    fn new() -> Self {
        let (kernel, mut pool) = pool(Arch::Aarch64);
        let slots = pool.allocate_slots(4).unwrap();
        let [endpoint, faults, tcb, vcpu] = [0, 1, 2, 3].map(|index| slots.offset(index));
        for (object, slot) in [(Object::Endpoint, endpoint), (Object::Tcb, tcb), (Object::Vcpu, vcpu)] {
            pool.create(object, slot).unwrap();
        }
        kernel.mint(endpoint, faults, CapRights::ALL, Badge::new(1)).unwrap();
        let cspace = SimKernel::CSPACE;
        let spaces = ThreadSpaces { cspace, guard_bits: 52, vspace: SimKernel::VSPACE, fault_endpoint: faults, ipc_buffer: None };
        kernel.configure(tcb, spaces).unwrap();
        ArmVcpus::set_tcb(&kernel, vcpu, tcb).unwrap();
        let messages = Messages::new(GuestAddr::new(FRAME), SpiRange::new(Spi::new(64).unwrap(), 32).unwrap());
        let mut gic = Vgic::with_version(Version::V2).with_messages(messages).unwrap();
        gic.distributor_write(first(), GICD_CTLR, Width::U32, 1);
        gic.distributor_write(first(), GICD_ICFGR + 16, Width::U64, u64::MAX);
        gic.distributor_write(first(), GICD_ICFGR + 14, Width::U16, 0xffff);
        (0..96).for_each(|intid| gic.distributor_write(first(), GICD_IPRIORITYR + intid, Width::U8, 0xa0));
        let injector = VcpuInjector::new(kernel.clone(), vcpu);
        Self { kernel, vcpu, endpoint, gic, injector, served: Vec::new() }
    }

    /// The VMM does something with the interrupt controller.
    fn with<T>(&mut self, change: impl FnOnce(&mut Vgic<1, 2>) -> T) -> T {
        let before = self.kernel.list(self.vcpu);
        let result = change(&mut self.gic);
        self.gic.load(first(), &mut self.injector);
        self.nothing_is_overwritten(&before);
        result
    }

    /// The VMM serves what has come.
    fn serve(&mut self) {
        while let Some(received) = self.kernel.try_receive(self.endpoint) {
            let before = self.kernel.list(self.vcpu);
            self.served.push(self.injector.serve(&mut self.gic, first(), &received.message));
            self.kernel.reply(&kernel::Message::empty());
            self.nothing_is_overwritten(&before);
        }
    }

    fn nothing_is_overwritten(&self, before: &[ListRegister]) {
        let after = self.kernel.list(self.vcpu);
        for (before, after) in before.iter().zip(&after) {
            assert!(*before == ListRegister::Empty || before == after, "{before:?} became {after:?}");
        }
        let numbers = after.iter().filter_map(|register| match register {
            ListRegister::Empty => None,
            ListRegister::Pending(interrupt) | ListRegister::Active(interrupt) => Some(interrupt),
        });
        let mut seen = BTreeSet::new();
        for interrupt in numbers {
            assert!(seen.insert(interrupt.intid), "{} is in two registers", interrupt.intid);
            let ours = (interrupt.priority, interrupt.group) == (0xa0 >> 3, 0);
            assert!(ours || *interrupt == FOREIGN, "the kernel refuses {interrupt:?}, or the guest does not take it");
        }
    }

    fn level(&mut self, intid: u32, level: Level) {
        self.with(|gic| gic.set_spi_level(Spi::new(intid).unwrap(), level)).unwrap();
    }

    fn enable(&mut self, intid: u32, enabled: bool) {
        let register = if enabled { GICD_ISENABLER } else { GICD_ICENABLER } + 4 * (intid / 32);
        self.with(|gic| gic.distributor_write(first(), register, Width::U32, 1 << (intid % 32)));
    }

    fn end(&mut self, intid: u16) {
        assert!(self.kernel.guest_end(self.vcpu, intid), "the guest ends what it has taken");
        self.serve();
    }

    fn is_active(&self) -> bool {
        self.kernel.list(self.vcpu).iter().any(|register| matches!(register, ListRegister::Active(_)))
    }
}

impl ErrorType for Board {
    type Error = crossvm_arm::Error;
}

impl InterruptController for Board {
    fn set_level(&mut self, irq: Irq, level: Level) -> Result<(), Self::Error> {
        self.with(|gic| gic.set_level(irq, level))
    }
    fn deliver_msi(&mut self, requester: Bdf, message: Message) -> Result<(), Self::Error> {
        self.with(|gic| gic.deliver_msi(requester, message))
    }
}

impl GuestCpu for Board {
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
        self.enable(irq.number(), enabled);
    }
    fn acknowledge(&mut self) -> Option<Irq> {
        // All interrupts of the suite have one priority: nothing is taken while one is active.
        if self.is_active() { None } else { self.kernel.guest_acknowledge(self.vcpu).map(|intid| Irq::new(intid.into())) }
    }
    fn end(&mut self, irq: Irq) {
        self.end(u16::try_from(irq.number()).unwrap());
    }
}

#[test]
fn the_virtual_gic_on_the_kernels_list_registers_keeps_the_contract() {
    interrupt_controller::all(Board::new);
}

#[test]
fn an_interrupt_that_the_kernel_refuses_waits_for_the_next_load() {
    let mut board = Board::new();
    board.enable(40, true);
    board.kernel.faults().fail_at(Some(0));
    board.level(40, Level::High);
    // The first register refused, the second one took it.
    assert_eq!((board.injector.take_failure(), board.injector.take_failure()), (Some(SimKernel::INJECTED), None));
    assert_eq!((board.injector.in_flight(), board.kernel.guest_acknowledge(board.vcpu)), (1, Some(40)));
}

#[test]
fn a_register_that_is_active_with_something_else_is_passed_over() {
    let mut board = Board::new();
    board.kernel.inject(board.vcpu, FOREIGN).unwrap();
    assert_eq!(board.kernel.guest_acknowledge(board.vcpu), Some(99));
    board.enable(40, true);
    board.level(40, Level::High);
    assert_eq!(board.injector.take_failure().map(|error| error.code), Some(Code::DeleteFirst));
    assert_eq!((board.kernel.guest_acknowledge(board.vcpu), board.injector.in_flight()), (Some(40), 1));
    board.end(99);
    assert_eq!(board.served, [Served::Nothing]);
    board.enable(41, true);
    board.level(41, Level::High);
    assert!(matches!(board.kernel.list(board.vcpu)[0], ListRegister::Pending(interrupt) if interrupt.intid == 41), "free again");
}

#[test]
fn messages_about_nothing_do_nothing() {
    let mut board = Board::new();
    let message = |label, word: u64| kernel::Message { label, words: [word].into_iter().collect() };
    for (label, word) in
        [(Label::VgicMaintenance, 0), (Label::VgicMaintenance, u64::MAX), (Label::VppiEvent, 5), (Label::VppiEvent, 1 << 40)]
    {
        assert_eq!(board.injector.serve(&mut board.gic, first(), &message(label, word)), Served::Nothing);
    }
    assert_eq!(board.injector.serve(&mut board.gic, first(), &message(Label::VmFault, 0)), Served::NotOurs);
    assert!(board.injector.take_failure().is_none() && board.injector.count() == 4);
}

#[test]
fn a_timer_comes_again_once_the_guest_has_ended_it() {
    let mut board = Board::new();
    board.enable(TIMER.into(), true);
    for _ in 0..3 {
        assert!(board.kernel.private_interrupt(board.vcpu, TIMER.into()));
        board.serve();
        assert_eq!((board.kernel.guest_acknowledge(board.vcpu), board.injector.in_flight()), (Some(TIMER), 1));
        assert!(!board.kernel.private_interrupt(board.vcpu, TIMER.into()), "the kernel holds it back");
        board.end(TIMER);
        assert_eq!((board.kernel.guest_acknowledge(board.vcpu), board.injector.in_flight()), (None, 0));
    }
    let timer = IntId::new(TIMER.into()).unwrap();
    assert!(board.served.contains(&Served::Ended(timer)) && board.injector.take_failure().is_none());
}

/// Lines 40 to 46; edges 56 to 62.
#[derive(Debug, Clone)]
enum Step {
    Raise(u32),
    Lower(u32),
    Edge(u32),
    Enable(u32, bool),
    Acknowledge,
    End(prop::sample::Index),
    /// The VMM has other things to do: messages wait.
    Serve,
    /// The next call of the kernel fails.
    Fail,
}

fn step() -> impl Strategy<Value = Step> {
    let line = 40u32..47;
    let edge = 56u32..63;
    prop_oneof![
        3 => line.clone().prop_map(Step::Raise),
        3 => line.clone().prop_map(Step::Lower),
        4 => edge.clone().prop_map(Step::Edge),
        1 => (prop_oneof![line, edge], any::<bool>()).prop_map(|(intid, enabled)| Step::Enable(intid, enabled)),
        6 => Just(Step::Acknowledge),
        6 => any::<prop::sample::Index>().prop_map(Step::End),
        4 => Just(Step::Serve),
        1 => Just(Step::Fail),
    ]
}

/// What may and what must interrupt the guest.
#[derive(Debug, Default)]
struct Model {
    high: BTreeMap<u32, bool>,
    /// Interrupts of lines that have fallen, which may have been on their way: by line.
    strays: BTreeMap<u32, u32>,
    /// How many edges there were more than acknowledges.
    edges: BTreeMap<u32, u32>,
    /// Edges that no acknowledge has followed.
    unseen: BTreeSet<u32>,
    active: Vec<u16>,
}

impl Model {
    fn acknowledged(&mut self, intid: u16) {
        let line = u32::from(intid);
        if line >= 56 {
            let edges = self.edges.entry(line).or_default();
            assert!(*edges > 0, "one edge of {intid} has interrupted twice");
            *edges -= 1;
            self.unseen.remove(&line);
        } else if !self.high.get(&line).copied().unwrap_or(false) {
            let strays = self.strays.entry(line).or_default();
            assert!(*strays > 0, "line {intid} is low, and has come already");
            *strays -= 1;
        }
        assert!(!self.active.contains(&intid), "{intid} is active");
        self.active.push(intid);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// With more interrupts than registers, messages that wait, and calls that fail: no interrupt is lost, none is overwritten, each edge interrupts once at
    /// most, and a line that is low once at most.
    #[test]
    fn no_interrupt_is_lost_and_none_comes_twice(steps in prop::collection::vec(step(), 1..200)) {
        let (mut board, mut model) = (Board::new(), Model::default());
        (40..47).chain(56..63).for_each(|intid| board.enable(intid, true));
        for step in steps {
            match step {
                Step::Raise(line) => {
                    model.high.insert(line, true);
                    board.level(line, Level::High);
                }
                Step::Lower(line) => {
                    if model.high.insert(line, false) == Some(true) {
                        model.strays.insert(line, 1);
                    }
                    board.level(line, Level::Low);
                }
                Step::Edge(edge) => {
                    *model.edges.entry(edge).or_default() += 1;
                    model.unseen.insert(edge);
                    board.with(|gic| gic.pulse_spi(Spi::new(edge).unwrap())).unwrap();
                }
                Step::Enable(intid, enabled) => board.enable(intid, enabled),
                Step::Acknowledge => {
                    if let Some(intid) = board.kernel.guest_acknowledge(board.vcpu) {
                        model.acknowledged(intid);
                    }
                }
                Step::End(index) if !model.active.is_empty() => {
                    let intid = model.active.swap_remove(index.index(model.active.len()));
                    prop_assert!(board.kernel.guest_end(board.vcpu, intid));
                }
                Step::End(_) => {}
                Step::Serve => board.serve(),
                Step::Fail => board.kernel.faults().fail_at(Some(0)),
            }
        }
        // The guest enables everything, and serves all there is: its devices lower their lines when they are served.
        board.kernel.faults().fail_at(None);
        (40..47).chain(56..63).for_each(|intid| board.enable(intid, true));
        board.serve();
        let mut due: Vec<u32> = model.high.iter().filter(|(_, high)| **high).map(|(line, _)| *line).collect();
        for _ in 0..100 {
            for intid in std::mem::take(&mut model.active) {
                board.end(intid);
            }
            let Some(intid) = board.kernel.guest_acknowledge(board.vcpu) else { break };
            model.acknowledged(intid);
            let line = u32::from(intid);
            if model.high.insert(line, false) == Some(true) {
                due.retain(|other| *other != line);
                board.level(line, Level::Low);
            }
        }
        prop_assert_eq!(due, Vec::<u32>::new(), "lines that are high");
        prop_assert_eq!(model.unseen, BTreeSet::new(), "edges that the guest was never told of");
        prop_assert_eq!((board.injector.in_flight(), board.kernel.list(board.vcpu)), (0, [ListRegister::Empty; 4]));
    }
}
