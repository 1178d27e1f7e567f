//! A vCPU: a thread with a vCPU object, which runs by itself until it faults.

use crossvm_arm::VcpuId;
use crossvm_sel4::arm::VcpuInjector;
use crossvm_sel4::kernel::{ArmVcpus as _, Badge, CPtr, CapRights, KernelError, Object, ThreadSpaces, Threads as _, VcpuRegister};
use crossvm_sel4::libsel4::{Libsel4, slots};
use crossvm_sel4::objects::Objects as _;
use crossvm_sel4::vspace::SpaceError;
use vmm_common::exit::{El1Registers, SNAPSHOT};
use vmm_common::host::CpuId;
use vmm_common::vcpu::Vcpu;

use sel4_vmm::arm::context;

use super::map::Objectry;

/// Priority of all vCPUs; the root task has the highest one.
const PRIORITY: u8 = 100;
/// A vCPU's CSpace has 2^this slots. What it executes as HVC reaches the kernel as a system call, so there is nothing in it but its fault
/// endpoint.
const CSPACE_BITS: u8 = 1;
/// The slot of the fault endpoint.
const FAULT_ENDPOINT: CPtr = CPtr::new(1);
/// MPIDR_EL1 of the first vCPU: RES1, affinity 0.0.0.0.
const FIRST_VCPU: u64 = 1 << 31;

/// Bit of a fault's badge that no signal has; below it is the number of the vCPU's CPU.
pub(super) const FAULT_BADGE: u64 = 1 << 32;

/// `seL4_VCPUReg` of AArch64.
mod register {
    use super::VcpuRegister;

    pub(super) const SCTLR: VcpuRegister = VcpuRegister(0);
    pub(super) const TTBR0: VcpuRegister = VcpuRegister(2);
    pub(super) const TTBR1: VcpuRegister = VcpuRegister(3);
    pub(super) const TCR: VcpuRegister = VcpuRegister(4);
    pub(super) const ESR: VcpuRegister = VcpuRegister(11);
    pub(super) const FAR: VcpuRegister = VcpuRegister(12);
    pub(super) const PAR: VcpuRegister = VcpuRegister(13);
    pub(super) const VBAR: VcpuRegister = VcpuRegister(14);
    pub(super) const VMPIDR: VcpuRegister = VcpuRegister(16);
    pub(super) const SP_EL1: VcpuRegister = VcpuRegister(17);
    pub(super) const ELR: VcpuRegister = VcpuRegister(18);
    pub(super) const SPSR: VcpuRegister = VcpuRegister(19);
}

/// Whether the kernel may run the thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Runs {
    /// It does not: it is stopped, or has faulted and was not answered yet.
    No,
    /// It does.
    Yes,
    /// It does, and would stop again at once: it stands at a WFI, with nothing to wake it.
    Idle,
}

/// A vCPU of a guest.
#[derive(Debug)]
pub(super) struct Thread {
    pub(super) cpu: CpuId,
    pub(super) state: Vcpu,
    pub(super) runs: Runs,
    pub(super) injector: VcpuInjector<Libsel4>,
    kernel: Libsel4,
    objects: Objectry,
    tcb: CPtr,
    others: context::Others,
}

impl Thread {
    /// The vCPU `id` of the guest whose address space is `space`; its faults come to `endpoint` with a badge for `cpu`. It is off.
    pub(super) fn new(
        kernel: Libsel4,
        mut objects: Objectry,
        (cpu, id): (CpuId, VcpuId),
        space: CPtr,
        endpoint: CPtr,
    ) -> Result<Self, SpaceError> {
        let tcb = objects.allocate_slots(3)?;
        let (vcpu, cspace) = (tcb.offset(1), tcb.offset(2));
        objects.create(Object::Tcb, tcb)?;
        objects.create(Object::Vcpu, vcpu)?;
        objects.create(Object::CNode(CSPACE_BITS), cspace)?;
        let badge = Badge::new(FAULT_BADGE | u64::from(cpu.get()));
        kernel.mint_into(endpoint, cspace, CSPACE_BITS, FAULT_ENDPOINT.raw(), CapRights::FAULTS, badge)?;
        let guard_bits = 64 - CSPACE_BITS;
        let spaces = ThreadSpaces { cspace, guard_bits, vspace: space, fault_endpoint: FAULT_ENDPOINT, ipc_buffer: None };
        kernel.configure(tcb, spaces)?;
        kernel.set_priority(tcb, slots::TCB, PRIORITY)?;
        let injector = VcpuInjector::new(kernel, vcpu);
        Ok(Self { cpu, state: Vcpu::new(id), runs: Runs::No, injector, kernel, objects, tcb, others: context::Others::default() })
    }

    /// Gives the thread a vCPU as at a reset: a new object, for what is in the list registers of the old one stays there. Its general registers
    /// are those of `state`.
    pub(super) fn reset(&mut self) -> Result<(), SpaceError> {
        let vcpu = self.injector.vcpu();
        self.suspend()?;
        self.objects.destroy(vcpu);
        self.objects.create(Object::Vcpu, vcpu)?;
        self.injector = VcpuInjector::new(self.kernel, vcpu);
        self.kernel.set_tcb(vcpu, self.tcb)?;
        self.kernel.write_register(vcpu, register::VMPIDR, FIRST_VCPU | u64::from(self.state.id.affinity()))?;
        self.others = context::Others::default();
        Ok(self.write()?)
    }

    /// Brings the registers of the thread, which is stopped, to `state`.
    pub(super) fn read(&mut self) -> Result<(), KernelError> {
        let mut context = [0; context::WORDS];
        self.kernel.read_registers(self.tcb, &mut context)?;
        context::unpack(&context, &mut self.state.registers, &mut self.others);
        Ok(())
    }

    /// Brings `state` to the registers of the thread, which is stopped.
    pub(super) fn write(&self) -> Result<(), KernelError> {
        self.kernel.write_registers(self.tcb, &context::pack(&self.state.registers, self.others))
    }

    /// Lets it run, from where it is.
    pub(super) fn resume(&mut self, runs: Runs) -> Result<(), KernelError> {
        self.runs = runs;
        self.kernel.resume(self.tcb)
    }

    /// Stops it, wherever it is.
    pub(super) fn suspend(&mut self) -> Result<(), KernelError> {
        self.runs = Runs::No;
        self.kernel.suspend(self.tcb)
    }

    /// Has the kernel run it before the others of its priority.
    pub(super) fn put_first(&self) -> Result<(), KernelError> {
        self.kernel.set_priority(self.tcb, slots::TCB, PRIORITY)
    }

    /// Its registers of EL1.
    pub(super) fn el1(&self) -> El1 {
        El1 { kernel: self.kernel, vcpu: self.injector.vcpu() }
    }
}

/// Registers of EL1 of a vCPU that does not run.
#[derive(Debug)]
pub(super) struct El1 {
    kernel: Libsel4,
    vcpu: CPtr,
}

impl El1 {
    fn read(&self, register: VcpuRegister) -> u64 {
        // Fails for a register that does not exist alone.
        self.kernel.read_register(self.vcpu, register).unwrap_or(0)
    }

    fn write(&self, register: VcpuRegister, value: u64) {
        let _ = self.kernel.write_register(self.vcpu, register, value);
    }
}

impl El1Registers for El1 {
    fn vector_base(&self) -> u64 {
        self.read(register::VBAR)
    }

    fn control(&self) -> u64 {
        self.read(register::SCTLR)
    }

    fn save(&mut self, return_address: u64, pstate: u64, syndrome: u64) {
        self.write(register::ELR, return_address);
        self.write(register::SPSR, pstate);
        self.write(register::ESR, syndrome);
    }

    fn set_fault_address(&mut self, address: u64) {
        self.write(register::FAR, address);
    }

    fn snapshot(&self) -> [(&'static str, u64); SNAPSHOT] {
        let named = |name, register| (name, self.read(register));
        [
            named("elr_el1", register::ELR),
            named("spsr_el1", register::SPSR),
            named("esr_el1", register::ESR),
            named("far_el1", register::FAR),
            named("vbar_el1", register::VBAR),
            named("sctlr_el1", register::SCTLR),
            named("ttbr0_el1", register::TTBR0),
            named("ttbr1_el1", register::TTBR1),
            named("tcr_el1", register::TCR),
            named("mpidr_el1", register::VMPIDR),
            named("sp_el1", register::SP_EL1),
            named("par_el1", register::PAR),
        ]
    }
}
