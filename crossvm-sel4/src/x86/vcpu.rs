//! One vCPU: enters the guest, and makes of each exit what the VMM has to do.

use crossvm_core::{GuestAccess, GuestAddr, GuestRange, Width};

use super::exit::{Answer, Exit, Identity, Stop};
use super::injection::{Readiness, cut_short, plan};
use super::instruction::{Instruction, LONGEST, Operation};
use super::lines::Lines;
use super::paging::{GuestRam, fetch};
use super::registers::{GeneralRegisters, Register};
use super::spec::{
    AccessQualification, AccessRights, ControlRegisterQualification, Cr4, EntryInterruption, Field, Flags, Interruptibility,
    PortQualification, PrimaryControls, Reason, Segment,
};
use super::state::Start;
use crate::kernel::{CPtr, Entered, KernelError, X86Vcpus};

/// Places of the kernel's words: the first three come with each return, the rest with an exit.
mod word {
    pub(super) const IP: usize = 0;
    pub(super) const INTERRUPTION: usize = 2;
    pub(super) const REASON: usize = 3;
    pub(super) const QUALIFICATION: usize = 4;
    pub(super) const LENGTH: usize = 5;
    pub(super) const PHYSICAL: usize = 6;
    pub(super) const FLAGS: usize = 7;
    pub(super) const INTERRUPTIBILITY: usize = 8;
    pub(super) const TABLES: usize = 9;
    pub(super) const REGISTERS: usize = 10;
}

/// Most bytes that one instruction stores: a vector register of 512 bits.
const WIDEST: u64 = 64;

/// What leaves the guest beside what the kernel wants. A guest has neither the machine's sleep nor its debug registers and counters.
const CONTROLS: PrimaryControls =
    PrimaryControls::new().with_hlt(true).with_mwait(true).with_monitor(true).with_rdpmc(true).with_mov_dr(true);

/// A vCPU of the calling thread, in 32-bit protected mode.
#[derive(Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Vcpu<K> {
    kernel: K,
    vcpu: CPtr,
    ip: u32,
    /// The instruction at which the guest was left.
    left_at: u32,
    registers: GeneralRegisters,
    /// The registers here are newer than the kernel's.
    changed: bool,
    /// What decides whether it can be interrupted, while it stands at an exit that has told it.
    readiness: Option<Readiness>,
    /// An event whose delivery was cut short.
    carried: EntryInterruption,
    /// How many events entries have delivered.
    delivered: u64,
}

/// The words of an exit.
struct Words<'a>(&'a [u64]);

impl Words<'_> {
    fn get(&self, index: usize) -> u64 {
        self.0.get(index).copied().unwrap_or(0)
    }

    /// Fields that have 32 bits, and registers of a guest that has 32 bits.
    fn low(&self, index: usize) -> u32 {
        low(self.get(index))
    }
}

fn low(value: u64) -> u32 {
    u32::try_from(value & 0xffff_ffff).unwrap_or(0)
}

impl<K: X86Vcpus> Vcpu<K> {
    /// Sets up the guest's state. The vCPU belongs to the calling thread already, which has the guest's memory and a bound notification.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn new(kernel: K, vcpu: CPtr, start: &Start) -> Result<Self, KernelError> {
        start.write(&kernel, vcpu)?;
        let registers = GeneralRegisters::default();
        let carried = EntryInterruption::new();
        Ok(Self { kernel, vcpu, ip: start.entry, left_at: start.entry, registers, changed: true, readiness: None, carried, delivered: 0 })
    }

    /// Where the guest is: the next instruction.
    pub const fn instruction_pointer(&self) -> u32 {
        self.ip
    }

    /// How many interrupts have gone into the guest; one whose delivery was cut short counts again when it is delivered again.
    pub const fn delivered(&self) -> u64 {
        self.delivered
    }

    /// Runs the guest until there is something to do. What interrupts it goes in on the way.
    ///
    /// # Errors
    /// What the kernel says; none is caused by the guest.
    pub fn run<M: GuestRam + ?Sized>(&mut self, lines: &mut Lines, ram: &M) -> Result<Exit, KernelError> {
        if self.changed {
            self.kernel.write_registers(self.vcpu, &self.registers.words())?;
            self.changed = false;
        }
        let known = self.readiness;
        let entry = plan(self.carried, lines, || known.map_or_else(|| self.read_readiness(), Ok))?;
        let controls = CONTROLS.with_interrupt_window(entry.window);
        self.readiness = None;
        let entered = self.kernel.enter(u64::from(self.ip), u64::from(controls.into_bits()), u64::from(entry.interruption.into_bits()));
        let (Entered::Exit(words) | Entered::Signal(_, words)) = &entered;
        let words = Words(words);
        self.ip = words.low(word::IP);
        self.left_at = self.ip;
        if !EntryInterruption::from_bits(words.low(word::INTERRUPTION)).valid() {
            self.carried = EntryInterruption::new();
            self.delivered = self.delivered.saturating_add(u64::from(entry.interruption.valid()));
        } else if let Some(message) = entry.message {
            // A signal came first. A line needs nothing: it is as high as it is.
            lines.keep(message);
        }
        match entered {
            Entered::Signal(badge, _) => Ok(Exit::Signal(badge)),
            Entered::Exit(_) => self.exit(&words, lines, ram),
        }
    }

    fn exit<M: GuestRam + ?Sized>(&mut self, words: &Words<'_>, lines: &Lines, ram: &M) -> Result<Exit, KernelError> {
        self.registers = GeneralRegisters::from_words(words.0.get(word::REGISTERS..).unwrap_or(&[]));
        let readiness = Readiness {
            flags: Flags::from_bits(words.low(word::FLAGS)),
            interruptibility: Interruptibility::from_bits(words.low(word::INTERRUPTIBILITY)),
        };
        self.readiness = Some(readiness);
        let reason = Reason::from(words.get(word::REASON));
        Ok(match reason {
            Reason::Port => {
                self.skip(words.low(word::LENGTH))?;
                self.port(PortQualification::from_bits(words.low(word::QUALIFICATION)))
            }
            Reason::EptViolation => self.memory(words, ram)?,
            Reason::Cpuid => {
                self.skip(words.low(word::LENGTH))?;
                Exit::Cpuid { leaf: self.value(Register::Eax)?, subleaf: self.value(Register::Ecx)? }
            }
            Reason::Hlt => {
                self.skip(words.low(word::LENGTH))?;
                let interrupts = readiness.flags.interrupts();
                if interrupts && lines.pending().is_some() { Exit::Nothing } else { Exit::Halted { interrupts } }
            }
            Reason::ReadMsr => {
                self.skip(words.low(word::LENGTH))?;
                self.set(Register::Eax, 0)?;
                self.set(Register::Edx, 0)?;
                Exit::Nothing
            }
            Reason::ControlRegister => {
                self.control_register(ControlRegisterQualification::from_bits(words.low(word::QUALIFICATION)))?;
                self.skip(words.low(word::LENGTH))?;
                Exit::Nothing
            }
            Reason::WriteMsr | Reason::Instruction(_) => {
                self.skip(words.low(word::LENGTH))?;
                Exit::Nothing
            }
            // A non-maskable interrupt of the machine, and nothing of the guest's: none of its exceptions leaves it.
            Reason::InterruptWindow | Reason::ExceptionOrNmi => Exit::Nothing,
            Reason::PreemptionTimer => Exit::Timer,
            Reason::TripleFault => Exit::Stopped(Stop::TripleFault),
            Reason::InvalidGuestState | Reason::EntryFailed => {
                Exit::Stopped(Stop::Refused(self.kernel.read_vmcs(self.vcpu, Field::InstructionError.encoding())?))
            }
            Reason::Other(_) => Exit::Stopped(Stop::Unexpected(reason)),
        })
    }

    /// A port access, behind which the guest is already. String accesses have no effect: no device here has a use for them.
    fn port(&self, access: PortQualification) -> Exit {
        let (port, width) = (access.port(), access.size().width());
        if access.string() {
            return Exit::Nothing;
        }
        let answer = Answer::accumulator(width);
        if access.is_in() {
            return Exit::PortRead { port, width, into: answer };
        }
        Exit::PortWrite { port, width, value: answer.into.of(self.registers.get(Register::Eax).unwrap_or(0)) }
    }

    /// An access to guest-physical memory.
    fn memory<M: GuestRam + ?Sized>(&mut self, words: &Words<'_>, ram: &M) -> Result<Exit, KernelError> {
        let at = GuestAddr::new(words.get(word::PHYSICAL));
        let access = AccessQualification::from_bits(words.low(word::QUALIFICATION));
        let vectoring = EntryInterruption::from_bits(low(self.kernel.read_vmcs(self.vcpu, Field::IdtVectoring.encoding())?));
        self.carried = cut_short(vectoring);
        let stop = if access.fetch() {
            Some(Stop::Fetch(at))
        } else if !access.linear() || !access.translated() {
            Some(Stop::Tables(at))
        } else {
            vectoring.valid().then_some(Stop::Delivery(at))
        };
        if let Some(stop) = stop {
            return Ok(Exit::Stopped(stop));
        }
        let instruction = self.instruction(words.low(word::TABLES), ram)?;
        // The hardware's length is not promised for this exit, but better than none.
        self.skip(instruction.map_or(words.low(word::LENGTH), |instruction| u32::from(instruction.length)))?;
        let operation = instruction.map_or(Operation::Other, |instruction| instruction.operation);
        let (access, into) = match operation {
            Operation::Store(part) if access.write() => {
                (GuestAccess::Write { at, width: part.width, value: u64::from(part.of(self.value(part.register)?)) }, None)
            }
            Operation::StoreNumber { width, value } if access.write() => (GuestAccess::Write { at, width, value: u64::from(value) }, None),
            Operation::Load { width, signed, into } if !access.write() => {
                (GuestAccess::Read { at, width }, Some(Answer { into, width, signed }))
            }
            _ => {
                let Some(range) = GuestRange::new(at, WIDEST).or_else(|| GuestRange::new(at, 1)) else { return Ok(Exit::Nothing) };
                (if access.write() { GuestAccess::UndecodedWrite(range) } else { GuestAccess::UndecodedRead(range) }, None)
            }
        };
        Ok(Exit::Memory { access, into })
    }

    /// The instruction at which the guest stands; `None` where its code is not 32-bit, cannot be read or is none.
    fn instruction<M: GuestRam + ?Sized>(&self, tables: u32, ram: &M) -> Result<Option<Instruction>, KernelError> {
        let read = |field| self.kernel.read_vmcs(self.vcpu, field).map(low);
        if !AccessRights::from_bits(read(Segment::Cs.access_rights())?).wide() {
            return Ok(None);
        }
        let cr4 = Cr4::from_bits(read(Field::GuestCr4.encoding())?);
        if cr4.physical_extension() {
            return Ok(None);
        }
        let linear = read(Segment::Cs.base())?.wrapping_add(self.ip);
        Ok(Instruction::decode(&fetch(ram, tables, cr4.large_pages(), linear)))
    }

    /// A move to CR4 that would change what the VMM owns of it: all but that is done. Of CR0 the VMM owns nothing.
    fn control_register(&mut self, access: ControlRegisterQualification) -> Result<(), KernelError> {
        if (access.register(), access.kind()) != (4, 0) {
            return Ok(());
        }
        let value = Cr4::from_bits(self.value(Register::from_bits(access.source()))?);
        let write = |field: Field, value: Cr4| self.kernel.write_vmcs(self.vcpu, field.encoding(), u64::from(value.into_bits()));
        write(Field::GuestCr4, value.with_vmx(true)).and_then(|_| write(Field::Cr4Shadow, value.with_vmx(false))).map(drop)
    }

    /// Moves the guest behind an instruction: of one byte at least, so that it gets on.
    ///
    /// That ends what STI and MOV SS keep away for one instruction. Left as it is after `sti; hlt`, the guest would never be interrupted.
    fn skip(&mut self, length: u32) -> Result<(), KernelError> {
        let length = length.clamp(1, u32::try_from(LONGEST).unwrap_or(u32::MAX));
        self.ip = self.ip.wrapping_add(length);
        if let Some(readiness) = &mut self.readiness
            && !readiness.interruptibility.open()
        {
            readiness.interruptibility = readiness.interruptibility.after_an_instruction();
            let value = u64::from(readiness.interruptibility.into_bits());
            self.kernel.write_vmcs(self.vcpu, Field::GuestInterruptibility.encoding(), value)?;
        }
        Ok(())
    }

    fn read_readiness(&self) -> Result<Readiness, KernelError> {
        let read = |field: Field| self.kernel.read_vmcs(self.vcpu, field.encoding()).map(low);
        Ok(Readiness {
            flags: Flags::from_bits(read(Field::GuestFlags)?),
            interruptibility: Interruptibility::from_bits(read(Field::GuestInterruptibility)?),
        })
    }

    fn value(&self, register: Register) -> Result<u32, KernelError> {
        match self.registers.get(register) {
            Some(value) => Ok(value),
            None => self.kernel.read_vmcs(self.vcpu, Field::GuestStackPointer.encoding()).map(low),
        }
    }

    fn set(&mut self, register: Register, value: u32) -> Result<(), KernelError> {
        if self.registers.set(register, value) {
            self.changed = true;
            return Ok(());
        }
        self.kernel.write_vmcs(self.vcpu, Field::GuestStackPointer.encoding(), u64::from(value)).map(drop)
    }

    /// Takes the guest back to the access that it was left for, to make it again (`Outcome::Retry`).
    pub const fn again(&mut self) {
        self.ip = self.left_at;
    }

    /// Gives a load its value. Called after the exit that has asked, before the guest runs again.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn answer(&mut self, into: Answer, value: u64) -> Result<(), KernelError> {
        let register = into.into.register;
        let value = into.apply(self.value(register)?, value);
        self.set(register, value)
    }

    /// Gives CPUID its answer. Called after the exit that has asked, before the guest runs again.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn identify(&mut self, identity: Identity) -> Result<(), KernelError> {
        let Identity { eax, ebx, ecx, edx } = identity;
        [(Register::Eax, eax), (Register::Ebx, ebx), (Register::Ecx, ecx), (Register::Edx, edx)]
            .into_iter()
            .try_for_each(|(register, value)| self.set(register, value))
    }

    /// Sets the preemption timer of a guest that was started with one.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn set_timer(&self, ticks: u32) -> Result<(), KernelError> {
        self.kernel.write_vmcs(self.vcpu, Field::PreemptionTimer.encoding(), u64::from(ticks)).map(drop)
    }
}

/// A port that no device answers reads all ones.
#[must_use]
pub const fn open_bus(width: Width) -> u64 {
    width.mask()
}
