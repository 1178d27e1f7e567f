//! A seL4 thread on x86-64: its start, and the two system calls that it makes.

use core::arch::{asm, global_asm};
use core::panic::PanicInfo;

use crossvm_guest::bare::{Ecam, Mapped, PhysicalRange};

use super::{memory, odd};
use crate::peer;
use crate::platform::{Platform, Random};
use crate::thread::{ECAM, ECAM_LENGTH, INTERRUPT, MAILBOX, REPORT};
use crate::{Mailbox, Report};

// The first instruction of each program: a stack, and the program's own `main` with what the VMM left in `rdi`.
global_asm!(
    ".pushsection .text.start, \"ax\"",
    ".global _start",
    "_start:",
    "lea rsp, [rip + {stack} + {length}]",
    "xor ebp, ebp",
    "cld",
    "call main",
    "ud2",
    ".popsection",
    stack = sym STACK,
    length = const STACK_LENGTH,
);

const STACK_LENGTH: usize = 32 << 10;

/// The one thread's stack.
#[repr(C, align(16))]
struct Stack([u8; STACK_LENGTH]);

static mut STACK: Stack = Stack([0; STACK_LENGTH]);

/// Numbers of system calls (seL4 5.0.0, libsel4: include/api/syscall.xml, counted downwards from -1).
mod call {
    pub(super) const SEND: isize = -3;
    pub(super) const RECV: isize = -5;
}

/// Waits for the notification at `slot`, and returns its badge (x86-64, `syscall`: the number in `rdx`, the capability in `rdi`).
fn wait(slot: u64) -> u64 {
    let badge;
    // SAFETY: the kernel keeps all registers but those named; it leaves the stack pointer as it was, or does not care, so it is kept here.
    unsafe {
        asm!(
            "mov r12, rsp", "syscall", "mov rsp, r12",
            in("rdx") call::RECV, inout("rdi") slot => badge,
            out("rsi") _, out("r8") _, out("r9") _, out("r10") _, out("r15") _, out("r12") _, out("rcx") _, out("r11") _,
        );
    }
    badge
}

/// Signals the notification at `slot`: a send without a message.
fn signal(slot: u64) {
    // SAFETY: as for `wait`.
    unsafe {
        asm!(
            "mov r12, rsp", "syscall", "mov rsp, r12",
            in("rdx") call::SEND, in("rdi") slot, in("rsi") 0_u64, out("r12") _, out("rcx") _, out("r11") _,
        );
    }
}

/// The guest.
#[derive(Debug)]
pub struct Thread(());

/// What the guest's `main` does.
pub fn start(obey: fn(&Thread, &Mailbox)) -> ! {
    obey(&Thread(()), memory::mailbox(MAILBOX as usize));
    // Commanded to stop: the interrupt is waited for, and not heeded.
    loop {
        wait(INTERRUPT);
    }
}

/// What the peer's `main` does, with the mask of its connections.
pub fn peer(connections: u64) -> ! {
    loop {
        let events = wait(peer::EVENTS) & connections;
        for index in (0_u8..).take(peer::MAX_CONNECTIONS).filter(|index| events & 1 << index != 0) {
            let exchange = memory::exchange(peer::dataport(index) as usize);
            for _ in 0..exchange.serve() {
                signal(peer::signal(index));
            }
        }
    }
}

impl Platform for Thread {
    type Access = Ecam;
    type Memory = Mapped<super::Identity>;

    fn access(&self) -> Option<Ecam> {
        Ecam::new(&super::Identity, PhysicalRange::new(u64::from(ECAM), u64::from(ECAM_LENGTH))?)
    }

    fn memory(&self) -> Self::Memory {
        Mapped::new(super::Identity)
    }

    fn report(&self, report: Report) {
        memory::store_32(REPORT as usize, report as u32);
    }

    fn wait(&self) {
        wait(INTERRUPT);
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

    fn listen(&self, slot: u32) {
        wait(slot.into());
    }

    fn disturb(&self, random: &mut Random) {
        // Any byte of configuration space that is followed by three more.
        let at = ECAM as usize + random.draw() as usize % (ECAM_LENGTH as usize - 3);
        let value = random.draw().to_le_bytes();
        let [low, high, ..] = value;
        match random.draw() % 6 {
            0 => drop_value(memory::load_8(at)),
            1 => drop_value(memory::load_16(at)),
            2 => drop_value(memory::load_32(at)),
            3 => memory::store_8(at, low),
            4 => memory::store_16(at, u16::from_le_bytes([low, high])),
            _ => memory::store_32(at, u32::from_le_bytes(value)),
        }
    }
}

/// What is read from configuration space in disorder is of no interest.
fn drop_value<T>(_: T) {}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    memory::store_32(REPORT as usize, Report::Panic as u32);
    loop {
        wait(INTERRUPT);
    }
}
