//! Where the parts of the VMM are, as the linker script says.

use vmm_common::host::{HostAddr, HostRange};

/// Bytes of the page below each stack, which is not mapped.
const GUARD: u64 = 0x1000;

unsafe extern "C" {
    static __image_start: u8;
    static __text_end: u8;
    static __rodata_end: u8;
    static __data_end: u8;
    static __stacks_start: u8;
    static __stacks_end: u8;
    static __stack_bytes: u8;
    static __tables_start: u8;
    static __heap_start: u8;
    static __heap_end: u8;
    static __image_end: u8;
}

macro_rules! address {
    ($symbol:ident) => {
        // The symbol's address is what it stands for; its value is never read.
        (&raw const $symbol).expose_provenance() as u64
    };
}

fn range(start: u64, end: u64) -> Option<HostRange> {
    HostRange::new(HostAddr::new(start), end.checked_sub(start)?)
}

/// Everything.
pub(super) fn all() -> Option<HostRange> {
    range(address!(__image_start), address!(__image_end))
}

/// Instructions.
pub(super) fn code() -> Option<HostRange> {
    range(address!(__image_start), address!(__text_end))
}

/// Constants.
pub(super) fn constants() -> Option<HostRange> {
    range(address!(__text_end), address!(__rodata_end))
}

/// Variables, each stack without its guard page, tables and heap.
pub(super) fn data() -> impl Iterator<Item = HostRange> {
    let bytes = address!(__stack_bytes);
    let stacks = (address!(__stacks_start)..address!(__stacks_end)).step_by(usize::try_from(bytes).unwrap_or(usize::MAX));
    let variables = range(address!(__rodata_end), address!(__data_end));
    let rest = range(address!(__tables_start), address!(__image_end));
    [variables, rest].into_iter().chain(stacks.map(move |start| range(start + GUARD, start + bytes))).flatten()
}

/// The memory for the VMM's own translation tables.
pub(super) fn tables() -> Option<HostRange> {
    range(address!(__tables_start), address!(__heap_start))
}

/// Where the stack of CPU `cpu` ends.
pub(super) fn stack_end(cpu: u8) -> u64 {
    address!(__stacks_start) + (u64::from(cpu) + 1) * address!(__stack_bytes)
}

/// Start and size of the heap.
pub(super) fn heap() -> (*mut u8, usize) {
    let start = (&raw const __heap_start).cast_mut();
    let size = (&raw const __heap_end).addr() - start.addr();
    (start, size)
}
