//! The guest and its monitor.

use core::cell::RefCell;
use core::sync::atomic::Ordering;

use crossvm_core::{
    Config, Connection, CrossVm, GuestAccess, GuestAddr, GuestRange, InterruptMode, Outcome, Parts, Rights, Width, device::Name,
};
use crossvm_pci::{ConfigPorts, HostBridge, PciBus};
use crossvm_sel4::kernel::{Attributes, Badge, CPtr, CapRights, Kernel, Object, Space, Threads, X86Vcpus};
use crossvm_sel4::libsel4::{Libsel4, slots};
use crossvm_sel4::vspace::OwnSpace;
use crossvm_sel4::x86::{Exit, FreeLines, GuestRam, Identity, Lines, Start, Stop, Vcpu, Vector, open_bus};
use crossvm_sel4::{BadgeSet, Frame, FrameDataport, NotificationNotifier, VSpace};
use sel4_guest::{Mailbox, machine};
use sel4_vmm::pc::{Failure, Pool, Program, SpaceMap, System, View};

use crate::peers::{self, CONNECTIONS, End, STALLED};
use crate::sabotage::Sabotage;

const GUEST: &[u8] = include_bytes!(env!("SEL4_VM_GUEST"));

/// Window of the monitor's own address space for event pages.
const EVENT_PAGES: u64 = 0x3000_0000;
const EVENT_PAGES_LENGTH: u64 = 0x10_0000;
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

/// The guest's RAM, as the monitor sees it.
#[derive(Debug, Clone, Copy)]
struct Ram(View);

impl GuestRam for Ram {
    fn read(&self, at: GuestAddr, into: &mut [u8]) -> bool {
        let offset = at.get().checked_sub(machine::RAM.into()).and_then(|offset| usize::try_from(offset).ok());
        offset.is_some_and(|offset| self.0.read(offset, into))
    }
}

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
    watch: CPtr,
    pub(crate) ends: [End; CONNECTIONS as usize],
    /// What the guest may read only.
    pub(crate) notice: View,
    pub(crate) counts: Counts,
    sabotage: Option<Sabotage>,
}

impl<'a> Machine<'a> {
    /// Makes the guest and its connections. The root task's thread runs it from now on.
    pub(crate) fn new(system: System<'a>, own: &mut SpaceMap<'a>, sabotage: Option<Sabotage>) -> Result<Self, Failure> {
        let kernel = system.kernel;
        let monitor = system.create(Object::Notification)?;
        let ends = peers::start(system, own, monitor)?;
        let watch = peers::watch(system, own, monitor)?;

        let root = system.create(Object::EptRoot)?;
        kernel.assign_asid(slots::ASID_POOL, root)?;
        let memory = system.create(Object::LargeFrame)?;
        SpaceMap::new(system, Space::Ept(root)).map(memory, machine::RAM.into(), CapRights::READ_WRITE, Attributes::Memory)?;
        let ram = Ram(own.view(memory, 21)?);

        // SAFETY: the root is that of this program, and no view or image reaches the window.
        let window = unsafe { OwnSpace::new(slots::VSPACE, EVENT_PAGES, EVENT_PAGES_LENGTH) };
        let window = window.ok_or(Failure::Shape("a window that is none"))?;
        let range = |start: u32, length: u32| {
            GuestRange::new(GuestAddr::new(start.into()), length.into()).ok_or(Failure::Shape("a range that is none"))
        };
        let space = VSpace::new(kernel, system.objects, Space::Ept(root), window).map_err(space_failure)?;
        let space = space.with_taken(range(machine::RAM, machine::RAM_LENGTH)?).map_err(space_failure)?;
        let vector = Vector::new(machine::VECTOR).ok_or(Failure::Shape("a vector that is none"))?;
        let mut backends = Parts {
            memory: space,
            pci: PciBus::new(HostBridge::default(), range(machine::WINDOW, machine::WINDOW_LENGTH)?),
            irqs: FreeLines::new(LINES),
            interrupts: Lines::new(LINES, vector),
        };
        let notice = system.create(Object::SmallFrame)?;
        let mut connections = Connections::new(Config::default());
        let wanted = composed(kernel, &ends, notice)?;
        connections.install(&mut backends, wanted).map_err(|_| Failure::Shape("the connections cannot be installed"))?;

        let object = system.create(Object::Vcpu)?;
        kernel.bind_notification(slots::TCB, monitor)?;
        X86Vcpus::set_tcb(&kernel, object, slots::TCB)?;
        kernel.set_ept_root(slots::TCB, root)?;
        let vcpu = Vcpu::new(kernel, object, &load(&ram)?)?;
        let notice = own.view(notice, 12)?;
        let ports = ConfigPorts::new();
        let counts = Counts::default();
        Ok(Self { kernel, vcpu, object, ram, ports, backends, connections, monitor, watch, ends, notice, counts, sabotage })
    }

    /// The page by which guest and monitor talk.
    pub(crate) fn mailbox(&self) -> Result<&'static Mailbox, Failure> {
        let offset = usize::try_from(machine::MAILBOX.wrapping_sub(machine::RAM)).unwrap_or(usize::MAX);
        self.ram.0.words(offset).ok_or(Failure::Shape("no mailbox in RAM"))
    }

    /// Interrupts that went into the guest.
    pub(crate) fn delivered(&self) -> u64 {
        self.vcpu.delivered()
    }

    /// The guest begins anew, as after a reset.
    pub(crate) fn reset(&mut self) -> Result<(), Failure> {
        self.connections.reset(&mut self.backends).map_err(|_| Failure::Shape("the connections cannot be reset"))?;
        self.ports = ConfigPorts::new();
        self.vcpu = Vcpu::new(self.kernel, self.object, &load(&self.ram)?)?;
        Ok(())
    }

    /// Runs the guest until it reports, or for ever no more.
    pub(crate) fn run(&mut self) -> Result<Ended, Failure> {
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
                    if let Some(effect) = self.ports.write(&mut self.backends.pci, port, width, value) {
                        let applied = self.connections.apply(&mut self.backends, effect);
                        applied.map_err(|_| Failure::Shape("a change of the guest's configuration space cannot be applied"))?;
                    }
                }
                Exit::PortRead { port, width, into } => {
                    self.counts.ports += 1;
                    let value = self.ports.read(&self.backends.pci, port, width).map_or(open_bus(width), u64::from);
                    self.vcpu.answer(into, value)?;
                }
                Exit::Memory { access, into } => {
                    self.counts.memory += 1;
                    let outcome = self.connections.handle(&mut self.backends, access);
                    match (outcome.map_err(|_| Failure::Shape("an access of the guest cannot be served"))?, into) {
                        (Outcome::Read(value), Some(into)) => self.vcpu.answer(into, value)?,
                        (Outcome::NotOurs, Some(into)) => self.vcpu.answer(into, nothing_there(access))?,
                        (Outcome::Retry, _) => self.vcpu.again(),
                        _ => {}
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
    pub(crate) fn settle(&mut self) -> Result<(), Failure> {
        loop {
            let badge = self.kernel.wait(self.monitor);
            if self.consume(badge)? {
                // The watch is to tell the next time as well.
                self.kernel.signal(self.watch);
                return Ok(());
            }
        }
    }

    /// Changes the priority of the monitor, and so of its guest.
    pub(crate) fn set_priority(&self, priority: u8) -> Result<(), Failure> {
        Ok(self.kernel.set_priority(slots::TCB, slots::TCB, priority)?)
    }

    /// Signals the peer of a connection, as the guest's EMIT does.
    pub(crate) fn signal(&self, end: &End) {
        self.kernel.signal(end.signal);
    }

    /// Serves a badge. `true` where nobody can run any more.
    fn consume(&mut self, badge: Badge) -> Result<bool, Failure> {
        let before = self.counts.events;
        self.counts.events += u64::from(badge.value().count_ones());
        let hit = before < Sabotage::AT && self.counts.events >= Sabotage::AT;
        let badge = match self.sabotage {
            Some(Sabotage::SwallowEvent) if hit => Badge::new(badge.value() & 1 << STALLED),
            _ => badge,
        };
        if self.sabotage == Some(Sabotage::CorruptByte) && hit {
            for end in &self.ends {
                end.exchange.answer.fetch_xor(1, Ordering::Relaxed);
            }
        }
        let consumed = BadgeSet::new(peers::events()).consume(&mut self.connections, &mut self.backends, badge);
        let rest = consumed.map_err(|_| Failure::Shape("an event cannot interrupt the guest"))?;
        if self.sabotage == Some(Sabotage::MuteLine) {
            self.backends.interrupts.reset();
        }
        Ok(rest.value() & 1 << STALLED != 0)
    }
}

/// The connections: with the peer, and one that has none.
fn composed(kernel: Libsel4, ends: &[End; CONNECTIONS as usize], notice: CPtr) -> Result<[Wanted; MOST], Failure> {
    let make = |name: &str, frame, rights| {
        let name = Name::new(name).ok_or(Failure::Shape("a name that is none"))?;
        let dataport = FrameDataport::checked(&kernel, [frame]).map_err(|_| Failure::Shape("a dataport without a frame"))?;
        let connection = Connection::new(name).with_interrupt(InterruptMode::SharedLine);
        connection.with_dataport(dataport, rights).map_err(|_| Failure::Shape("too many dataports"))
    };
    let [camera, sensor, motor, last] = NAMES;
    let peered = |name, end: &End| {
        let connection = make(name, end.frame, Rights::ReadWrite)?;
        Ok::<_, Failure>(connection.with_emit(NotificationNotifier::new(kernel, end.signal)).with_event(end.event))
    };
    let [first, second, third] = ends;
    let notice = make(last, Frame::new(notice, crossvm_sel4::FrameKind::Small), Rights::Read)?;
    Ok([peered(camera, first)?, peered(sensor, second)?, peered(motor, third)?, notice])
}

/// Loads the guest's program and its page directory into RAM.
fn load(ram: &Ram) -> Result<Start, Failure> {
    let outside = || Failure::Shape("a guest that does not fit into its RAM");
    let write = |at: u64, bytes: &[u8]| {
        let offset = at.checked_sub(machine::RAM.into()).and_then(|offset| usize::try_from(offset).ok()).ok_or_else(outside)?;
        if ram.0.write(offset, bytes) { Ok(()) } else { Err(outside()) }
    };
    let zeros = [0; 4096];
    for page in (machine::RAM..machine::RAM + machine::RAM_LENGTH).step_by(zeros.len()) {
        write(page.into(), &zeros)?;
    }
    let program = Program::new(GUEST).map_err(|_| Failure::Shape("no guest in the image"))?;
    for segment in program.segments() {
        write(segment.address, segment.data)?;
    }
    for index in 0..1024 {
        write(u64::from(machine::PAGE_DIRECTORY + 4 * index), &machine::page_directory_entry(index).to_le_bytes())?;
    }
    let entry = u32::try_from(program.entry()).map_err(|_| outside())?;
    let page_directory = GuestAddr::new(machine::PAGE_DIRECTORY.into());
    Ok(Start { entry, stack: machine::PAGE_DIRECTORY, page_directory, large_pages: true, timer: None })
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

fn space_failure(_: crossvm_sel4::vspace::SpaceError) -> Failure {
    Failure::Shape("the guest's memory cannot be set up")
}
