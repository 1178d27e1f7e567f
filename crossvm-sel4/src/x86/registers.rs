//! The guest's general registers.

use crossvm_core::Width;

/// A general register, by the number that instructions have for it (Vol. 2A, table 2-2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[repr(u8)]
pub enum Register {
    /// EAX.
    Eax = 0,
    /// ECX.
    Ecx = 1,
    /// EDX.
    Edx = 2,
    /// EBX.
    Ebx = 3,
    /// ESP: the VMCS has it, not the message of an exit.
    Esp = 4,
    /// EBP.
    Ebp = 5,
    /// ESI.
    Esi = 6,
    /// EDI.
    Edi = 7,
}

impl Register {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 8] = [Self::Eax, Self::Ecx, Self::Edx, Self::Ebx, Self::Esp, Self::Ebp, Self::Esi, Self::Edi];

    /// The register with the number in the low three bits.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Self {
        match bits & 7 {
            0 => Self::Eax,
            1 => Self::Ecx,
            2 => Self::Edx,
            3 => Self::Ebx,
            4 => Self::Esp,
            5 => Self::Ebp,
            6 => Self::Esi,
            _ => Self::Edi,
        }
    }
}

/// Part of a register that an instruction names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct RegisterPart {
    /// The register.
    pub register: Register,
    /// How many bytes of it.
    pub width: Width,
    /// The bytes start at bit 8: AH, CH, DH, BH.
    pub high: bool,
}

impl RegisterPart {
    /// What an instruction means by the number in its low three bits, for operands of this width.
    #[must_use]
    pub const fn from_bits(bits: u8, width: Width) -> Self {
        let high = matches!(width, Width::U8) && bits & 4 != 0;
        Self { register: Register::from_bits(if high { bits & 3 } else { bits }), width, high }
    }

    const fn shift(self) -> u32 {
        if self.high { 8 } else { 0 }
    }

    /// The part of the register's value.
    #[must_use]
    pub fn of(self, value: u32) -> u32 {
        value >> self.shift() & mask(self.width)
    }

    /// The register's value with the part replaced.
    #[must_use]
    pub fn replaced(self, value: u32, part: u32) -> u32 {
        let mask = mask(self.width);
        value & !(mask << self.shift()) | (part & mask) << self.shift()
    }
}

const fn mask(width: Width) -> u32 {
    match width {
        Width::U8 => 0xff,
        Width::U16 => 0xffff,
        Width::U32 | Width::U64 => u32::MAX,
    }
}

/// The registers that seL4 keeps for a vCPU: all but ESP. The guest's are 32 bits wide.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct GeneralRegisters([u32; 7]);

impl GeneralRegisters {
    /// Number of words in the kernel's messages.
    pub const COUNT: usize = 7;

    /// From the kernel's words, in its order: EAX, EBX, ECX, EDX, ESI, EDI, EBP. Missing ones are 0.
    #[must_use]
    pub fn from_words(words: &[u64]) -> Self {
        let mut registers = Self::default();
        for (register, word) in registers.0.iter_mut().zip(words) {
            // The guest is in 32-bit mode: there is nothing above.
            *register = u32::try_from(word & 0xffff_ffff).unwrap_or(0);
        }
        registers
    }

    /// The kernel's words.
    #[must_use]
    pub fn words(&self) -> [u64; Self::COUNT] {
        self.0.map(u64::from)
    }

    /// Place among the kernel's words; `None` for ESP.
    const fn place(register: Register) -> Option<usize> {
        Some(match register {
            Register::Eax => 0,
            Register::Ebx => 1,
            Register::Ecx => 2,
            Register::Edx => 3,
            Register::Esi => 4,
            Register::Edi => 5,
            Register::Ebp => 6,
            Register::Esp => return None,
        })
    }

    /// A register's value; `None` for ESP, which is in the VMCS.
    #[must_use]
    pub fn get(&self, register: Register) -> Option<u32> {
        self.0.get(Self::place(register)?).copied()
    }

    /// Sets a register. `false` for ESP, which is in the VMCS.
    #[must_use]
    pub fn set(&mut self, register: Register, value: u32) -> bool {
        match Self::place(register).and_then(|place| self.0.get_mut(place)) {
            Some(word) => {
                *word = value;
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_register_has_its_word() {
        let registers = GeneralRegisters::from_words(&[0xa, 0xb, 0xc, 0xd, 0x51, 0xd1, 0xb9]);
        let values = Register::ALL.map(|register| registers.get(register));
        assert_eq!(values, [Some(0xa), Some(0xc), Some(0xd), Some(0xb), None, Some(0xb9), Some(0x51), Some(0xd1)]);
        assert_eq!(registers.words(), [0xa, 0xb, 0xc, 0xd, 0x51, 0xd1, 0xb9]);
        for register in Register::ALL {
            let mut changed = registers;
            assert_eq!(changed.set(register, 7), register != Register::Esp);
            assert_eq!(changed.get(register), (register != Register::Esp).then_some(7));
        }
    }

    #[test]
    fn a_byte_operand_with_bit_2_is_the_second_byte() {
        let ah = RegisterPart::from_bits(4, Width::U8);
        assert_eq!((ah.register, ah.high), (Register::Eax, true));
        assert_eq!((ah.of(0x1234_5678), ah.replaced(0x1234_5678, 0x1ff)), (0x56, 0x1234_ff78));
        let esp = RegisterPart::from_bits(4, Width::U16);
        assert_eq!((esp.register, esp.high, esp.replaced(0x1234_5678, 0x9abc_def0)), (Register::Esp, false, 0x1234_def0));
    }
}
