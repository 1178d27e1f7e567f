//! `sel4-guest`: a guest that is a seL4 thread on x86-64, without capabilities but one notification.
//!
//! The VMM loads the segments of its ELF file with their rights, makes [`MAILBOX`] a page that both share, maps dataports and event
//! pages where the BARs are, and starts the thread at the ELF file's entry. No register and no stack is needed, and no IPC buffer: the
//! program brings its stack.
//!
//! Configuration space ([`ECAM`]) and [`REPORT`] are not mapped: each access there is a fault. The program accesses these and event
//! registers by six encodings only, with the address in `rdx` and the value in `eax`, `ax` or `al`:
//!
//! | bytes | instruction |
//! | --- | --- |
//! | `8b 02`, `66 8b 02`, `8a 02` | `mov eax, [rdx]`, `mov ax, [rdx]`, `mov al, [rdx]` |
//! | `89 02`, `66 89 02`, `88 02` | `mov [rdx], eax`, `mov [rdx], ax`, `mov [rdx], al` |
//!
//! [`Command::Odd`](crate::Command::Odd) is the exception, on purpose.
//!
//! All addresses are below 4 GiB: seL4 5.0.0 cuts fault addresses to 32 bits on x86-64.

/// Lowest address of the program's segments.
pub const PROGRAM: u32 = 0x0040_0000;
/// First address behind the program's segments, at most.
pub const PROGRAM_END: u32 = 0x0060_0000;
/// The [`Mailbox`](crate::Mailbox): a page that guest and VMM read and write.
pub const MAILBOX: u32 = 0x0080_0000;
/// A store of a [`Report`](crate::Report) here faults, and tells the VMM. The VMM moves the instruction pointer behind it.
pub const REPORT: u32 = 0x0081_0000;
/// Nothing is ever mapped here: where [`Command::Jump`](crate::Command::Jump) and [`Command::Store`](crate::Command::Store) go.
pub const NOWHERE: u32 = 0x0082_0000;

/// Window of the host bridge, in which the BARs lie.
pub const WINDOW: u32 = 0x1000_0000;
/// Length of the window in bytes.
pub const WINDOW_LENGTH: u32 = 0x0800_0000;
/// Configuration space, as ECAM.
pub const ECAM: u32 = 0x3f00_0000;
/// Length of it in bytes: one bus.
pub const ECAM_LENGTH: u32 = 0x0010_0000;

/// Where in its CSpace the guest finds the notification that is its interrupt: all lines of all connections. It is signalled when a
/// line rises, and needs the right to read.
pub const INTERRUPT: u64 = 1;
