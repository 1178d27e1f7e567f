//! The exception vectors of EL2 and the switch between VMM and guest.
//!
//! The VMM is built without floating-point registers, so those of the guest stay where they are. So do the guest's system registers:
//! no other guest runs on this CPU. What the VMM's code is free to change is switched: the general-purpose registers.

use core::arch::global_asm;
use core::mem::offset_of;

use vmm_common::vcpu::Registers;

/// Why the guest was left: the kind of exception.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Left {
    /// Synchronous: the syndrome tells.
    Synchronous,
    /// A physical interrupt.
    Interrupt,
    /// An SError.
    SystemError,
}

unsafe extern "C" {
    fn enter_guest(registers: *mut Registers) -> u64;
}

/// Runs the guest of this CPU until something happens that the VMM must see.
///
/// # Safety
///
/// The guest's translation tables and all its system registers are in force on this CPU.
pub(super) unsafe fn run(registers: &mut Registers) -> Left {
    // SAFETY: the caller's promise. The assembly writes nothing but the registers it is given, whose layout is checked below, and
    // keeps what the calling convention wants kept.
    match unsafe { enter_guest(registers) } {
        0 => Left::Synchronous,
        1 => Left::Interrupt,
        _ => Left::SystemError,
    }
}

const _: () = {
    assert!(offset_of!(Registers, x) == 0);
    assert!(offset_of!(Registers, pc) == 248);
    assert!(offset_of!(Registers, pstate) == 256);
};

global_asm!(
    r#"
    .section .text, "ax"

    // x0: the guest's registers. Frame: x19 to x30 of the caller, then x0.
    .global enter_guest
enter_guest:
    sub sp, sp, #112
    stp x19, x20, [sp]
    stp x21, x22, [sp, #16]
    stp x23, x24, [sp, #32]
    stp x25, x26, [sp, #48]
    stp x27, x28, [sp, #64]
    stp x29, x30, [sp, #80]
    str x0, [sp, #96]
    ldp x1, x2, [x0, #248]
    msr elr_el2, x1
    msr spsr_el2, x2
    ldp x2, x3, [x0, #16]
    ldp x4, x5, [x0, #32]
    ldp x6, x7, [x0, #48]
    ldp x8, x9, [x0, #64]
    ldp x10, x11, [x0, #80]
    ldp x12, x13, [x0, #96]
    ldp x14, x15, [x0, #112]
    ldp x16, x17, [x0, #128]
    ldp x18, x19, [x0, #144]
    ldp x20, x21, [x0, #160]
    ldp x22, x23, [x0, #176]
    ldp x24, x25, [x0, #192]
    ldp x26, x27, [x0, #208]
    ldp x28, x29, [x0, #224]
    ldr x30, [x0, #240]
    ldp x0, x1, [x0]
    eret
    dsb nsh                             // nothing is speculated beyond the return
    isb

    // x1: the kind of exception; the guest's x0 and x1 are on the stack.
leave_guest:
    ldr x0, [sp, #16 + 96]
    stp x2, x3, [x0, #16]
    stp x4, x5, [x0, #32]
    stp x6, x7, [x0, #48]
    stp x8, x9, [x0, #64]
    stp x10, x11, [x0, #80]
    stp x12, x13, [x0, #96]
    stp x14, x15, [x0, #112]
    stp x16, x17, [x0, #128]
    stp x18, x19, [x0, #144]
    stp x20, x21, [x0, #160]
    stp x22, x23, [x0, #176]
    stp x24, x25, [x0, #192]
    stp x26, x27, [x0, #208]
    stp x28, x29, [x0, #224]
    str x30, [x0, #240]
    ldp x2, x3, [sp], #16
    stp x2, x3, [x0]
    mrs x2, elr_el2
    mrs x3, spsr_el2
    stp x2, x3, [x0, #248]
    mov x0, x1
    ldp x19, x20, [sp]
    ldp x21, x22, [sp, #16]
    ldp x23, x24, [sp, #32]
    ldp x25, x26, [sp, #48]
    ldp x27, x28, [sp, #64]
    ldp x29, x30, [sp, #80]
    add sp, sp, #112
    ret

    .macro from_guest kind
    .balign 128
    stp x0, x1, [sp, #-16]!
    mov x1, #\kind
    b leave_guest
    .endm

    // An exception of the VMM itself is a fault of the VMM. Its stack may be what is broken.
    .macro own_fault kind
    .balign 128
    adrp x1, __stacks_end
    add x1, x1, :lo12:__stacks_end
    mov sp, x1
    mov x0, #\kind
    b own_exception
    .endm

    .balign 2048
    .global exception_vectors
exception_vectors:
    own_fault 0
    own_fault 1
    own_fault 2
    own_fault 3
    own_fault 0
    own_fault 1
    own_fault 2
    own_fault 3
    from_guest 0
    from_guest 1
    from_guest 1
    from_guest 2
    from_guest 0
    from_guest 1
    from_guest 1
    from_guest 2
"#
);
