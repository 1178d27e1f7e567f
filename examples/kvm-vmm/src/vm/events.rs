//! The event thread of a VM, and all its threads together.

use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use crossvm_core::Event;
use vmm_sys_util::epoll::{ControlOperation, Epoll, EpollEvent, EventSet};

use super::power::{End, StopReason};
use super::{Machine, State, vcpu};
use crate::arch::board::Cpu;

/// What the control eventfd is known as; bells are known by their places.
const CONTROL: u64 = u64::MAX;
/// How long nothing is tried that a backend has refused, in milliseconds.
const RETRY_MS: i32 = 10;

/// The threads of a VM.
#[derive(Debug)]
pub(crate) struct Threads {
    machine: Arc<Machine>,
    all: Vec<JoinHandle<()>>,
}

impl Threads {
    /// Starts the VM.
    ///
    /// # Errors
    /// Where there are no threads or descriptors left; the VM does not run then.
    pub(crate) fn start(machine: Arc<Machine>, cpus: Vec<Cpu>, memory: u64) -> std::io::Result<Self> {
        let epoll = Epoll::new()?;
        let watch = |fd, data| epoll.ctl(ControlOperation::Add, fd, EpollEvent::new(EventSet::IN, data));
        watch(machine.control.as_raw_fd(), CONTROL)?;
        for (index, port) in (0..).zip(&machine.lock().ports) {
            watch(port.bell.fd(), index)?;
        }
        machine.report_start(u8::try_from(cpus.len()).unwrap_or(u8::MAX), memory);
        let mut all = Vec::new();
        let events = Arc::clone(&machine);
        all.push(Builder::new().name(format!("{} events", machine.name)).spawn(move || serve(&events, &epoll))?);
        for cpu in cpus {
            let machine = Arc::clone(&machine);
            all.push(Builder::new().name(format!("{} vcpu{}", machine.name, cpu.id)).spawn(move || vcpu::run(&machine, cpu))?);
        }
        Ok(Self { machine, all })
    }

    /// The VM's number.
    pub(crate) fn vm(&self) -> u8 {
        self.machine.number
    }

    /// Waits until the VM is off.
    pub(crate) fn join(self) {
        for thread in self.all {
            if thread.join().is_err() {
                self.machine.end(End::Stop(StopReason::Crash));
            }
        }
    }
}

/// The event thread.
fn serve(machine: &Machine, epoll: &Epoll) {
    let mut events = vec![EpollEvent::default(); 64];
    loop {
        let timeout = if machine.lock().behind { RETRY_MS } else { -1 };
        let count = match epoll.wait(timeout, &mut events) {
            Ok(count) => count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => {
                machine.output.vmm(format_args!("{}: epoll_wait: {error}", machine.name));
                machine.end(End::Stop(StopReason::Crash));
                0
            }
        };
        for event in events.get(..count).unwrap_or_default() {
            match event.data() {
                CONTROL => {
                    // Read to make it wait again; what there is to do is asked for below.
                    let _ = machine.control.read();
                    machine.follow(&mut machine.lock());
                }
                port => machine.consume(usize::try_from(port).unwrap_or(usize::MAX)),
            }
        }
        machine.catch_up();
        match machine.power.ending() {
            None => {}
            Some(end) => {
                machine.power.wait_parked(|| machine.kick_all());
                // What was told last counts.
                match machine.power.ending().unwrap_or(end) {
                    End::Stop(reason) => return machine.stop(reason),
                    End::Reboot(cause) => machine.reboot(cause),
                }
            }
        }
    }
}

impl Machine {
    /// Takes the events of a port.
    fn consume(&self, port: usize) {
        let mut state = self.lock();
        let state = &mut *state;
        let Some(port) = state.ports.get(port) else { return };
        let event = Event::Bit(port.event);
        let mut count = port.bell.take();
        while count > 0 {
            let some = u32::try_from(count).unwrap_or(u32::MAX);
            count = count.saturating_sub(some.into());
            if state.connections.consume_counted(&mut state.backend, event, some).is_err() {
                self.complain(state, format_args!("an event could not interrupt"));
                state.behind = true;
            }
        }
    }

    /// Tries again what a backend has refused.
    fn catch_up(&self) {
        let mut state = self.lock();
        if state.behind {
            let State { connections, backend, .. } = &mut *state;
            let refreshed = connections.refresh(backend).is_ok();
            backend.interrupts.retry();
            let failed = backend.interrupts.take_failed();
            state.behind = !refreshed || failed;
        }
    }

    /// All vCPUs are parked: the VM is off.
    fn stop(&self, reason: StopReason) {
        let mut state = self.lock();
        let state = &mut *state;
        for port in &state.ports {
            port.bell.set_open(false);
        }
        // From now on, what others send is dropped; what has come by now counts.
        for index in 0..state.ports.len() {
            let Some((event, count)) = state.ports.get(index).map(|port| (port.event, port.bell.take())) else { continue };
            // Nobody is left to be interrupted.
            let _ = state.connections.consume_counted(&mut state.backend, Event::Bit(event), u32::try_from(count).unwrap_or(u32::MAX));
        }
        self.report_stop(state, reason);
        self.power.ended();
    }

    /// All vCPUs are parked: the VM boots again.
    fn reboot(&self, cause: super::ResetCause) {
        let mut state = self.lock();
        let state = &mut *state;
        self.end_line(state);
        state.boots = state.boots.saturating_add(1);
        let loaded = self.reset(state);
        if let Err(error) = loaded {
            self.output.vmm(format_args!("{}: it cannot boot again: {error:#}", self.name));
            self.power.end(End::Stop(StopReason::Crash));
            return self.wake();
        }
        self.report_reboot(state, cause);
        self.power.restore();
    }

    fn reset(&self, state: &mut State) -> anyhow::Result<()> {
        if let Err(error) = state.connections.reset(&mut state.backend) {
            self.complain(state, format_args!("{error}"));
            state.behind = true;
        }
        state.set_up_bus();
        // Where BARs are at power-on is no move of the guest's.
        let State { bars, connections, .. } = state;
        bars.update(connections, |_| {});
        self.follow(state);
        state.board.reset();
        state.backend.interrupts.reset()?;
        self.hardware.reload()
    }
}
