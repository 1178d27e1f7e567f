//! The root task's loop.

use crossvm_sel4::arm::Served;
use crossvm_sel4::kernel::{Badge, Kernel as _, KernelError, Message};
use crossvm_sel4::vspace::SpaceError;
use vmm_common::console::Typed;
use vmm_common::host::{CpuId, MAX_CPUS};
use vmm_common::platform::{Platform as _, Text};
use vmm_common::stats::ExitKind;
use vmm_common::vm::{End, Flow, Next, StopReason};

use heapless::Vec;
use sel4_vmm::arm::trap::{Stopped, stopped};

use super::Failure;
use super::compose::Composed;
use super::console;
use super::platform::Task;
use super::thread::{FAULT_BADGE, Runs, Thread};

/// Boots all guests and serves them until all have stopped.
pub(super) fn run(composed: Composed) -> Result<(), Failure> {
    let task = Task(composed.system);
    let (vms, connections) = (composed.system.topology.vms.len(), composed.system.topology.connections.len());
    let version = env!("CARGO_PKG_VERSION");
    task.print(Text::Vmm(format_args!("record=start version={version} vms={vms} connections={connections}")));
    let mut runner = Runner { running: composed.guests.len(), composed, task };
    for guest in 0..runner.composed.guests.len() {
        runner.boot(guest);
        runner.look(Place { guest, vcpu: 0 });
    }
    while runner.running > 0 {
        runner.turn();
        runner.hand_on_typed();
    }
    for seat in &runner.composed.seats {
        seat.report(task);
    }
    task.print(Text::Vmm(format_args!("record=end reason=all-vms-stopped")));
    Ok(())
}

/// A vCPU, by its places in the lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    guest: usize,
    vcpu: usize,
}

struct Runner {
    composed: Composed,
    task: Task,
    /// VMs that have not stopped.
    running: usize,
}

/// What is to be done with a vCPU that has stopped.
enum Then {
    /// Its registers have changed: it is asked what it does next.
    Ask(Flow),
    /// It goes on where it is, if its VM does not end.
    GoOn,
    /// It goes on where it is, but others come first.
    Idle,
}

impl Runner {
    /// Waits for something to happen, and serves it.
    fn turn(&mut self) {
        let received = self.composed.system.kernel.receive(self.composed.endpoint);
        self.composed.system.turn();
        let badge = received.badge.value();
        if badge & FAULT_BADGE == 0 {
            return self.kicked(received.badge);
        }
        let Some(place) = u8::try_from(badge & 0xff).ok().and_then(|cpu| self.place(CpuId::new(cpu))) else { return };
        if let Err(error) = self.fault(place, &received.message) {
            self.fail(place, error);
        }
    }

    /// Hands what was typed to the guest with the focus.
    fn hand_on_typed(&self) {
        let vms = &self.composed.system.topology.vms;
        while let Some(typed) = console::typed(u8::try_from(vms.len()).unwrap_or(u8::MAX)) {
            match typed {
                Typed::For { vm, byte } => {
                    if let Some(mailbox) = self.composed.mailboxes.vms.get(usize::from(vm)) {
                        mailbox.typed(self.task, byte);
                    }
                }
                Typed::Moved(vm) => {
                    if let Some(vm) = vms.get(usize::from(vm)) {
                        self.task.print(Text::Vmm(format_args!("what you type goes to {}", vm.name)));
                    }
                }
                Typed::Nothing => {}
            }
        }
    }

    /// Somebody has something for these vCPUs.
    fn kicked(&mut self, badge: Badge) {
        let mut events = badge.events();
        while let Some(event) = events.take_lowest() {
            if let Some(place) = self.place(CpuId::new(event.bit())) {
                self.look(place);
            }
        }
    }

    /// A vCPU has stopped.
    fn fault(&mut self, place: Place, message: &Message) -> Result<(), SpaceError> {
        let Some(guest) = self.composed.guests.get_mut(place.guest) else { return Ok(()) };
        let Some(thread) = guest.vcpus.get_mut(place.vcpu) else { return Ok(()) };
        if thread.runs == Runs::No {
            // A message from before it was stopped.
            return Ok(());
        }
        let (id, cpu) = (thread.state.id, thread.cpu);
        let before = core::mem::replace(&mut thread.runs, Runs::No);
        let then = match thread.injector.serve(guest.vm.interrupts(), id, message) {
            Served::Ended(_) | Served::Private(_) | Served::Nothing => {
                thread.state.exits.count(ExitKind::Interrupt);
                Then::GoOn
            }
            Served::NotOurs => match stopped(message) {
                Stopped::Wait(_) if !guest.vm.interrupts().has_pending(id) && thread.injector.in_flight() == 0 => {
                    // Where it stands there already, it is counted.
                    if before == Runs::Yes {
                        thread.state.exits.count(ExitKind::Wait);
                    }
                    Then::Idle
                }
                Stopped::Wait(trap) | Stopped::Trap(trap) => {
                    thread.read()?;
                    let mut el1 = thread.el1();
                    Then::Ask(guest.vm.serve(&mut thread.state, trap, &mut el1))
                }
                Stopped::Hypercall(trap) => {
                    thread.read()?;
                    thread.state.registers.skip_instruction(true);
                    let mut el1 = thread.el1();
                    Then::Ask(guest.vm.serve(&mut thread.state, trap, &mut el1))
                }
                Stopped::Unknown(_) => Then::GoOn,
            },
        };
        match then {
            // The VM may have something for another of its vCPUs now.
            Then::GoOn => self.look(place),
            Then::Idle => {
                thread.resume(Runs::Idle)?;
                self.let_others_run(cpu)?;
            }
            Then::Ask(flow) => {
                thread.write()?;
                if let Flow::Serve(request) = flow
                    && let Some(seat) = self.composed.seats.get(usize::from(request.component))
                {
                    seat.serve(request.event, self.task);
                }
                self.look(place);
            }
        }
        Ok(())
    }

    /// Asks the VM what a vCPU does next, and does it.
    fn look(&mut self, place: Place) {
        while let Some(again) = self.step(place).unwrap_or_else(|error| {
            self.fail(place, error);
            None
        }) {
            match again {
                End::Stop(reason) => self.stop(place.guest, reason),
                End::Reboot => self.boot(place.guest),
            }
        }
    }

    /// One question to the VM. Gives how it ends, where it does.
    fn step(&mut self, place: Place) -> Result<Option<End>, SpaceError> {
        let Some(guest) = self.composed.guests.get_mut(place.guest) else { return Ok(None) };
        let Some(thread) = guest.vcpus.get_mut(place.vcpu) else { return Ok(None) };
        loop {
            let (next, kicks) = guest.vm.next(&mut thread.state);
            kicks.send(self.task);
            match next {
                Next::Enter => {
                    guest.vm.interrupts().load(thread.state.id, &mut thread.injector);
                    if let Some(error) = thread.injector.take_failure() {
                        guest.vm.complain(format_args!("the kernel refuses an interrupt of vCPU {}: {error}", thread.state.id));
                    }
                    match thread.runs {
                        Runs::No => thread.resume(Runs::Yes)?,
                        // It does not stop at its WFI any more.
                        Runs::Idle if thread.injector.in_flight() != 0 => thread.runs = Runs::Yes,
                        Runs::Idle | Runs::Yes => {}
                    }
                    return Ok(None);
                }
                Next::Start(_) => thread.reset()?,
                Next::Wait => {
                    thread.suspend()?;
                    return Ok(None);
                }
                Next::Finish(end) => {
                    thread.suspend()?;
                    return Ok(Some(end));
                }
            }
        }
    }

    /// The kernel runs what was resumed last first. A vCPU that waits would stop again at once, for ever: the others go before it, those that wait
    /// as well in turn. So it is looked at again when they have used up their time, and its timer, which the kernel has going while the vCPU
    /// runs alone, can come.
    fn let_others_run(&self, waiting: CpuId) -> Result<(), KernelError> {
        let threads = || self.composed.guests.iter().flat_map(|guest| &guest.vcpus);
        for runs in [Runs::Idle, Runs::Yes] {
            for before in [true, false] {
                let side = threads().filter(|thread| if before { thread.cpu < waiting } else { thread.cpu > waiting });
                let mut side: Vec<&Thread, MAX_CPUS> = side.filter(|thread| thread.runs == runs).collect();
                // Whoever is put first last comes first: the next one behind it.
                while let Some(thread) = side.pop() {
                    thread.put_first()?;
                }
            }
        }
        Ok(())
    }

    fn place(&self, cpu: CpuId) -> Option<Place> {
        self.composed.guests.iter().enumerate().find_map(|(guest, vm)| {
            let vcpu = vm.vcpus.iter().position(|thread| thread.cpu == cpu)?;
            Some(Place { guest, vcpu })
        })
    }

    /// A VM ends for good; none of its vCPUs runs.
    fn stop(&mut self, guest: usize, reason: StopReason) {
        if let Some(guest) = self.composed.guests.get_mut(guest) {
            guest.vm.stop(reason);
            self.running = self.running.saturating_sub(1);
        }
    }

    /// A VM boots; none of its vCPUs runs.
    fn boot(&mut self, guest: usize) {
        let Some(vm) = self.composed.guests.get_mut(guest) else { return };
        if let Err(error) = vm.boot(self.composed.system) {
            self.task.print(Text::Vmm(format_args!("{}: cannot start: {error}", vm.vm.name())));
            self.stop(guest, StopReason::NoStart);
        }
    }

    /// The kernel has refused what a vCPU needs: its VM ends, alone.
    fn fail(&mut self, place: Place, error: SpaceError) {
        let Some(guest) = self.composed.guests.get_mut(place.guest) else { return };
        self.task.print(Text::Vmm(format_args!("{}: the kernel refuses what vCPU {} needs: {error}", guest.vm.name(), place.vcpu)));
        for thread in &mut guest.vcpus {
            // Where that is refused as well, nothing is left to do.
            let _ = thread.suspend();
        }
        self.stop(place.guest, StopReason::Crash);
    }
}
