//! The dword and the byte lanes that an access selects.

use crossvm_core::{ConfigAccess, Width};

use crate::spec::EXTENDED_CONFIG_SPACE;

/// An access as one configuration cycle: a dword and its byte enables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lane {
    /// Offset of the dword.
    pub(crate) register: u16,
    /// How far the access's lowest byte lies above the dword's, in bits.
    shift: u32,
    /// The bytes that are enabled, within the dword.
    pub(crate) mask: u32,
}

impl Lane {
    /// `None` for what no configuration cycle can express: an access that is not aligned to its width, one of 8 bytes, or one beyond
    /// the configuration space. It reads all ones and writes nothing.
    pub(crate) fn of(access: ConfigAccess) -> Option<Self> {
        let mask = match access.width {
            Width::U8 => 0xff,
            Width::U16 => 0xffff,
            Width::U32 => u32::MAX,
            Width::U64 => return None,
        };
        if !u64::from(access.offset).is_multiple_of(access.width.bytes()) || access.offset >= EXTENDED_CONFIG_SPACE {
            return None;
        }
        let shift = u32::from(access.offset & 3).wrapping_mul(8);
        Some(Self { register: access.offset & !3, shift, mask: mask.wrapping_shl(shift) })
    }

    /// What the access reads of the dword.
    pub(crate) fn extract(self, dword: u32) -> u32 {
        (dword & self.mask).wrapping_shr(self.shift)
    }

    /// The dword `before` with the access's bytes replaced by `value`.
    pub(crate) fn merge(self, before: u32, value: u32) -> u32 {
        (before & !self.mask) | (value.wrapping_shl(self.shift) & self.mask)
    }
}
