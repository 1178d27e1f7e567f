//! The thread of a vCPU.

use std::cell::Cell;
use std::sync::{Arc, PoisonError};

use crossvm_core::GuestAddr;
#[cfg(target_arch = "x86_64")]
use crossvm_core::Width;
use kvm_ioctls::VcpuExit;

use super::Machine;
use super::power::{End, Next, ResetCause, Seen, StopReason};
use crate::arch::board::Cpu;
use crate::exits::ExitKind;
use crate::seccomp;
use crate::sys::{KickTarget, ThreadId};

/// What is to be done once the exit's data are no longer borrowed.
enum After {
    /// Nothing.
    Nothing,
    /// A kick: whoever kicked has something for the thread to look at.
    Kicked,
    /// The vCPU cannot go on.
    Dump(String, End),
    /// The VM ends.
    End(End),
    /// The access is one that the hardware does not describe: the vCPU tells what is known of it.
    #[cfg(target_arch = "aarch64")]
    Undecoded,
}

thread_local! {
    static FIRST: Cell<bool> = const { Cell::new(false) };
}

/// Whether this is the thread of a first vCPU.
pub(super) fn is_first() -> bool {
    FIRST.get()
}

/// Runs the vCPU until its VM is off.
pub(super) fn run(machine: &Arc<Machine>, mut cpu: Cpu) {
    FIRST.set(cpu.id == 0);
    let target = KickTarget::new(&mut cpu.fd);
    machine.threads.lock().unwrap_or_else(PoisonError::into_inner).push((cpu.id, ThreadId::current()));
    if let Err(error) = seccomp::confine() {
        machine.output.vmm(format_args!("{}: vCPU {} cannot be confined: {error}", machine.name, cpu.id));
        machine.end(End::Stop(StopReason::Crash));
    }
    let mut seen = Seen::default();
    loop {
        match machine.power.next(&mut seen) {
            Next::Run => {}
            Next::Restore => {
                let restored = cpu.restore();
                if let Err(error) = &restored {
                    machine.output.vmm(format_args!("{}: vCPU {} cannot be reset: {error}", machine.name, cpu.id));
                }
                if machine.power.restored(restored.is_ok()) {
                    machine.wake();
                }
                continue;
            }
            Next::Exit => break,
        }
        match enter(machine, &mut cpu, &target) {
            After::Nothing => {}
            After::Kicked => cpu.fd.set_kvm_immediate_exit(0),
            After::Dump(what, end) => {
                machine.dump(cpu.id, format_args!("{what}"), &cpu.dump());
                machine.end(end);
            }
            After::End(end) => machine.end(end),
            #[cfg(target_arch = "aarch64")]
            After::Undecoded => {
                if let Err(error) = undecoded(machine, &mut cpu) {
                    machine.dump(cpu.id, format_args!("an access that is not described: {error}"), &cpu.dump());
                    machine.end(End::Stop(StopReason::Crash));
                }
            }
        }
    }
    drop(target);
}

/// Enters the guest, and serves what it leaves it for.
#[cfg_attr(not(target_arch = "x86_64"), expect(unused_variables, reason = "ports are x86's"))]
fn enter(machine: &Machine, cpu: &mut Cpu, target: &KickTarget) -> After {
    #[cfg(target_arch = "x86_64")]
    if cpu.asks_before_entry {
        machine.lock().backend.interrupts.before_run(&mut cpu.fd);
    }
    let exit = match cpu.fd.run() {
        Ok(exit) => exit,
        Err(error) if error.errno() == libc::EINTR || error.errno() == libc::EAGAIN => {
            machine.exits.count(ExitKind::Signal);
            return After::Kicked;
        }
        Err(error) => {
            machine.exits.count(ExitKind::Other);
            return After::Dump(format!("KVM_RUN: {error}"), End::Stop(StopReason::Crash));
        }
    };
    match exit {
        VcpuExit::MmioRead(at, data) => machine.load(GuestAddr::new(at), data),
        VcpuExit::MmioWrite(at, data) => machine.store(GuestAddr::new(at), data),
        #[cfg(target_arch = "x86_64")]
        VcpuExit::IoIn(port, data) => {
            let width = width(target, data.len());
            machine.port_in(port, width, data);
        }
        #[cfg(target_arch = "x86_64")]
        VcpuExit::IoOut(port, data) => {
            let width = width(target, data.len());
            machine.port_out(port, width, data);
        }
        VcpuExit::Intr => {
            machine.exits.count(ExitKind::Signal);
            return After::Kicked;
        }
        #[cfg(target_arch = "x86_64")]
        VcpuExit::IoapicEoi(vector) => {
            machine.exits.count(ExitKind::Eoi);
            machine.lock().backend.interrupts.end_of_interrupt(vector);
        }
        #[cfg(target_arch = "x86_64")]
        VcpuExit::IrqWindowOpen => machine.exits.count(ExitKind::InterruptWindow),
        VcpuExit::Hlt => machine.exits.count(ExitKind::Halt),
        VcpuExit::Shutdown => {
            machine.exits.count(ExitKind::Other);
            return After::Dump("triple fault".to_owned(), End::Reboot(ResetCause::TripleFault));
        }
        VcpuExit::SystemEvent(kvm_bindings::KVM_SYSTEM_EVENT_SHUTDOWN, _) => {
            machine.exits.count(ExitKind::Power);
            return After::End(End::Stop(StopReason::PowerOff));
        }
        VcpuExit::SystemEvent(kvm_bindings::KVM_SYSTEM_EVENT_RESET, _) => {
            machine.exits.count(ExitKind::Power);
            return After::End(End::Reboot(ResetCause::Firmware));
        }
        #[cfg(target_arch = "aarch64")]
        VcpuExit::Unsupported(kvm_bindings::KVM_EXIT_ARM_NISV) => return After::Undecoded,
        other => {
            machine.exits.count(ExitKind::Other);
            return After::Dump(format!("it cannot go on: {other:x?}"), End::Stop(StopReason::Crash));
        }
    }
    After::Nothing
}

/// Serves an access that the hardware does not describe, and goes on behind it.
#[cfg(target_arch = "aarch64")]
fn undecoded(machine: &Machine, cpu: &mut Cpu) -> Result<(), kvm_ioctls::Error> {
    let again = cpu.undecoded().is_some_and(|access| machine.undecoded(access));
    if again { Ok(()) } else { cpu.skip() }
}

/// How wide each of the accesses of an exit for a port is.
#[cfg(target_arch = "x86_64")]
fn width(target: &KickTarget, length: usize) -> Width {
    Width::from_bytes(target.port_width().into()).filter(|width| width.bytes() <= length as u64).unwrap_or(Width::U8)
}
