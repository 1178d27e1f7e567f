//! Machine code for x86-64: 64-bit mode, no stack, no SSE.

use super::Bytes;

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

    pub(crate) fn raw(mut self, code: &[u8]) -> Self {
        self.0.extend_from_slice(code);
        self
    }

    /// `mov rbx, address`
    fn address(self, address: u64) -> Self {
        self.raw(&[0x48, 0xbb]).raw(&address.to_le_bytes())
    }

    /// `mov rax, value`, `mov [address], al | ax | eax | rax`
    pub(crate) fn store(self, address: u64, bytes: Bytes, value: u64) -> Self {
        let store: &[u8] = match bytes {
            Bytes::One => &[0x88, 0x03],
            Bytes::Two => &[0x66, 0x89, 0x03],
            Bytes::Four => &[0x89, 0x03],
            Bytes::Eight => &[0x48, 0x89, 0x03],
        };
        self.address(address).raw(&[0x48, 0xb8]).raw(&value.to_le_bytes()).raw(store)
    }

    /// `mov eax, [address]`
    pub(crate) fn load(self, address: u64) -> Self {
        self.address(address).raw(&[0x8b, 0x03])
    }

    /// `out port, eax`
    pub(crate) fn out_word(self, port: u8) -> Self {
        self.raw(&[0xe7, port])
    }

    /// `mov al, value`, `out port, al`
    pub(crate) fn out(self, port: u8, value: u8) -> Self {
        self.raw(&[0xb0, value, 0xe6, port])
    }

    /// `in al, port`
    pub(crate) fn input(self, port: u8) -> Self {
        self.raw(&[0xe4, port])
    }

    /// `hlt`
    pub(crate) fn halt(self) -> Self {
        self.raw(&[0xf4])
    }
}
