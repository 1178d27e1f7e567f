//! One CPU's work: run its vCPU, and stay around for the console, for mail, and for when the vCPU is switched on again.

use core::arch::asm;
use core::sync::atomic::Ordering;

use spin::Mutex;
use vmm_common::config::Place;
use vmm_common::exit::spec::Syndrome;
use vmm_common::mail::Mailbox;
use vmm_common::pace::{Cause, Look, Pace, Ticks};
use vmm_common::platform::{Platform, Text};
use vmm_common::stats::ExitKind;
use vmm_common::vcpu::Vcpu;
use vmm_common::vm::{End, Flow, GuestTimer, Next, StopReason, Trap, Vm};

use super::hardware::{self, Hardware};
use super::registers::read_register;
use super::start::{boot, compose};
use super::system::{Guest, System};
use super::world::{self, Left};
use super::{cache, console, el1, gic};

/// Runs the vCPU of this CPU for ever. The CPU of a VM's first vCPU composes the VM.
pub(super) fn run_vcpu(system: &'static System, place: Place) -> ! {
    // Whatever ran here before may have left them on: they would interrupt for ever.
    el1::stop_timers();
    let Some(guest) = system.guests.get(usize::from(place.vm)) else { rest(system) };
    if place.vcpu.index() == 0
        && let Err(error) = compose(system, place.vm, guest)
    {
        let name = system.name_of(place.vm);
        Hardware.print(Text::Vmm(format_args!("{name}: cannot start: {error}")));
        Hardware.print(Text::Vmm(format_args!("record=vm-stop vm={name} reason=no-start ms={}", Hardware.uptime_ms())));
        if let Some(mailbox) = system.mailboxes.vms.get(usize::from(place.vm)) {
            mailbox.close();
        }
        system.vm_stopped();
    }
    let vm = loop {
        if let Some(vm) = guest.vm.get() {
            break vm;
        }
        wait();
        serve_interrupts(system).end();
    };
    let tables = vm.lock().memory().root();
    // VMID 0 stays unused.
    // SAFETY: the tables map the VM's RAM and its dataports.
    unsafe { el1::prepare(tables, u16::from(place.vm) + 1, place.vcpu) };
    el1::stop_own_timer();
    let mailbox = system.mailboxes.vms.get(usize::from(place.vm)).filter(|mailbox| mailbox.cpu() == Some(hardware::current_cpu()));
    let frequency = Ticks::new(read_register!("cntfrq_el0"));
    let mut cpu = Cpu {
        system,
        guest,
        place,
        vm,
        vcpu: Vcpu::new(place.vcpu),
        list_registers: gic::ListRegisters::new(),
        timers: GuestTimer::ALL.map(gic::Timer::new),
        mail: mailbox.map(|mailbox| (*mailbox, Pace::new(frequency))),
    };
    loop {
        cpu.step();
    }
}

/// A CPU without a vCPU: it is there for the console alone.
fn rest(system: &System) -> ! {
    loop {
        wait();
        serve_interrupts(system).end();
    }
}

/// The physical count.
fn now() -> Ticks {
    Ticks::new(el1::count())
}

/// Waits until an interrupt is pending, masked as it is.
fn wait() {
    // SAFETY: changes nothing.
    unsafe { asm!("dsb sy", "wfi", options(nostack, preserves_flags)) };
}

/// This CPU, with the vCPU that it has for itself.
struct Cpu {
    system: &'static System,
    guest: &'static Guest,
    place: Place,
    vm: &'static Mutex<alloc::boxed::Box<Vm<Hardware>>>,
    vcpu: Vcpu,
    list_registers: gic::ListRegisters,
    timers: [gic::Timer; GuestTimer::ALL.len()],
    /// Of the CPU that looks after the VM's mail.
    mail: Option<(&'static Mailbox, Pace)>,
}

extern crate alloc;

/// Interrupts that have come, are active still, and come again once they are deactivated, if what asserts them has not been dealt with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Active {
    /// The timers', in the order of [`GuestTimer::ALL`].
    timers: [bool; GuestTimer::ALL.len()],
    /// The list registers': until they are saved.
    maintenance: bool,
    /// A kick, which is not active any more.
    kicked: bool,
}

impl Active {
    /// Deactivates them, on a CPU whose guest does not run.
    fn end(self) {
        for (timer, active) in GuestTimer::ALL.into_iter().zip(self.timers) {
            if active {
                gic::deactivate(timer.intid());
            }
        }
        if self.maintenance {
            gic::deactivate(gic::MAINTENANCE);
        }
    }
}

impl Cpu {
    /// One turn: asks the VM what to do, and does it.
    fn step(&mut self) {
        match self.next() {
            Next::Enter => self.enter(),
            Next::Start(_) => {
                let epoch = self.guest.epoch.load(Ordering::Acquire);
                // SAFETY: this CPU is not in the guest.
                unsafe { el1::reset(epoch) };
                self.list_registers.reset();
                self.timers.iter_mut().for_each(gic::Timer::quiet);
            }
            Next::Wait => {
                // Off: its timers must not interrupt for ever.
                el1::stop_timers();
                wait();
                serve_interrupts(self.system).end();
            }
            Next::Finish(End::Stop(reason)) => self.stop(reason),
            Next::Finish(End::Reboot) => self.reboot(),
        }
    }

    fn next(&mut self) -> Next {
        self.look_after_mail();
        let mut vm = self.vm.lock();
        let (next, kicks) = vm.next(&mut self.vcpu);
        let interrupts = vm.interrupts();
        while let Some(physical) = interrupts.take_deactivation(self.vcpu.id) {
            gic::deactivate(physical.number());
        }
        if next == Next::Enter {
            interrupts.load(self.vcpu.id, &mut self.list_registers);
        }
        drop(vm);
        kicks.send(Hardware);
        if next == Next::Enter {
            self.list_registers.put_in_force();
        }
        next
    }

    /// Before mail is taken: decides whether events may kick this CPU.
    fn look_after_mail(&mut self) {
        if let Some((mailbox, pace)) = &mut self.mail {
            match pace.look(now()) {
                Look::Nothing => {}
                Look::Hold(until) => {
                    el1::start_own_timer(until);
                    mailbox.hold();
                }
                Look::Release => {
                    el1::stop_own_timer();
                    mailbox.release();
                }
            }
        }
    }

    /// Runs the guest until it is left, and serves what it was left for.
    fn enter(&mut self) {
        if let Some((_, pace)) = &mut self.mail
            && let Some(until) = pace.entered(now())
        {
            el1::start_own_timer(until);
        }
        // SAFETY: this CPU was prepared for this guest, and reset for this vCPU.
        let left = unsafe { world::run(&mut self.vcpu.registers) };
        let left_at = now();
        let syndrome = Syndrome::from_bits(read_register!("esr_el2"));
        let trap = match left {
            Left::Synchronous => trap(syndrome),
            Left::SystemError => Some(Trap { syndrome, far: read_register!("far_el2"), hpfar: read_register!("hpfar_el2") }),
            Left::Interrupt => None,
        };
        self.list_registers.fetch();
        let active = if left == Left::Interrupt { serve_interrupts(self.system) } else { Active::default() };
        if let Some((_, pace)) = &mut self.mail {
            pace.left(left_at, if active.kicked { Cause::Kick } else { Cause::Other });
        }
        for (timer, fired) in self.timers.iter_mut().zip(active.timers) {
            if fired {
                timer.fired();
            }
        }
        let flow = {
            let mut vm = self.vm.lock();
            let vcpu = &mut self.vcpu;
            vm.interrupts().save(vcpu.id, &mut self.list_registers);
            if active.maintenance {
                gic::deactivate(gic::MAINTENANCE);
            }
            for ((timer, physical), fired) in GuestTimer::ALL.into_iter().zip(&mut self.timers).zip(active.timers) {
                if !el1::timer_asserts(timer) {
                    vm.timer_quiet(vcpu, timer);
                    physical.quiet();
                }
                if fired {
                    vm.timer_fired(vcpu, timer);
                }
            }
            match (left, trap) {
                (Left::Synchronous, Some(trap)) => vm.serve(vcpu, trap, &mut el1::Live),
                (Left::SystemError, Some(trap)) => {
                    vm.system_error(vcpu, trap, &el1::Live);
                    Flow::Resume
                }
                (Left::Interrupt, _) => {
                    vcpu.exits.count(ExitKind::Interrupt);
                    Flow::Resume
                }
                (_, None) => Flow::Resume,
            }
        };
        if let Flow::Serve(request) = flow {
            self.system.serve_component(request);
        }
    }

    /// The VM ends for good; no vCPU of it is in the guest.
    fn stop(&self, reason: StopReason) {
        self.vm.lock().stop(reason);
        self.system.vm_stopped();
    }

    /// The VM boots again; no vCPU of it is in the guest.
    fn reboot(&self) {
        match boot(self.system, self.place.vm, self.guest, self.vm) {
            Ok(()) => {}
            Err(error) => {
                Hardware.print(Text::Vmm(format_args!("{}: cannot start again: {error}", self.system.name_of(self.place.vm))));
                self.stop(StopReason::NoStart);
            }
        }
        cache::invalidate_instructions();
    }
}

/// The syndrome registers of an exit; `None` where the guest must execute the instruction again, for its own tables have changed.
fn trap(syndrome: Syndrome) -> Option<Trap> {
    let far = read_register!("far_el2");
    let hpfar = if syndrome.hpfar_is_valid() { read_register!("hpfar_el2") } else { el1::translate(far)? };
    Some(Trap { syndrome, far, hpfar })
}

/// Serves all physical interrupts that are pending, but for those that it gives back.
fn serve_interrupts(system: &System) -> Active {
    let mut active = Active::default();
    while let Some(interrupt) = gic::acknowledge() {
        let intid = interrupt.intid();
        interrupt.drop_priority();
        if let Some((_, timer)) = GuestTimer::ALL.iter().zip(&mut active.timers).find(|(timer, _)| timer.intid() == intid) {
            *timer = true;
            continue;
        }
        match intid {
            gic::MAINTENANCE => active.maintenance = true,
            // The kick and the VMM's timer have done what they are for: the guest was left.
            _ => {
                if intid == system.machine.uart_interrupt {
                    console::receive(system);
                }
                if intid == gic::HYPERVISOR_TIMER {
                    // It asserts until it is stopped. Whether its time has come, the counter tells.
                    el1::stop_own_timer();
                }
                active.kicked |= intid == gic::KICK;
                interrupt.deactivate();
            }
        }
    }
    active
}
