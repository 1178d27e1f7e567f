//! The kernel's debug console.

use core::arch::asm;
use core::fmt::{self, Write};

/// The console, which adds a carriage return to each line feed. It needs a kernel that was built with its debug interface.
#[derive(Debug, Clone, Copy)]
pub struct Console;

impl Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            put(byte);
        }
        Ok(())
    }
}

/// Prints one line.
#[macro_export]
macro_rules! println {
    ($($text:tt)*) => {{
        use core::fmt::Write as _;
        // The console takes everything.
        let _ = writeln!($crate::task::console::Console, $($text)*);
    }};
}

/// `seL4_SysDebugPutChar`; the same in seL4 5.0.0 and today.
const DEBUG_PUT_CHAR: i64 = -9;

#[cfg(target_arch = "x86_64")]
fn put(byte: u8) {
    // SAFETY: the system call has no effect on this program but on registers, all of which are named. The kernel keeps neither stack
    // pointer nor `rcx` and `r11`; `rbx`, which holds the stack pointer meanwhile, cannot be named, so it is put back.
    unsafe {
        asm!(
            "mov r12, rbx",
            "mov rbx, rsp",
            "syscall",
            "mov rsp, rbx",
            "mov rbx, r12",
            inlateout("rdx") DEBUG_PUT_CHAR => _,
            inlateout("rdi") u64::from(byte) => _,
            inlateout("rsi") 0_u64 => _,
            lateout("rax") _, lateout("rcx") _, lateout("r8") _, lateout("r9") _, lateout("r10") _, lateout("r11") _,
            out("r12") _, lateout("r15") _,
        );
    }
}

#[cfg(target_arch = "aarch64")]
fn put(byte: u8) {
    // SAFETY: the system call has no effect on this program but on registers, all of which are named.
    unsafe {
        asm!(
            "svc #0",
            inlateout("x0") u64::from(byte) => _,
            inlateout("x1") 0_u64 => _,
            inlateout("x7") DEBUG_PUT_CHAR => _,
            lateout("x2") _, lateout("x3") _, lateout("x4") _, lateout("x5") _, lateout("x6") _,
        );
    }
}
