//! Tells a root task that nothing else runs any more: all that it could wait for will never come.

use core::arch::global_asm;

use crossvm_sel4::kernel::{Badge, CPtr, CapRights, Kernel, Object, ThreadSpaces, Threads};
use crossvm_sel4::libsel4::slots;

use super::system::{System, Trouble};

/// Lowest but for the kernel's own idle thread.
const PRIORITY: u8 = 1;
/// Slots of its CSpace: 2^this.
const CSPACE_BITS: u8 = 2;
/// Where it waits, and what it signals then.
const GO: u64 = 1;
const IDLE: u64 = 2;

// A thread of the root task's own address space without stack or IPC buffer. Numbers of calls: -5 waits, -3 signals (libsel4, `syscall.h`).
global_asm!(
    r#"
    .section .text.idle, "ax"
idle_thread:
    mov rdx, -5
    mov rdi, {go}
    syscall
    mov rdx, -3
    mov rdi, {idle}
    xor esi, esi
    syscall
    jmp idle_thread
"#,
    go = const GO,
    idle = const IDLE,
);

unsafe extern "C" {
    /// The thread's program; not to be called.
    fn idle_thread();
}

/// The watch.
#[derive(Debug, Clone, Copy)]
pub struct Idle {
    go: CPtr,
}

impl Idle {
    /// A watch that signals `notification` under `badge`.
    ///
    /// # Errors
    /// [`Trouble`].
    pub fn new(system: System<'_>, notification: CPtr, badge: Badge) -> Result<Self, Trouble> {
        let kernel = system.kernel();
        let go = system.create(Object::Notification)?;
        let cspace = system.create(Object::CNode(CSPACE_BITS))?;
        kernel.mint_into(go, cspace, CSPACE_BITS, GO, CapRights::READ, Badge::NONE)?;
        kernel.mint_into(notification, cspace, CSPACE_BITS, IDLE, CapRights::WRITE, badge)?;
        let thread = system.create(Object::Tcb)?;
        let vspace = slots::VSPACE;
        let spaces = ThreadSpaces { cspace, guard_bits: 64 - CSPACE_BITS, vspace, fault_endpoint: CPtr::NULL, ipc_buffer: None };
        kernel.configure(thread, spaces)?;
        kernel.set_priority(thread, slots::TCB, PRIORITY)?;
        kernel.write_registers(thread, &[idle_thread as *const () as u64, 0, 0x202])?;
        kernel.resume(thread)?;
        Ok(Self { go })
    }

    /// Watches from now on: when nothing else runs any more, it signals.
    pub fn watch(self, kernel: &impl Kernel) {
        kernel.signal(self.go);
    }
}
