//! What differs between the kernels that are simulated.

use crossvm_sel4::kernel::Object;

/// The kernel that is simulated: version and architecture.
///
/// | | [`X86_64_5_0_0`](Self::X86_64_5_0_0) | [`X86_64`](Self::X86_64) | [`Aarch64`](Self::Aarch64) |
/// | --- | --- | --- | --- |
/// | a frame over another of its size | `DeleteFirst` | replaces it | replaces it |
/// | a frame that its capability has mapped already, same place | `InvalidCapability` | changes its rights | changes its rights |
/// | same space, another place | `InvalidCapability` | `InvalidArgument` | `InvalidArgument` |
/// | a frame is unmapped that is not mapped | `IllegalOperation` | nothing | nothing |
/// | a table of 2^39 is copied | **the kernel stops for good**: a panic | a copy | a copy |
/// | a copy of a frame's capability is deleted | **stays mapped**, unless it was the frame's last | is unmapped | is unmapped |
/// | table missing in guest-physical memory | always 2^22 | its size | – |
/// | a large frame over a table | `DeleteFirst` | `DeleteFirst` | `FailedLookup`, with the smaller size |
/// | badge | 28 bits | 64 bits | 64 bits |
/// | IPC buffer aligned to | 512 | 1024 | 1024 |
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arch {
    /// seL4 5.0.0 on x86-64 with VT-x: the kernel whose sources a registry carries.
    X86_64_5_0_0,
    /// Today's kernel on x86-64 with VT-x, not MCS.
    X86_64,
    /// Today's kernel on aarch64 in its hypervisor configuration with physical addresses of 44 bits, not MCS.
    Aarch64,
}

impl Arch {
    /// Size of the root table's entries, as a power of two.
    pub(super) const ROOT: u8 = 39;
    /// Bits of a table's index.
    pub(super) const INDEX_BITS: u8 = 9;
    /// Size of the smallest frame, as a power of two.
    pub(super) const SMALL: u8 = 12;

    /// Whether it is x86.
    pub(super) const fn is_x86(self) -> bool {
        matches!(self, Self::X86_64_5_0_0 | Self::X86_64)
    }

    /// Whether it is 5.0.0.
    pub(super) const fn is_5_0_0(self) -> bool {
        matches!(self, Self::X86_64_5_0_0)
    }

    /// How many bits of a badge reach the capability.
    pub(super) const fn badge_bits(self) -> u8 {
        if self.is_5_0_0() { 28 } else { 64 }
    }

    /// The same as a mask.
    pub(super) const fn badge_mask(self) -> u64 {
        u64::MAX >> (64 - self.badge_bits())
    }

    /// The end of what a program may map.
    pub(super) const fn user_top(self) -> u64 {
        match self {
            Self::X86_64_5_0_0 => 0xffff_ff80_0000_0000,
            Self::X86_64 => 0x7fff_ffff_ffff,
            Self::Aarch64 => 0x1000_0000_0000,
        }
    }

    /// Alignment of IPC buffers.
    pub(super) const fn ipc_buffer_bytes(self) -> u64 {
        if self.is_5_0_0() { 512 } else { 1024 }
    }

    /// Number of a thread's registers.
    pub(super) const fn registers(self) -> usize {
        match self {
            Self::X86_64_5_0_0 => 19,
            Self::X86_64 => 20,
            Self::Aarch64 => 36,
        }
    }

    /// Size of an object, as a power of two.
    pub(super) fn object_bits(self, object: Object) -> u8 {
        match object {
            Object::Untyped(bits) => bits,
            Object::CNode(bits) => bits.saturating_add(5),
            Object::Endpoint => 4,
            Object::Notification => 5,
            Object::Tcb => 11,
            Object::LargeFrame => 21,
            Object::HugeFrame => 30,
            Object::Vcpu if self.is_x86() => 14,
            _ => 12,
        }
    }

    /// Whether the kernel has such objects at all.
    pub(super) fn has(self, object: Object) -> bool {
        match object {
            Object::Table(bits) => matches!(bits, 21 | 30 | 39),
            Object::EptTable(bits) => self.is_x86() && matches!(bits, 21 | 30 | 39),
            Object::EptRoot => self.is_x86(),
            _ => true,
        }
    }
}
