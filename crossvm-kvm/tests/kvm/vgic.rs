//! Interrupts with the vGIC in the kernel.

use std::sync::Arc;

use crossvm_arm::{Messages, Spi, SpiRange};
use crossvm_core::{Bdf, ErrorType, InterruptController, Irq, Level, Message};
use crossvm_kvm::{InterruptError, Vgic, VgicConfig, VgicInterrupts, VgicVersion};
use crossvm_testkit::conformance::interrupt_controller::{self, GuestCpu};

use crate::machine::{DONE, Exit, Machine, at, usable, vm};
use crate::program::{Bytes, Program};

const DISTRIBUTOR: u64 = 0x0800_0000;
const CPU_INTERFACE: u64 = 0x0801_0000;
const REDISTRIBUTORS: u64 = 0x080a_0000;
const FRAME: u64 = 0x0802_0000;

/// The line, and the SPI of the message.
const LINE: u32 = 40;
const MESSAGE: u32 = 65;

/// `GICD_CTLR`, `GICD_IGROUPR`, `GICD_ISENABLER`, `GICD_ICENABLER`, `GICD_IPRIORITYR`, `GICD_ITARGETSR`, `GICD_ICFGR`.
const CTLR: u64 = 0;
const GROUP: u64 = 0x80;
const ENABLE: u64 = 0x100;
const DISABLE: u64 = 0x180;
/// `GICD_ISPENDR`, `GICD_ISACTIVER`.
const PENDING: u64 = 0x200;
const ACTIVE: u64 = 0x300;
const PRIORITY: u64 = 0x400;
const TARGET: u64 = 0x800;
const CONFIG: u64 = 0xc00;

/// `GICC_CTLR`, `GICC_PMR`, `GICC_IAR`, `GICC_EOIR`.
const CPU_CTLR: u64 = CPU_INTERFACE;
const MASK: u64 = CPU_INTERFACE + 4;
const ACKNOWLEDGE: u64 = CPU_INTERFACE + 0xc;
const END: u64 = CPU_INTERFACE + 0x10;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Version {
    V2,
    V3,
}

struct Guest {
    machine: Machine,
    interrupts: VgicInterrupts,
    version: Version,
    vgic: Vgic,
}

impl Guest {
    /// `None`: the host has no such GIC for guests.
    fn new(version: Version) -> Option<Self> {
        let mut guest = Self::at_power_on(version)?;
        guest.run(guest.setup());
        Some(guest)
    }

    fn at_power_on(version: Version) -> Option<Self> {
        let vm = vm();
        let place = match version {
            Version::V2 => VgicVersion::V2 { distributor: at(DISTRIBUTOR), cpu_interface: at(CPU_INTERFACE) },
            Version::V3 => VgicVersion::V3 { distributor: at(DISTRIBUTOR), redistributors: at(REDISTRIBUTORS), its: None },
        };
        let mut vgic = match Vgic::create(&vm, VgicConfig { version: place, spis: 96 }) {
            Ok(vgic) => vgic,
            Err(error) if error.errno() == libc::ENODEV => return None,
            Err(error) => panic!("{error}"),
        };
        let frame = Messages::new(at(FRAME), SpiRange::new(Spi::new(64).unwrap(), 32).unwrap());
        let interrupts = VgicInterrupts::new(Arc::clone(&vm), &vgic).with_message_frame(frame);
        let mut machine = Machine::on(vm);
        machine.start(&Program::new());
        vgic.finish().unwrap();
        Some(Self { machine, interrupts, version, vgic })
    }

    /// All that the guest can read of the controller's state, in the order of the addresses.
    fn state(&mut self) -> Vec<u32> {
        let words = |base: u64, count: u64| (0..count).map(move |index| base + 4 * index);
        let distributor = [(CTLR, 1), (GROUP, 4), (ENABLE, 4), (PENDING, 4), (ACTIVE, 4), (PRIORITY, 32), (TARGET, 32), (CONFIG, 8)];
        let mut registers: Vec<u64> = distributor.into_iter().flat_map(|(base, count)| words(DISTRIBUTOR + base, count)).collect();
        let interface: &[u32] = match self.version {
            Version::V2 => {
                // GICD_SPENDSGIR; GICC_CTLR, GICC_PMR, GICC_BPR.
                registers.extend(words(DISTRIBUTOR + 0xf20, 4).chain(words(CPU_INTERFACE, 3)));
                &[]
            }
            Version::V3 => {
                // GICD_IROUTER; the frame of SGIs and PPIs.
                registers.extend(words(DISTRIBUTOR + 0x6100, 192));
                let private = [(GROUP, 1), (ENABLE, 1), (PENDING, 1), (ACTIVE, 1), (PRIORITY, 8), (CONFIG, 2)];
                registers.extend(private.into_iter().flat_map(|(base, count)| words(REDISTRIBUTORS + 0x1_0000 + base, count)));
                // mrs x0, of ICC_PMR_EL1, ICC_BPR1_EL1, ICC_CTLR_EL1, ICC_IGRPEN1_EL1, ICC_AP1R0_EL1
                &[0xd538_4600, 0xd538_cc60, 0xd538_cc80, 0xd538_cce0, 0xd538_c900]
            }
        };
        let loads = registers.iter().fold(Program::new(), |program, register| program.load(*register).out_word(0x20));
        let program = interface.iter().fold(loads, |program, read| program.instruction(*read).out_word(0x20));
        let exits = self.machine.exits_of(&program.out(DONE, 0));
        exits.into_iter().map(|exit| if let Exit::Out(0x20, value) = exit { value } else { panic!("{exit:?}") }).collect()
    }

    fn setup(&self) -> Program {
        let word = |program: Program, register: u64, value: u64| program.store(DISTRIBUTOR + register, Bytes::Four, value);
        let byte = |program: Program, register: u64, value: u64| program.store(DISTRIBUTOR + register, Bytes::One, value);
        let mut program = Program::new();
        for irq in [LINE, MESSAGE].map(u64::from) {
            program = byte(program, PRIORITY + irq, 0x80);
            if self.version == Version::V2 {
                program = byte(program, TARGET + irq, 1);
            } else {
                program = word(program, GROUP + irq / 32 * 4, u64::from(u32::MAX));
            }
        }
        // The message is an edge, the line a level: KVM starts with edges.
        program = word(program, CONFIG + u64::from(LINE) / 16 * 4, 0);
        program = word(program, CONFIG + u64::from(MESSAGE) / 16 * 4, 2 << (2 * (MESSAGE % 16)));
        match self.version {
            Version::V2 => word(program, CTLR, 1).store(MASK, Bytes::Four, 0xff).store(CPU_CTLR, Bytes::Four, 1),
            // movz x0, #0xff; msr ICC_PMR_EL1, x0; movz x0, #1; msr ICC_IGRPEN1_EL1, x0
            Version::V3 => {
                [0xd280_1fe0, 0xd518_4600, 0xd280_0020, 0xd518_cce0].into_iter().fold(word(program, CTLR, 0x12), Program::instruction)
            }
        }
    }

    /// Runs the program, and gives what it put out at port 0x20.
    fn run(&mut self, program: Program) -> Option<u32> {
        match self.machine.exits_of(&program.out(DONE, 0))[..] {
            [] => None,
            [Exit::Out(0x20, value)] => Some(value),
            ref exits => panic!("{exits:?}"),
        }
    }
}

impl ErrorType for Guest {
    type Error = InterruptError;
}

impl InterruptController for Guest {
    fn set_level(&mut self, irq: Irq, level: Level) -> Result<(), InterruptError> {
        self.interrupts.set_level(irq, level)
    }

    fn deliver_msi(&mut self, requester: Bdf, message: Message) -> Result<(), InterruptError> {
        self.interrupts.deliver_msi(requester, message)
    }
}

impl GuestCpu for Guest {
    fn line(&self) -> Irq {
        Irq::new(LINE)
    }

    fn no_line(&self) -> Irq {
        // One for messages is none.
        Irq::new(MESSAGE + 1)
    }

    fn message(&self) -> Option<(Message, Irq)> {
        Some((Message { address: FRAME + 0x40, data: MESSAGE }, Irq::new(MESSAGE)))
    }

    fn set_enabled(&mut self, irq: Irq, enabled: bool) {
        let register = if enabled { ENABLE } else { DISABLE } + u64::from(irq.number()) / 32 * 4;
        self.run(Program::new().store(DISTRIBUTOR + register, Bytes::Four, 1 << (irq.number() % 32)));
    }

    fn acknowledge(&mut self) -> Option<Irq> {
        let program = match self.version {
            Version::V2 => Program::new().load(ACKNOWLEDGE),
            // mrs x0, ICC_IAR1_EL1
            Version::V3 => Program::new().instruction(0xd538_cc00),
        };
        let irq = self.run(program.out_word(0x20)).unwrap() & 0x3ff;
        (irq < 1020).then(|| Irq::new(irq))
    }

    fn end(&mut self, irq: Irq) {
        let program = Program::new();
        self.run(match self.version {
            Version::V2 => program.store(END, Bytes::Four, irq.number().into()),
            // movz x0, #irq; msr ICC_EOIR1_EL1, x0
            Version::V3 => program.instruction(0xd280_0000 | irq.number() << 5).instruction(0xd518_cc20),
        });
    }
}

fn keeps_the_contract(version: Version, name: &str) {
    if !usable(name) {
        return;
    }
    if Guest::new(version).is_none() {
        use std::io::Write;
        let _ = std::io::stderr().write_all(format!("SKIPPED: {name}: the host has none for guests\n").as_bytes());
        return;
    }
    interrupt_controller::all(|| Guest::new(version).unwrap());
}

#[test]
fn a_vgic_of_version_2_keeps_the_contract() {
    keeps_the_contract(Version::V2, "a vGIC of version 2");
}

#[test]
fn a_vgic_of_version_3_keeps_the_contract() {
    keeps_the_contract(Version::V3, "a vGIC of version 3");
}

/// A guest that boots again finds nothing of what the one before it did, but for levels of lines.
fn is_reset(version: Version, name: &str) {
    if !usable(name) {
        return;
    }
    let Some(mut guest) = Guest::at_power_on(version) else {
        use std::io::Write;
        let _ = writeln!(std::io::stderr(), "SKIPPED: {name}: the host has none for guests");
        return;
    };
    let before = guest.state();
    for round in 0..2 {
        guest.run(guest.setup());
        [LINE, MESSAGE].into_iter().for_each(|irq| guest.set_enabled(Irq::new(irq), true));
        guest.set_level(Irq::new(LINE), Level::High).unwrap();
        assert_eq!(guest.acknowledge(), Some(Irq::new(LINE)));
        let (message, _) = guest.message().unwrap();
        guest.deliver_msi(Bdf::from_requester_id(8), message).unwrap();
        // SGI 5 to itself; PPI 20 pending, enabled and an edge.
        let private = match version {
            Version::V2 => DISTRIBUTOR,
            Version::V3 => REDISTRIBUTORS + 0x1_0000,
        };
        let program = [(PENDING, 1 << 20 | 1 << 5), (ENABLE, 1 << 20), (DISABLE, 1 << 3), (CONFIG + 4, 2 << 8), (PRIORITY + 20, 0x40)];
        let program = program.into_iter().fold(Program::new(), |program, (register, value)| {
            program.store(private + register, if register == PRIORITY + 20 { Bytes::One } else { Bytes::Four }, value)
        });
        guest.run(if version == Version::V2 { program.store(DISTRIBUTOR + 0xf00, Bytes::Four, 2 << 24 | 5) } else { program });
        guest.set_level(Irq::new(LINE), Level::Low).unwrap();
        let used = guest.state();
        let changed = used.iter().zip(&before).filter(|(used, before)| used != before).count();
        assert!(changed > 12, "round {round}: only {changed} registers");
        guest.vgic.reset(1).unwrap();
        assert_eq!(guest.state(), before, "round {round}");
    }
}

#[test]
fn a_vgic_of_version_2_is_as_at_power_on_after_a_reset() {
    is_reset(Version::V2, "the reset of a vGIC of version 2");
}

#[test]
fn a_vgic_of_version_3_is_as_at_power_on_after_a_reset() {
    is_reset(Version::V3, "the reset of a vGIC of version 3");
}
