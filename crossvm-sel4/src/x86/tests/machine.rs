//! A processor with VT-x and a guest that does what a test says, behind the kernel's trait.

use core::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::vec::Vec;

use crossvm_core::GuestAddr;

use crate::kernel::{Badge, CPtr, Code, Entered, KernelError, X86Vcpus};
use crate::x86::paging::GuestRam;
use crate::x86::spec::{EntryInterruption, Field, Flags, Interruptibility, InterruptionKind, PrimaryControls};
use crate::x86::{Start, Vcpu};

/// What the guest does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Takes interrupts from the instruction after the next one on.
    Sti,
    /// Takes no interrupts.
    Cli,
    /// Returns from a handler: takes interrupts.
    Iret,
    /// Something that leaves it: reason, qualification, instruction length, guest-physical address.
    Exit { reason: u64, qualification: u64, length: u64, physical: u64 },
    /// It is about to be entered, or runs, when the notification is signalled.
    Signal { entered: bool, badge: u64 },
    /// Delivery of an event is cut short by an EPT violation.
    CutShort { vector: u8 },
}

/// A CPUID, as the shortest thing that leaves a guest.
pub(super) const CPUID: Step = Step::Exit { reason: 10, qualification: 0, length: 2, physical: 0 };
/// HLT.
pub(super) const HLT: Step = Step::Exit { reason: 12, qualification: 0, length: 1, physical: 0 };

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) vmcs: BTreeMap<u64, u64>,
    pub(super) registers: Vec<u64>,
    pub(super) ip: u64,
    pub(super) steps: VecDeque<Step>,
    /// Vectors that the guest has taken.
    pub(super) taken: Vec<u8>,
    pub(super) entries: usize,
}

#[derive(Debug, Default)]
pub(super) struct Machine(pub(super) RefCell<State>);

pub(super) const VCPU: CPtr = CPtr::new(7);
pub(super) const ENTRY: u32 = 0x1_0000;

impl State {
    fn field(&self, field: Field) -> u32 {
        u32::try_from(self.vmcs.get(&field.encoding()).copied().unwrap_or(0)).unwrap()
    }

    pub(super) fn set(&mut self, field: Field, value: u32) {
        self.vmcs.insert(field.encoding(), u64::from(value));
    }

    pub(super) fn interrupts(&self) -> bool {
        Flags::from_bits(self.field(Field::GuestFlags)).interrupts()
    }

    fn set_interrupts(&mut self, on: bool) {
        let flags = Flags::from_bits(self.field(Field::GuestFlags)).with_interrupts(on);
        self.set(Field::GuestFlags, flags.into_bits());
    }

    fn blocking(&self) -> Interruptibility {
        Interruptibility::from_bits(self.field(Field::GuestInterruptibility))
    }

    fn set_blocking(&mut self, blocking: Interruptibility) {
        self.set(Field::GuestInterruptibility, blocking.into_bits());
    }

    fn words(&self, interruption: EntryInterruption) -> [u64; 3] {
        [self.ip, 0, u64::from(interruption.into_bits())]
    }

    fn exit(&self, reason: u64, qualification: u64, length: u64, physical: u64) -> Entered {
        let mut words = heapless::Vec::new();
        words.extend(self.words(EntryInterruption::new()));
        words.extend([reason, qualification, length, physical]);
        words.extend([u64::from(self.field(Field::GuestFlags)), u64::from(self.field(Field::GuestInterruptibility))]);
        words.extend([u64::from(self.field(Field::GuestCr3))]);
        words.extend(self.registers.iter().copied());
        Entered::Exit(words)
    }

    fn signal(&self, badge: u64, interruption: EntryInterruption) -> Entered {
        Entered::Signal(Badge::new(badge), self.words(interruption).into_iter().collect())
    }

    fn enter(&mut self, ip: u64, controls: u64, interruption: u64) -> Entered {
        self.entries += 1;
        self.ip = ip;
        let controls = PrimaryControls::from_bits(u32::try_from(controls).unwrap());
        let event = EntryInterruption::from_bits(u32::try_from(interruption).unwrap());
        if let Some(Step::Signal { entered: false, badge }) = self.steps.front().copied() {
            self.steps.pop_front();
            return self.signal(badge, event);
        }
        if event.valid() {
            if event.kind() == InterruptionKind::External {
                assert!(self.interrupts() && self.blocking().open(), "an interrupt that the guest does not take");
            }
            self.set_blocking(self.blocking().after_an_instruction());
            if let Some(Step::CutShort { vector }) = self.steps.front().copied()
                && vector == event.vector()
            {
                self.steps.pop_front();
                self.set(Field::IdtVectoring, event.into_bits());
                return self.exit(48, 0x182, 0, 0x5000);
            }
            self.set_interrupts(false);
            self.taken.push(event.vector());
        }
        loop {
            if controls.interrupt_window() && self.interrupts() && self.blocking().open() {
                return self.exit(7, 0, 0, 0);
            }
            // What a guest without steps does is up to the test: it sees this as a signal without badge.
            let step = self.steps.pop_front().unwrap_or(Step::Signal { entered: true, badge: 0 });
            let blocking = self.blocking().after_an_instruction();
            match step {
                Step::Sti => {
                    let before = self.interrupts();
                    self.set_interrupts(true);
                    self.set_blocking(Interruptibility::new().with_sti(!before));
                }
                Step::Cli => self.set_interrupts(false),
                Step::Iret => self.set_interrupts(true),
                Step::Exit { reason, qualification, length, physical } => return self.exit(reason, qualification, length, physical),
                Step::Signal { badge, .. } => return self.signal(badge, EntryInterruption::new()),
                Step::CutShort { .. } => {}
            }
            if step != Step::Sti {
                self.set_blocking(blocking);
            }
            self.ip += 1;
        }
    }
}

impl Machine {
    /// A guest at its start, with these steps before it.
    pub(super) fn with(steps: impl IntoIterator<Item = Step>) -> Self {
        let machine = Self::default();
        machine.0.borrow_mut().steps.extend(steps);
        machine
    }

    pub(super) fn vcpu(&self) -> Vcpu<&Self> {
        Vcpu::new(self, VCPU, &START).unwrap()
    }

    pub(super) fn taken(&self) -> Vec<u8> {
        self.0.borrow().taken.clone()
    }
}

pub(super) const START: Start =
    Start { entry: ENTRY, stack: 0x8000, page_directory: GuestAddr::new(0x1000), large_pages: true, timer: None };

/// RAM from 0 on, with a page directory at 0x1000 whose first entry maps it where it is.
pub(super) struct Ram(pub(super) Vec<u8>);

impl Ram {
    /// With these bytes at [`ENTRY`].
    pub(super) fn with_code(code: &[u8]) -> Self {
        let mut ram = std::vec![0; 0x2_0000];
        ram[0x1000..0x1004].copy_from_slice(&0x83_u32.to_le_bytes());
        ram[ENTRY as usize..ENTRY as usize + code.len()].copy_from_slice(code);
        Self(ram)
    }
}

impl GuestRam for Ram {
    fn read(&self, at: GuestAddr, into: &mut [u8]) -> bool {
        let start = usize::try_from(at.get()).unwrap();
        let bytes = self.0.get(start..start + into.len());
        bytes.is_some_and(|bytes| {
            into.copy_from_slice(bytes);
            true
        })
    }
}

impl X86Vcpus for Machine {
    /// The vCPU has its thread, and its memory, from the beginning.
    fn set_tcb(&self, _: CPtr, _: CPtr) -> Result<(), KernelError> {
        Err(Code::IllegalOperation.into())
    }

    fn set_ept_root(&self, _: CPtr, _: CPtr) -> Result<(), KernelError> {
        Err(Code::IllegalOperation.into())
    }

    fn enter(&self, ip: u64, controls: u64, entry_interruption: u64) -> Entered {
        self.0.borrow_mut().enter(ip, controls, entry_interruption)
    }

    fn read_vmcs(&self, vcpu: CPtr, field: u64) -> Result<u64, KernelError> {
        assert_eq!(vcpu, VCPU);
        Ok(self.0.borrow().vmcs.get(&field).copied().unwrap_or(0))
    }

    fn write_vmcs(&self, vcpu: CPtr, field: u64, value: u64) -> Result<u64, KernelError> {
        assert_eq!(vcpu, VCPU);
        if field == Field::EntryControls.encoding() {
            // As 5.0.0 does.
            return Err(Code::IllegalOperation.into());
        }
        self.0.borrow_mut().vmcs.insert(field, value);
        Ok(value)
    }

    fn write_registers(&self, vcpu: CPtr, registers: &[u64]) -> Result<(), KernelError> {
        assert_eq!(vcpu, VCPU);
        self.0.borrow_mut().registers = registers.to_vec();
        Ok(())
    }
}
