//! Single loads and stores that a VM monitor can decode.
//!
//! A store to event registers traps, and so does a load from configuration space. On Arm the processor describes a trapped access only
//! where its instruction has no writeback, and on x86 the monitor decodes the instruction. So these are not left to the compiler: on Arm
//! a plain `ldr` or `str`, on x86 a `mov` with the address in `edx` (`rdx`) and the value in `eax`.

/// Integers: every bit pattern is a value.
pub trait Plain: Copy {
    /// Loads from `at` in one access where the processor has one so wide.
    ///
    /// # Safety
    /// `at` is aligned and can be read.
    #[doc(hidden)]
    unsafe fn load_from(at: *const Self) -> Self;

    /// Stores to `at` in one access where the processor has one so wide.
    ///
    /// # Safety
    /// `at` is aligned and can be written, and no reference to it exists.
    #[doc(hidden)]
    unsafe fn store_to(at: *mut Self, value: Self);
}

/// An integer that is accessed by the instruction named, where the architecture is one of those listed here.
macro_rules! plain {
    ($word:ty, x86: ($register:tt, $pointer:literal), arm64: ($load:literal, $store:literal, $view:literal)) => {
        impl Plain for $word {
            #[inline]
            unsafe fn load_from(at: *const Self) -> Self {
                // SAFETY: the caller gives an aligned pointer that can be read; the instruction reads that one word.
                unsafe {
                    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
                    {
                        let value: Self;
                        #[cfg(target_arch = "x86_64")]
                        core::arch::asm!(concat!("mov ", $register, ", ", $pointer, " ptr [rdx]"), in("rdx") at, out($register) value, options(nostack, preserves_flags, readonly));
                        #[cfg(target_arch = "x86")]
                        core::arch::asm!(concat!("mov ", $register, ", ", $pointer, " ptr [edx]"), in("edx") at, out($register) value, options(nostack, preserves_flags, readonly));
                        value
                    }
                    #[cfg(target_arch = "aarch64")]
                    {
                        let value: Self;
                        core::arch::asm!(concat!($load, " {value:", $view, "}, [{at}]"), at = in(reg) at, value = out(reg) value, options(nostack, preserves_flags, readonly));
                        value
                    }
                    #[cfg(not(any(target_arch = "x86", target_arch = "x86_64", target_arch = "aarch64")))]
                    at.read_volatile()
                }
            }

            #[inline]
            unsafe fn store_to(at: *mut Self, value: Self) {
                // SAFETY: the caller gives an aligned pointer that can be written; the instruction writes that one word.
                unsafe {
                    #[cfg(target_arch = "x86_64")]
                    core::arch::asm!(concat!("mov ", $pointer, " ptr [rdx], ", $register), in("rdx") at, in($register) value, options(nostack, preserves_flags));
                    #[cfg(target_arch = "x86")]
                    core::arch::asm!(concat!("mov ", $pointer, " ptr [edx], ", $register), in("edx") at, in($register) value, options(nostack, preserves_flags));
                    #[cfg(target_arch = "aarch64")]
                    core::arch::asm!(concat!($store, " {value:", $view, "}, [{at}]"), at = in(reg) at, value = in(reg) value, options(nostack, preserves_flags));
                    #[cfg(not(any(target_arch = "x86", target_arch = "x86_64", target_arch = "aarch64")))]
                    at.write_volatile(value);
                }
            }
        }
    };
}

plain!(u8, x86: ("al", "byte"), arm64: ("ldrb", "strb", "w"));
plain!(u32, x86: ("eax", "dword"), arm64: ("ldr", "str", "w"));

/// For dataports only, which do not trap: the compiler's instruction does.
impl Plain for u64 {
    #[inline]
    unsafe fn load_from(at: *const Self) -> Self {
        // SAFETY: the caller gives an aligned pointer that can be read.
        unsafe { at.read_volatile() }
    }

    #[inline]
    unsafe fn store_to(at: *mut Self, value: Self) {
        // SAFETY: the caller gives an aligned pointer that can be written.
        unsafe { at.write_volatile(value) }
    }
}
