//! Machine code for arm64, with the MMU off. Where x86 has ports, there are addresses without memory.

use super::Bytes;

/// The address that stands for port 0; each port takes 16 bytes.
pub(crate) const PORTS: u64 = 0x0f00_0000;

/// Instructions one behind the other.
#[derive(Debug, Clone, Default)]
pub(crate) struct Program(Vec<u8>);

impl Program {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn code(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn instruction(mut self, word: u32) -> Self {
        self.0.extend_from_slice(&word.to_le_bytes());
        self
    }

    /// `movz` and `movk`: 64 bits to x0 or x1.
    fn constant(self, register: u32, value: u64) -> Self {
        (0..4).fold(self, |program, part| {
            let immediate = u32::try_from(value >> (16 * part) & 0xffff).unwrap();
            let opcode: u32 = if part == 0 { 0xd280_0000 } else { 0xf280_0000 };
            program.instruction(opcode | part << 21 | immediate << 5 | register)
        })
    }

    /// `strb | strh | str w0 | x0, [x1]`
    pub(crate) fn store(self, address: u64, bytes: Bytes, value: u64) -> Self {
        let store = match bytes {
            Bytes::One => 0x3900_0020,
            Bytes::Two => 0x7900_0020,
            Bytes::Four => 0xb900_0020,
            Bytes::Eight => 0xf900_0020,
        };
        self.constant(0, value).constant(1, address).instruction(store)
    }

    /// `ldr w0, [x1]`
    pub(crate) fn load(self, address: u64) -> Self {
        self.constant(1, address).instruction(0xb940_0020)
    }

    /// Stores w0 to the port.
    pub(crate) fn out_word(self, port: u8) -> Self {
        self.constant(1, PORTS + u64::from(port) * 16).instruction(0xb900_0020)
    }

    /// Stores the value to the port.
    pub(crate) fn out(self, port: u8, value: u8) -> Self {
        self.store(PORTS + u64::from(port) * 16, Bytes::Four, value.into())
    }
}
