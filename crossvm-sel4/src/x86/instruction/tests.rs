//! The decoder against an independent one.

use std::vec::Vec;

use iced_x86::{
    Code, Decoder, DecoderOptions, EncodingKind, Instruction as Judge, InstructionInfoFactory, Mnemonic, OpKind, Register as JudgeRegister,
};
use proptest::prelude::*;

use super::*;
use crate::x86::registers::Register;

fn judge(bytes: &[u8]) -> Judge {
    Decoder::new(32, bytes, DecoderOptions::NONE).decode()
}

fn part(register: JudgeRegister) -> Option<RegisterPart> {
    let number = u8::try_from(register.number()).ok()?;
    let width = match register.size() {
        1 => Width::U8,
        2 => Width::U16,
        4 => Width::U32,
        _ => return None,
    };
    register.is_gpr().then(|| RegisterPart::from_bits(number, width))
}

/// The operation as the judge sees it.
fn operation_of(judge: &Judge) -> Option<Operation> {
    let width = Width::from_bytes(judge.memory_size().size() as u64)?;
    if judge.has_lock_prefix() || judge.op_count() != 2 {
        return None;
    }
    match (judge.mnemonic(), judge.op0_kind(), judge.op1_kind()) {
        (Mnemonic::Mov | Mnemonic::Movnti, OpKind::Memory, OpKind::Register) => Some(Operation::Store(part(judge.op1_register())?)),
        (Mnemonic::Mov, OpKind::Memory, OpKind::Immediate8 | OpKind::Immediate16 | OpKind::Immediate32) => {
            let value = u32::try_from(judge.immediate(1) & 0xffff_ffff).unwrap();
            Some(Operation::StoreNumber { width, value: value & u32::try_from(width.mask()).unwrap() })
        }
        (mnemonic @ (Mnemonic::Mov | Mnemonic::Movzx | Mnemonic::Movsx), OpKind::Register, OpKind::Memory) => {
            Some(Operation::Load { width, signed: mnemonic == Mnemonic::Movsx, into: part(judge.op0_register())? })
        }
        _ => None,
    }
}

/// Bytes that start with an instruction more often than not, and often with a move.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let prefix = prop::sample::select(&[0x66_u8, 0x67, 0xf0, 0xf2, 0xf3, 0x26, 0x3e, 0x65][..]);
    let moves = prop::sample::select(&[0x88_u8, 0x89, 0x8a, 0x8b, 0xa0, 0xa1, 0xa2, 0xa3, 0xc6, 0xc7][..]);
    let escaped = prop::sample::select(&[0xb6_u8, 0xb7, 0xbe, 0xbf, 0xc3]);
    let opcode = prop_oneof![
        3 => moves.prop_map(|byte| std::vec![byte]),
        2 => escaped.prop_map(|byte| std::vec![0x0f, byte]),
        3 => any::<u8>().prop_map(|byte| std::vec![byte]),
        2 => any::<u8>().prop_map(|byte| std::vec![0x0f, byte]),
        1 => any::<[u8; 2]>().prop_map(|[map, byte]| std::vec![0x0f, if map & 1 == 0 { 0x38 } else { 0x3a }, byte]),
        1 => any::<[u8; 4]>().prop_map(|bytes| [&[[0xc4, 0xc5, 0x62][usize::from(bytes[0] % 3)]], &bytes[1..]].concat()),
    ];
    (prop::collection::vec(prefix, 0..3), opcode, any::<[u8; 14]>())
        .prop_map(|(prefixes, opcode, rest)| [&prefixes[..], &opcode, &rest].concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn what_touches_memory_has_the_judges_length_and_every_move_its_operation(bytes in bytes()) {
        let judge = judge(&bytes);
        // What is no instruction, or touches no memory, never comes here. XOP is AMD's alone, and these guests run on VT-x.
        if judge.code() == Code::INVALID
            || judge.encoding() == EncodingKind::XOP
            || InstructionInfoFactory::new().info(&judge).used_memory().is_empty()
        {
            return Ok(());
        }
        let ours = Instruction::decode(&bytes);
        prop_assert_eq!(ours.map(|ours| usize::from(ours.length)), Some(judge.len()), "{:?}", judge.code());
        prop_assert_eq!(ours.unwrap().operation, operation_of(&judge).unwrap_or(Operation::Other), "{:?}", judge.code());
    }

    #[test]
    fn any_bytes_give_a_length_within_them(bytes in prop::collection::vec(any::<u8>(), 0..20)) {
        if let Some(instruction) = Instruction::decode(&bytes) {
            prop_assert!(instruction.length >= 1 && usize::from(instruction.length) <= bytes.len().min(LONGEST));
        }
    }
}

#[test]
fn the_moves_that_drivers_are_made_of() {
    let eax = |width| RegisterPart { register: Register::Eax, width, high: false };
    let cases: [(&[u8], u8, Operation); 5] = [
        // mov dword [ebx], eax
        (&[0x89, 0x03], 2, Operation::Store(eax(Width::U32))),
        // mov byte [ebx], 1
        (&[0xc6, 0x03, 0x01], 3, Operation::StoreNumber { width: Width::U8, value: 1 }),
        // mov dword [0xe0000004], 0
        (&[0xc7, 0x05, 0x04, 0x00, 0x00, 0xe0, 0, 0, 0, 0], 10, Operation::StoreNumber { width: Width::U32, value: 0 }),
        // movsx eax, byte [esi + ecx * 4 + 0x10]
        (&[0x0f, 0xbe, 0x44, 0x8e, 0x10], 5, Operation::Load { width: Width::U8, signed: true, into: eax(Width::U32) }),
        // rep stosd
        (&[0xf3, 0xab], 2, Operation::Other),
    ];
    for (bytes, length, operation) in cases {
        assert_eq!(Instruction::decode(bytes), Some(Instruction { length, operation }));
    }
    assert_eq!(Instruction::decode(&[0xc7, 0x05, 0x04]), None, "cut short");
    assert_eq!(Instruction::decode(&[0x66; 20]), None, "longer than an instruction can be");
}
