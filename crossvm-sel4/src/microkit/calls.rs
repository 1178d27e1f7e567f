//! What a monitor asks of libmicrokit.

use super::Channel;
use crate::kernel::{ArmVcpus, CPtr, Code, KernelError, VcpuRegister, VirtualInterrupt};

/// Number of a vCPU in its protection domain: the `id` of its element in the system description, 0–61.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct VcpuNumber(u8);

impl VcpuNumber {
    /// vCPU `number`, or `None` from 62 on.
    #[must_use]
    pub const fn new(number: u8) -> Option<Self> {
        if number < 62 { Some(Self(number)) } else { None }
    }

    /// The number.
    #[must_use]
    pub const fn number(self) -> u8 {
        self.0
    }

    /// How [`MicrokitVcpus`] names it: no capability, but its number.
    #[must_use]
    pub const fn pointer(self) -> CPtr {
        CPtr::new(self.0 as u64)
    }

    fn of(pointer: CPtr) -> Result<Self, KernelError> {
        u8::try_from(pointer.raw()).ok().and_then(Self::new).ok_or(KernelError::new(Code::InvalidCapability))
    }
}

/// The calls of a protection domain that connections and their guests' interrupts take.
///
/// libmicrokit's own functions end the protection domain where the kernel refuses (`microkit_vcpu_arm_inject_irq` and the others write to an address that is
/// not mapped). An implementation makes the same system calls and gives the error back, as `shim/microkit.c` does.
///
/// The clauses of [`ArmVcpus`] hold for the calls of the same name.
pub trait MicrokitCalls {
    /// Signals the other end of a channel (`microkit_notify`). One that the description does not have is ignored.
    fn notify(&self, channel: Channel);

    /// Number of list registers that the kernel uses: 4 on a GIC-400.
    fn list_registers(&self) -> usize;

    /// Makes an interrupt pending in a list register (as `microkit_vcpu_arm_inject_irq`).
    ///
    /// # Errors
    /// See [`ArmVcpus::inject`].
    fn inject(&self, vcpu: VcpuNumber, interrupt: VirtualInterrupt) -> Result<(), KernelError>;

    /// Lets a private interrupt come again (as `microkit_vcpu_arm_ack_vppi`).
    ///
    /// # Errors
    /// What the kernel says.
    fn acknowledge_private(&self, vcpu: VcpuNumber, intid: u64) -> Result<(), KernelError>;

    /// Reads a register (as `microkit_vcpu_arm_read_reg`).
    ///
    /// # Errors
    /// What the kernel says.
    fn read_register(&self, vcpu: VcpuNumber, register: VcpuRegister) -> Result<u64, KernelError>;

    /// Writes a register (as `microkit_vcpu_arm_write_reg`).
    ///
    /// # Errors
    /// What the kernel says.
    fn write_register(&self, vcpu: VcpuNumber, register: VcpuRegister, value: u64) -> Result<(), KernelError>;
}

impl<T: MicrokitCalls + ?Sized> MicrokitCalls for &T {
    fn notify(&self, channel: Channel) {
        T::notify(self, channel);
    }

    fn list_registers(&self) -> usize {
        T::list_registers(self)
    }

    fn inject(&self, vcpu: VcpuNumber, interrupt: VirtualInterrupt) -> Result<(), KernelError> {
        T::inject(self, vcpu, interrupt)
    }

    fn acknowledge_private(&self, vcpu: VcpuNumber, intid: u64) -> Result<(), KernelError> {
        T::acknowledge_private(self, vcpu, intid)
    }

    fn read_register(&self, vcpu: VcpuNumber, register: VcpuRegister) -> Result<u64, KernelError> {
        T::read_register(self, vcpu, register)
    }

    fn write_register(&self, vcpu: VcpuNumber, register: VcpuRegister, value: u64) -> Result<(), KernelError> {
        T::write_register(self, vcpu, register, value)
    }
}

/// The vCPUs of a protection domain as [`ArmVcpus`], for [`VcpuInjector`](crate::VcpuInjector). A vCPU's pointer is [`VcpuNumber::pointer`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct MicrokitVcpus<C>(pub C);

impl<C: MicrokitCalls> ArmVcpus for MicrokitVcpus<C> {
    fn list_registers(&self) -> usize {
        self.0.list_registers()
    }

    /// [`Code::IllegalOperation`]: Microkit has given the vCPU its thread, before the monitor runs.
    fn set_tcb(&self, _vcpu: CPtr, _tcb: CPtr) -> Result<(), KernelError> {
        Err(KernelError::new(Code::IllegalOperation))
    }

    fn inject(&self, vcpu: CPtr, interrupt: VirtualInterrupt) -> Result<(), KernelError> {
        self.0.inject(VcpuNumber::of(vcpu)?, interrupt)
    }

    fn acknowledge_private(&self, vcpu: CPtr, intid: u64) -> Result<(), KernelError> {
        self.0.acknowledge_private(VcpuNumber::of(vcpu)?, intid)
    }

    fn read_register(&self, vcpu: CPtr, register: VcpuRegister) -> Result<u64, KernelError> {
        self.0.read_register(VcpuNumber::of(vcpu)?, register)
    }

    fn write_register(&self, vcpu: CPtr, register: VcpuRegister, value: u64) -> Result<(), KernelError> {
        self.0.write_register(VcpuNumber::of(vcpu)?, register, value)
    }
}
