//! The first instructions: a stack, and into Rust.

use core::arch::global_asm;

/// Bytes of the root task's stack. What is composed lies on it for a moment.
const STACK: usize = 1 << 20;

// The kernel enters a root task with the address of the boot information in the first register of the C calling convention.
#[cfg(target_arch = "x86_64")]
global_asm!(
    r#"
    .section .text.start, "ax"
    .global _start
_start:
    lea rsp, [rip + __stack + {stack}]
    xor ebp, ebp
    call root_task
    ud2

    .section .bss.stack, "aw", @nobits
    .balign 4096
__stack:
    .skip {stack}
"#,
    stack = const STACK,
);

#[cfg(target_arch = "aarch64")]
global_asm!(
    r#"
    .section .text.start, "ax"
    .global _start
_start:
    ldr x1, =__stack + {stack}
    mov sp, x1
    mov x29, xzr
    mov x30, xzr
    bl root_task
    udf #0

    .section .bss.stack, "aw", @nobits
    .balign 4096
__stack:
    .skip {stack}
"#,
    stack = const STACK,
);

/// Makes `$main`, a `fn(Root) -> !`, the root task's program. To be used once in a program, at its top.
#[macro_export]
macro_rules! root_task {
    ($main:path) => {
        /// Called by the first instructions, once.
        ///
        /// # Safety
        ///
        /// `bootinfo` is what the kernel has given.
        #[unsafe(no_mangle)]
        unsafe extern "C" fn root_task(bootinfo: *const u8) -> ! {
            // SAFETY: the caller's promise.
            $main(unsafe { $crate::task::Root::new(bootinfo) })
        }
    };
}
