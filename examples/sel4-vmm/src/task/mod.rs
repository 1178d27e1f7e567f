//! A root task's start, end and console.

pub mod bootinfo;
pub mod console;
mod panic;
mod start;

pub use bootinfo::BootInfo;

use core::arch::asm;

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
