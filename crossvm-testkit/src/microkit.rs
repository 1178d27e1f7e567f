//! A Microkit system without a kernel: channels between programs, vCPUs with list registers, and memory that monitors and guests both have.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crossvm_core::{EventSet, GuestAddr};
use crossvm_sel4::kernel::{CPtr, Code, KernelError, Label, Message, VcpuRegister, VirtualInterrupt};
use crossvm_sel4::microkit::{Channel, MicrokitCalls, VcpuNumber};
use crossvm_sel4::vspace::{Place, WindowSpace, WindowWords};

/// List registers of each vCPU.
const LIST_REGISTERS: usize = 4;

/// The channels of a system, and what was signalled.
#[derive(Debug, Clone, Default)]
pub struct FakeSystem(Arc<Mutex<Wires>>);

#[derive(Debug, Default)]
struct Wires {
    /// From the signalling end to the other one.
    channels: BTreeMap<(usize, Channel), (usize, Channel)>,
    /// By program.
    signalled: BTreeMap<usize, u64>,
}

impl FakeSystem {
    fn wires<T>(&self, act: impl FnOnce(&mut Wires) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Makes a channel: each end is a program's number, and the channel's id there.
    pub fn connect(&self, one: (usize, Channel), other: (usize, Channel)) {
        self.wires(|wires| wires.channels.extend([(one, other), (other, one)]));
    }

    /// The calls of a program.
    #[must_use]
    pub fn program(&self, number: usize) -> FakeMicrokit {
        FakeMicrokit { system: self.clone(), number, vcpus: Arc::default() }
    }

    /// The channels that a program's `notified` is to be called for; signals of one channel have coalesced.
    #[must_use]
    pub fn take(&self, program: usize) -> EventSet {
        EventSet::from_word(self.wires(|wires| wires.signalled.remove(&program).unwrap_or(0)))
    }
}

/// The calls of one program.
#[derive(Debug, Clone)]
pub struct FakeMicrokit {
    system: FakeSystem,
    number: usize,
    vcpus: Arc<Mutex<Vcpus>>,
}

#[derive(Debug, Default)]
struct Vcpus {
    /// By vCPU and index: the interrupt, and whether the guest has taken it.
    lists: BTreeMap<(VcpuNumber, u8), (VirtualInterrupt, bool)>,
    registers: BTreeMap<(VcpuNumber, u64), u64>,
    acknowledged: Vec<u64>,
}

impl FakeMicrokit {
    fn vcpus<T>(&self, act: impl FnOnce(&mut Vcpus) -> T) -> T {
        act(&mut self.vcpus.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The guest takes what is pending in the lowest list register: gives its INTID.
    #[must_use]
    pub fn acknowledge(&self, vcpu: VcpuNumber) -> Option<u16> {
        self.vcpus(|vcpus| {
            let mut pending = vcpus.lists.iter_mut().filter(|((of, _), (_, active))| *of == vcpu && !active);
            let (_, (interrupt, active)) = pending.next()?;
            *active = true;
            Some(interrupt.intid)
        })
    }

    /// The guest ends what it has taken: gives the message that its monitor gets.
    #[must_use]
    pub fn end(&self, vcpu: VcpuNumber) -> Option<Message> {
        self.vcpus(|vcpus| {
            let (key, _) = vcpus.lists.iter().find(|((of, _), (_, active))| *of == vcpu && *active)?;
            let key = *key;
            vcpus.lists.remove(&key);
            Some(Message { label: Label::VgicMaintenance, words: [u64::from(key.1)].into_iter().collect() })
        })
    }

    /// The private interrupts that may come again, in the order of the calls.
    #[must_use]
    pub fn acknowledged(&self) -> Vec<u64> {
        self.vcpus(|vcpus| vcpus.acknowledged.clone())
    }
}

impl MicrokitCalls for FakeMicrokit {
    fn notify(&self, channel: Channel) {
        self.system.wires(|wires| {
            // One that there is not is ignored.
            if let Some((program, channel)) = wires.channels.get(&(self.number, channel)) {
                *wires.signalled.entry(*program).or_default() |= 1 << channel.id();
            }
        });
    }

    fn list_registers(&self) -> usize {
        LIST_REGISTERS
    }

    fn inject(&self, vcpu: VcpuNumber, interrupt: VirtualInterrupt) -> Result<(), KernelError> {
        if usize::from(interrupt.index) >= LIST_REGISTERS {
            return Err(KernelError::new(Code::RangeError));
        }
        self.vcpus(|vcpus| match vcpus.lists.get(&(vcpu, interrupt.index)) {
            Some((_, true)) => Err(KernelError::new(Code::DeleteFirst)),
            _ => {
                vcpus.lists.insert((vcpu, interrupt.index), (interrupt, false));
                Ok(())
            }
        })
    }

    fn acknowledge_private(&self, _vcpu: VcpuNumber, intid: u64) -> Result<(), KernelError> {
        self.vcpus(|vcpus| vcpus.acknowledged.push(intid));
        Ok(())
    }

    fn read_register(&self, vcpu: VcpuNumber, register: VcpuRegister) -> Result<u64, KernelError> {
        Ok(self.vcpus(|vcpus| vcpus.registers.get(&(vcpu, register.0)).copied().unwrap_or(0)))
    }

    fn write_register(&self, vcpu: VcpuNumber, register: VcpuRegister, value: u64) -> Result<(), KernelError> {
        self.vcpus(|vcpus| vcpus.registers.insert((vcpu, register.0), value));
        Ok(())
    }
}

/// A region that a monitor has at one address and its guest at another. Clones share the memory.
#[derive(Debug, Clone)]
pub struct FakeRegion {
    program: u64,
    guest: GuestAddr,
    words: Arc<[AtomicU32]>,
}

impl FakeRegion {
    /// `bytes` bytes, at `program` in the monitor and at `guest` in its guest. They hold what nobody has written: ones.
    ///
    /// # Panics
    /// Where they do not fit in this machine's memory.
    #[must_use]
    pub fn new(program: u64, guest: GuestAddr, bytes: u64) -> Self {
        let count = usize::try_from(bytes / 4).expect("a region of the fakes fits in memory");
        Self { program, guest, words: (0..count).map(|_| AtomicU32::new(u32::MAX)).collect() }
    }

    /// The guest loads a word; `None`: the region does not lie there.
    #[must_use]
    pub fn guest_load(&self, at: GuestAddr) -> Option<u32> {
        let offset = usize::try_from(at.offset_from(self.guest)?).ok()?;
        Some(u32::from_le(self.words.get(offset / 4)?.load(Ordering::Acquire)))
    }
}

impl WindowSpace for FakeRegion {
    type Words = FakeWords;

    fn root(&self) -> CPtr {
        CPtr::new(0)
    }

    fn window(&self) -> (u64, u64) {
        (self.program, self.words.len() as u64 * 4)
    }

    fn words(&self, place: &Place) -> FakeWords {
        let start = usize::try_from((place.address() - self.program) / 4).expect("a place in the region");
        FakeWords { region: self.clone(), start, count: place.words() }
    }
}

/// Words of a [`FakeRegion`].
#[derive(Debug)]
pub struct FakeWords {
    region: FakeRegion,
    start: usize,
    count: usize,
}

impl WindowWords for FakeWords {
    fn words(&self) -> &[AtomicU32] {
        &self.region.words[self.start..self.start + self.count]
    }
}
