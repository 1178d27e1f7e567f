//! The first and the last instructions.

use core::arch::{asm, global_asm};
use core::cell::UnsafeCell;

use sel4_loader::plan::{Plan, Span};
use sel4_loader::tables::{self, ENTRIES, MAIR, Places, Table};

/// The tables, each a page.
#[repr(C, align(4096))]
struct Tables {
    root: UnsafeCell<Table>,
    own: Table,
    kernel: UnsafeCell<Table>,
    kernel_blocks: UnsafeCell<Table>,
}

// SAFETY: the loader runs on one CPU.
unsafe impl Sync for Tables {}

#[unsafe(no_mangle)]
#[unsafe(link_section = ".data.tables")]
static TABLES: Tables = Tables {
    root: UnsafeCell::new([0; ENTRIES]),
    own: tables::own(),
    kernel: UnsafeCell::new([0; ENTRIES]),
    kernel_blocks: UnsafeCell::new([0; ENTRIES]),
};

unsafe extern "C" {
    static __image_start: u8;
    static __image_end: u8;
}

/// Where the loader itself is.
pub(super) fn image() -> Span {
    Span { start: (&raw const __image_start).addr() as u64, end: (&raw const __image_end).addr() as u64 }
}

/// The tables that are to be filled, to be called once: of level 0, of the kernel's levels 1 and 2; and where they are.
pub(super) fn tables() -> (&'static mut Table, &'static mut Table, &'static mut Table, Places) {
    let address = |table: *const Table| table.addr() as u64;
    let places = Places {
        own: address(&raw const TABLES.own),
        kernel: address(TABLES.kernel.get()),
        kernel_blocks: address(TABLES.kernel_blocks.get()),
    };
    // SAFETY: called once, and the hardware only reads the entry for the loader itself, whose new value is the old one.
    unsafe { (&mut *TABLES.root.get(), &mut *TABLES.kernel.get(), &mut *TABLES.kernel_blocks.get(), places) }
}

/// Brings what was written to where the kernel sees it, whatever its caches do.
pub(super) fn clean(span: Span) {
    let ctr: u64;
    // SAFETY: reads a register.
    unsafe { asm!("mrs {}, ctr_el0", out(reg) ctr, options(nomem, nostack, preserves_flags)) };
    // CTR_EL0.DminLine: the logarithm of the line's words.
    let line = 4u64 << ((ctr >> 16) & 0xf);
    let mut at = span.start & !(line - 1);
    while at < span.end {
        // SAFETY: changes no value that anyone reads.
        unsafe { asm!("dc civac, {}", in(reg) at, options(nostack, preserves_flags)) };
        at += line;
    }
}

/// Jumps into the kernel: x0 and x1 are where the root task is, x2 its distance, x3 its entry, x4 and x5 the device tree and its length.
///
/// # Safety
///
/// The kernel of `plan` is in memory, and mapped.
pub(super) unsafe fn enter(plan: &Plan<'_>) -> ! {
    // SAFETY: the caller's promise. Nothing of the loader runs any more.
    unsafe {
        asm!(
            "dsb sy",
            "ic iallu",
            "tlbi alle2",
            "dsb sy",
            "isb",
            "br {entry}",
            entry = in(reg) plan.kernel_entry,
            in("x0") plan.root.start,
            in("x1") plan.root.end,
            in("x2") plan.root_distance,
            in("x3") plan.root_entry,
            in("x4") plan.tree.start,
            in("x5") plan.tree.end - plan.tree.start,
            options(noreturn),
        )
    }
}

/// Switches the machine off (PSCI over SMC: the firmware of a machine with EL2).
pub(super) fn power_off() -> ! {
    // SAFETY: nothing runs any more.
    unsafe {
        asm!("smc #0", "1: wfe", "b 1b", in("x0") 0x8400_0008u64, options(noreturn));
    }
}

global_asm!(
    r#"
    .section .text.entry, "ax"
    .global _start
_start:
    mrs x0, CurrentEL
    cmp x0, #(2 << 2)
    b.ne 3f
    msr daifset, #0xf
    mov x2, #0x80000000                 // HCR_EL2: RW alone
    msr hcr_el2, x2
    mov x2, #0x33ff                     // CPTR_EL2: RES1 alone, no traps
    msr cptr_el2, x2
    ldr x2, ={mair}
    msr mair_el2, x2
    ldr x2, ={tcr}
    mrs x3, id_aa64mmfr0_el1
    and x3, x3, #0xf                    // tables::control
    cmp x3, #2
    mov x3, #2
    mov x4, #4
    csel x3, x3, x4, ls
    bfi x2, x3, #16, #3
    msr tcr_el2, x2
    adrp x0, TABLES                     // the entry of the loader's own table, for now alone
    add x1, x0, #4096
    orr x1, x1, #3
    str x1, [x0]
    msr ttbr0_el2, x0
    dsb sy
    isb
    tlbi alle2
    ic iallu
    dsb sy
    isb
    ldr x1, =0x30c5183d                 // SCTLR_EL2: M, C, SA, I and the RES1 bits
    msr sctlr_el2, x1
    isb
    ldr x0, =__stack_end
    mov sp, x0
    ldr x0, =__bss_start
    ldr x1, =__bss_end
1:  cmp x0, x1
    b.hs 2f
    stp xzr, xzr, [x0], #16
    b 1b
2:  mov x29, xzr
    mov x30, xzr
    bl load

    // Started without EL2: says so on the serial port, and switches off by PSCI over HVC.
3:  adrp x0, no_el2
    add x0, x0, :lo12:no_el2
    mov x1, #0x09000000
4:  ldrb w2, [x0], #1
    cbz w2, 5f
    str w2, [x1]
    b 4b
5:  ldr x0, =0x84000008
    hvc #0
6:  wfe
    b 6b

    .section .rodata.no_el2, "a"
no_el2:
    .asciz "[vmm] cannot start: this CPU is not at EL2: start QEMU with -M virt,virtualization=on\r\n[vmm] record=end reason=cannot-start\r\n"
"#,
    mair = const MAIR,
    tcr = const tables::TCR,
);
