//! `sel4-peer`: the other end of up to [`MAX_CONNECTIONS`] connections, a seL4 thread in a VSpace of its own on x86-64.
//!
//! The VMM loads the segments of its ELF file, maps dataport 0 of connection `i` at [`dataport`]`(i)`, and starts it at the ELF file's
//! entry with a mask of its connections (bit `i`: connection `i`) in `rdi`. It needs no other register, no stack and no IPC buffer.
//!
//! It waits for [`EVENTS`]. For each connection whose bit is set in the badge, it reads the request in the connection's [`Exchange`], writes
//! the [`answer`], counts the event as served, and signals [`signal`]`(i)`, once and as often again as the exchange's `repeat` says.

use core::sync::atomic::{AtomicU32, Ordering};

/// Lowest address of the program's segments.
pub const PROGRAM: u32 = 0x0040_0000;
/// First address behind the program's segments, at most.
pub const PROGRAM_END: u32 = 0x0060_0000;

/// Most connections of the peer.
pub const MAX_CONNECTIONS: usize = 8;
/// Where in its CSpace it finds the notification for which it waits. Bits of the badge are connections.
pub const EVENTS: u64 = 1;

/// Where the peer finds the notification that signals the VMM of the guest for connection `index`.
#[must_use]
pub const fn signal(index: u8) -> u64 {
    16 + index as u64
}

/// Where the peer finds dataport 0 of connection `index`: at least its first page is mapped, read-write.
#[must_use]
pub const fn dataport(index: u8) -> u32 {
    0x1000_0000 + 0x1_0000 * index as u32
}

/// The beginning of dataport 0, by which a guest asks and the peer answers.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Exchange {
    /// The guest's number.
    pub request: AtomicU32,
    /// The peer's [`answer`] to it.
    pub answer: AtomicU32,
    /// Events that the peer has served on this connection.
    pub served: AtomicU32,
    /// How many times the peer signals for an event, beyond the first; at most [`MAX_REPEAT`] are heeded.
    pub repeat: AtomicU32,
}

impl Exchange {
    /// Answers one event; how often the guest shall be signalled for it.
    pub fn serve(&self) -> u32 {
        self.answer.store(answer(self.request.load(Ordering::Acquire)), Ordering::Release);
        self.served.fetch_add(1, Ordering::AcqRel);
        self.repeat.load(Ordering::Acquire).min(MAX_REPEAT).saturating_add(1)
    }
}

/// Most signals for an event beyond the first.
pub const MAX_REPEAT: u32 = 64;

/// What the peer makes of a request.
#[must_use]
pub const fn answer(request: u32) -> u32 {
    request.rotate_left(7) ^ 0x5e14_c0de
}
