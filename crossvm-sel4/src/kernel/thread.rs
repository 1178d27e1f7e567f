//! Threads.

use super::{CPtr, Kernel, KernelError};

/// What a thread is given when it is configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ThreadSpaces {
    /// The root of its CSpace.
    pub cspace: CPtr,
    /// The bits of its CSpace's guard, which is 0.
    pub guard_bits: u8,
    /// The root of its address space.
    pub vspace: CPtr,
    /// The endpoint, in the thread's own CSpace under seL4's rule for non-MCS kernels, that its faults go to.
    pub fault_endpoint: CPtr,
    /// Its IPC buffer: address in its space, and the frame.
    pub ipc_buffer: Option<(u64, CPtr)>,
}

/// The system calls of a VMM that starts threads. The registers are those of seL4's `seL4_UserContext`, in its order.
pub trait Threads: Kernel {
    /// Gives a thread its spaces (`seL4_TCB_Configure`).
    ///
    /// # Errors
    /// What the kernel says.
    fn configure(&self, tcb: CPtr, spaces: ThreadSpaces) -> Result<(), KernelError>;

    /// Sets a thread's priority (`seL4_TCB_SetPriority`), with the authority of `authority`'s own.
    ///
    /// # Errors
    /// What the kernel says.
    fn set_priority(&self, tcb: CPtr, authority: CPtr, priority: u8) -> Result<(), KernelError>;

    /// Binds a notification, so that the thread receives its signals where it waits for messages (`seL4_TCB_BindNotification`).
    ///
    /// # Errors
    /// What the kernel says.
    fn bind_notification(&self, tcb: CPtr, notification: CPtr) -> Result<(), KernelError>;

    /// Reads a stopped thread's first registers (`seL4_TCB_ReadRegisters`).
    ///
    /// # Errors
    /// What the kernel says.
    fn read_registers(&self, tcb: CPtr, registers: &mut [u64]) -> Result<(), KernelError>;

    /// Writes a stopped thread's first registers (`seL4_TCB_WriteRegisters`).
    ///
    /// # Errors
    /// What the kernel says.
    fn write_registers(&self, tcb: CPtr, registers: &[u64]) -> Result<(), KernelError>;

    /// Lets a thread run (`seL4_TCB_Resume`).
    ///
    /// # Errors
    /// What the kernel says.
    fn resume(&self, tcb: CPtr) -> Result<(), KernelError>;

    /// Stops a thread (`seL4_TCB_Suspend`).
    ///
    /// # Errors
    /// What the kernel says.
    fn suspend(&self, tcb: CPtr) -> Result<(), KernelError>;
}
