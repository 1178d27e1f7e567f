//! Calls of x86's vCPUs.

use std::collections::VecDeque;

use crossvm_sel4::kernel::{Badge, CPtr, Code, Entered, KernelError, X86Vcpus};

use super::SimKernel;
use super::cap::{Cap, Kind};

/// One call of [`X86Vcpus::enter`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Where the guest goes on.
    pub ip: u64,
    /// The primary processor controls.
    pub controls: u64,
    /// The VM-entry interruption field.
    pub entry_interruption: u64,
}

/// What guests do, and what was asked of them.
#[derive(Debug, Default)]
pub(super) struct Guest {
    exits: VecDeque<Entered>,
    entries: Vec<Entry>,
}

impl SimKernel {
    /// What the guest does when it is entered next, behind all that was given before.
    pub fn push_exit(&self, exit: Entered) {
        self.guest_mut().exits.push_back(exit);
    }

    /// The calls that have entered the guest since this was last asked.
    #[must_use]
    pub fn take_entries(&self) -> Vec<Entry> {
        std::mem::take(&mut self.guest_mut().entries)
    }

    /// The general registers that were written last.
    ///
    /// # Panics
    /// Where `vcpu` is no vCPU.
    #[must_use]
    pub fn general_registers(&self, vcpu: CPtr) -> Vec<u64> {
        let state = self.state();
        state.vcpus[&state.vcpu_base(vcpu)].general.clone()
    }
}

impl X86Vcpus for SimKernel {
    fn set_tcb(&self, vcpu: CPtr, tcb: CPtr) -> Result<(), KernelError> {
        self.step()?;
        self.state_mut().set_vcpu_thread(vcpu, tcb)
    }

    fn set_ept_root(&self, tcb: CPtr, root: CPtr) -> Result<(), KernelError> {
        self.step()?;
        let state = self.state();
        let is = |slot, kind: fn(&Kind) -> bool| matches!(state.argument(slot), Some(Cap { kind: found, .. }) if kind(&found));
        if !is(tcb, |kind| matches!(kind, Kind::Tcb)) {
            return Err(Code::IllegalOperation.into());
        }
        if is(root, |kind| matches!(kind, Kind::Root { ept: true, asid: Some(_) })) { Ok(()) } else { Err(Code::IllegalOperation.into()) }
    }

    /// A signal of the VMM's bound notification comes first; then the guest does what [`SimKernel::push_exit`] has said.
    ///
    /// # Panics
    /// Where nothing was said: the guest runs for ever.
    fn enter(&self, ip: u64, controls: u64, entry_interruption: u64) -> Entered {
        self.guest_mut().entries.push(Entry { ip, controls, entry_interruption });
        if let Some(badge) = self.state_mut().take_bound_signal() {
            let words = heapless::Vec::from_slice(&[ip, controls, entry_interruption]).expect("three words fit");
            return Entered::Signal(Badge::new(badge), words);
        }
        self.guest_mut().exits.pop_front().expect("the guest runs for ever: no exit was given")
    }

    fn read_vmcs(&self, vcpu: CPtr, field: u64) -> Result<u64, KernelError> {
        self.step()?;
        let mut state = self.state_mut();
        Ok(state.invoke_vcpu(vcpu)?.and_then(|unit| unit.registers.get(&field).copied()).unwrap_or(0))
    }

    fn write_vmcs(&self, vcpu: CPtr, field: u64, value: u64) -> Result<u64, KernelError> {
        self.step()?;
        let mut state = self.state_mut();
        if let Some(unit) = state.invoke_vcpu(vcpu)? {
            unit.registers.insert(field, value);
        }
        Ok(value)
    }

    fn write_registers(&self, vcpu: CPtr, registers: &[u64]) -> Result<(), KernelError> {
        self.step()?;
        let mut state = self.state_mut();
        if let Some(unit) = state.invoke_vcpu(vcpu)? {
            unit.general = registers.to_vec();
        }
        Ok(())
    }
}
