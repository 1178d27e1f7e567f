//! A root task's start, end and console.

#[cfg(target_arch = "x86_64")]
pub mod component;
pub mod console;
#[cfg(target_arch = "x86_64")]
pub mod domain;
#[cfg(target_arch = "x86_64")]
pub mod idle;
mod panic;
pub mod shared;
mod start;
pub mod system;

pub use shared::Shared;
pub use system::{Estate, System, Trouble};

use core::arch::asm;

use crossvm_sel4::libsel4::{BootInfo, Libsel4, slots};

/// What a root task starts with.
#[derive(Debug)]
pub struct Root {
    /// The kernel.
    pub kernel: Libsel4,
    /// What it has left to the root task.
    pub boot: BootInfo,
}

impl Root {
    /// The root task, from the address that the kernel has passed to it.
    ///
    /// # Safety
    ///
    /// `bootinfo` is that address, and this is called once.
    #[must_use]
    pub unsafe fn new(bootinfo: *const u8) -> Self {
        // SAFETY: the caller's promise; nobody unmaps the boot information, and there is one thread that makes system calls of libsel4.
        unsafe {
            let boot = BootInfo::new(bootinfo);
            Self { kernel: Libsel4::new(boot.ipc_buffer(), slots::CSPACE), boot }
        }
    }
}

/// Ends the run: whoever started the machine waits for this line, and Bochs for the instruction behind it.
pub fn end(reason: &str) -> ! {
    crate::println!("[vmm] record=end reason={reason}");
    loop {
        // SAFETY: the first instruction does nothing outside of Bochs. The second is a fault that nobody handles: the kernel stops
        // this thread, and the machine is idle.
        unsafe {
            #[cfg(target_arch = "x86_64")]
            asm!("xchg bx, bx", "ud2");
            #[cfg(target_arch = "aarch64")]
            asm!("udf #0");
        }
    }
}
