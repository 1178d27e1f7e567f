//! Virtual CPUs.

use super::{CPtr, KernelError, MESSAGE_WORDS};

/// An interrupt for a list register (`seL4_ARM_VCPU_InjectIRQ`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct VirtualInterrupt {
    /// Its number (INTID).
    pub intid: u16,
    /// Its priority, 0 to 31: the five highest of the guest's eight bits.
    pub priority: u8,
    /// Its group: guests take group 0.
    pub group: u8,
    /// The list register.
    pub index: u8,
}

/// A register of an Arm vCPU, by the number of seL4's `seL4_VCPUReg`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct VcpuRegister(pub u64);

/// The system calls of vCPUs in seL4's Arm hypervisor configuration. Whoever has them need not be a [`Kernel`](super::Kernel): a program of Microkit has no others.
///
/// # Contract
///
/// 1. `inject` fails with [`Code::RangeError`](super::Code::RangeError) for a list register that does not exist, and with
///    [`Code::DeleteFirst`](super::Code::DeleteFirst) where the guest has the register's interrupt active, as far as the kernel has looked: it does so when
///    it switches to another vCPU. It **overwrites** an interrupt that is pending there, and one whose acknowledgement it has not seen.
/// 2. The end of an interrupt comes as a message [`Label::VgicMaintenance`](super::Label::VgicMaintenance) with the register's index, one message for
///    each. A message about no register has an index that none has.
/// 3. After a message [`Label::VppiEvent`](super::Label::VppiEvent), the private interrupt does not come again until `acknowledge_private`.
pub trait ArmVcpus {
    /// Number of list registers that the kernel uses.
    fn list_registers(&self) -> usize;

    /// Gives a vCPU to a thread (`seL4_ARM_VCPU_SetTCB`).
    ///
    /// # Errors
    /// What the kernel says.
    fn set_tcb(&self, vcpu: CPtr, tcb: CPtr) -> Result<(), KernelError>;

    /// Makes an interrupt pending in a list register (`seL4_ARM_VCPU_InjectIRQ`).
    ///
    /// # Errors
    /// See the contract.
    fn inject(&self, vcpu: CPtr, interrupt: VirtualInterrupt) -> Result<(), KernelError>;

    /// Lets a private interrupt come again (`seL4_ARM_VCPU_AckVPPI`).
    ///
    /// # Errors
    /// What the kernel says.
    fn acknowledge_private(&self, vcpu: CPtr, intid: u64) -> Result<(), KernelError>;

    /// Reads a register (`seL4_ARM_VCPU_ReadRegs`).
    ///
    /// # Errors
    /// What the kernel says.
    fn read_register(&self, vcpu: CPtr, register: VcpuRegister) -> Result<u64, KernelError>;

    /// Writes a register (`seL4_ARM_VCPU_WriteRegs`).
    ///
    /// # Errors
    /// What the kernel says.
    fn write_register(&self, vcpu: CPtr, register: VcpuRegister, value: u64) -> Result<(), KernelError>;
}

/// Why [`X86Vcpus::enter`] has returned.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Entered {
    /// The guest was left: the words of the kernel's fault message.
    Exit(heapless::Vec<u64, MESSAGE_WORDS>),
    /// The bound notification was signalled: its badge, and the words of the message.
    Signal(super::Badge, heapless::Vec<u64, MESSAGE_WORDS>),
}

/// The system calls of vCPUs in seL4's VT-x configuration. A vCPU belongs to a thread, which enters it.
pub trait X86Vcpus {
    /// Gives a vCPU to a thread (`seL4_X86_VCPU_SetTCB`).
    ///
    /// # Errors
    /// What the kernel says.
    fn set_tcb(&self, vcpu: CPtr, tcb: CPtr) -> Result<(), KernelError>;

    /// Gives a thread's vCPU its guest-physical memory (`seL4_TCB_SetEPTRoot`).
    ///
    /// # Errors
    /// What the kernel says.
    fn set_ept_root(&self, tcb: CPtr, root: CPtr) -> Result<(), KernelError>;

    /// Enters the guest of the calling thread at `ip`, with these primary processor controls and this VM-entry interruption field
    /// (`seL4_VMEnter`).
    fn enter(&self, ip: u64, controls: u64, entry_interruption: u64) -> Entered;

    /// Reads a field of the VMCS.
    ///
    /// # Errors
    /// What the kernel says.
    fn read_vmcs(&self, vcpu: CPtr, field: u64) -> Result<u64, KernelError>;

    /// Writes a field of the VMCS. The kernel forces bits that it needs; what was written is returned.
    ///
    /// # Errors
    /// What the kernel says.
    fn write_vmcs(&self, vcpu: CPtr, field: u64, value: u64) -> Result<u64, KernelError>;

    /// Writes the guest's general registers, in the kernel's order.
    ///
    /// # Errors
    /// What the kernel says.
    fn write_registers(&self, vcpu: CPtr, registers: &[u64]) -> Result<(), KernelError>;
}

impl<K: X86Vcpus + ?Sized> X86Vcpus for &K {
    fn set_tcb(&self, vcpu: CPtr, tcb: CPtr) -> Result<(), KernelError> {
        K::set_tcb(self, vcpu, tcb)
    }

    fn set_ept_root(&self, tcb: CPtr, root: CPtr) -> Result<(), KernelError> {
        K::set_ept_root(self, tcb, root)
    }

    fn enter(&self, ip: u64, controls: u64, entry_interruption: u64) -> Entered {
        K::enter(self, ip, controls, entry_interruption)
    }

    fn read_vmcs(&self, vcpu: CPtr, field: u64) -> Result<u64, KernelError> {
        K::read_vmcs(self, vcpu, field)
    }

    fn write_vmcs(&self, vcpu: CPtr, field: u64, value: u64) -> Result<u64, KernelError> {
        K::write_vmcs(self, vcpu, field, value)
    }

    fn write_registers(&self, vcpu: CPtr, registers: &[u64]) -> Result<(), KernelError> {
        K::write_registers(self, vcpu, registers)
    }
}
