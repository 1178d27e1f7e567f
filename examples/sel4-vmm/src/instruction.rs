//! Loads and stores of x86-64 programs that the VMM serves, by their instructions.
//!
//! A fault tells address and direction; what was stored, where a loaded value goes, and where the next instruction begins, only the
//! instruction tells. Moves between memory and a general register, or of a constant, are understood. Of all others the length is known, which
//! is enough to pass over them, as [`GuestAccess::UndecodedWrite`](crossvm_core::GuestAccess::UndecodedWrite) wants it.

use crossvm_core::Width;
use yaxpeax_x86::amd64::{InstDecoder, Instruction, Opcode, Operand, RegSpec, register_class};

/// The longest instruction in bytes.
pub const LONGEST: usize = 15;
/// General registers in the order of seL4's `seL4_UserContext` for x86-64, up to `r15`.
pub const REGISTERS: usize = 18;
/// Where the instruction pointer is in it.
pub const IP: usize = 0;

/// Where it has the registers that instructions number 0 to 15.
const PLACES: [usize; 16] = [3, 5, 6, 4, 1, 9, 7, 8, 10, 11, 12, 13, 14, 15, 16, 17];

/// A load or store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access {
    /// Bytes of the instruction.
    pub length: u8,
    /// What it does.
    pub kind: Kind,
}

/// What an instruction does to memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Loads a register.
    Load {
        /// Width of the memory access.
        width: Width,
        /// Where the value goes.
        register: Register,
    },
    /// Stores a value.
    Store {
        /// Width of the memory access.
        width: Width,
        /// The value, zero-extended.
        value: u64,
    },
    /// Something else, with so many bytes of memory.
    Other {
        /// Bytes, as far as the instruction alone tells.
        bytes: u8,
    },
}

/// A part of a general register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Register {
    place: usize,
    /// Lowest bit: 8 for `ah` and its like.
    shift: u8,
    width: Width,
}

impl Register {
    fn of(register: RegSpec) -> Option<Self> {
        let number = usize::from(register.num());
        let (number, shift, width) = match register.class() {
            register_class::Q => (number, 0, Width::U64),
            register_class::D => (number, 0, Width::U32),
            register_class::W => (number, 0, Width::U16),
            register_class::RB => (number, 0, Width::U8),
            register_class::B => (number & 3, if number >= 4 { 8 } else { 0 }, Width::U8),
            _ => return None,
        };
        Some(Self { place: *PLACES.get(number)?, shift, width })
    }

    /// Its value.
    #[must_use]
    pub fn read(self, registers: &[u64; REGISTERS]) -> u64 {
        registers.get(self.place).map_or(0, |value| value >> self.shift & self.width.mask())
    }

    /// Loads it as the processor does: 32 bits clear the upper half, fewer leave the rest.
    pub fn write(self, registers: &mut [u64; REGISTERS], value: u64) {
        let Some(register) = registers.get_mut(self.place) else { return };
        let bits = self.width.mask() << self.shift;
        let kept = if self.width == Width::U32 { 0 } else { *register & !bits };
        *register = kept | value << self.shift & bits;
    }
}

/// Decodes the instruction at the beginning of `code`; `None` where there is none.
#[must_use]
pub fn decode(code: &[u8], registers: &[u64; REGISTERS]) -> Option<Access> {
    let code = code.get(..LONGEST).unwrap_or(code);
    let instruction = InstDecoder::default().decode_slice(code).ok()?;
    let length = u8::try_from(yaxpeax_length(&instruction)).ok()?;
    let bytes = instruction.mem_size().and_then(|size| size.bytes_size()).unwrap_or(1);
    let kind = moved(&instruction, bytes, registers).unwrap_or(Kind::Other { bytes });
    Some(Access { length, kind })
}

fn yaxpeax_length(instruction: &Instruction) -> u64 {
    use yaxpeax_arch::LengthedInstruction as _;
    instruction.len().to_const()
}

/// A move between memory and a register, or of a constant.
fn moved(instruction: &Instruction, bytes: u8, registers: &[u64; REGISTERS]) -> Option<Kind> {
    if instruction.opcode() != Opcode::MOV {
        return None;
    }
    let width = Width::from_bytes(bytes.into())?;
    let (to, from) = (instruction.operand(0), instruction.operand(1));
    if let (true, Operand::Register { reg }) = (from.is_memory(), &to) {
        return Some(Kind::Load { width, register: Register::of(*reg)? });
    }
    let value = match from {
        Operand::Register { reg } => Register::of(reg)?.read(registers),
        Operand::ImmediateI8 { imm } => i64::from(imm).cast_unsigned(),
        Operand::ImmediateU8 { imm } => imm.into(),
        Operand::ImmediateI16 { imm } => i64::from(imm).cast_unsigned(),
        Operand::ImmediateU16 { imm } => imm.into(),
        Operand::ImmediateI32 { imm } => i64::from(imm).cast_unsigned(),
        Operand::ImmediateU32 { imm } => imm.into(),
        Operand::ImmediateI64 { imm } => imm.cast_unsigned(),
        Operand::ImmediateU64 { imm } => imm,
        _ => return None,
    };
    to.is_memory().then_some(Kind::Store { width, value: value & width.mask() })
}

#[cfg(test)]
mod tests {
    use super::*;

    const RAX: usize = 3;
    const RCX: usize = 5;
    const R9: usize = 11;

    fn registers() -> [u64; REGISTERS] {
        core::array::from_fn(|place| 0x1122_3344_5566_7700 + place as u64)
    }

    fn store(code: &[u8]) -> (u8, Width, u64) {
        match decode(code, &registers()) {
            Some(Access { length, kind: Kind::Store { width, value } }) => (length, width, value),
            other => panic!("{code:02x?} is {other:?}"),
        }
    }

    #[test]
    fn stores_have_their_width_and_value() {
        assert_eq!(store(&[0x89, 0x02, 0x90]), (2, Width::U32, 0x5566_7703), "mov [rdx], eax");
        assert_eq!(store(&[0x66, 0x89, 0x02]), (3, Width::U16, 0x7703), "mov [rdx], ax");
        assert_eq!(store(&[0x88, 0x02]), (2, Width::U8, 0x03), "mov [rdx], al");
        assert_eq!(store(&[0x88, 0x22]), (2, Width::U8, 0x77), "mov [rdx], ah");
        assert_eq!(store(&[0x40, 0x88, 0x22]), (3, Width::U8, 0x01), "mov [rdx], spl");
        assert_eq!(store(&[0x4c, 0x89, 0x4a, 0x08]), (4, Width::U64, 0x1122_3344_5566_770b), "mov [rdx + 8], r9");
        assert_eq!(store(&[0xc7, 0x02, 0x01, 0, 0, 0]), (6, Width::U32, 1), "mov dword ptr [rdx], 1");
        assert_eq!(store(&[0x66, 0xc7, 0x02, 0xff, 0xff]), (5, Width::U16, 0xffff), "mov word ptr [rdx], -1");
        assert_eq!(store(&[0x48, 0xc7, 0x02, 0xff, 0xff, 0xff, 0xff]), (7, Width::U64, u64::MAX), "mov qword ptr [rdx], -1");
    }

    #[test]
    fn loads_change_their_register_as_the_processor_does() {
        for (code, place, expected) in [
            (&[0x8b, 0x02][..], RAX, 0xaabb_ccdd),
            (&[0x66, 0x8b, 0x02], RAX, 0x1122_3344_5566_ccdd),
            (&[0x8a, 0x02], RAX, 0x1122_3344_5566_77dd),
            (&[0x8a, 0x2a], RCX, 0x1122_3344_5566_dd05),
            (&[0x4c, 0x8b, 0x0a], R9, 0xaabb_ccdd),
        ] {
            let mut registers = registers();
            let Some(Access { kind: Kind::Load { width, register }, .. }) = decode(code, &registers) else {
                panic!("{code:02x?} is no load")
            };
            register.write(&mut registers, 0xaabb_ccdd & width.mask());
            assert_eq!(registers[place], expected, "{code:02x?}");
        }
    }

    #[test]
    fn of_other_instructions_the_length_is_known() {
        let other = |code: &[u8]| match decode(code, &registers()) {
            Some(Access { length, kind: Kind::Other { bytes } }) => (length, bytes),
            other => panic!("{code:02x?} is {other:?}"),
        };
        assert_eq!(other(&[0x87, 0x02]), (2, 4), "xchg [rdx], eax");
        assert_eq!(other(&[0xf0, 0xff, 0x02]), (3, 4), "lock inc dword ptr [rdx]");
        assert_eq!(other(&[0xf3, 0xaa]), (2, 1), "rep stosb");
        assert_eq!(other(&[0x0f, 0x29, 0x02]), (3, 16), "movaps [rdx], xmm0");
        assert_eq!(other(&[0x0f, 0xb6, 0x02]), (3, 1), "movzx eax, byte ptr [rdx]");
    }

    #[test]
    fn what_is_no_instruction_is_none() {
        assert_eq!(decode(&[], &registers()), None);
        assert_eq!(decode(&[0x06], &registers()), None);
        assert_eq!(decode(&[0x89], &registers()), None);
        assert_eq!(decode(&[0x66; 40], &registers()), None);
    }

    #[test]
    fn any_bytes_are_decoded_without_a_panic() {
        let mut state = 0x1234_5678_9abc_def1_u64;
        for _ in 0..200_000 {
            let code: [u8; LONGEST] = core::array::from_fn(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state.to_le_bytes()[3]
            });
            if let Some(access) = decode(&code, &registers()) {
                assert!((1..=LONGEST).contains(&usize::from(access.length)));
            }
        }
    }
}
