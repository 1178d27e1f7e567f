//! The instruction behind an EPT violation: the hardware gives an address, and no value, width or register.
//!
//! Drivers touch the event registers with plain moves, and those are decoded. Of every other instruction the length is found, so that it can be
//! skipped. Full decoders exist as crates, but a guest chooses what they read: see `docs/decisions.md`. The tests use one as the judge.

mod length;
#[cfg(test)]
mod tests;

use crossvm_core::Width;

use super::registers::RegisterPart;

/// Longest instruction in bytes (Vol. 2A §2.3.11).
pub const LONGEST: usize = 15;

/// What an instruction does with memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Operation {
    /// It stores a register.
    Store(RegisterPart),
    /// It stores a number.
    StoreNumber {
        /// How many bytes.
        width: Width,
        /// The number.
        value: u32,
    },
    /// It loads a register.
    Load {
        /// How many bytes.
        width: Width,
        /// The sign is extended, not zeros.
        signed: bool,
        /// The register that gets it.
        into: RegisterPart,
    },
    /// It does more, or something else.
    Other,
}

/// An instruction of a 32-bit code segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Instruction {
    /// Number of bytes, 1 to [`LONGEST`].
    pub length: u8,
    /// What it does with memory.
    pub operation: Operation,
}

/// Prefixes that change an instruction's size.
#[derive(Debug, Clone, Copy, Default)]
struct Prefixes {
    /// 0x66: operands of 16 bits.
    narrow_operands: bool,
    /// 0x67: addresses of 16 bits.
    narrow_addresses: bool,
    /// 0xf2 or 0xf3.
    repeat: bool,
    /// 0xf0.
    lock: bool,
}

impl Prefixes {
    const fn operand(self) -> Width {
        if self.narrow_operands { Width::U16 } else { Width::U32 }
    }
}

/// The bytes of an instruction that are left.
#[derive(Debug, Clone, Copy)]
struct Cursor<'a> {
    bytes: &'a [u8],
    used: u8,
}

impl Cursor<'_> {
    fn next(&mut self) -> Option<u8> {
        let (&first, rest) = self.bytes.split_first()?;
        self.bytes = rest;
        self.used = self.used.checked_add(1)?;
        Some(first)
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.first().copied()
    }

    fn skip(&mut self, count: u8) -> Option<()> {
        (0..count).try_for_each(|_| self.next().map(drop))
    }

    /// A number of the width's bytes, little endian.
    fn number(&mut self, width: Width) -> Option<u32> {
        let mut value = 0;
        for shift in (0..width.bytes()).map(|byte| byte.saturating_mul(8)) {
            value |= u32::from(self.next()?).checked_shl(u32::try_from(shift).ok()?)?;
        }
        Some(value)
    }
}

impl Instruction {
    /// Decodes the instruction that `bytes` start with. `None` where they do not suffice, or are no instruction: the caller then falls back on the
    /// length that the hardware has reported.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut cursor = Cursor { bytes: bytes.get(..LONGEST).unwrap_or(bytes), used: 0 };
        let prefixes = prefixes(&mut cursor)?;
        let opcode = cursor.next()?;
        let operation = operation(prefixes, opcode, cursor).unwrap_or(Operation::Other);
        length::rest(prefixes, opcode, &mut cursor)?;
        Some(Self { length: cursor.used, operation })
    }
}

fn prefixes(cursor: &mut Cursor<'_>) -> Option<Prefixes> {
    let mut prefixes = Prefixes::default();
    loop {
        match cursor.peek()? {
            0x66 => prefixes.narrow_operands = true,
            0x67 => prefixes.narrow_addresses = true,
            0xf2 | 0xf3 => prefixes.repeat = true,
            0xf0 => prefixes.lock = true,
            0x26 | 0x2e | 0x36 | 0x3e | 0x64 | 0x65 => {}
            _ => return Some(prefixes),
        }
        cursor.next()?;
    }
}

/// What the moves do; the cursor is behind the first byte of the opcode.
fn operation(prefixes: Prefixes, opcode: u8, mut cursor: Cursor<'_>) -> Option<Operation> {
    if prefixes.lock {
        return None;
    }
    let operand = prefixes.operand();
    let accumulator = |width| RegisterPart::from_bits(0, width);
    Some(match opcode {
        // MOV between the accumulator and an address.
        0xa0 => load(Width::U8, false, accumulator(Width::U8)),
        0xa1 => load(operand, false, accumulator(operand)),
        0xa2 => Operation::Store(accumulator(Width::U8)),
        0xa3 => Operation::Store(accumulator(operand)),
        // MOV between a register and memory.
        0x88 => Operation::Store(register_of(&mut cursor, prefixes, Width::U8)?),
        0x89 => Operation::Store(register_of(&mut cursor, prefixes, operand)?),
        0x8a => load(Width::U8, false, register_of(&mut cursor, prefixes, Width::U8)?),
        0x8b => load(operand, false, register_of(&mut cursor, prefixes, operand)?),
        // MOV of a number to memory.
        0xc6 => number(&mut cursor, prefixes, Width::U8)?,
        0xc7 => number(&mut cursor, prefixes, operand)?,
        // MOVZX, MOVSX, and MOVNTI.
        0x0f => match cursor.next()? {
            0xb6 => load(Width::U8, false, register_of(&mut cursor, prefixes, operand)?),
            0xb7 => load(Width::U16, false, register_of(&mut cursor, prefixes, operand)?),
            0xbe => load(Width::U8, true, register_of(&mut cursor, prefixes, operand)?),
            0xbf => load(Width::U16, true, register_of(&mut cursor, prefixes, operand)?),
            0xc3 if !prefixes.repeat && !prefixes.narrow_operands => Operation::Store(register_of(&mut cursor, prefixes, Width::U32)?),
            _ => return None,
        },
        _ => return None,
    })
}

const fn load(width: Width, signed: bool, into: RegisterPart) -> Operation {
    Operation::Load { width, signed, into }
}

/// The register of a `ModRM` byte whose other operand is memory.
fn register_of(cursor: &mut Cursor<'_>, prefixes: Prefixes, width: Width) -> Option<RegisterPart> {
    let modrm = length::modrm(prefixes, cursor)?;
    modrm.is_memory().then(|| RegisterPart::from_bits(modrm.register(), width))
}

/// The number behind a `ModRM` byte whose register field is 0 and whose other operand is memory.
fn number(cursor: &mut Cursor<'_>, prefixes: Prefixes, width: Width) -> Option<Operation> {
    let modrm = length::modrm(prefixes, cursor)?;
    if !modrm.is_memory() || modrm.register() != 0 {
        return None;
    }
    Some(Operation::StoreNumber { width, value: cursor.number(width)? })
}
