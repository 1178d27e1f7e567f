//! Stores to a word by instructions that a VMM does not expect there.

use core::arch::asm;

/// The name of the index register with the width of an address.
#[cfg(target_arch = "x86_64")]
macro_rules! si {
    () => {
        "rsi"
    };
}
/// The name of the index register with the width of an address.
#[cfg(target_arch = "x86")]
macro_rules! si {
    () => {
        "esi"
    };
}

/// One instruction, with the address in `{at}`, one in `eax`, and `ecx` to use.
macro_rules! instruction {
    ($address:expr, $($line:literal),+) => {
        // SAFETY: the VMM told this program to do it, and ends it if it cannot tell what the instruction does. No memory of the program
        // is changed.
        unsafe { asm!($($line),+, at = in(reg) $address, inout("eax") 1 => _, out("ecx") _) }
    };
}

/// Stores to `address`, aligned to four bytes, by the instruction with this number; `false` where there is none.
///
/// Read-modify-write instructions read the page, which is mapped, and fault at the store.
pub(super) fn store(address: usize, number: u32) -> bool {
    match number {
        0 => instruction!(address, "xchg dword ptr [{at}], eax"),
        1 => instruction!(address, "add dword ptr [{at}], eax"),
        2 => instruction!(address, "mov dword ptr [{at}], 1"),
        3 => instruction!(address, "or byte ptr [{at}], 1"),
        4 => instruction!(address, "mov dword ptr [{at} * 1 + 0], eax"),
        5 => instruction!(address, "bts dword ptr [{at}], 0"),
        6 => instruction!(address, "lock inc dword ptr [{at}]"),
        7 => instruction!(address, "mov ecx, 1", "lock xadd dword ptr [{at}], ecx"),
        8 => instruction!(address, "mov word ptr [{at}], 1"),
        9 => instruction!(address, "mov word ptr [{at} + 1], ax"),
        10 => instruction!(address.wrapping_sub(0x1234_5678), "mov dword ptr [{at} + 0x12345678], eax"),
        11 => instruction!(address, "test eax, eax", "setnz byte ptr [{at}]"),
        12 => store_string(address),
        13 => store_string_repeated(address),
        14 => move_string(address),
        _ => return false,
    }
    true
}

fn store_string(address: usize) {
    // SAFETY: as for the others; the direction flag is clear.
    unsafe { asm!("stosd", inout("edi") address => _, in("eax") 1, options(nostack, preserves_flags)) }
}

fn store_string_repeated(address: usize) {
    // SAFETY: as for the others; the direction flag is clear, and four bytes are within the page.
    unsafe { asm!("rep stosb", inout("edi") address => _, inout("ecx") 4_usize => _, in("al") 1_u8, options(nostack, preserves_flags)) }
}

fn move_string(address: usize) {
    static ONE: u32 = 1;
    // SAFETY: as for the others; the direction flag is clear, the source is a word of the program, and the index register is put back.
    unsafe {
        asm!(
            concat!("xchg {from}, ", si!()),
            "movsd",
            concat!("xchg {from}, ", si!()),
            from = inout(reg) &raw const ONE => _,
            inout("edi") address => _,
            options(nostack, preserves_flags)
        );
    }
}
