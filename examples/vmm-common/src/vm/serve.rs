//! Serves what a guest does that hardware does not.

use core::fmt;

use crossvm_arm::{VcpuId, Version};
use crossvm_core::{GuestAccess, GuestAddr, GuestRange, Outcome, ServeError, Width};
use crossvm_manifest::Reboot;

use super::{End, StopReason, Vm};
use crate::components::Request;
use crate::exit::spec::{Syndrome, SystemRegisterIss};
use crate::exit::{self, Abort, AbortKind, Access, Call, Cause, Delivered, El1Registers, Exit, PsciReturn, Register, SystemRegisterAccess};
use crate::map;
use crate::platform::Platform;
use crate::space::{GuestRegion, GuestSpace};
use crate::stats::ExitKind;
use crate::vcpu::{Start, Vcpu};

/// The syndrome registers of an exit by a synchronous exception.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trap {
    /// ESR_EL2.
    pub syndrome: Syndrome,
    /// FAR_EL2.
    pub far: u64,
    /// HPFAR_EL2, valid.
    pub hpfar: u64,
}

/// What is to be done before the guest goes on, if it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// Nothing.
    Resume,
    /// A component has mail from this guest.
    Serve(Request),
}

const fn register(op1: u8, crn: u8, crm: u8, op2: u8) -> SystemRegisterIss {
    SystemRegisterIss::new().with_op0(3).with_op1(op1).with_crn(crn).with_crm(crm).with_op2(op2)
}

const ACTLR_EL1: SystemRegisterIss = register(0, 1, 0, 1);
const ICC_DIR_EL1: SystemRegisterIss = register(0, 12, 11, 1);
const ICC_SGI1R_EL1: SystemRegisterIss = register(0, 12, 11, 5);
const ICC_ASGI1R_EL1: SystemRegisterIss = register(0, 12, 11, 6);
const ICC_SGI0R_EL1: SystemRegisterIss = register(0, 12, 11, 7);

/// What becomes of a load or store.
enum Served {
    /// The load gives this value.
    Value(u64),
    /// Done, or ignored.
    Done,
    /// Done, and a component has been signalled.
    Request(Request),
    /// The instruction is executed again.
    Again,
    /// Nothing answers.
    Nothing,
}

impl<P: Platform> Vm<P> {
    /// Serves an exit by a synchronous exception.
    pub fn serve(&mut self, vcpu: &mut Vcpu, trap: Trap, el1: &mut impl El1Registers) -> Flow {
        let long = trap.syndrome.long_instruction();
        match exit::decode(trap.syndrome, trap.far, trap.hpfar) {
            Exit::Hypercall => {
                vcpu.exits.count(ExitKind::Hypercall);
                self.firmware(vcpu);
                Flow::Resume
            }
            Exit::SecureCall => {
                vcpu.exits.count(ExitKind::SecureCall);
                vcpu.registers.skip_instruction(long);
                self.firmware(vcpu);
                Flow::Resume
            }
            Exit::SystemRegister(access) => {
                vcpu.exits.count(ExitKind::SystemRegister);
                self.system_register(vcpu, access, el1);
                Flow::Resume
            }
            Exit::DataAbort(abort) => {
                vcpu.exits.count(ExitKind::DataAbort);
                self.data_abort(vcpu, abort, long, trap.far, el1)
            }
            Exit::InstructionAbort(_) => {
                vcpu.exits.count(ExitKind::InstructionAbort);
                let at = vcpu.registers.clone();
                if exit::deliver(Cause::InstructionAbort { far: trap.far }, &mut vcpu.registers, el1) == Delivered::Taken {
                    vcpu.interrupted_at = Some(at.pc);
                } else {
                    vcpu.registers = at;
                    self.crash(vcpu, trap, el1, format_args!("the handler of its exceptions is not in memory"));
                }
                Flow::Resume
            }
            Exit::Wait => {
                vcpu.exits.count(ExitKind::Wait);
                vcpu.registers.skip_instruction(long);
                Flow::Resume
            }
            Exit::Refused => {
                vcpu.exits.count(ExitKind::Other);
                undefined(vcpu, el1);
                Flow::Resume
            }
            Exit::Other(class) => {
                vcpu.exits.count(ExitKind::Other);
                self.crash(vcpu, trap, el1, format_args!("exception class {class:#04x}, which nothing should cause"));
                Flow::Resume
            }
        }
    }

    /// The guest has brought the machine to an SError: the VM ends, as nobody knows what is broken.
    pub fn system_error(&mut self, vcpu: &mut Vcpu, trap: Trap, el1: &impl El1Registers) {
        vcpu.exits.count(ExitKind::Other);
        self.crash(vcpu, trap, el1, format_args!("SError"));
    }

    /// Ends the VM, alone, and says how it came to that. Only what comes first is told.
    fn crash(&mut self, vcpu: &Vcpu, trap: Trap, el1: &impl El1Registers, what: fmt::Arguments<'_>) {
        if self.power.is_running() {
            self.dump(vcpu, trap, el1, what);
            self.power.end(End::Stop(StopReason::Crash));
        }
    }

    fn firmware(&mut self, vcpu: &mut Vcpu) {
        let answer = match exit::answer(vcpu.registers.arguments()) {
            Call::Answered(answer) => answer,
            Call::CpuOn { target, entry, context } => {
                let entry = GuestAddr::new(entry);
                let in_ram = entry.is_aligned(4) && self.backend.memory.region_at(entry) == Some(GuestRegion::Ram);
                if in_ram { self.power.cpu_on(target, Start { entry, context }) } else { PsciReturn::InvalidAddress }
            }
            Call::AffinityInfo { target, lowest_level } => self.power.affinity_info(target, lowest_level),
            Call::CpuOff => {
                // Its interrupts are as at power-on when it comes back. That it exists is known.
                let _ = self.backend.interrupts.reset_vcpu(vcpu.id);
                return self.power.cpu_off(vcpu.id);
            }
            Call::SystemOff => return self.power.end(End::Stop(StopReason::PowerOff)),
            Call::SystemReset => {
                return self.power.end(match self.on_reboot {
                    Reboot::Restart => End::Reboot,
                    Reboot::Stop => End::Stop(StopReason::Reset),
                });
            }
        };
        vcpu.registers.write(Register::new(0), answer.x0());
    }

    fn system_register(&mut self, vcpu: &mut Vcpu, access: SystemRegisterAccess, el1: &mut impl El1Registers) {
        let value = vcpu.registers.read(access.register);
        let gic = &mut self.backend.interrupts;
        match (access.encoding, access.read) {
            (ICC_SGI1R_EL1, false) => gic.write_sgi1r(vcpu.id, value),
            (ICC_ASGI1R_EL1, false) => gic.write_asgi1r(vcpu.id, value),
            (ICC_SGI0R_EL1, false) => gic.write_sgi0r(vcpu.id, value),
            (ICC_DIR_EL1, false) => gic.write_dir(vcpu.id, value),
            // Implementation defined: nothing to control.
            (ACTLR_EL1, true) => vcpu.registers.write(access.register, 0),
            (ACTLR_EL1, false) => {}
            _ => {
                undefined(vcpu, el1);
                return;
            }
        }
        vcpu.registers.skip_instruction(true);
    }

    fn data_abort(&mut self, vcpu: &mut Vcpu, abort: Abort, long: bool, far: u64, el1: &mut impl El1Registers) -> Flow {
        let served = match abort.kind {
            AbortKind::Stage2 => self.access(vcpu, &abort),
            // Translation tables of the guest where nothing is, or memory that fails.
            AbortKind::Stage2OnWalk | AbortKind::External => Served::Nothing,
        };
        let mut flow = Flow::Resume;
        match served {
            Served::Again => return Flow::Resume,
            Served::Nothing => {
                let write = matches!(abort.access, Access::Store { .. } | Access::UndecodedStore);
                vcpu.interrupted_at = Some(vcpu.registers.pc);
                // Where its handler cannot be fetched either, that is told then.
                let _ = exit::deliver(Cause::DataAbort { far, write }, &mut vcpu.registers, el1);
                return Flow::Resume;
            }
            Served::Value(value) => {
                if let Access::Load(loaded) = abort.access {
                    vcpu.registers.write(loaded.register, loaded.extend(value));
                }
            }
            Served::Done => {}
            Served::Request(request) => flow = Flow::Serve(request),
        }
        vcpu.registers.skip_instruction(long);
        flow
    }

    fn access(&mut self, vcpu: &Vcpu, abort: &Abort) -> Served {
        let at = abort.at;
        match abort.guest_access(&vcpu.registers) {
            // Cache maintenance has nothing to do where a device is.
            None => match self.backend.memory.region_at(at) {
                Some(_) => Served::Done,
                None => Served::Nothing,
            },
            Some(access) if map::PCI_WINDOW.contains(at) || map::PCI_HIGH_WINDOW.contains(at) => self.window_access(access),
            Some(GuestAccess::UndecodedRead(_) | GuestAccess::UndecodedWrite(_)) => match self.backend.memory.region_at(at) {
                Some(_) => Served::Done,
                None => Served::Nothing,
            },
            Some(GuestAccess::Read { width, .. }) => self.device_read(vcpu.id, at, width),
            Some(GuestAccess::Write { width, value, .. }) => self.device_write(vcpu.id, at, width, value),
        }
    }

    fn device_read(&mut self, vcpu: VcpuId, at: GuestAddr, width: Width) -> Served {
        let gic = &self.backend.interrupts;
        if let Some(offset) = offset32(map::DISTRIBUTOR, at) {
            let (value, holders) = (gic.distributor_read(vcpu, offset, width), gic.distributor_holders(vcpu, offset, width));
            self.ask(holders);
            return Served::Value(value);
        }
        match gic.version() {
            Version::V3 => {
                if let Some((of, offset)) = redistributor(at) {
                    let (value, holders) = (gic.redistributor_read(of, offset, width), gic.redistributor_holders(of, offset, width));
                    self.ask(holders.without(vcpu));
                    return Served::Value(value);
                }
            }
            Version::V2 => {
                if let Some(offset) = offset32(map::CPU_INTERFACE, at) {
                    return Served::Value(gic.cpu_interface_read(vcpu, offset, width));
                }
                if let Some(offset) = offset32(map::MESSAGE_FRAME, at) {
                    return Served::Value(gic.message_frame_read(offset, width));
                }
            }
        }
        if let Some(offset) = offset(map::UART, at) {
            return Served::Value(self.uart.read(offset, width));
        }
        map::ECAM.read(&self.backend.pci, at, width).map_or(Served::Nothing, Served::Value)
    }

    fn device_write(&mut self, vcpu: VcpuId, at: GuestAddr, width: Width, value: u64) -> Served {
        let gic = &mut self.backend.interrupts;
        if let Some(offset) = offset32(map::DISTRIBUTOR, at) {
            gic.distributor_write(vcpu, offset, width, value);
        } else if let (Version::V3, Some((vcpu, offset))) = (gic.version(), redistributor(at)) {
            gic.redistributor_write(vcpu, offset, width, value);
        } else if let (Version::V2, Some(offset)) = (gic.version(), offset32(map::CPU_INTERFACE, at)) {
            gic.cpu_interface_write(vcpu, offset, width, value);
        } else if let (Version::V2, Some(offset)) = (gic.version(), offset32(map::MESSAGE_FRAME, at)) {
            gic.message_frame_write(offset, width, value);
        } else if let Some(offset) = offset(map::UART, at) {
            if let Some(byte) = self.uart.write(offset, width, value) {
                self.show(byte.0);
            }
        } else if map::ECAM.range().contains(at) {
            self.config_write(at, width, value);
        } else {
            return Served::Nothing;
        }
        Served::Done
    }

    fn config_write(&mut self, at: GuestAddr, width: Width, value: u64) {
        let Some(effect) = map::ECAM.write(&mut self.backend.pci, at, width, value) else { return };
        if let Err(error) = self.connections.apply(&mut self.backend, effect) {
            self.complain(format_args!("{error}"));
            self.behind = true;
        }
        self.report_moves();
    }

    fn window_access(&mut self, access: GuestAccess) -> Served {
        match self.connections.handle(&mut self.backend, access) {
            Ok(Outcome::Read(value)) => Served::Value(value),
            Ok(Outcome::Emitted(id)) => match self.components.iter().find(|(to, _)| *to == id) {
                Some((_, request)) => Served::Request(*request),
                // Another VM's CPU serves it.
                None => Served::Done,
            },
            Ok(Outcome::Written(_) | Outcome::Ignored) => Served::Done,
            Ok(Outcome::Retry) => Served::Again,
            // No function answers: the bridge gives all ones (PCI Express 3.0, §2.3.2).
            Ok(Outcome::NotOurs) => Served::Value(u64::MAX),
            // The device tells its guest in its own way: the DROPPED register.
            Err(ServeError::Notify(_)) => Served::Done,
            Err(ServeError::Interrupt(_)) => {
                self.behind = true;
                Served::Done
            }
        }
    }
}

fn offset(range: GuestRange, at: GuestAddr) -> Option<u64> {
    if range.contains(at) { at.offset_from(range.start()) } else { None }
}

fn offset32(range: GuestRange, at: GuestAddr) -> Option<u32> {
    u32::try_from(offset(range, at)?).ok()
}

fn redistributor(at: GuestAddr) -> Option<(VcpuId, u32)> {
    let offset = offset(map::REDISTRIBUTORS, at)?;
    let vcpu = u8::try_from(offset / map::REDISTRIBUTOR_BYTES).ok().and_then(VcpuId::new)?;
    Some((vcpu, u32::try_from(offset % map::REDISTRIBUTOR_BYTES).ok()?))
}

/// The instruction is undefined to the guest. Where the handler cannot be fetched, that is told then.
fn undefined(vcpu: &mut Vcpu, el1: &mut impl El1Registers) {
    vcpu.interrupted_at = Some(vcpu.registers.pc);
    let _ = exit::deliver(Cause::Undefined, &mut vcpu.registers, el1);
}
