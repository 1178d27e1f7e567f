//! `sel4-vm-guest`: a guest in a VT-x vCPU, as seL4 5.0.0 offers it: 32-bit protected mode, paged from the first instruction.
//!
//! # At the start
//!
//! | state | value |
//! | --- | --- |
//! | RAM | [`RAM`], [`RAM_LENGTH`] bytes, read-write-execute; the ELF file's segments are loaded there (physical = virtual addresses) |
//! | EIP | the ELF file's entry; no other general register matters, and no stack is needed |
//! | CR0, CR4 | PE, PG (and what VMX demands); PSE |
//! | CR3 | [`PAGE_DIRECTORY`]: a page that the VMM fills with [`page_directory_entry`]`(0..1024)`: all 4 GiB, mapped where they are |
//! | CS, DS, ES, SS | flat, 32 bits, base 0, limit 4 GiB; the program loads a GDT and an IDT of its own at once |
//! | EFLAGS | 2: interrupts off |
//!
//! # From then on
//!
//! [`MAILBOX`] is a page of the RAM. Configuration space is reached by the ports 0xcf8 and 0xcfc (32-bit accesses, but for [`Command::Hostile`](crate::Command::Hostile)), and a 32-bit
//! `out` of a [`Report`](crate::Report) to [`REPORT_PORT`] tells the VMM. Event registers are accessed with the encodings of
//! [`thread`](crate::thread), with `edx` as the address.
//!
//! There is no interrupt controller: while a connection's line is high and the guest takes interrupts, the VMM may inject
//! [`VECTOR`]. Injecting only when a line rises does too. The program takes interrupts in `sti; hlt` alone, and its handler returns with
//! interrupts off, so that a line that is still high does no harm; nothing is acknowledged but the events. Processor exceptions are
//! reported as [`Report::Panic`](crate::Report::Panic).
//!
//! After [`Command::Stop`](crate::Command::Stop) the program halts with interrupts off.

/// Guest-physical start of RAM; also the lowest address of the program's segments.
pub const RAM: u32 = 0x0020_0000;
/// Length of RAM in bytes: one large page.
pub const RAM_LENGTH: u32 = 0x0020_0000;
/// First address behind the program's segments, at most.
pub const PROGRAM_END: u32 = MAILBOX;
/// The [`Mailbox`](crate::Mailbox): a page that guest and VMM read and write.
pub const MAILBOX: u32 = 0x003f_e000;
/// The page directory, which the VMM fills before the start.
pub const PAGE_DIRECTORY: u32 = 0x003f_f000;
/// Nothing is ever mapped here, nor does RAM or the window reach so far.
pub const NOWHERE: u32 = 0x0082_0000;

/// Window of the host bridge, in which the BARs lie.
pub const WINDOW: u32 = 0x1000_0000;
/// Length of the window in bytes.
pub const WINDOW_LENGTH: u32 = 0x0800_0000;

/// The port to which the guest reports.
pub const REPORT_PORT: u16 = 0x0500;
/// Vector of the connections' interrupt.
pub const VECTOR: u8 = 0x30;

/// Entry `index` of the page directory: 4 MiB at their own address, present, writable, for all, large (Intel SDM volume 3, 4.3).
#[must_use]
pub const fn page_directory_entry(index: u32) -> u32 {
    const PRESENT: u32 = 1 << 0;
    const WRITABLE: u32 = 1 << 1;
    const USER: u32 = 1 << 2;
    const LARGE: u32 = 1 << 7;
    index << 22 | PRESENT | WRITABLE | USER | LARGE
}
