//! Threads.

use crossvm_sel4::kernel::{CPtr, Code, KernelError, Label, ThreadSpaces, Threads};

use super::SimKernel;
use super::arch::Arch;
use super::cap::{Cap, Kind};
use super::state::{Invoked, State};
use super::tree::{SlotId, ThreadSlot};

/// A thread. It runs nothing: tests let it fault.
#[derive(Debug)]
pub(super) struct Thread {
    pub(super) bound: Option<u64>,
    pub(super) fault_endpoint: CPtr,
    pub(super) priority: u8,
    pub(super) running: bool,
    pub(super) registers: Vec<u64>,
}

impl Thread {
    pub(super) fn new(arch: Arch) -> Self {
        Self { bound: None, fault_endpoint: CPtr::NULL, priority: 0, running: false, registers: vec![0; arch.registers()] }
    }
}

impl SimKernel {
    /// Lets a thread fault: it stops, and its fault endpoint gets the message. `false` where it has no endpoint that it may send to: it stops for good.
    ///
    /// # Panics
    /// Where `tcb` is no thread.
    pub fn fault(&self, tcb: CPtr, label: Label, words: &[u64]) -> bool {
        self.state_mut().fault(tcb, label, words)
    }

    /// Whether a thread runs.
    ///
    /// # Panics
    /// Where `tcb` is no thread.
    #[must_use]
    pub fn runs(&self, tcb: CPtr) -> bool {
        let state = self.state();
        let base = state.thread_base(tcb);
        state.threads[&base].running
    }

    /// A thread's priority.
    ///
    /// # Panics
    /// Where `tcb` is no thread.
    #[must_use]
    pub fn priority(&self, tcb: CPtr) -> u8 {
        let state = self.state();
        let base = state.thread_base(tcb);
        state.threads[&base].priority
    }
}

impl State {
    pub(super) fn thread_base(&self, tcb: CPtr) -> u64 {
        match self.argument(tcb) {
            Some(Cap { kind: Kind::Tcb, base, .. }) => base,
            other => panic!("{tcb} is no thread, but {other:?}"),
        }
    }

    pub(super) fn fault(&mut self, tcb: CPtr, label: Label, words: &[u64]) -> bool {
        let base = self.thread_base(tcb);
        self.fault_of(base, label, words)
    }

    pub(super) fn fault_of(&mut self, base: u64, label: Label, words: &[u64]) -> bool {
        let thread = self.threads.get_mut(&base).expect("a thread that faults is there");
        thread.running = false;
        let endpoint = thread.fault_endpoint;
        let sends =
            self.argument(endpoint).is_some_and(|cap| matches!(cap.kind, Kind::Endpoint(port) if port.rights.write && port.rights.grant));
        if sends {
            self.send(endpoint, label, words, Some(base));
        }
        sends
    }

    /// The thread that a call invokes; `None` where it was a notification instead.
    fn invoke_thread(&mut self, tcb: CPtr) -> Result<Option<u64>, KernelError> {
        Ok(match self.invoke(tcb, |kind| matches!(kind, Kind::Tcb))? {
            Invoked::Cap(_, cap) => Some(cap.base),
            Invoked::Signalled => None,
        })
    }

    /// A copy of a capability that must be of some kind. The kernel makes the copy first.
    fn copied(&self, slot: CPtr, kind: fn(&Kind) -> bool) -> Result<Cap, KernelError> {
        let cap = self.derive(State::own(slot), self.argument(slot).ok_or(Code::IllegalOperation)?)?;
        if kind(&cap.kind) { Ok(cap) } else { Err(Code::IllegalOperation.into()) }
    }

    fn configure(&mut self, base: u64, spaces: ThreadSpaces) -> Result<(), KernelError> {
        let mut held = Vec::new();
        if let Some((at, frame)) = spaces.ipc_buffer.filter(|(at, _)| *at != 0) {
            let cap = self.copied(frame, |kind| matches!(kind, Kind::Frame { .. }))?;
            if at % self.arch.ipc_buffer_bytes() != 0 {
                return Err(Code::AlignmentError.into());
            }
            held.push((ThreadSlot::IpcBuffer, frame, cap));
        }
        let cspace = self.copied(spaces.cspace, |kind| matches!(kind, Kind::CNode))?;
        let vspace = self.copied(spaces.vspace, |kind| matches!(kind, Kind::Root { ept: false, .. }))?;
        held.push((ThreadSlot::CSpace, spaces.cspace, cspace));
        held.push((ThreadSlot::VSpace, spaces.vspace, vspace));
        for slot in ThreadSlot::ALL {
            self.delete(SlotId::Thread(base, slot));
        }
        for (slot, from, cap) in held {
            self.tree.insert_derived(State::own(from), SlotId::Thread(base, slot), cap);
        }
        self.threads.get_mut(&base).expect("the thread is there").fault_endpoint = spaces.fault_endpoint;
        Ok(())
    }

    fn bind(&mut self, base: u64, notification: CPtr) -> Result<(), KernelError> {
        let bound = |thread: &Thread| thread.bound;
        if self.threads.get(&base).and_then(bound).is_some() {
            return Err(Code::IllegalOperation.into());
        }
        let object = match self.argument(notification) {
            Some(Cap { kind: Kind::Notification(port), base, .. }) if port.rights.read => base,
            _ => return Err(Code::IllegalOperation.into()),
        };
        if self.threads.values().any(|thread| thread.bound == Some(object)) {
            return Err(Code::IllegalOperation.into());
        }
        self.threads.get_mut(&base).expect("the thread is there").bound = Some(object);
        Ok(())
    }
}

impl SimKernel {
    /// Does something with the thread that is invoked.
    fn with_thread(&self, tcb: CPtr, change: impl FnOnce(&mut State, u64) -> Result<(), KernelError>) -> Result<(), KernelError> {
        self.step()?;
        let mut state = self.state_mut();
        match state.invoke_thread(tcb)? {
            Some(base) => change(&mut state, base),
            None => Ok(()),
        }
    }
}

impl Threads for SimKernel {
    fn configure(&self, tcb: CPtr, spaces: ThreadSpaces) -> Result<(), KernelError> {
        self.with_thread(tcb, |state, base| state.configure(base, spaces))
    }

    fn set_priority(&self, tcb: CPtr, authority: CPtr, priority: u8) -> Result<(), KernelError> {
        self.with_thread(tcb, |state, base| {
            // 5.0.0 takes the caller's own authority.
            let authorised = state.arch.is_5_0_0() || matches!(state.argument(authority), Some(Cap { kind: Kind::Tcb, .. }));
            if !authorised {
                return Err(Code::InvalidCapability.into());
            }
            state.threads.get_mut(&base).expect("the thread is there").priority = priority;
            Ok(())
        })
    }

    fn bind_notification(&self, tcb: CPtr, notification: CPtr) -> Result<(), KernelError> {
        self.with_thread(tcb, |state, base| state.bind(base, notification))
    }

    fn read_registers(&self, tcb: CPtr, registers: &mut [u64]) -> Result<(), KernelError> {
        self.with_thread(tcb, |state, base| {
            let thread = &state.threads[&base];
            if registers.is_empty() || registers.len() > thread.registers.len() {
                return Err(Code::RangeError.into());
            }
            if base == state.own_thread {
                return Err(Code::IllegalOperation.into());
            }
            registers.copy_from_slice(&thread.registers[..registers.len()]);
            Ok(())
        })
    }

    fn write_registers(&self, tcb: CPtr, registers: &[u64]) -> Result<(), KernelError> {
        self.with_thread(tcb, |state, base| {
            if base == state.own_thread {
                return Err(Code::IllegalOperation.into());
            }
            let thread = state.threads.get_mut(&base).expect("the thread is there");
            let count = registers.len().min(thread.registers.len());
            thread.registers[..count].copy_from_slice(&registers[..count]);
            Ok(())
        })
    }

    fn resume(&self, tcb: CPtr) -> Result<(), KernelError> {
        self.with_thread(tcb, |state, base| {
            state.threads.get_mut(&base).expect("the thread is there").running = true;
            Ok(())
        })
    }

    fn suspend(&self, tcb: CPtr) -> Result<(), KernelError> {
        self.with_thread(tcb, |state, base| {
            state.threads.get_mut(&base).expect("the thread is there").running = false;
            Ok(())
        })
    }
}
