//! One virtual machine: its devices, its memory, its connections, which vCPUs are on.
//!
//! [`Vm`] is what all vCPUs of the machine share, [`Vcpu`] what each has for itself. Each vCPU has a CPU of its own, which goes round in a
//! loop:
//!
//! ```text
//!        ┌──▶ Vm::next ──┬─ Enter ──▶ Vgic::load ──▶ guest ──▶ Vgic::save ──▶ Vm::serve ──┐
//!        │               ├─ Start ──▶ registers as at a reset ───────────────────────────┤
//!        │               ├─ Wait ───▶ until an interrupt comes, a kick above all ─────────┤
//!        │               └─ Finish ─▶ the VM stops, or boots again ──────────────────────┤
//!        └────────────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! All vCPUs share the VM behind one lock, which nobody holds while the guest runs. With it held, a CPU takes no lock but those of the console
//! and of what was typed, whose holders never wait for a VM: so no two VMs wait for each other.

mod boot;
mod interrupts;
mod power;
mod report;
mod serve;
#[cfg(test)]
mod tests;
mod timer;

use core::fmt;

use crossvm_arm::{VcpuSet, Vgic};
use crossvm_core::device::Name;
use crossvm_core::{
    Config, Connection, ConnectionId, CrossVm, DataportEnd, ErrorType, Event, InstallError, InterruptController, InterruptMode, Parts,
};
use crossvm_manifest::{MAX_CONNECTIONS, MAX_NAME, Peer, Reboot};
use crossvm_pci::{HostBridge, PciBus, PciError};
use heapless::{String, Vec};

use crate::components::Request;
use crate::config::OwnEnd;
use crate::console::{Flush, LineBuffer};
use crate::guest::LoadError;
use crate::host::CpuId;
use crate::mail::{Mailbox, Notify};
use crate::map;
use crate::platform::{Platform, Text};
use crate::space::GuestSpace;
use crate::stats::ExitCounts;
use crate::uart::Pl011;
use crate::vcpu::Vcpu;
use power::Power;

pub use boot::{Boot, Images};
pub use interrupts::{GuestGic, NoLine, Spis, own_lines};
pub use power::{End, Next, StopReason};
pub use report::{Admission, BarMove, BarTable, Limited};
pub use serve::{Flow, Trap};
pub use timer::GuestTimer;

/// The guest's PCI bus.
pub type Bus = PciBus<MAX_CONNECTIONS>;
/// The guest's interrupt controller.
pub type Gic = Vgic<{ map::VCPUS }, { map::SPI_WORDS }>;
/// What the VM's connections stand on.
pub type Backend<P> = Parts<<P as Platform>::Memory, Bus, Spis, Gic>;
/// The VM's connections.
pub type Connections<P> = CrossVm<Backend<P>, <P as Platform>::Dataport, Notify<P>, MAX_CONNECTIONS>;

/// Most records of moved BARs that one VM may cause.
const MOVE_RECORDS: u32 = 256;
/// How long nothing is tried that a backend has refused.
const RETRY_MS: u64 = 10;
/// Most records of reboots that one VM may cause.
const REBOOT_RECORDS: u32 = 1000;
/// Most other lines that one guest may make the VMM print.
const COMPLAINTS: u32 = 16;

/// A virtual machine.
#[derive(Debug)]
pub struct Vm<P: Platform> {
    name: String<MAX_NAME>,
    platform: P,
    mailbox: &'static Mailbox,
    /// The CPU of each vCPU.
    cpus: Vec<CpuId, { map::VCPUS }>,
    power: Power,
    on_reboot: Reboot,
    /// How often it has been booted.
    boots: u32,
    /// Exits of all its vCPUs.
    exits: ExitCounts,
    backend: Backend<P>,
    connections: Connections<P>,
    /// The connections whose peers are components, and what these are to serve then.
    components: Vec<(ConnectionId, Request), MAX_CONNECTIONS>,
    uart: Pl011,
    line: LineBuffer,
    bars: report::BarTable,
    moves: Limited,
    reboots: Limited,
    complaints: Limited,
    /// vCPUs in whose list registers another one has looked for the state of an interrupt, and when each was last asked for it.
    asked: VcpuSet,
    asked_at: [u64; map::VCPUS],
    /// A backend has failed: lines or mappings may not be where they must be.
    behind: bool,
    /// When they may be brought there again, in milliseconds.
    retry_at: u64,
}

/// What a VM is made of.
#[derive(Debug)]
pub struct Resources<P: Platform> {
    /// Its name.
    pub name: String<MAX_NAME>,
    /// The CPU of each vCPU: at least one.
    pub cpus: Vec<CpuId, { map::VCPUS }>,
    /// Where its events arrive.
    pub mailbox: &'static Mailbox,
    /// What happens when it resets itself.
    pub on_reboot: Reboot,
    /// How its connections look to it.
    pub device: Config,
    /// The interrupt controller that its hardware has for it.
    pub gic: GuestGic,
    /// Its physical address space, empty.
    pub memory: P::Memory,
    /// The hardware.
    pub platform: P,
}

/// CPUs that must ask their VM what to do.
///
/// They are kicked once the VM's lock is released: a CPU that is kicked wants the lock at once.
#[derive(Debug)]
#[must_use = "a vCPU that is not kicked may miss its interrupt"]
pub struct Kicks(Vec<CpuId, { map::VCPUS }>);

impl Kicks {
    /// Kicks them.
    pub fn send<P: Platform>(self, platform: P) {
        self.0.into_iter().for_each(|cpu| platform.kick(cpu));
    }
}

/// Why an address space could not be changed.
type MemoryError<P> = <<P as Platform>::Memory as ErrorType>::Error;

/// Why a VM could not be composed.
pub enum ComposeError<P: Platform> {
    /// Its address space.
    Memory(MemoryError<P>),
    /// The windows of its PCI bus.
    Window(PciError),
    /// Its interrupt controller.
    Gic(crossvm_arm::Error),
    /// The name of a connection does not fit its register.
    Name,
    /// A connection has more dataports than a device.
    Dataports,
    /// Its connections.
    Install(InstallError<Backend<P>>),
    /// Its images.
    Load(LoadError),
    /// Its device tree.
    Tree(vm_fdt::Error),
}

impl<P: Platform> fmt::Debug for ComposeError<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<P: Platform> fmt::Display for ComposeError<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory(error) => write!(f, "the guest's address space: {} ({error:?})", crossvm_core::Error::kind(error)),
            Self::Window(error) => error.fmt(f),
            Self::Gic(error) => error.fmt(f),
            Self::Name => write!(f, "a connection's name does not fit its register"),
            Self::Dataports => write!(f, "a connection has too many dataports"),
            Self::Install(error) => error.fmt(f),
            Self::Load(error) => error.fmt(f),
            Self::Tree(error) => write!(f, "the guest's device tree: {error}"),
        }
    }
}

impl<P: Platform> Vm<P> {
    /// A VM without RAM and connections.
    ///
    /// # Errors
    /// [`ComposeError::Memory`] where the address space is not empty or has no room.
    pub fn new(resources: Resources<P>) -> Result<Self, ComposeError<P>> {
        let Resources { name, cpus, mailbox, on_reboot, device, gic, mut memory, platform } = resources;
        for device in [map::DISTRIBUTOR, map::UART, map::ECAM.range()] {
            memory.add_device(device).map_err(ComposeError::Memory)?;
        }
        let interrupts = interrupts::controller(gic, &mut memory)?;
        let bus = PciBus::new(HostBridge::default(), map::PCI_WINDOW).with_window(map::PCI_HIGH_WINDOW).map_err(ComposeError::Window)?;
        let backend = Parts { memory, pci: bus, irqs: Spis::new(), interrupts };
        Ok(Self {
            name,
            platform,
            mailbox,
            power: Power::new(cpus.len()),
            cpus,
            on_reboot,
            boots: 0,
            exits: ExitCounts::default(),
            backend,
            connections: CrossVm::new(device),
            components: Vec::new(),
            uart: Pl011::new(),
            line: LineBuffer::new(),
            bars: report::BarTable::new(),
            moves: Limited::new(MOVE_RECORDS),
            reboots: Limited::new(REBOOT_RECORDS),
            complaints: Limited::new(COMPLAINTS),
            asked: VcpuSet::EMPTY,
            asked_at: [u64::MAX; map::VCPUS],
            behind: false,
            retry_at: 0,
        })
    }

    /// Installs all connections, in this order.
    ///
    /// # Errors
    /// [`ComposeError`]; no connection is installed then.
    pub fn connect<'a, D: IntoIterator<Item = P::Dataport>>(
        &mut self,
        ends: impl Iterator<Item = (OwnEnd<'a>, D, Notify<P>)>,
    ) -> Result<(), ComposeError<P>> {
        let ends: Vec<_, MAX_CONNECTIONS> = ends.collect();
        let wanted = ends.iter().filter(|(end, ..)| end.interrupt == InterruptMode::OwnLine).count();
        let mut own = own_lines(wanted, ends.len().saturating_sub(wanted), map::CONNECTION_IRQS);
        let mut connections: Vec<_, MAX_CONNECTIONS> = Vec::new();
        let mut requests: Vec<_, MAX_CONNECTIONS> = Vec::new();
        for (end, memory, emit) in ends {
            let name = Name::new(&end.connection.name).ok_or(ComposeError::Name)?;
            let interrupt = match (end.interrupt, own.checked_sub(1)) {
                (InterruptMode::OwnLine, Some(left)) => {
                    own = left;
                    InterruptMode::OwnLine
                }
                _ => InterruptMode::SharedLine,
            };
            let mut connection = Connection::new(name).with_emit(emit).with_event(end.event).with_interrupt(interrupt);
            for ((rights, width), dataport) in end.dataports().zip(memory) {
                connection = connection.with_dataport_end(DataportEnd { dataport, rights, width }).map_err(|_| ComposeError::Dataports)?;
            }
            let request = match end.peer {
                Peer::Vm(_) => None,
                Peer::Component(component) => Some(Request { component, event: end.peer_event }),
            };
            // As many places as ends.
            let _ = (connections.push(connection), requests.push(request));
        }
        let ids = self.connections.install(&mut self.backend, connections).map_err(ComposeError::Install)?;
        self.components.extend(ids.into_iter().zip(requests).filter_map(|(id, request)| Some((id, request?))));
        self.bars.update(&self.connections, |_| {});
        Ok(())
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its physical address space.
    #[must_use]
    pub const fn memory(&self) -> &P::Memory {
        &self.backend.memory
    }

    /// Its interrupt controller, for what only the CPU itself can tell it.
    pub const fn interrupts(&mut self) -> &mut Gic {
        &mut self.backend.interrupts
    }

    /// What the CPU of `vcpu`, which is not in the guest, does next, and whom it kicks before it does that. To be called after each exit,
    /// before [`Vgic::load`].
    ///
    /// Everything that has happened outside the guest is brought to its interrupt controller, whoever of its vCPUs asks.
    pub fn next(&mut self, vcpu: &mut Vcpu) -> (Next, Kicks) {
        let next = self.power.next(vcpu.id);
        if self.power.is_running() {
            self.take_news();
        }
        if next != Next::Enter {
            self.exits.absorb(&mut vcpu.exits);
        }
        if let Next::Start(start) = next {
            vcpu.start(start);
            // As firmware does. That it exists is known.
            let _ = self.backend.interrupts.wake_vcpu(vcpu.id);
        }
        let asked = core::mem::replace(&mut self.asked, VcpuSet::EMPTY);
        let kicks = self.backend.interrupts.take_kicks().union(self.power.take_kicks()).union(asked).without(vcpu.id);
        (next, Kicks(kicks.iter().filter_map(|other| self.cpus.get(other.index()).copied()).collect()))
    }

    /// What has come by mail: events and typed characters.
    fn take_news(&mut self) {
        for (event, count) in self.mailbox.take() {
            if self.connections.consume_counted(&mut self.backend, Event::Bit(event), count).is_err() {
                self.complain(format_args!("an event could not interrupt"));
                self.behind = true;
            }
        }
        if self.behind {
            self.catch_up();
        }
        while self.uart.can_receive()
            && let Some(byte) = self.mailbox.next_input()
        {
            self.line.set_flush(Flush::Bytes);
            self.uart.receive(byte);
        }
        let level = self.uart.interrupt();
        if self.backend.interrupts.set_level(map::UART_IRQ, level).is_err() {
            self.complain(format_args!("the serial port's line could not be set"));
        }
    }

    /// Makes vCPUs leave the guest whose list registers know better what another one has read, once in a millisecond each: a guest that reads until
    /// an interrupt is not active any more does not keep its handler from ending it.
    fn ask(&mut self, holders: VcpuSet) {
        for holder in holders.iter() {
            let now = self.platform.uptime_ms();
            if let Some(at) = self.asked_at.get_mut(holder.index()).filter(|at| **at != now) {
                *at = now;
                self.asked = self.asked.with(holder);
            }
        }
    }

    /// Tries again what a backend has refused; not at each exit, as it may refuse for long.
    fn catch_up(&mut self) {
        let now = self.platform.uptime_ms();
        if now >= self.retry_at {
            self.behind = self.connections.refresh(&mut self.backend).is_err();
            self.retry_at = now.saturating_add(RETRY_MS);
        }
    }

    /// Prints a line about this guest, if it has not caused too many.
    pub fn complain(&mut self, text: fmt::Arguments<'_>) {
        let name = &self.name;
        self.complaints.print(self.platform, name, "lines", format_args!("{name}: {text}"));
    }

    fn show(&mut self, byte: u8) {
        let (platform, name) = (self.platform, &self.name);
        self.line.write(byte, |text| platform.print(Text::Guest { name, text }));
    }
}
