//! A 32-bit x86 machine: descriptor tables, the interrupt, ports.

use core::arch::{asm, global_asm};
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicU32, Ordering};

use crossvm_guest::bare::{ConfigPorts, Mapped};

use super::{memory, odd};
use crate::machine::{MAILBOX, REPORT_PORT, VECTOR};
use crate::platform::{Platform, Random};
use crate::{Mailbox, Report};

const STACK_LENGTH: usize = 32 << 10;

/// The stack.
#[repr(C, align(16))]
struct Stack([u8; STACK_LENGTH]);

static mut STACK: Stack = Stack([0; STACK_LENGTH]);

/// Flat segments (Intel SDM volume 3, 3.4.5): none, code, data.
static SEGMENTS: [u64; 3] = [0, 0x00cf_9a00_0000_ffff, 0x00cf_9200_0000_ffff];
/// Selector of the code segment.
const CODE: u16 = 8;
/// Selector of the data segment.
const DATA: u16 = 16;

/// Processor exceptions have the vectors below.
const EXCEPTIONS: usize = 32;
/// Length of an exception's entry in bytes.
const EXCEPTION_LENGTH: usize = 16;
/// Entries of the interrupt descriptor table.
const VECTORS: usize = VECTOR as usize + 1;

/// The interrupt descriptor table, filled by [`start`].
static mut GATES: [u64; VECTORS] = [0; VECTORS];

/// Interrupts taken.
static INTERRUPTS: AtomicU32 = AtomicU32::new(0);

// The first instruction: tables, segments, a stack, the program's `main`. Each exception's entry pushes its vector, and ends
// the program. The interrupt's entry counts, and returns with interrupts off (bit 9 of EFLAGS, the third word of the frame).
global_asm!(
    ".pushsection .text.start, \"ax\"",
    ".global _start",
    "_start:",
    "cli",
    "cld",
    "lea esp, [{stack} + {length}]",
    "lgdt [{table}]",
    "push {code}",
    "lea eax, [2f]",
    "push eax",
    "retf",
    "2:",
    "mov eax, {data}",
    "mov ds, eax",
    "mov es, eax",
    "mov fs, eax",
    "mov gs, eax",
    "mov ss, eax",
    "xor ebp, ebp",
    "call main",
    "ud2",
    ".popsection",
    ".balign {exception_length}",
    "exception_entries:",
    ".set vector, 0",
    ".rept {exceptions}",
    ".balign {exception_length}",
    "push vector",
    "jmp 3f",
    ".set vector, vector + 1",
    ".endr",
    "3:",
    "call {exception}",
    "ud2",
    "interrupt_entry:",
    "lock inc dword ptr [{interrupts}]",
    "and dword ptr [esp + 8], 0xfffffdff",
    "iretd",
    table = sym TABLE,
    code = const CODE,
    data = const DATA,
    stack = sym STACK,
    length = const STACK_LENGTH,
    exceptions = const EXCEPTIONS,
    exception_length = const EXCEPTION_LENGTH,
    exception = sym exception,
    interrupts = sym INTERRUPTS,
);

unsafe extern "C" {
    static exception_entries: u8;
    static interrupt_entry: u8;
}

/// Limit and base of a descriptor table, as `lgdt` and `lidt` read them.
#[repr(C, packed)]
struct TableRegister<T> {
    limit: u16,
    base: *const T,
}

// SAFETY: the pointer is to a static, and only the processor follows it.
unsafe impl<T> Sync for TableRegister<T> {}

static TABLE: TableRegister<[u64; 3]> = TableRegister { limit: 23, base: &raw const SEGMENTS };

/// An interrupt gate to `entry` (Intel SDM volume 3, 6.11): present, 32 bits, interrupts off.
fn gate(entry: usize) -> u64 {
    let entry = entry as u64;
    (entry & 0xffff) | u64::from(CODE) << 16 | 0x8e00 << 32 | (entry >> 16) << 48
}

/// Fills the interrupt descriptor table and loads it.
fn load_gates() {
    let exceptions = (&raw const exception_entries).addr();
    let mut gates = [0; VECTORS];
    for (entry, vector) in gates.iter_mut().zip(0..EXCEPTIONS) {
        *entry = gate(exceptions + vector * EXCEPTION_LENGTH);
    }
    if let Some(last) = gates.last_mut() {
        *last = gate((&raw const interrupt_entry).addr());
    }
    #[expect(clippy::cast_possible_truncation, reason = "49 entries of 8 bytes")]
    let register = TableRegister { limit: (size_of_val(&gates) - 1) as u16, base: &raw const GATES };
    // SAFETY: interrupts are off, so nobody reads the table meanwhile; it is a static, and its entries lead to the code above.
    unsafe {
        (&raw mut GATES).write_volatile(gates);
        asm!("lidt [{}]", in(reg) &raw const register, options(nostack, preserves_flags));
    }
}

/// Where exceptions end.
extern "C" fn exception(vector: u32) -> ! {
    memory::mailbox(MAILBOX as usize).describe_panic(1, vector);
    report(Report::Panic);
    halt()
}

fn report(report: Report) {
    // SAFETY: the VMM gives this port this meaning; before it goes on it may have changed the mailbox.
    unsafe { asm!("out dx, eax", in("dx") REPORT_PORT, in("eax") report as u32, options(nostack, preserves_flags)) }
}

fn halt() -> ! {
    loop {
        // SAFETY: nothing comes after it.
        unsafe { asm!("cli", "hlt", options(nostack)) }
    }
}

/// The guest.
#[derive(Debug)]
pub struct Machine(());

/// What the guest's `main` does.
pub fn start(obey: fn(&Machine, &Mailbox)) -> ! {
    load_gates();
    obey(&Machine(()), memory::mailbox(MAILBOX as usize));
    halt()
}

impl Platform for Machine {
    type Access = ConfigPorts;
    type Memory = Mapped<super::Identity>;

    fn access(&self) -> Option<ConfigPorts> {
        // SAFETY: the VMM answers at these ports, and nothing else in this program uses them.
        Some(unsafe { ConfigPorts::new() })
    }

    fn memory(&self) -> Self::Memory {
        Mapped::new(super::Identity)
    }

    fn report(&self, what: Report) {
        report(what);
    }

    fn wait(&self) {
        let before = INTERRUPTS.load(Ordering::Relaxed);
        while INTERRUPTS.load(Ordering::Relaxed) == before {
            // SAFETY: interrupts are on from the end of `hlt`'s shadow to the handler's return, which leaves them off.
            unsafe { asm!("sti", "hlt", "cli", options(nostack)) }
        }
    }

    fn load(&self, address: u32) -> u32 {
        memory::load_32(address as usize)
    }

    fn store(&self, address: u32, value: u32) {
        memory::store_32(address as usize, value);
    }

    fn store_oddly(&self, address: u32, number: u32) -> bool {
        odd::store(address as usize, number)
    }

    fn jump(&self, address: u32) {
        memory::jump(address as usize);
    }

    fn disturb(&self, random: &mut Random) {
        const ADDRESS: u16 = 0xcf8;
        let value = random.draw();
        // Bus 0 with the enable bit most of the time, or else anything.
        let selected = if random.draw().is_multiple_of(4) { random.draw() } else { 1 << 31 | random.draw() & 0xffff };
        // CONFIG_ADDRESS itself by other widths as well, and each byte of CONFIG_DATA.
        let [offset, ..] = random.draw().to_le_bytes();
        let port = ADDRESS + u16::from(offset % 8);
        // SAFETY: the VMM answers at these ports; what is read is dropped, and reaches no memory.
        unsafe {
            asm!("out dx, eax", in("dx") ADDRESS, in("eax") selected, options(nostack, preserves_flags));
            match random.draw() % 6 {
                0 => asm!("in al, dx", in("dx") port, out("eax") _, options(nostack, preserves_flags)),
                1 => asm!("in ax, dx", in("dx") port, out("eax") _, options(nostack, preserves_flags)),
                2 => asm!("in eax, dx", in("dx") port, out("eax") _, options(nostack, preserves_flags)),
                3 => asm!("out dx, al", in("dx") port, in("eax") value, options(nostack, preserves_flags)),
                4 => asm!("out dx, ax", in("dx") port, in("eax") value, options(nostack, preserves_flags)),
                _ => asm!("out dx, eax", in("dx") port, in("eax") value, options(nostack, preserves_flags)),
            }
        }
    }
}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    report(Report::Panic);
    halt()
}

// The target's core library calls for these, and expects a C library to have them.

/// Copies `length` bytes, which do not overlap.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, length: usize) -> *mut u8 {
    // SAFETY: the caller's promises are those of C; the index register is put back.
    unsafe {
        asm!("xchg {from}, esi", "rep movsb", "xchg {from}, esi", from = inout(reg) from => _, inout("ecx") length => _, inout("edi") to => _, options(nostack, preserves_flags));
    }
    to
}

/// Copies `length` bytes, which may overlap.
#[unsafe(no_mangle)]
unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, length: usize) -> *mut u8 {
    // SAFETY: the caller's promises are those of C; bytes are copied downwards where the target begins inside of the source.
    unsafe {
        if to.addr().wrapping_sub(from.addr()) >= length {
            return memcpy(to, from, length);
        }
        asm!("xchg {from}, esi", "std", "rep movsb", "cld", "xchg {from}, esi", from = inout(reg) from.wrapping_add(length).wrapping_sub(1) => _, inout("ecx") length => _, inout("edi") to.wrapping_add(length).wrapping_sub(1) => _, options(nostack));
    }
    to
}

/// Fills `length` bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn memset(to: *mut u8, value: i32, length: usize) -> *mut u8 {
    // SAFETY: the caller's promises are those of C.
    unsafe { asm!("rep stosb", in("eax") value, inout("ecx") length => _, inout("edi") to => _, options(nostack, preserves_flags)) };
    to
}

/// Compares `length` bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcmp(left: *const u8, right: *const u8, length: usize) -> i32 {
    for index in 0..length {
        // SAFETY: the caller's promises are those of C; each index is inside of both.
        let (left, right) = unsafe { (left.add(index).read_volatile(), right.add(index).read_volatile()) };
        if left != right {
            return i32::from(left) - i32::from(right);
        }
    }
    0
}
