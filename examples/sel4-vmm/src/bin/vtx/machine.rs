//! The guest and its monitor.

use core::cell::RefCell;
use core::sync::atomic::Ordering;

use crossvm_core::{
    Config, Connection, CrossVm, GuestAccess, GuestAddr, GuestRange, InterruptMode, Outcome, Parts, Rights, Width, device::Name,
};
use crossvm_pci::{ConfigPorts, HostBridge, PciBus};
use crossvm_sel4::kernel::{Badge, CPtr, Kernel, Object, Space, Threads, X86Vcpus};
use crossvm_sel4::libsel4::{Libsel4, slots};
use crossvm_sel4::vspace::OwnSpace;
use crossvm_sel4::x86::{Exit, FreeLines, Identity, Lines, Stop, Vcpu, Vector, open_bus};
use crossvm_sel4::{BadgeSet, Frame, FrameDataport, FrameKind, NotificationNotifier, VSpace};
use sel4_guest::{Mailbox, machine};
use sel4_vmm::task::idle::Idle;
use sel4_vmm::task::system::Pool;
use sel4_vmm::task::{Shared, System, Trouble};

use crate::peers::{self, CONNECTIONS, End, STALLED};
use crate::ram::Ram;
use crate::sabotage::Sabotage;

/// The guest has one line, and all connections share it.
const LINES: u8 = 1;
/// Names of the connections; behind those with a peer comes one whose dataport the guest may read only.
const NAMES: [&str; CONNECTIONS as usize + 1] = ["camera", "sensor", "motor", "notice"];
/// Most connections.
pub(crate) const MOST: usize = NAMES.len();

type Memory<'a> = VSpace<Libsel4, &'a RefCell<Pool>, OwnSpace>;
type Backends<'a> = Parts<Memory<'a>, PciBus<8>, FreeLines, Lines>;
type Wanted = Connection<FrameDataport<[Frame; 1]>, NotificationNotifier<Libsel4>>;
type Connections<'a> = CrossVm<Backends<'a>, FrameDataport<[Frame; 1]>, NotificationNotifier<Libsel4>, MOST>;

/// Why the guest was left for good, or until the next command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// It has reported this number.
    Reported(u32),
    /// It has halted, and takes no interrupts.
    Halted,
    /// It waits for an interrupt, and nobody is left who could cause one.
    Stalled,
    /// It cannot go on.
    Stopped(Stop),
}

/// How often what happened.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counts {
    /// Port accesses.
    pub(crate) ports: u64,
    /// Accesses to memory.
    pub(crate) memory: u64,
    /// The guest halted, and the monitor waited.
    pub(crate) halts: u64,
    /// The notification broke in while the guest ran, or was about to.
    pub(crate) signals: u64,
    /// All else that left the guest.
    pub(crate) others: u64,
    /// Events of the peer.
    pub(crate) events: u64,
}

/// The guest with its monitor.
pub(crate) struct Machine<'a> {
    kernel: Libsel4,
    vcpu: Vcpu<Libsel4>,
    object: CPtr,
    ram: Ram,
    ports: ConfigPorts,
    backends: Backends<'a>,
    pub(crate) connections: Connections<'a>,
    monitor: CPtr,
    idle: Idle,
    pub(crate) ends: [End; CONNECTIONS as usize],
    /// What the guest may read only.
    pub(crate) notice: Shared,
    pub(crate) counts: Counts,
    sabotage: Option<Sabotage>,
}

impl<'a> Machine<'a> {
    /// Makes the guest and its connections. The root task's thread runs it from now on.
    pub(crate) fn new(system: System<'a>, sabotage: Option<Sabotage>) -> Result<Self, Trouble> {
        let kernel = system.kernel();
        let monitor = system.create(Object::Notification)?;
        let ends = peers::start(system, monitor)?;
        let idle = Idle::new(system, monitor, Badge::new(1 << STALLED))?;
        idle.watch(&kernel);

        let root = system.create(Object::EptRoot)?;
        kernel.assign_asid(slots::ASID_POOL, root)?;
        let ram = Ram::new(system, root)?;
        let range = |start: u32, length: u32| {
            GuestRange::new(GuestAddr::new(start.into()), length.into()).ok_or(Trouble::Program("a range that is none"))
        };
        let taken = range(machine::RAM, machine::RAM_LENGTH)?;
        let space = VSpace::new(kernel, system.objects(), Space::Ept(root), system.window(0)?).and_then(|space| space.with_taken(taken));
        let space = space.map_err(|_| Trouble::Program("the guest's memory cannot be set up"))?;
        let mut backends = Parts {
            memory: space,
            pci: PciBus::new(HostBridge::default(), range(machine::WINDOW, machine::WINDOW_LENGTH)?),
            irqs: FreeLines::new(LINES),
            interrupts: Lines::new(LINES, Vector::new(machine::VECTOR).ok_or(Trouble::Program("a vector that is none"))?),
        };
        let notice = system.create(Object::SmallFrame)?;
        let mut connections = Connections::new(Config::default());
        let wanted = composed(kernel, &ends, notice)?;
        connections.install(&mut backends, wanted).map_err(|_| Trouble::Program("the connections cannot be installed"))?;

        let object = system.create(Object::Vcpu)?;
        kernel.bind_notification(slots::TCB, monitor)?;
        X86Vcpus::set_tcb(&kernel, object, slots::TCB)?;
        kernel.set_ept_root(slots::TCB, root)?;
        let vcpu = Vcpu::new(kernel, object, &ram.load()?)?;
        let notice = system.share(notice)?;
        let ports = ConfigPorts::new();
        let counts = Counts::default();
        Ok(Self { kernel, vcpu, object, ram, ports, backends, connections, monitor, idle, ends, notice, counts, sabotage })
    }

    /// The page by which guest and monitor talk.
    pub(crate) fn mailbox(&self) -> Result<&'static Mailbox, Trouble> {
        self.ram.mailbox()
    }

    /// Interrupts that went into the guest.
    pub(crate) fn delivered(&self) -> u64 {
        self.vcpu.delivered()
    }

    /// The guest begins anew, as after a reset.
    pub(crate) fn reset(&mut self) -> Result<(), Trouble> {
        self.connections.reset(&mut self.backends).map_err(|_| Trouble::Program("the connections cannot be reset"))?;
        // All counters are zero and so all lines low already; messages that the last boot has not taken go with it.
        self.backends.interrupts.reset();
        self.ports = ConfigPorts::new();
        self.vcpu = Vcpu::new(self.kernel, self.object, &self.ram.load()?)?;
        Ok(())
    }

    /// Runs the guest until it reports, or for ever no more.
    pub(crate) fn run(&mut self) -> Result<Ended, Trouble> {
        loop {
            let exit = self.vcpu.run(&mut self.backends.interrupts, &self.ram)?;
            match exit {
                Exit::Signal(badge) => {
                    self.counts.signals += 1;
                    // The watch had its turn where the monitor waited, and its signal is not taken twice.
                    self.consume(badge)?;
                }
                Exit::Halted { interrupts: true } => {
                    self.counts.halts += 1;
                    let badge = self.kernel.wait(self.monitor);
                    if self.consume(badge)? {
                        return Ok(Ended::Stalled);
                    }
                }
                Exit::PortWrite { port: machine::REPORT_PORT, width: Width::U32, value } => return Ok(Ended::Reported(value)),
                Exit::PortWrite { port, width, value } => {
                    self.counts.ports += 1;
                    // A mapping that the kernel refuses leaves the BAR unmapped; the next effect tries it again.
                    if let Some(effect) = self.ports.write(&mut self.backends.pci, port, width, value)
                        && self.connections.apply(&mut self.backends, effect).is_err()
                    {
                        let _ = self.connections.refresh(&mut self.backends);
                    }
                }
                Exit::PortRead { port, width, into } => {
                    self.counts.ports += 1;
                    let value = self.ports.read(&self.backends.pci, port, width).map_or(open_bus(width), u64::from);
                    self.vcpu.answer(into, value)?;
                }
                Exit::Memory { access, into } => {
                    self.counts.memory += 1;
                    match (self.connections.handle(&mut self.backends, access), into) {
                        (Ok(Outcome::Read(value)), Some(into)) => self.vcpu.answer(into, value)?,
                        (Ok(Outcome::NotOurs), Some(into)) => self.vcpu.answer(into, nothing_there(access))?,
                        (Ok(Outcome::Retry), _) => self.vcpu.again(),
                        // The access is done for the guest all the same; what a backend has refused is tried again.
                        (Err(_), _) => {
                            let _ = self.connections.refresh(&mut self.backends);
                        }
                        (Ok(_), _) => {}
                    }
                }
                Exit::Cpuid { leaf, .. } => {
                    self.counts.others += 1;
                    self.vcpu.identify(identity(leaf))?;
                }
                Exit::Nothing | Exit::Timer => self.counts.others += 1,
                Exit::Halted { interrupts: false } => return Ok(Ended::Halted),
                Exit::Stopped(stop) => return Ok(Ended::Stopped(stop)),
            }
        }
    }

    /// Takes the peer's events while the guest stands still, until the peer has nothing to do any more.
    pub(crate) fn settle(&mut self) -> Result<(), Trouble> {
        loop {
            let badge = self.kernel.wait(self.monitor);
            if self.consume(badge)? {
                // The watch is to tell the next time as well.
                self.idle.watch(&self.kernel);
                return Ok(());
            }
        }
    }

    /// Changes the priority of the monitor, and so of its guest.
    pub(crate) fn set_priority(&self, priority: u8) -> Result<(), Trouble> {
        Ok(self.kernel.set_priority(slots::TCB, slots::TCB, priority)?)
    }

    /// Serves a badge. `true` where nobody can run any more.
    fn consume(&mut self, badge: Badge) -> Result<bool, Trouble> {
        let before = self.counts.events;
        self.counts.events += u64::from(badge.value().count_ones());
        let hit = before < Sabotage::AT && self.counts.events >= Sabotage::AT;
        let badge = match self.sabotage {
            Some(Sabotage::SwallowEvent) if hit => Badge::new(badge.value() & 1 << STALLED),
            _ => badge,
        };
        if self.sabotage == Some(Sabotage::CorruptByte) && hit {
            for end in &self.ends {
                end.exchange().answer.fetch_xor(1, Ordering::Relaxed);
            }
        }
        let consumed = BadgeSet::new(peers::events()).consume(&mut self.connections, &mut self.backends, badge);
        let rest = consumed.map_err(|_| Trouble::Program("an event cannot interrupt the guest"))?;
        if self.sabotage == Some(Sabotage::MuteLine) {
            self.backends.interrupts.reset();
        }
        Ok(rest.value() & 1 << STALLED != 0)
    }
}

/// The connections: with the peer, and one that has none.
fn composed(kernel: Libsel4, ends: &[End; CONNECTIONS as usize], notice: CPtr) -> Result<[Wanted; MOST], Trouble> {
    let make = |name: &str, frame, rights| {
        let name = Name::new(name).ok_or(Trouble::Program("a name that is none"))?;
        let dataport = FrameDataport::checked(&kernel, [frame]).map_err(|_| Trouble::Program("a dataport without a frame"))?;
        let connection = Connection::new(name).with_interrupt(InterruptMode::SharedLine);
        connection.with_dataport(dataport, rights).map_err(|_| Trouble::Program("too many dataports"))
    };
    let [camera, sensor, motor, last] = NAMES;
    let peered = |name, end: &End| {
        let connection = make(name, end.frame, Rights::ReadWrite)?;
        Ok::<_, Trouble>(connection.with_emit(end.signal).with_event(end.event))
    };
    let [first, second, third] = ends;
    let notice = make(last, Frame::new(notice, FrameKind::Small), Rights::Read)?;
    Ok([peered(camera, first)?, peered(sensor, second)?, peered(motor, third)?, notice])
}

/// What a load gives where nothing is.
fn nothing_there(access: GuestAccess) -> u64 {
    match access {
        GuestAccess::Read { width, .. } => width.mask(),
        _ => u64::MAX,
    }
}

/// A processor without features beyond those that a program of 32 bits takes for granted.
fn identity(leaf: u32) -> Identity {
    /// Floating point, time-stamp counter, MSRs, large pages.
    const FEATURES: u32 = 1 << 0 | 1 << 3 | 1 << 4 | 1 << 5;
    match leaf {
        0 => Identity { eax: 1, ebx: u32::from_le_bytes(*b"cros"), edx: u32::from_le_bytes(*b"svm "), ecx: u32::from_le_bytes(*b"VT-x") },
        1 => Identity { eax: 0x600, edx: FEATURES, ..Identity::default() },
        _ => Identity::default(),
    }
}
