//! A guest: a thread that runs crossvm's bare-metal driver, and the VMM that answers it.
#![deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use core::cell::RefCell;
use core::fmt;

use crossvm_core::{
    Config, Connection, CrossVm, Event, EventSet, GuestAccess, GuestAddr, GuestRange, Messages, Outcome, Parts, Status, Width,
};
use crossvm_pci::{Ecam, HostBridge, PciBus};
use crossvm_sel4::kernel::{Badge, CPtr, CapRights, Kernel, Label, Message, Object, Space, Threads};
use crossvm_sel4::libsel4::Libsel4;
use crossvm_sel4::{BadgeSet, Frame, FrameDataport, NotificationNotifier, OwnSpace, VSpace};
use heapless::Vec;
use sel4_guest::{Command, Mailbox, Report, thread};
use sel4_vmm::instruction::{self, Access, IP, Kind, REGISTERS};
use sel4_vmm::println;
use sel4_vmm::task::domain::Domain;
use sel4_vmm::task::system::Pool;
use sel4_vmm::task::{Shared, System, Trouble};

use super::lines::{Interrupt, Lines};

/// The program.
static PROGRAM: &[u8] = include_bytes!(env!("SEL4_GUEST"));

/// Most connections of a guest.
pub(crate) const CONNECTIONS: usize = 12;
/// Most functions of its bus.
const FUNCTIONS: usize = 16;
/// Bit of a page fault's status: it was a store (Intel SDM volume 3, 4.7).
const STORE: u64 = 1 << 1;

type Memory<'a> = VSpace<Libsel4, &'a RefCell<Pool>, OwnSpace>;
pub(crate) type Backend<'a> = Parts<Memory<'a>, PciBus<FUNCTIONS>, Lines, Interrupt<Libsel4>>;
pub(crate) type Port = FrameDataport<Vec<Frame, 1>>;
pub(crate) type End = Connection<Port, NotificationNotifier<Libsel4>>;
pub(crate) type Connections<'a> = CrossVm<Backend<'a>, Port, NotificationNotifier<Libsel4>, CONNECTIONS>;

/// Why a guest does nothing any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// It was told to stop, or has reported that it cannot go on.
    Stopped,
    /// It has gone where nothing is.
    Fetch,
    /// It has loaded or stored where nothing answers.
    Stray,
    /// It has run into a processor exception, a system call that is none, or a capability that it does not have.
    Exception,
    /// It runs code that is not its program's, or no instruction.
    Code,
    /// Another guest has ended: only as a mistake on purpose.
    Shared,
}

impl Reason {
    /// In one word.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::Fetch => "fetch",
            Self::Stray => "stray",
            Self::Exception => "exception",
            Self::Code => "code",
            Self::Shared => "shared",
        }
    }
}

/// What a guest is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// It runs, or waits for an interrupt.
    Running,
    /// It waits for a command.
    Ready,
    /// It has ended.
    Ended(Reason),
}

/// What was counted.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counts {
    /// Faults that were served.
    pub(crate) faults: u64,
    /// Accesses to configuration space.
    pub(crate) configuration: u64,
    /// Stores to what the guest may read only, and that no register takes.
    pub(crate) refused: u64,
    /// Accesses by instructions that were passed over.
    pub(crate) undecoded: u64,
    /// Signals of its peers' that were served as events.
    pub(crate) events: u64,
}

/// A guest.
pub(crate) struct Guest<'a> {
    system: System<'a>,
    domain: Domain,
    mailbox: Shared,
    interrupt: CPtr,
    backend: Backend<'a>,
    connections: Connections<'a>,
    badges: EventSet,
    pub(crate) state: State,
    pub(crate) counts: Counts,
}

impl fmt::Debug for Guest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guest").field("state", &self.state).field("counts", &self.counts).finish_non_exhaustive()
    }
}

/// What becomes of a load or store.
enum Served {
    /// The load gives this value.
    Value(u64),
    /// Done, or ignored.
    Done,
    /// The instruction is executed again.
    Again,
    /// The guest has reported.
    Reported(Option<Report>),
    /// Nothing answers.
    Nothing,
}

/// The range between two addresses of the memory map.
fn range(start: u32, length: u32) -> Result<GuestRange, Trouble> {
    GuestRange::new(GuestAddr::new(start.into()), length.into()).ok_or(Trouble::Program("the memory map has an empty range"))
}

/// The guest's bus.
pub(crate) fn bus() -> Result<PciBus<FUNCTIONS>, Trouble> {
    Ok(PciBus::new(HostBridge::default(), range(thread::WINDOW, thread::WINDOW_LENGTH)?))
}

/// How connections look to the guest.
pub(crate) fn config() -> Config {
    Config { messages: Messages::Absent, ..Config::default() }
}

impl<'a> Guest<'a> {
    /// A guest without connections, which does not run yet. Its faults go to `endpoint` under `badge`.
    pub(crate) fn new(system: System<'a>, number: u8, endpoint: CPtr, badge: Badge) -> Result<Self, Trouble> {
        let kernel = system.kernel();
        let mut domain = Domain::new(system, PROGRAM, Some((endpoint, badge)))?;
        let mailbox = system.share(domain.page(system, thread::MAILBOX.into())?)?;
        let interrupt = system.create(Object::Notification)?;
        domain.give(system, interrupt, thread::INTERRUPT, CapRights::READ, Badge::NONE)?;
        // All that the guest has but for its window.
        let own = range(thread::PROGRAM, thread::NOWHERE - thread::PROGRAM)?;
        let memory = VSpace::new(kernel, system.objects(), Space::Virtual(domain.vspace()), system.window(number)?);
        let memory = memory.and_then(|memory| memory.with_taken(own));
        let memory = memory.map_err(|_| Trouble::Program("the guest's address space cannot be opened"))?;
        let backend = Parts { memory, pci: bus()?, irqs: Lines::default(), interrupts: Interrupt::new(kernel, interrupt) };
        Ok(Self {
            system,
            domain,
            mailbox,
            interrupt,
            backend,
            connections: CrossVm::new(config()),
            badges: EventSet::EMPTY,
            state: State::Running,
            counts: Counts::default(),
        })
    }

    /// Gives it connections.
    pub(crate) fn install(&mut self, ends: impl IntoIterator<Item = End>) -> Result<usize, Trouble> {
        let badges = &mut self.badges;
        let ends = ends.into_iter().inspect(|end| {
            if let Some(Event::Bit(event)) = end.event {
                *badges = badges.with(event);
            }
        });
        match self.connections.install(&mut self.backend, ends) {
            Ok(installed) => Ok(installed.len()),
            Err(error) => {
                println!("[vmm] trouble: {error}");
                Err(Trouble::Program("the connections cannot be installed"))
            }
        }
    }

    /// Lets it run for the first time.
    pub(crate) fn start(&self, priority: u8) -> Result<(), Trouble> {
        self.domain.start(self.system, priority, 0)
    }

    /// Lets it obey a command.
    pub(crate) fn command(&mut self, command: Command, arguments: &[u32]) -> Result<(), Trouble> {
        self.mailbox.mailbox().put(command, arguments);
        self.state = State::Running;
        Ok(self.system.kernel().resume(self.domain.thread())?)
    }

    /// The page that it shares with the VMM.
    pub(crate) fn mailbox(&self) -> &Mailbox {
        self.mailbox.mailbox()
    }

    /// What there is to tell about its connections, in the order of their installation.
    pub(crate) fn statuses(&self) -> impl Iterator<Item = Status> + '_ {
        self.connections.connections().filter_map(|id| self.connections.status(id))
    }

    /// Serves the events of a badge that are its own.
    pub(crate) fn consume(&mut self, badge: Badge) {
        let events = BadgeSet::new(self.badges).events(badge);
        if self.state == State::Ready || self.state == State::Running {
            self.counts.events += u64::from(events.word().count_ones());
        }
        // The interrupt cannot fail, and all of these events are known.
        let _ = BadgeSet::new(self.badges).consume(&mut self.connections, &mut self.backend, badge);
    }

    /// Serves a fault. What the message says is no more than what the guest could have done: it may have sent it itself.
    pub(crate) fn fault(&mut self, message: &Message) {
        self.counts.faults += 1;
        match message.label {
            _ if self.state != State::Running => {}
            Label::VmFault if message.word(Label::VM_FAULT_FETCH) != 0 => self.end(Reason::Fetch),
            Label::VmFault => self.access(message),
            // Sent, not caused. The guest waits for no answer, or for ever.
            Label::User(_) | Label::Other(_) => {}
            _ => self.end(Reason::Exception),
        }
    }

    /// Ends the guest: it does nothing from now on.
    pub(crate) fn end(&mut self, reason: Reason) {
        self.state = State::Ended(reason);
        // It is a thread, and there is nothing to be done about one that cannot be stopped.
        let _ = self.system.kernel().suspend(self.domain.thread());
    }

    fn access(&mut self, message: &Message) {
        let kernel = self.system.kernel();
        let thread = self.domain.thread();
        let at = message.word(Label::VM_FAULT_ADDRESS);
        let store = message.word(Label::VM_FAULT_STATUS) & STORE != 0;
        let mut registers = [0; REGISTERS];
        if kernel.read_registers(thread, &mut registers).is_err() {
            return self.end(Reason::Code);
        }
        let access = self.domain.code(registers[IP]).and_then(|code| instruction::decode(code, &registers));
        let Some(Access { length, kind }) = access else {
            // Without the processor's help, the kernel does not tell fetches from loads.
            return self.end(if registers[IP] == at { Reason::Fetch } else { Reason::Code });
        };
        let at = GuestAddr::new(at);
        let reported = match self.serve(at, kind, store) {
            Served::Nothing => return self.end(Reason::Stray),
            Served::Again => return kernel.reply(&Message::empty()),
            Served::Reported(Some(Report::Ready)) => true,
            Served::Reported(_) => return self.end(Reason::Stopped),
            Served::Value(value) => {
                if let Kind::Load { register, .. } = kind {
                    register.write(&mut registers, value);
                }
                false
            }
            Served::Done => false,
        };
        registers[IP] = registers[IP].wrapping_add(length.into());
        if kernel.write_registers(thread, &registers).is_err() {
            return self.end(Reason::Code);
        }
        if reported {
            self.state = State::Ready;
        } else {
            kernel.reply(&Message::empty());
        }
    }

    fn serve(&mut self, at: GuestAddr, kind: Kind, store: bool) -> Served {
        const ECAM: Option<Ecam> = Ecam::new(GuestAddr::new(thread::ECAM as u64), 1);
        if at.get() == thread::REPORT.into() {
            return match kind {
                Kind::Store { value, .. } => Served::Reported(u32::try_from(value).ok().and_then(Report::from_number)),
                _ => Served::Nothing,
            };
        }
        if let Some(ecam) = ECAM.filter(|ecam| ecam.range().contains(at)) {
            self.counts.configuration += 1;
            return match kind {
                Kind::Load { width, .. } => ecam.read(&self.backend.pci, at, width).map_or(Served::Nothing, Served::Value),
                Kind::Store { width, value } => {
                    self.configure(ecam, at, width, value);
                    Served::Done
                }
                Kind::Other { .. } => Served::Done,
            };
        }
        let inside = range(thread::WINDOW, thread::WINDOW_LENGTH).is_ok_and(|window| window.contains(at));
        let access = match kind {
            Kind::Load { width, .. } if !store => Some(GuestAccess::Read { at, width }),
            Kind::Store { width, value } if store => Some(GuestAccess::Write { at, width, value }),
            Kind::Load { width, .. } | Kind::Store { width, .. } => self.undecoded(at, width.bytes(), store),
            Kind::Other { bytes } => self.undecoded(at, bytes.into(), store),
        };
        match access.filter(|_| inside) {
            Some(access) => self.device(access),
            None => Served::Nothing,
        }
    }

    fn undecoded(&mut self, at: GuestAddr, bytes: u64, store: bool) -> Option<GuestAccess> {
        self.counts.undecoded += 1;
        let range = GuestRange::new(at, bytes)?;
        Some(if store { GuestAccess::UndecodedWrite(range) } else { GuestAccess::UndecodedRead(range) })
    }

    fn configure(&mut self, ecam: Ecam, at: GuestAddr, width: Width, value: u64) {
        let Some(effect) = ecam.write(&mut self.backend.pci, at, width, value) else { return };
        // A mapping that the kernel refuses leaves the BAR unmapped; the next effect tries it again.
        if self.connections.apply(&mut self.backend, effect).is_err() {
            let _ = self.connections.refresh(&mut self.backend);
        }
    }

    fn device(&mut self, access: GuestAccess) -> Served {
        match self.connections.handle(&mut self.backend, access) {
            Ok(Outcome::Read(value)) => Served::Value(value),
            Ok(Outcome::Ignored) => {
                self.counts.refused += 1;
                Served::Done
            }
            Ok(Outcome::Retry) => Served::Again,
            // No function answers: the bridge gives all ones (PCI Express 3.0, 2.3.2).
            Ok(Outcome::NotOurs) => Served::Value(u64::MAX),
            // Neither signals nor interrupts can fail here.
            Ok(Outcome::Written(_) | Outcome::Emitted(_)) | Err(_) => Served::Done,
        }
    }

    /// Takes the guest apart, and gives back all that it took. Its peers' ends stay as they are.
    pub(crate) fn destroy(self) {
        let Self { system, domain, mailbox, interrupt, mut backend, mut connections, .. } = self;
        let ids: Vec<_, CONNECTIONS> = connections.connections().collect();
        for id in ids {
            if let Ok(Some(removed)) = connections.remove(&mut backend, id)
                && let Some(emit) = removed.connection.emit
            {
                system.drop_copy(emit.capability());
            }
        }
        backend.memory.close();
        system.unshare(mailbox);
        domain.destroy(system);
        system.destroy(interrupt);
    }
}
