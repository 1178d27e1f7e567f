//! Calls and guests of Arm's vCPUs.

use crossvm_sel4::kernel::{ArmVcpus, CPtr, Code, KernelError, Label, VcpuRegister, VirtualInterrupt};

use super::SimKernel;
use super::cap::{Cap, Kind};
use super::state::{Invoked, State};
use super::vcpu::{LIST_REGISTERS, ListRegister, Vcpu};

impl SimKernel {
    /// The list registers of a vCPU.
    ///
    /// # Panics
    /// Where `vcpu` is no vCPU.
    #[must_use]
    pub fn list(&self, vcpu: CPtr) -> [ListRegister; LIST_REGISTERS] {
        let state = self.state();
        state.vcpus[&state.vcpu_base(vcpu)].list
    }

    /// The guest takes the interrupt that is pending with the highest priority, that of the first list register among equals: its number.
    ///
    /// # Panics
    /// Where `vcpu` is no vCPU.
    pub fn guest_acknowledge(&self, vcpu: CPtr) -> Option<u16> {
        let mut state = self.state_mut();
        let base = state.vcpu_base(vcpu);
        let list = &mut state.vcpus.get_mut(&base).expect("a vCPU that has capabilities is there").list;
        let pending = |register: &ListRegister| match register {
            ListRegister::Pending(interrupt) => Some(*interrupt),
            _ => None,
        };
        let (index, interrupt) = list
            .iter()
            .enumerate()
            .filter_map(|(index, register)| Some((index, pending(register)?)))
            .min_by_key(|(_, interrupt)| interrupt.priority)?;
        list[index] = ListRegister::Active(interrupt);
        Some(interrupt.intid)
    }

    /// The guest ends the interrupt `intid`, which it has taken: the list register is free, and the VMM gets a maintenance message. `false` where it
    /// had not taken it.
    ///
    /// # Panics
    /// Where `vcpu` is no vCPU.
    pub fn guest_end(&self, vcpu: CPtr, intid: u16) -> bool {
        let mut state = self.state_mut();
        let base = state.vcpu_base(vcpu);
        let unit = state.vcpus.get_mut(&base).expect("a vCPU that has capabilities is there");
        let active = |register: &ListRegister| matches!(register, ListRegister::Active(interrupt) if interrupt.intid == intid);
        let Some(index) = unit.list.iter().position(active) else { return false };
        unit.list[index] = ListRegister::Empty;
        state.vcpu_fault(base, Label::VgicMaintenance, &[u64::try_from(index).expect("an index fits in a word")]);
        true
    }

    /// A private interrupt of the guest comes, such as its timer's: the VMM gets a message, unless it has not acknowledged the last one.
    ///
    /// # Panics
    /// Where `vcpu` is no vCPU.
    pub fn private_interrupt(&self, vcpu: CPtr, intid: u64) -> bool {
        let mut state = self.state_mut();
        let base = state.vcpu_base(vcpu);
        let comes = state.vcpus.get_mut(&base).expect("a vCPU that has capabilities is there").masked.insert(intid);
        if comes {
            state.vcpu_fault(base, Label::VppiEvent, &[intid]);
        }
        comes
    }
}

impl State {
    pub(super) fn vcpu_base(&self, vcpu: CPtr) -> u64 {
        match self.argument(vcpu) {
            Some(Cap { kind: Kind::Vcpu, base, .. }) => base,
            other => panic!("{vcpu} is no vCPU, but {other:?}"),
        }
    }

    fn vcpu_fault(&mut self, vcpu: u64, label: Label, words: &[u64]) {
        let Some(thread) = self.vcpus.get(&vcpu).and_then(|vcpu| vcpu.thread) else { return };
        self.fault_of(thread, label, words);
    }

    /// The vCPU that a call invokes; `None` where it was a notification instead.
    pub(super) fn invoke_vcpu(&mut self, vcpu: CPtr) -> Result<Option<&mut Vcpu>, KernelError> {
        Ok(match self.invoke(vcpu, |kind| matches!(kind, Kind::Vcpu))? {
            Invoked::Cap(_, cap) => self.vcpus.get_mut(&cap.base),
            Invoked::Signalled => None,
        })
    }

    pub(super) fn set_vcpu_thread(&mut self, vcpu: CPtr, tcb: CPtr) -> Result<(), KernelError> {
        let thread = match self.argument(tcb) {
            Some(Cap { kind: Kind::Tcb, base, .. }) => base,
            _ => return Err(Code::IllegalOperation.into()),
        };
        if self.invoke_vcpu(vcpu)?.is_none() {
            return Ok(());
        }
        let base = self.vcpu_base(vcpu);
        // A thread has one vCPU at most.
        for other in self.vcpus.values_mut() {
            other.thread.take_if(|held| *held == thread);
        }
        self.vcpus.get_mut(&base).expect("a vCPU that has capabilities is there").thread = Some(thread);
        Ok(())
    }
}

impl ArmVcpus for SimKernel {
    fn list_registers(&self) -> usize {
        LIST_REGISTERS
    }

    fn set_tcb(&self, vcpu: CPtr, tcb: CPtr) -> Result<(), KernelError> {
        self.step()?;
        self.state_mut().set_vcpu_thread(vcpu, tcb)
    }

    fn inject(&self, vcpu: CPtr, interrupt: VirtualInterrupt) -> Result<(), KernelError> {
        self.step()?;
        let mut state = self.state_mut();
        let Some(unit) = state.invoke_vcpu(vcpu)? else { return Ok(()) };
        let index = usize::from(interrupt.index);
        if interrupt.intid > 1023 || interrupt.group > 1 || index >= LIST_REGISTERS {
            return Err(Code::RangeError.into());
        }
        match &mut unit.list[index] {
            ListRegister::Active(_) => Err(Code::DeleteFirst.into()),
            register => {
                *register = ListRegister::Pending(interrupt);
                Ok(())
            }
        }
    }

    fn acknowledge_private(&self, vcpu: CPtr, intid: u64) -> Result<(), KernelError> {
        self.step()?;
        let mut state = self.state_mut();
        if let Some(unit) = state.invoke_vcpu(vcpu)? {
            unit.masked.remove(&intid);
        }
        Ok(())
    }

    fn read_register(&self, vcpu: CPtr, register: VcpuRegister) -> Result<u64, KernelError> {
        self.step()?;
        let mut state = self.state_mut();
        Ok(state.invoke_vcpu(vcpu)?.and_then(|unit| unit.registers.get(&register.0).copied()).unwrap_or(0))
    }

    fn write_register(&self, vcpu: CPtr, register: VcpuRegister, value: u64) -> Result<(), KernelError> {
        self.step()?;
        let mut state = self.state_mut();
        if let Some(unit) = state.invoke_vcpu(vcpu)? {
            unit.registers.insert(register.0, value);
        }
        Ok(())
    }
}
