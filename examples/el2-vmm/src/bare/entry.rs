//! The first instructions of each CPU: translation and caches on, a stack, and into Rust.

use core::arch::global_asm;

/// What a CPU other than the first needs to start. It reads this before its caches are on.
#[repr(C)]
#[derive(Debug)]
pub(super) struct Start {
    /// TTBR0_EL2.
    pub(super) tables: u64,
    /// The end of its stack.
    pub(super) stack: u64,
    /// Handed to [`secondary_main`](super::secondary_main).
    pub(super) cpu: u64,
}

unsafe extern "C" {
    /// Where a CPU other than the first starts; x0 is the address of its [`Start`].
    pub(super) fn secondary_start();

    /// Puts the tables at `tables` in force, with `control` as SCTLR_EL2.
    ///
    /// # Safety
    ///
    /// The tables map all that the VMM uses at the same addresses.
    pub(super) fn switch_tables(tables: u64, control: u64);
}

/// SCTLR_EL2 with translation and caches on, writable memory never executed: M, C, SA, I, WXN and the RES1 bits.
pub(super) const CONTROL: u64 = 0x30cd_183d;

global_asm!(
    r#"
    // Translation on. x0: TTBR0_EL2, x1: SCTLR_EL2. Clobbers x2 to x4.
    .macro translate
        msr daifset, #0xf
        mov x2, #0x80000000             // HCR_EL2: RW alone
        msr hcr_el2, x2
        mov x2, #0x33ff                 // CPTR_EL2: RES1 alone, no traps
        msr cptr_el2, x2
        mov x2, #0xff00                 // MAIR_EL2: El2Attributes::MAIR
        msr mair_el2, x2
        ldr x2, =0x80803519             // TCR_EL2: 39 bits, 4 KiB, write-back, inner shareable, RES1
        mrs x3, id_aa64mmfr0_el1
        and x3, x3, #7                  // PARange, at most 48 bits
        cmp x3, #5
        mov x4, #5
        csel x3, x3, x4, ls
        bfi x2, x3, #16, #3
        msr tcr_el2, x2
        msr ttbr0_el2, x0
        adrp x2, exception_vectors
        add x2, x2, :lo12:exception_vectors
        msr vbar_el2, x2
        dsb sy
        isb
        tlbi alle2
        ic iallu
        dsb sy
        isb
        msr sctlr_el2, x1
        isb
    .endm

    .section .text.entry, "ax"
    .global _start
_start:
    mrs x0, CurrentEL
    cmp x0, #(2 << 2)
    b.ne 3f
    adrp x0, boot_level1
    ldr x1, =0x30c5183d                 // as CONTROL, but what is writable may be executed
    translate
    ldr x0, =__stacks_start
    ldr x1, =__stack_bytes
    add x0, x0, x1
    mov sp, x0
    ldr x0, =__bss_start
    ldr x1, =__bss_end
1:  cmp x0, x1
    b.hs 2f
    stp xzr, xzr, [x0], #16
    b 1b
2:  mov x29, xzr
    mov x30, xzr
    bl boot_main
halt:
    wfe
    b halt

    // Started without EL2: says so on the serial port of QEMU's `virt` machine, and switches off by that machine's PSCI over HVC.
3:  adrp x0, no_el2
    add x0, x0, :lo12:no_el2
    mov x1, #0x09000000
4:  ldrb w2, [x0], #1
    cbz w2, 5f
    str w2, [x1]
    b 4b
5:  ldr x0, =0x84000008
    hvc #0
    b halt

    .global secondary_start
secondary_start:
    mov x19, x0
    ldr x0, [x19]
    ldr x1, ={control}
    translate
    ldr x0, [x19, #8]
    mov sp, x0
    ldr x0, [x19, #16]
    mov x29, xzr
    mov x30, xzr
    bl secondary_main
    b halt

    // The way from one map of an address to another leads over no map: translation off in between.
    .global switch_tables
switch_tables:
    mrs x2, sctlr_el2
    bic x3, x2, #1
    dsb sy
    msr sctlr_el2, x3
    isb
    tlbi alle2
    dsb sy
    msr ttbr0_el2, x0
    isb
    msr sctlr_el2, x1
    isb
    ret

    .section .rodata.no_el2, "a"
no_el2:
    .asciz "[vmm] cannot start: this CPU is not at EL2: start QEMU with -M virt,virtualization=on\r\n[vmm] record=end reason=cannot-start\r\n"

    // The map that the VMM starts with: devices of the first GiB, 20 MiB from the start of RAM.
    .section .data.boot_tables, "aw"
    .balign 4096
boot_level1:
    .quad 0x0040000000000441            // block: Device-nGnRnE, execute never
    .quad boot_level2 + 3
    .fill 510, 8, 0
boot_level2:
    .set block, 0
    .rept 10
    .quad 0x40000000 + block * 0x200000 + 0x745  // block: Normal write-back, inner shareable
    .set block, block + 1
    .endr
    .fill 502, 8, 0
"#,
    control = const CONTROL,
);
