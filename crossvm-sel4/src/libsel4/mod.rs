//! The kernel's traits on an installed libsel4, the C library of seL4.
//!
//! Feature `libsel4`, on targets without an operating system: there `build.rs` compiles a small shim of C functions against the headers in
//! `$SEL4_PREFIX/libsel4/include`. It knows current kernels (x86-64, and aarch64 with hypervisor support, both without MCS) and seL4 5.0.0
//! (x86-64). VT-x is there where the kernel has it; the 32-bit guests of [`x86`](crate::x86) also run on one that was built with
//! `KernelX86_64VTX64BitGuests`.
//!
//! | to find | look in |
//! | --- | --- |
//! | the handle | [`Libsel4`] |
//! | what the kernel tells a root task | [`BootInfo`] |
//! | differences between kernels | `shim/kernel.h` |

mod boot;
mod kernel;
mod raw;
mod thread;
#[cfg_attr(target_arch = "aarch64", path = "arm.rs")]
#[cfg_attr(target_arch = "x86_64", path = "x86.rs")]
mod vcpu;

use core::marker::PhantomData;

use crate::kernel::{Badge, CPtr, CapRights, Code, KernelError};

pub use boot::{BootInfo, UntypedMemory, slots};

/// The handle of the thread that uses libsel4.
///
/// **One thread**: the shim keeps the address of one IPC buffer, so the handle can be copied but not sent to another thread. Further threads
/// of the program must not make system calls of libsel4.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Libsel4 {
    cspace: CPtr,
    #[cfg(target_arch = "aarch64")]
    list_registers: u8,
    one_thread: PhantomData<*const ()>,
}

impl Libsel4 {
    /// The calling thread's handle. `ipc_buffer` is the address of its IPC buffer and `cspace` the capability of its CSpace's root: for a root
    /// task those of [`BootInfo::ipc_buffer`] and [`slots::CSPACE`].
    ///
    /// # Safety
    ///
    /// The IPC buffer is the calling thread's, and no other thread of the program uses libsel4. What the handle is told to unmap, overlay,
    /// delete or retype is no memory that the program still uses.
    #[must_use]
    pub unsafe fn new(ipc_buffer: usize, cspace: CPtr) -> Self {
        // SAFETY: the caller's promise.
        unsafe { raw::crossvm_start(ipc_buffer as u64) };
        Self {
            cspace,
            #[cfg(target_arch = "aarch64")]
            list_registers: vcpu::LIST_REGISTERS,
            one_thread: PhantomData,
        }
    }

    /// Puts a copy of a capability into slot `index` of another CSpace: that of a thread that is to be started. Its root is `cnode`, with 2^`bits`
    /// slots. [`Badge::NONE`] gives none.
    ///
    /// # Errors
    /// As [`Kernel::mint`](crate::kernel::Kernel::mint).
    pub fn mint_into(&self, from: CPtr, cnode: CPtr, bits: u8, index: u64, rights: CapRights, badge: Badge) -> Result<(), KernelError> {
        let rights = kernel::bits(rights);
        done(raw::crossvm_mint_into(self.cspace.raw(), from.raw(), cnode.raw(), index, u64::from(bits), rights, badge.value()))
    }

    /// Puts a copy of a CNode's capability into slot `index` of the CNode `cnode`, with 2^`bits` slots, which may be the same: with a guard of
    /// `guard_bits` zero bits, so that it can be the root of a CSpace.
    ///
    /// # Errors
    /// As [`Kernel::copy`](crate::kernel::Kernel::copy).
    pub fn guard_into(&self, from: CPtr, cnode: CPtr, bits: u8, index: u64, guard_bits: u8) -> Result<(), KernelError> {
        done(raw::crossvm_guard_into(self.cspace.raw(), from.raw(), cnode.raw(), index, u64::from(bits), u64::from(guard_bits)))
    }

    /// Lets another thread of the same priority run (`seL4_Yield`).
    pub fn yield_now(&self) {
        raw::crossvm_yield();
    }

    /// Prints a byte, if the kernel was built with printing. Needs no handle: a program may say why it cannot have one.
    pub fn debug_byte(byte: u8) {
        raw::crossvm_debug_byte(u64::from(byte));
    }

    /// The kernel's number for the type of the capability in a slot, if the kernel was built for debugging; 0 else, and for an empty slot.
    #[must_use]
    pub fn debug_identify(&self, slot: CPtr) -> u64 {
        raw::crossvm_debug_identify(slot.raw())
    }

    /// Halts the machine, if the kernel was built for debugging; the thread else yields for ever.
    pub fn halt(&self) -> ! {
        raw::crossvm_debug_halt();
        loop {
            raw::crossvm_yield();
        }
    }
}

/// The result of a call that gives `seL4_Error`.
fn done(error: u64) -> Result<(), KernelError> {
    if error == 0 { Ok(()) } else { Err(Code::from_raw(error).into()) }
}

/// The result of a mapping, with the bits of the missing table.
fn mapped(error: u64, missing: u64) -> Result<(), KernelError> {
    done(error).map_err(|error| KernelError { missing_table: u8::try_from(missing).ok().filter(|bits| *bits > 0), ..error })
}
