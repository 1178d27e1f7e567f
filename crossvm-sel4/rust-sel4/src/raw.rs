//! What takes unsafe code.

use core::arch::asm;

use sel4::sys::{seL4_UserContext, syscall_id};

/// What was received.
pub(crate) struct Raw {
    pub(crate) badge: u64,
    /// Label and length of the message; none for a signal, and where nothing waits.
    pub(crate) info: Option<(u64, usize)>,
    /// Its first words; the others are in the IPC buffer.
    pub(crate) words: [u64; 4],
}

/// Bits of a message's length in its description; the label begins at bit 12 (`seL4_MessageInfo_t`).
const LENGTH: u64 = 0x7f;

/// No message is described so: none is as long as this says. A signal, and a receive that finds nothing, leave the register as it was.
const NO_MESSAGE: u64 = u64::MAX;

/// Receives a message or signal.
///
/// rust-sel4's own receive does not set the register of the description beforehand, so that after it a signal cannot be told from a message.
pub(crate) fn receive(endpoint: u64, blocking: bool) -> Raw {
    let call = i64::from(if blocking { syscall_id::Recv } else { syscall_id::NBRecv });
    let (badge, info): (u64, u64);
    let (first, second, third, fourth): (u64, u64, u64, u64);
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the system call changes the registers that are named, and the IPC buffer, which is no variable of this program.
    unsafe {
        asm!(
            // The kernel does not keep the stack pointer.
            "mov r12, rsp",
            "syscall",
            "mov rsp, r12",
            in("rdx") call,
            inlateout("rdi") endpoint => badge,
            inlateout("rsi") NO_MESSAGE => info,
            lateout("r10") first,
            lateout("r8") second,
            lateout("r9") third,
            lateout("r15") fourth,
            out("r12") _,
            lateout("rcx") _,
            lateout("r11") _,
        );
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: the system call changes the registers that are named, and the IPC buffer, which is no variable of this program.
    unsafe {
        asm!(
            "svc #0",
            in("x7") call,
            inlateout("x0") endpoint => badge,
            inlateout("x1") NO_MESSAGE => info,
            lateout("x2") first,
            lateout("x3") second,
            lateout("x4") third,
            lateout("x5") fourth,
        );
    }
    let info = (info != NO_MESSAGE).then_some((info >> 12, (info & LENGTH) as usize));
    Raw { badge, info, words: [first, second, third, fourth] }
}

/// The registers of a thread as words, in seL4's order.
pub(crate) fn words(context: &mut seL4_UserContext) -> &mut [u64] {
    let count = size_of::<seL4_UserContext>() / size_of::<u64>();
    // SAFETY: the structure is that of C, of words alone.
    unsafe { core::slice::from_raw_parts_mut(core::ptr::from_mut(context).cast(), count) }
}
