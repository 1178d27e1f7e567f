//! The instructions that order accesses to different kinds of memory.

/// All loads and stores before it are done before any load or store after it, whatever the kind of memory.
///
/// Stands before EMIT: what was written to a dataport is there, and what was read from it was read, before the peer is told.
#[inline]
pub(crate) fn full_barrier() {
    // SAFETY: barriers touch no memory of the program; the locked instruction leaves the word as it is.
    unsafe {
        #[cfg(any(target_arch = "aarch64", target_arch = "arm"))]
        core::arch::asm!("dsb sy", options(nostack, preserves_flags));
        #[cfg(any(target_arch = "x86_64", all(target_arch = "x86", target_feature = "sse2")))]
        core::arch::asm!("mfence", options(nostack, preserves_flags));
        // Processors without SSE2 have no fences, and a locked instruction does it: also write-combining buffers are emptied.
        #[cfg(all(target_arch = "x86", not(target_feature = "sse2")))]
        core::arch::asm!("lock or dword ptr [esp], 0");
        #[cfg(any(target_arch = "riscv32", target_arch = "riscv64"))]
        core::arch::asm!("fence iorw, iorw", options(nostack, preserves_flags));
    }
}

/// All loads before it are done before any load or store after it, whatever the kind of memory.
///
/// Stands after a load of COUNT: what the peer wrote before it emitted is seen by the loads that follow.
#[inline]
pub(crate) fn load_barrier() {
    // SAFETY: barriers touch no memory of the program; the locked instruction leaves the word as it is.
    unsafe {
        #[cfg(target_arch = "aarch64")]
        core::arch::asm!("dmb ld", options(nostack, preserves_flags));
        #[cfg(target_arch = "arm")]
        core::arch::asm!("dmb sy", options(nostack, preserves_flags));
        #[cfg(any(target_arch = "x86_64", all(target_arch = "x86", target_feature = "sse2")))]
        core::arch::asm!("lfence", options(nostack, preserves_flags));
        #[cfg(all(target_arch = "x86", not(target_feature = "sse2")))]
        core::arch::asm!("lock or dword ptr [esp], 0");
        #[cfg(any(target_arch = "riscv32", target_arch = "riscv64"))]
        core::arch::asm!("fence iorw, iorw", options(nostack, preserves_flags));
    }
}

/// All loads and stores of memory before it are done, for whoever else uses that memory, before any after it, cached or not. It does not wait for
/// device registers.
///
/// Stands between the messages of a channel and the words that tell of them.
#[inline]
pub(crate) fn memory_barrier() {
    // SAFETY: barriers touch no memory of the program.
    #[cfg(any(target_arch = "aarch64", target_arch = "arm"))]
    unsafe {
        core::arch::asm!("dmb sy", options(nostack, preserves_flags));
    };
    #[cfg(not(any(target_arch = "aarch64", target_arch = "arm")))]
    full_barrier();
}

#[cfg(not(any(
    target_arch = "aarch64",
    target_arch = "arm",
    target_arch = "x86_64",
    target_arch = "x86",
    target_arch = "riscv32",
    target_arch = "riscv64"
)))]
compile_error!("crossvm-guest does not know which instruction orders device memory here: add it to full_barrier and load_barrier");
