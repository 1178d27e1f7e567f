//! How long an instruction is (Vol. 2A chapter 2, Vol. 2D appendix A). It need be right for those alone that touch memory: no others come here.

use crossvm_core::Width;

use super::{Cursor, Prefixes};

/// The byte that names operands.
#[derive(Debug, Clone, Copy)]
pub(super) struct ModRm(u8);

impl ModRm {
    /// One operand is memory.
    pub(super) const fn is_memory(self) -> bool {
        self.0 >> 6 != 3
    }

    /// The field that names a register, or what the instruction is.
    pub(super) const fn register(self) -> u8 {
        self.0 >> 3 & 7
    }
}

/// Takes a `ModRM` byte with what belongs to it: a scale-index-base byte and a displacement.
pub(super) fn modrm(prefixes: Prefixes, cursor: &mut Cursor<'_>) -> Option<ModRm> {
    let byte = cursor.next()?;
    let (mode, base) = (byte >> 6, byte & 7);
    let displacement = if prefixes.narrow_addresses {
        match (mode, base) {
            (1, _) => 1,
            (2, _) | (0, 6) => 2,
            _ => 0,
        }
    } else {
        let base = if mode != 3 && base == 4 { cursor.next()? & 7 } else { base };
        match (mode, base) {
            (1, _) => 1,
            (2, _) | (0, 5) => 4,
            _ => 0,
        }
    };
    cursor.skip(displacement)?;
    Some(ModRm(byte))
}

/// Takes what belongs to the opcode whose first byte has been taken.
pub(super) fn rest(prefixes: Prefixes, opcode: u8, cursor: &mut Cursor<'_>) -> Option<()> {
    let operand: u8 = if prefixes.narrow_operands { 2 } else { 4 };
    let address: u8 = if prefixes.narrow_addresses { 2 } else { 4 };
    let immediate = match opcode {
        0x0f => return rest_of_two(prefixes, operand, cursor),
        // With two register operands these are no LES, LDS and BOUND, but prefixes of vector instructions.
        0xc4 | 0xc5 | 0x62 if cursor.peek()? >> 6 == 3 => return rest_of_vector(prefixes, opcode, cursor),
        // Arithmetic: three in four have operands, then two have a number.
        0x00..=0x3f => match opcode & 7 {
            0..=3 => {
                modrm(prefixes, cursor)?;
                0
            }
            4 => 1,
            5 => operand,
            _ => 0,
        },
        0x62 | 0x63 | 0x84..=0x8f | 0xc4 | 0xc5 | 0xd0..=0xd3 | 0xd8..=0xdf | 0xfe | 0xff => {
            modrm(prefixes, cursor)?;
            0
        }
        0x69 | 0x81 | 0xc7 => {
            modrm(prefixes, cursor)?;
            operand
        }
        0x6b | 0x80 | 0x82 | 0x83 | 0xc0 | 0xc1 | 0xc6 => {
            modrm(prefixes, cursor)?;
            1
        }
        // TEST has a number, its neighbours have none.
        0xf6 | 0xf7 => match (modrm(prefixes, cursor)?.register(), opcode) {
            (0 | 1, 0xf6) => 1,
            (0 | 1, _) => operand,
            _ => 0,
        },
        0x6a | 0x70..=0x7f | 0xa8 | 0xb0..=0xb7 | 0xcd | 0xd4 | 0xd5 | 0xe0..=0xe7 | 0xeb => 1,
        0x68 | 0xa9 | 0xb8..=0xbf | 0xe8 | 0xe9 => operand,
        0x9a | 0xea => operand.checked_add(2)?,
        0xa0..=0xa3 => address,
        0xc2 | 0xca => 2,
        0xc8 => 3,
        _ => 0,
    };
    cursor.skip(immediate)
}

/// Opcodes that start with 0x0f.
fn rest_of_two(prefixes: Prefixes, operand: u8, cursor: &mut Cursor<'_>) -> Option<()> {
    let opcode = cursor.next()?;
    match opcode {
        0x38 => {
            cursor.next()?;
            modrm(prefixes, cursor).map(drop)
        }
        0x3a => {
            cursor.next()?;
            modrm(prefixes, cursor)?;
            cursor.skip(1)
        }
        0x80..=0x8f => cursor.skip(operand),
        // Moves of control and debug registers: two registers, whatever the byte says.
        0x20..=0x23 => cursor.skip(1),
        0x04..=0x0c | 0x0e | 0x30..=0x37 | 0x77 | 0xa0..=0xa2 | 0xa8..=0xaa | 0xc8..=0xcf => Some(()),
        0x0f | 0x70..=0x73 | 0xa4 | 0xac | 0xba | 0xc2 | 0xc4..=0xc6 => {
            modrm(prefixes, cursor)?;
            cursor.skip(1)
        }
        _ => modrm(prefixes, cursor).map(drop),
    }
}

/// Vector instructions behind the prefixes VEX and EVEX (Vol. 2A §2.3.5 and §2.7).
fn rest_of_vector(prefixes: Prefixes, opcode: u8, cursor: &mut Cursor<'_>) -> Option<()> {
    let first = cursor.next()?;
    let map = match opcode {
        0xc5 => 1,
        0xc4 => {
            cursor.skip(1)?;
            first & 0x1f
        }
        _ => {
            cursor.skip(2)?;
            first & 7
        }
    };
    let instruction = cursor.next()?;
    if (map, instruction) == (1, 0x77) {
        return Some(());
    }
    modrm(prefixes, cursor)?;
    match (map, instruction) {
        (3, _) | (1, 0x70..=0x73 | 0xc2 | 0xc4..=0xc6) => cursor.number(Width::U8).map(drop),
        _ => Some(()),
    }
}
