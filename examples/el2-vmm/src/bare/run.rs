//! One CPU's work: compose its VM, run it, and stay around for the console.

extern crate alloc;

use alloc::boxed::Box;
use core::arch::asm;

use crossvm_manifest::Peer;
use el2_vmm::config;
use el2_vmm::exit::spec::Syndrome;
use el2_vmm::host::{HostAddr, HostRange};
use el2_vmm::platform::{Platform, Text};
use el2_vmm::stats::ExitKind;
use el2_vmm::vcpu::Vcpu;
use el2_vmm::vm::{Flow, Images, StopReason, Trap, Vm};

use super::compose::{loaded, wire};
use super::hardware::Hardware;
use super::registers::read_register;
use super::system::System;
use super::world::{self, Left};
use super::{cache, console, el1, gic};

/// Runs the VM of this number to its end.
pub(super) fn run_vm(system: &'static System, number: u8) -> ! {
    match compose(system, number) {
        Ok((mut vm, mut vcpu)) => {
            let reason = run(system, &mut vm, &mut vcpu);
            el1::stop_timer();
            vm.stop(&vcpu, reason);
        }
        Err(error) => {
            let name = system.topology.vms.get(usize::from(number)).map_or("?", |vm| vm.name.as_str());
            Hardware.print(Text::Vmm(format_args!("{name}: cannot start: {error}")));
            Hardware.print(Text::Vmm(format_args!("record=vm-stop vm={name} reason=no-start ms={}", Hardware.uptime_ms())));
            if let Some(mailbox) = system.mailboxes.get(usize::from(number)) {
                mailbox.close();
            }
        }
    }
    system.vm_stopped();
    loop {
        // SAFETY: waits for an interrupt, masked as it is.
        unsafe { asm!("wfi", options(nostack, preserves_flags)) };
        serve_interrupts(system, None);
    }
}

type Composed = (Box<Vm<Hardware>>, Vcpu);

fn compose(system: &'static System, number: u8) -> Result<Composed, alloc::string::String> {
    use alloc::string::ToString;

    let launch = system.launches.get(usize::from(number)).and_then(|launch| launch.lock().take());
    let description = system.topology.vms.get(usize::from(number));
    let (mut launch, description) = launch.zip(description).ok_or("there is no such VM")?;
    let mut vm = Box::new(Vm::new(launch.resources).map_err(|error| error.to_string())?);
    let mailbox = |peer| match peer {
        Peer::Vm(index) => system.mailboxes.get(usize::from(index)).copied(),
        Peer::Component(index) => system.seats.get(usize::from(index)).map(|seat| seat.mailbox()),
    };
    let ends = config::ends(system.topology, Peer::Vm(number)).filter_map(|end| wire(end, launch.dataports, mailbox));
    vm.connect(ends).map_err(|error| error.to_string())?;
    let bytes = |image: crossvm_manifest::Image| {
        let range = HostRange::new(HostAddr::new(image.address), image.size);
        // SAFETY: the images lie in RAM, as the topology's check says, and outside of the free memory: nobody writes to them.
        range.map_or(&[][..], |range| unsafe { loaded(range) })
    };
    let images = Images {
        kernel: bytes(description.kernel),
        initrd: description.initrd.map_or(&[], bytes),
        command_line: &description.command_line,
        seed: launch.seed.as_ref(),
    };
    let vcpu = vm.boot(&mut launch.ram, &images).map_err(|error| error.to_string())?;
    vm.report_start(description.memory);
    // VMID 0 stays unused.
    // SAFETY: the tables map the VM's RAM and its dataports.
    unsafe { el1::prepare(vm.tables(), u16::from(number) + 1) };
    cache::invalidate_instructions();
    Ok((vm, vcpu))
}

fn run(system: &System, vm: &mut Vm<Hardware>, vcpu: &mut Vcpu) -> StopReason {
    let mut list_registers = gic::ListRegisters::new();
    loop {
        vm.prepare_entry(vcpu);
        while let Some(physical) = vm.interrupts().take_deactivation(vcpu.id) {
            gic::deactivate(physical.number());
        }
        vm.interrupts().load(vcpu.id, &mut list_registers);
        // SAFETY: `compose` has set up this CPU for this guest.
        let left = unsafe { world::run(&mut vcpu.registers) };
        let syndrome = Syndrome::from_bits(read_register!("esr_el2"));
        vm.interrupts().save(vcpu.id, &mut list_registers);
        if !el1::timer_asserts() {
            vm.timer_quiet(vcpu);
        }
        let flow = match left {
            Left::Synchronous => match trap(syndrome) {
                Some(trap) => vm.serve(vcpu, trap, &mut el1::Live),
                None => Flow::Resume,
            },
            Left::Interrupt => {
                vcpu.exits.count(ExitKind::Interrupt);
                serve_interrupts(system, Some((&mut *vm, &*vcpu)));
                Flow::Resume
            }
            Left::SystemError => vm.system_error(vcpu, syndrome),
        };
        match flow {
            Flow::Resume => {}
            Flow::ServeComponents => system.serve_components(),
            Flow::Stop(reason) => return reason,
        }
    }
}

/// The syndrome registers of an exit; `None` where the guest must execute the instruction again, for its own tables have changed.
fn trap(syndrome: Syndrome) -> Option<Trap> {
    let far = read_register!("far_el2");
    let hpfar = if syndrome.hpfar_is_valid() { read_register!("hpfar_el2") } else { el1::translate(far)? };
    Some(Trap { syndrome, far, hpfar })
}

/// Serves all physical interrupts that are pending, for the guest of this CPU if it has one.
fn serve_interrupts(system: &System, mut guest: Option<(&mut Vm<Hardware>, &Vcpu)>) {
    while let Some(interrupt) = gic::acknowledge() {
        let intid = interrupt.intid();
        gic::drop_priority(interrupt);
        match (intid, &mut guest) {
            // Deactivated by the guest's end of interrupt.
            (gic::VIRTUAL_TIMER, Some((vm, vcpu))) => {
                vm.timer_fired(vcpu);
                continue;
            }
            // The maintenance interrupt and the kick have done what they are for: the guest was left.
            (gic::MAINTENANCE | gic::KICK, _) => {}
            _ if intid == system.machine.uart_interrupt => console::receive(system),
            _ => {}
        }
        gic::deactivate(intid);
    }
}
