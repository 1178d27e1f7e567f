//! One virtual machine: its memory, devices and connections, and the threads that it runs in.
//!
//! ```text
//!   vCPU thread ──▶ KVM_RUN ──exit──▶ Machine::… ──lock──▶ State ─┬─▶ Board            serial port, power, ports
//!       ▲                                                         ├─▶ PciBus ─▶ effects ─▶ CrossVm::apply ─▶ EmitFds
//!       │ kick                                                    └─▶ CrossVm::handle ─▶ Ringer ─▶ the other end's bell
//!       │
//!   event thread ──▶ epoll ─┬─ a bell ──▶ CrossVm::consume_counted ─▶ interrupt
//!                           └─ control ─▶ off, reboot; ioeventfds of ends that came or went
//! ```
//!
//! All threads of a VM share its state behind one lock, which nobody holds while a guest runs. With it held, a thread takes no lock but those of bells
//! and of the console: so no VM waits for another one.

mod compose;
mod events;
mod power;
mod report;
mod serve;
mod served;
mod vcpu;
mod watch;

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crossvm_core::{Bdf, ConnectionId, CrossVm, EventId, GuestRange, Parts};
use crossvm_kvm::{EmitFds, GsiPool, GuestSpace, MemfdDataport};
use crossvm_manifest::{MAX_CONNECTIONS, Reboot};
use crossvm_pci::PciBus;
use vmm_common::console::{Flush, LineBuffer};
use vmm_common::vm::{BarTable, Limited};
use vmm_sys_util::eventfd::EventFd;

use crate::arch::board::{Board, Hardware};
use crate::arch::interrupts::Interrupts;
use crate::bell::{Bell, Ringer};
use crate::console::Output;
use crate::exits::{ExitCounts, RegisterExits};
use crate::sys::ThreadId;

pub(crate) use compose::{Plan, Settings, compose};
pub(crate) use events::Threads;
use power::Power;
pub(crate) use power::{End, ResetCause, StopReason};
pub(crate) use served::{Served, function_at};
use watch::Watch;

/// The guest's PCI bus.
pub(crate) type Bus = PciBus<MAX_CONNECTIONS>;
/// What the VM's connections stand on.
type Backend = Parts<GuestSpace, Bus, GsiPool, Interrupts>;
/// The VM's connections.
type Connections = CrossVm<Backend, MemfdDataport, Ringer, MAX_CONNECTIONS>;

/// Most records of moved BARs that one VM may cause.
const MOVE_RECORDS: u32 = 256;
/// Most records of reboots that one VM may cause.
const REBOOT_RECORDS: u32 = 1000;
/// Most other lines that one guest may make the VMM print.
const COMPLAINTS: u32 = 16;
/// How often registers are dumped for one VM.
const DUMPS: u32 = 4;

/// A connection of the VM, beside what [`CrossVm`] knows.
#[derive(Debug)]
struct Port {
    id: ConnectionId,
    /// Its PCI function, for as long as it is installed.
    bdf: Bdf,
    /// What its events arrive under.
    event: EventId,
    /// The VM's own bell, and that of the other end.
    bell: Arc<Bell>,
    other: Arc<Bell>,
    dataports: Vec<MemfdDataport>,
    exits: RegisterExits,
}

/// A virtual machine, for all threads.
#[derive(Debug)]
pub(crate) struct Machine {
    name: String,
    number: u8,
    output: Output,
    on_reboot: Reboot,
    power: Power,
    exits: ExitCounts,
    /// Wakes the event thread.
    control: EventFd,
    /// The vCPU threads, as far as they have started.
    threads: Mutex<Vec<(u8, ThreadId)>>,
    hardware: Hardware,
    /// The windows of its PCI bridge.
    windows: Vec<GuestRange>,
    state: Mutex<State>,
}

/// What the VM's lock is for.
#[derive(Debug)]
struct State {
    backend: Backend,
    connections: Box<Connections>,
    ports: Vec<Port>,
    /// `None`: each EMIT is an exit.
    emit: Option<EmitFds>,
    board: Board,
    line: LineBuffer,
    bars: BarTable,
    moves: Limited,
    reboots: Limited,
    watch: Option<Watch>,
    complaints: Limited,
    dumps: Limited,
    /// A backend has failed: lines or mappings may not be where they must be.
    behind: bool,
    boots: u32,
}

impl State {
    /// Does to the functions of the bus what a machine's firmware does before a kernel starts.
    fn set_up_bus(&mut self) {
        #[cfg(target_arch = "x86_64")]
        for status in self.connections.connections().filter_map(|id| self.connections.status(id)) {
            if let Some(irq) = status.irq {
                crate::arch::board::set_interrupt_line(&mut self.backend.pci, status.bdf, irq);
            }
        }
    }
}

impl Machine {
    /// Its name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Ends it. Nothing where it ends already.
    pub(crate) fn end(&self, end: End) {
        let end = match (end, self.on_reboot) {
            (End::Reboot(_), Reboot::Stop) => End::Stop(StopReason::Reset),
            (end, _) => end,
        };
        if self.power.end(end) {
            self.kick_all();
            self.wake();
        }
    }

    /// Somebody types to the guest: a byte.
    pub(crate) fn typed(&self, byte: u8) {
        let mut state = self.lock();
        state.line.set_flush(Flush::Bytes);
        state.board.typed(byte);
        self.drive_board(&mut state);
    }

    /// Wakes the event thread.
    fn wake(&self) {
        // Fails where the counter is full: then it is awake.
        let _ = self.control.write(1);
    }

    /// Makes all vCPU threads look what is to do.
    fn kick_all(&self) {
        for (_, thread) in self.threads.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            thread.kick();
        }
    }

    /// A thread that has panicked has left a state that the guest can go on with: each step of it is complete or reported.
    fn lock(&self) -> Locked<'_> {
        Locked { machine: self, state: self.state.lock().unwrap_or_else(PoisonError::into_inner) }
    }

    /// Makes the first vCPU leave its guest.
    fn kick_first(&self) {
        let threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, thread)) = threads.iter().find(|(vcpu, _)| *vcpu == 0) {
            thread.kick();
        }
    }
}

/// The VM's state, locked. What was done to it may be for the first vCPU, which an 8259 in this program interrupts: it is told with the lock still held.
#[derive(Debug)]
struct Locked<'a> {
    machine: &'a Machine,
    state: MutexGuard<'a, State>,
}

impl Deref for Locked<'_> {
    type Target = State;

    fn deref(&self) -> &State {
        &self.state
    }
}

impl DerefMut for Locked<'_> {
    fn deref_mut(&mut self) -> &mut State {
        &mut self.state
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        // The first vCPU's own thread asks before it enters the guest again.
        if vcpu::is_first() {
            return;
        }
        if self.state.backend.interrupts.take_kick() {
            self.machine.kick_first();
        }
    }
}
