//! A VM on plain memory, and what its guest does to it.

use std::boxed::Box;
use std::string::String;
use std::sync::atomic::Ordering;
use std::vec::Vec;

use crossvm_arm::VcpuId;
use crossvm_core::{EventId, FrameSize, GuestAddr, GuestRange};
use crossvm_manifest::{Connection, Dataport, Interrupt, Peer, Reboot, Topology, Width, text};
use proptest::prelude::*;

use super::*;
use crate::dataport::{Dataports, SharedMemory};
use crate::exit::spec::{self, DataAbortIss, Syndrome, SystemRegisterIss};
use crate::exit::{El1Registers, Register};
use crate::host::tests::memory;
use crate::host::{PagePool, PhysicalMemory};
use crate::mail::Mailbox;
use crate::platform::tests::Recorder;
use crate::translation::{LeafAttributes, Stage2, Stage2Attributes};

mod composition;
mod holders;
mod lifecycle;

const RAM: u64 = 8 << 20;
const EVENT: EventId = match EventId::new(5) {
    Some(id) => id,
    None => panic!("below 64"),
};

/// The registers of the guest that an exception entry uses.
#[derive(Default)]
struct El1 {
    syndrome: Option<u64>,
    far: Option<u64>,
}

impl El1Registers for El1 {
    fn vector_base(&self) -> u64 {
        0x8000
    }
    fn control(&self) -> u64 {
        1 << 23
    }
    fn save(&mut self, _return_address: u64, _pstate: u64, syndrome: u64) {
        self.syndrome = Some(syndrome);
    }
    fn set_fault_address(&mut self, address: u64) {
        self.far = Some(address);
    }
    fn snapshot(&self) -> [(&'static str, u64); crate::exit::SNAPSHOT] {
        [("vbar_el1", 0x8000); crate::exit::SNAPSHOT]
    }
}

/// A VM with two connections: `own` (64 KiB, read and write) with a VM and `lookup` (8 KiB, read) with a component.
struct Rig {
    vm: Vm<Recorder>,
    /// The first vCPU: on.
    vcpu: Vcpu,
    /// The second one: off.
    second: Vcpu,
    el1: El1,
    platform: Recorder,
    own: &'static Mailbox,
    peer: &'static Mailbox,
    dataports: [&'static SharedMemory; 2],
    ram: PhysicalMemory,
}

fn image() -> Vec<u8> {
    let mut image = std::vec![0; 4096];
    image[16..24].copy_from_slice(&4096u64.to_le_bytes());
    image[56..60].copy_from_slice(b"ARM\x64");
    image
}

impl Rig {
    fn new() -> Self {
        Self::with_gic(GuestGic::V3)
    }

    fn with_gic(gic: GuestGic) -> Self {
        let platform = Recorder::new();
        let leak = |mailbox| &*Box::leak(Box::new(mailbox));
        let (own, peer) = (leak(Mailbox::for_vm(CpuId::new(0))), leak(Mailbox::for_vm(CpuId::new(1))));
        // SAFETY: fresh memory of this test.
        let dataports = [64 << 10, 8 << 10].map(|size| unsafe { SharedMemory::new(memory(size).range()) }.unwrap());
        let resources = Resources {
            name: text("vm0").unwrap(),
            cpus: [0, 2].map(CpuId::new).into_iter().collect(),
            mailbox: own,
            on_reboot: Reboot::Restart,
            device: Config::default(),
            gic,
            memory: Stage2::new(PagePool::new(memory(PagePool::SIZE)), platform).unwrap(),
            platform,
        };
        let mut vm = Vm::new(resources).unwrap();
        let connection = |name, size, rights, peer| Connection {
            name: text(name).unwrap(),
            dataports: [Dataport { size, rights: [rights, crossvm_manifest::Rights::ReadWrite], width: Width::Bits32 }]
                .into_iter()
                .collect(),
            ends: [Peer::Vm(0), peer].map(|peer| crossvm_manifest::End { peer, interrupt: Interrupt::Own }),
        };
        use crossvm_manifest::Rights::{Read, ReadWrite};
        let mut topology = Topology::default();
        topology
            .connections
            .extend([connection("own", 64 << 10, ReadWrite, Peer::Vm(1)), connection("lookup", 8 << 10, Read, Peer::Component(3))]);
        let memories = dataports.map(|dataport| [dataport].into_iter().collect::<Dataports>());
        let ends = crate::config::ends(&topology, Peer::Vm(0));
        let ends = ends.zip(&memories).map(|(end, memory)| (end, memory.clone(), Notify::new(peer, EVENT, platform)));
        vm.connect(ends).unwrap();
        let ram = memory(RAM);
        vm.add_ram(ram.range()).unwrap();
        let [vcpu, second] = [0, 1].map(|id| Vcpu::new(VcpuId::new(id).unwrap()));
        let mut rig = Self { vm, vcpu, second, el1: El1::default(), platform, own, peer, dataports, ram };
        rig.boot();
        rig.platform.forget();
        rig
    }

    /// Boots the VM and enters the guest with its first vCPU.
    fn boot(&mut self) {
        let kernel = image();
        let images = Images { kernel: &kernel, initrd: &[], command_line: "", seed: None };
        let boot = self.vm.prepare_boot(RAM, &images).unwrap();
        let start = boot.load(&mut self.ram, &images, self.platform).unwrap();
        self.vm.start(start, RAM);
        assert_eq!(self.next(), Next::Start(start));
        assert_eq!(self.next(), Next::Enter);
    }

    fn next(&mut self) -> Next {
        let (next, kicks) = self.vm.next(&mut self.vcpu);
        kicks.send(self.platform);
        next
    }

    /// The same for the second vCPU.
    fn second_next(&mut self) -> Next {
        let (next, kicks) = self.vm.next(&mut self.second);
        kicks.send(self.platform);
        next
    }

    fn trap(&mut self, class: u8, iss: u32, at: u64) -> Flow {
        let syndrome = Syndrome::new().with_class(class).with_long_instruction(true).with_iss(iss);
        self.el1 = El1::default();
        self.vm.serve(&mut self.vcpu, Trap { syndrome, far: 0xffff_0000_0000_0000 | at & 0xfff, hpfar: at >> 12 << 4 }, &mut self.el1)
    }

    fn abort(&mut self, iss: DataAbortIss, at: u64) -> Flow {
        self.trap(spec::CLASS_DATA_ABORT_LOWER, iss.into_bits(), at)
    }

    /// `str` of x1.
    fn store(&mut self, at: u64, size: u8, value: u64) -> Flow {
        self.vcpu.registers.write(Register::new(1), value);
        let iss = DataAbortIss::new().with_fault_status(0b1111).with_valid(true).with_write(true).with_register(1).with_size(size);
        self.abort(iss, at)
    }

    /// `ldr` of x2.
    fn load(&mut self, at: u64, size: u8) -> u64 {
        let iss =
            DataAbortIss::new().with_fault_status(0b0111).with_valid(true).with_register(2).with_size(size).with_register_64(size == 3);
        self.abort(iss, at);
        self.vcpu.registers.read(Register::new(2))
    }

    /// A store that the hardware does not describe.
    fn store_pair(&mut self, at: u64) -> Flow {
        self.abort(DataAbortIss::new().with_fault_status(0b1111).with_write(true), at)
    }

    fn config(device: u64, register: u64) -> u64 {
        0x3f00_0000 + (device << 15) + register
    }

    fn bar(&mut self, device: u64, bar: u64) -> u64 {
        self.load(Self::config(device, 0x10 + 4 * bar), 2) & !0xf
    }

    /// What the guest reads without an exit.
    fn direct(&self, at: u64) -> Option<(u64, LeafAttributes)> {
        self.vm.backend.memory.find(GuestAddr::new(at)).map(|found| (found.target.get(), found.attributes))
    }

    /// A call to the firmware: what x0 is afterwards.
    fn firmware(&mut self, function: u64, arguments: [u64; 3]) -> i64 {
        for (register, value) in (0..).zip([function].into_iter().chain(arguments)) {
            self.vcpu.registers.write(Register::new(register), value);
        }
        assert_eq!(self.trap(spec::CLASS_HVC64, 0, 0), Flow::Resume);
        self.vcpu.registers.read(Register::new(0)).cast_signed()
    }
}

fn same_pc(rig: &Rig, before: u64) -> bool {
    rig.vcpu.registers.pc == before
}

#[test]
fn a_guest_starts_at_its_kernel_with_its_device_tree() {
    let rig = Rig::new();
    assert_eq!(rig.vcpu.registers.pc, 0x4000_0000);
    let tree = rig.vcpu.registers.arguments()[0] - 0x4000_0000;
    let first = usize::try_from(tree).unwrap();
    let magic: Vec<u8> = rig.ram.bytes()[first..first + 4].iter().map(|byte| byte.load(Ordering::Relaxed)).collect();
    assert_eq!(magic, [0xd0, 0x0d, 0xfe, 0xed]);
}

#[test]
fn where_nothing_is_the_guest_gets_an_external_abort() {
    let mut rig = Rig::new();
    for at in [0u64, 0x0801_0000, 0x0900_1000, 0x4000_0000 + RAM, 0x3f_ffff_f000] {
        let (pc, exits) = (rig.vcpu.registers.pc, std::format!("{}", rig.vcpu.exits));
        assert_eq!(rig.store(at, 2, 1), Flow::Resume);
        // From EL1 to EL1: class 0x25, a store, external.
        assert_eq!((rig.el1.syndrome, rig.el1.far), (Some(0x9600_0050), Some(0xffff_0000_0000_0000 | at & 0xfff)), "{at:#x}");
        assert_eq!(rig.vcpu.registers.pc, 0x8200);
        rig.vcpu.registers.pc = pc;
        rig.load(at, 0);
        assert_eq!(rig.el1.syndrome, Some(0x9600_0010));
        rig.store_pair(at);
        assert_eq!(rig.el1.syndrome, Some(0x9600_0050));
        assert_ne!(std::format!("{}", rig.vcpu.exits), exits);
        rig.vcpu.registers.pc = pc;
    }
    let walk = DataAbortIss::new().with_fault_status(0b0101).with_stage1_walk(true);
    rig.abort(walk, 0x1000_0000);
    assert_eq!(rig.el1.syndrome, Some(0x9600_0010), "its own tables where nothing is");
    rig.vcpu.registers.pc = 0;
    rig.trap(spec::CLASS_INSTRUCTION_ABORT_LOWER, 0b0111, 0);
    assert_eq!(rig.el1.syndrome, Some(0x8600_0010));
    assert!(rig.platform.printed().is_empty(), "nothing of this is worth a line");
}

#[test]
fn emitting_signals_the_peer_whatever_the_instruction() {
    let mut rig = Rig::new();
    let events = rig.bar(1, 0);
    for size in 0..4 {
        assert_eq!(rig.store(events, size, 0), Flow::Resume);
        assert_eq!(rig.peer.take().collect::<Vec<_>>(), [(EVENT, 1)]);
    }
    let pc = rig.vcpu.registers.pc;
    assert_eq!(rig.store_pair(events), Flow::Resume, "a store pair at EMIT");
    assert_eq!(rig.peer.take().collect::<Vec<_>>(), [(EVENT, 1)]);
    assert!(same_pc(&rig, pc + 4));
    for elsewhere in [8, 0x40, 0xff8] {
        assert_eq!(rig.store_pair(events + elsewhere), Flow::Resume);
        assert!(rig.peer.take().is_empty(), "a store pair at {elsewhere:#x}");
        assert!(rig.el1.syndrome.is_none());
    }
    assert_eq!(rig.platform.kicks(), [CpuId::new(1); 5]);
}

#[test]
fn emitting_to_a_component_names_it_and_the_event() {
    let mut rig = Rig::new();
    let events = rig.bar(2, 0);
    let request = Request { component: 3, event: EventId::new(0).unwrap() };
    assert_eq!(rig.store(events, 2, 1), Flow::Serve(request));
    assert_eq!(rig.store_pair(events), Flow::Serve(request));
    assert_eq!(rig.store(events + 8, 2, 1), Flow::Resume, "not EMIT");
    rig.peer.close();
    assert_eq!(rig.store(events, 2, 1), Flow::Resume, "nothing was sent");
}

#[test]
fn events_interrupt_until_they_are_acknowledged() {
    let mut rig = Rig::new();
    let vcpu = VcpuId::new(0).unwrap();
    let events = rig.bar(1, 0);
    // Line 35 is the first connection's: enabled, in group 1, awake.
    rig.store(0x080a_0014, 2, 0);
    rig.store(0x0800_0000, 2, 0b10);
    rig.store(0x0800_0084, 2, 1 << 3);
    rig.store(0x0800_0104, 2, 1 << 3);
    assert_eq!(rig.next(), Next::Enter);
    assert!(!rig.vm.interrupts().has_pending(vcpu));
    let notify = Notify::new(rig.own, EventId::new(0).unwrap(), rig.platform);
    crossvm_core::Notifier::notify(&notify).unwrap();
    assert_eq!(rig.next(), Next::Enter);
    assert!(rig.vm.interrupts().has_pending(vcpu));
    let (page, attributes) = rig.direct(events).unwrap();
    assert_eq!(attributes, Stage2Attributes::Read.into());
    let count = || {
        let page = rig.vm.backend.memory.words_at(crate::host::HostAddr::new(page));
        page[1].load(Ordering::Relaxed)
    };
    assert_eq!(count(), 1);
    // ACK of one.
    rig.store(events + 0x48, 2, 1);
    assert_eq!(rig.next(), Next::Enter);
    assert!(!rig.vm.interrupts().has_pending(vcpu));
    // INTX_DISABLE holds the line down, not the counter.
    rig.store(Rig::config(1, 4), 1, 0x402);
    crossvm_core::Notifier::notify(&notify).unwrap();
    assert_eq!(rig.next(), Next::Enter);
    assert!(!rig.vm.interrupts().has_pending(vcpu));
    rig.store(Rig::config(1, 4), 1, 0x002);
    assert!(rig.vm.interrupts().has_pending(vcpu));
}

#[test]
fn dataports_follow_their_bars_and_each_move_is_recorded_once() {
    let mut rig = Rig::new();
    let old = rig.bar(1, 1);
    let memory = rig.dataports[0].memory().range().start().get();
    assert_eq!(rig.direct(old), Some((memory, Stage2Attributes::ReadWrite.into())));
    // As Linux does it: decode off, size, move, decode on.
    let (command, bar) = (Rig::config(1, 4), Rig::config(1, 0x14));
    rig.store(command, 1, 0);
    assert_eq!(rig.direct(old), None);
    rig.store(bar, 2, 0xffff_ffff);
    assert_eq!(rig.bar(1, 1), 0xffff_0000);
    rig.store(bar, 2, 0x1234_0000);
    assert_eq!(rig.direct(0x1234_0000), None);
    rig.store(command, 1, 2);
    assert_eq!(rig.direct(0x1234_0000), Some((memory, Stage2Attributes::ReadWrite.into())));
    assert_eq!(rig.direct(0x1234_ffff), Some((memory + 0xffff, Stage2Attributes::ReadWrite.into())));
    assert_eq!(rig.direct(old), None);
    let expected = std::format!("record=bar-moved vm=vm0 bdf=00:01.0 bar=1 from={old:#x} to=0x12340000");
    assert_eq!(rig.platform.printed(), [expected]);
    // Over RAM it is not mapped, and nothing is said: it has not arrived anywhere.
    rig.store(bar, 2, 0x4000_0000);
    assert_eq!(rig.direct(0x4000_0000).map(|(target, _)| target), Some(rig.ram.range().start().get()));
    assert_eq!(rig.platform.printed().len(), 1);
    // Read-only stays read-only, wherever it is.
    let lookup = rig.bar(2, 1);
    assert_eq!(rig.direct(lookup).unwrap().1, Stage2Attributes::Read.into());
    let pc = rig.vcpu.registers.pc;
    assert_eq!(rig.store(lookup, 3, 7), Flow::Resume);
    assert!(same_pc(&rig, pc + 4) && rig.el1.syndrome.is_none());
    assert_eq!(rig.dataports[1].memory().bytes()[0].load(Ordering::Relaxed), 0);
}

#[test]
fn a_bar_walks_through_the_whole_window_and_is_always_mapped() {
    let mut rig = Rig::new();
    let memory = rig.dataports[0].memory().range().start().get();
    // More places than the VM has pages for tables, each in tables of its own.
    for round in 0..1000u64 {
        let at = 0x1000_0000 + round % 300 * (2 << 20);
        rig.store(Rig::config(1, 0x14), 2, at);
        assert_eq!(rig.direct(at).map(|(target, _)| target), Some(memory), "round {round}");
    }
}

#[test]
fn what_cannot_be_mapped_is_tried_again_but_not_at_each_exit() {
    let mut rig = Rig::new();
    let pages: Vec<_> =
        core::iter::from_fn(|| crossvm_core::GuestMemory::create_event_page(&mut rig.vm.backend.memory, FrameSize::KIB_4).ok()).collect();
    rig.store(Rig::config(1, 0x14), 2, 0x2000_0000);
    assert_eq!(rig.direct(0x2000_0000), None);
    let tries = |rig: &mut Rig, exits: u32| {
        let before = rig.platform.invalidated().len();
        (0..exits).for_each(|_| assert_eq!(rig.next(), Next::Enter));
        rig.platform.invalidated().len() - before
    };
    assert_eq!(tries(&mut rig, 1), 1);
    assert_eq!(tries(&mut rig, 100), 0);
    rig.platform.advance(10);
    assert_eq!(tries(&mut rig, 100), 1);
    for page in pages {
        crossvm_core::GuestMemory::destroy_event_page(&mut rig.vm.backend.memory, page);
    }
    rig.platform.advance(10);
    assert_eq!(rig.next(), Next::Enter);
    assert!(rig.direct(0x2000_0000).is_some());
}

#[test]
fn a_guest_that_moves_bars_for_ever_is_soon_not_heard_any_more() {
    let mut rig = Rig::new();
    for round in 0..1000u64 {
        rig.store(Rig::config(1, 0x10), 2, 0x2000_0000 + round * 4096);
    }
    assert_eq!(rig.platform.printed().len(), usize::try_from(MOVE_RECORDS).unwrap());
    assert!(rig.platform.printed().last().unwrap().contains("not shown"));
}

#[test]
fn where_no_function_answers_the_window_reads_all_ones() {
    let mut rig = Rig::new();
    assert_eq!(rig.load(0x1800_0000, 2), 0xffff_ffff);
    rig.store(0x1800_0000, 2, 5);
    assert!(rig.el1.syndrome.is_none());
    assert_eq!(rig.load(Rig::config(9, 0), 2), 0xffff_ffff, "an absent function");
}

#[test]
fn the_console_shows_lines_and_the_serial_port_interrupts() {
    let mut rig = Rig::new();
    for byte in b"hi\r\nthere" {
        rig.store(0x0900_0000, 0, u64::from(*byte));
    }
    assert_eq!(rig.platform.guest_text(), "hi\n");
    let cpu = VcpuId::new(0).unwrap();
    rig.store(0x080a_0014, 2, 0);
    rig.store(0x0800_0000, 2, 0b10);
    rig.store(0x0800_0084, 2, 1 << 1);
    rig.store(0x0800_0104, 2, 1 << 1);
    // Receive interrupts on.
    rig.store(0x0900_0038, 1, 0x50);
    rig.own.typed(rig.platform, b'x');
    assert_eq!(rig.next(), Next::Enter);
    assert!(rig.vm.interrupts().has_pending(cpu));
    assert_eq!(rig.load(0x0900_0000, 1), u64::from(b'x'));
    assert_eq!(rig.next(), Next::Enter);
    assert!(!rig.vm.interrupts().has_pending(cpu));
    rig.store(0x0900_0000, 0, u64::from(b'!'));
    assert_eq!(rig.platform.guest_text(), "hi\nthere!", "somebody types: shown at once");
}

#[test]
fn system_registers_are_served_or_undefined() {
    let mut rig = Rig::new();
    let sgi = SystemRegisterIss::new().with_op0(3).with_crn(12).with_crm(11).with_op2(5).with_register(1);
    // Group 1, SGI 3 enabled, to itself.
    rig.store(0x0800_0000, 2, 0b10);
    rig.store(0x080b_0080, 2, 1 << 3);
    rig.store(0x080b_0100, 2, 1 << 3);
    rig.vcpu.registers.write(Register::new(1), 3 << 24 | 1);
    let pc = rig.vcpu.registers.pc;
    rig.trap(spec::CLASS_SYSTEM_REGISTER, sgi.into_bits(), 0);
    assert!(same_pc(&rig, pc + 4));
    assert!(rig.vm.interrupts().has_pending(VcpuId::new(0).unwrap()));
    // ICC_SGI1R_EL1 cannot be read.
    rig.trap(spec::CLASS_SYSTEM_REGISTER, sgi.with_read(true).into_bits(), 0);
    assert_eq!(rig.el1.syndrome, Some(0x0200_0000));
    // ACTLR_EL1 reads as zero.
    let actlr = SystemRegisterIss::new().with_op0(3).with_crn(1).with_op2(1).with_register(2).with_read(true);
    rig.vcpu.registers.write(Register::new(2), 77);
    rig.trap(spec::CLASS_SYSTEM_REGISTER, actlr.into_bits(), 0);
    assert_eq!((rig.vcpu.registers.read(Register::new(2)), rig.el1.syndrome), (0, None));
}

#[test]
fn a_process_cannot_end_its_vm() {
    let mut rig = Rig::new();
    // From AArch32 user space, whatever is refused is the guest kernel's to handle.
    for class in spec::CLASSES_REFUSED {
        rig.vcpu.registers.pstate = 0x10;
        assert_eq!(rig.trap(class, 0, 0), Flow::Resume, "{class:#x}");
        assert_eq!((rig.el1.syndrome, rig.vcpu.registers.pc), (Some(0x0200_0000), 0x8600));
    }
}

/// Everything that traps, and where it is interesting.
fn traps() -> impl Strategy<Value = (u8, u32, u64, u64)> {
    let class = prop_oneof![
        6 => Just(spec::CLASS_DATA_ABORT_LOWER),
        1 => Just(spec::CLASS_INSTRUCTION_ABORT_LOWER),
        1 => Just(spec::CLASS_SYSTEM_REGISTER),
        1 => Just(spec::CLASS_HVC64),
        1 => 0u8..64,
    ];
    let at = prop_oneof![
        3 => (0u64..4, 0u64..0x40).prop_map(|(device, register)| Rig::config(device, register)),
        2 => (0u64..0x1_0000).prop_map(|offset| 0x0800_0000 + offset),
        1 => (0u64..0x2_0000).prop_map(|offset| 0x080a_0000 + offset),
        1 => (0u64..0x1000).prop_map(|offset| 0x0900_0000 + offset),
        2 => 0x1000_0000u64..0x4010_0000,
        1 => any::<u64>().prop_map(|at| at >> 16),
    ];
    // Abort syndromes are stage 2 faults that describe their access, more often than not.
    let iss = prop_oneof![
        4 => (0u32..1 << 9, 0u32..0x400).prop_map(|(high, low)| 1 << 24 | high << 15 & 0xff_8000 | low & 0x40 | 0b0111),
        1 => 0u32..1 << 25,
    ];
    let value = prop_oneof![any::<u64>(), (0x100u64..0x500).prop_map(|high| high << 20), Just(2), Just(0xffff_ffff)];
    (class, iss, at, value)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever a guest does: the VMM goes on, RAM stays where it is, and the window shows nothing but the connections' memory, with
    /// no more rights than they have.
    #[test]
    fn a_hostile_guest_reaches_nothing_but_what_is_its_own(steps in proptest::collection::vec(traps(), 1..150)) {
        let mut rig = Rig::new();
        let own = rig.dataports[0].memory().range();
        let lookup = rig.dataports[1].memory().range();
        let ram = rig.ram.range().start().get();
        for (class, iss, at, value) in steps {
            for register in 0..4 {
                rig.vcpu.registers.write(Register::new(register), value);
            }
            rig.trap(class, iss, at);
            if let Next::Finish(end) = rig.next() {
                if end == End::Reboot {
                    rig.boot();
                } else {
                    return Ok(());
                }
            }
            for id in rig.vm.connections.connections().collect::<Vec<_>>() {
                for bar in rig.vm.connections.status(id).unwrap().bars {
                    let Some(at) = bar.mapped_at else { continue };
                    prop_assert!(map::PCI_WINDOW.covers(GuestRange::new(at, bar.size.bytes()).unwrap()));
                    for offset in (0..bar.size.bytes()).step_by(4096) {
                        let Some((target, attributes)) = rig.direct(at.get() + offset) else { continue };
                        let target = crate::host::HostRange::new(crate::host::HostAddr::new(target), 4096).unwrap();
                        if attributes == Stage2Attributes::ReadWrite.into() {
                            prop_assert!(own.covers(target));
                        } else {
                            prop_assert_eq!(attributes, Stage2Attributes::Read.into());
                            prop_assert!(lookup.covers(target) || !own.overlaps(target));
                        }
                    }
                }
            }
            for offset in [0, RAM - 1] {
                prop_assert_eq!(rig.direct(0x4000_0000 + offset), Some((ram + offset, Stage2Attributes::Ram.into())));
            }
            for trapped in [0x0800_0000, 0x080a_0000, 0x0900_0000, 0x3f00_8000, 0x4000_0000 + RAM] {
                prop_assert_eq!(rig.direct(trapped), None);
            }
        }
        prop_assert!(rig.platform.printed().len() < 1000);
    }
}

/// Both are the guest's own: the tutorials of bare-metal programming take the physical one.
#[test]
fn each_timer_interrupts_by_its_own_ppi_until_it_is_quiet() {
    for timer in GuestTimer::ALL {
        let mut rig = Rig::new();
        let bit = 1u64 << timer.intid();
        rig.store(0x0800_0000, 2, 0b10);
        rig.store(0x080b_0080, 2, bit);
        rig.store(0x080b_0100, 2, bit);
        let first = rig.vcpu.id;
        rig.vm.timer_fired(&rig.vcpu, timer);
        assert!(rig.vm.interrupts().has_pending(first));
        assert_eq!(rig.load(0x080b_0200, 2), bit, "no other is pending");
        for other in GuestTimer::ALL.into_iter().filter(|other| *other != timer) {
            rig.vm.timer_quiet(&rig.vcpu, other);
        }
        assert!(rig.vm.interrupts().has_pending(first), "the other timer's silence is not this one's");
        rig.vm.timer_quiet(&rig.vcpu, timer);
        assert!(!rig.vm.interrupts().has_pending(first));
        assert_eq!(rig.vm.interrupts().take_deactivation(first).map(|physical| physical.number()), Some(timer.intid()));
    }
}
