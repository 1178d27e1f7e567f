//! The guest's registers (Vol. 3A §2.3 and §2.5, Vol. 3C §25.4).

use bitfield_struct::bitfield;

/// CR0. VT-x wants `protection`, `numeric_error` and `paging` set in a guest; seL4 forces that.
#[bitfield(u32, defmt = cfg(feature = "defmt"))]
#[derive(PartialEq, Eq)]
pub struct Cr0 {
    /// PE.
    pub protection: bool,
    #[bits(3)]
    __: u8,
    /// ET: reads as 1.
    pub extension_type: bool,
    /// NE.
    pub numeric_error: bool,
    #[bits(10)]
    __: u16,
    /// WP.
    pub write_protect: bool,
    #[bits(14)]
    __: u16,
    /// PG.
    pub paging: bool,
}

/// CR4. VT-x wants `vmx` set in a guest; seL4 forces that.
#[bitfield(u32, defmt = cfg(feature = "defmt"))]
#[derive(PartialEq, Eq)]
pub struct Cr4 {
    #[bits(4)]
    __: u8,
    /// PSE: pages of 4 MiB.
    pub large_pages: bool,
    /// PAE.
    pub physical_extension: bool,
    #[bits(7)]
    __: u8,
    /// VMXE.
    pub vmx: bool,
    #[bits(18)]
    __: u32,
}

/// EFLAGS.
#[bitfield(u32, defmt = cfg(feature = "defmt"))]
#[derive(PartialEq, Eq)]
pub struct Flags {
    __: bool,
    /// Reads as 1.
    #[bits(default = true)]
    pub one: bool,
    #[bits(7)]
    __: u8,
    /// IF: interrupts are taken.
    pub interrupts: bool,
    #[bits(22)]
    __: u32,
}

/// What keeps a guest from being interrupted beside [`Flags::interrupts`] (table 25-3).
#[bitfield(u32, defmt = cfg(feature = "defmt"))]
#[derive(PartialEq, Eq)]
pub struct Interruptibility {
    /// The instruction before was STI.
    pub sti: bool,
    /// The instruction before loaded SS.
    pub mov_ss: bool,
    #[bits(30)]
    others: u32,
}

impl Interruptibility {
    /// Nothing keeps an interrupt away.
    #[must_use]
    pub const fn open(self) -> bool {
        !self.sti() && !self.mov_ss()
    }

    /// As it is after one more instruction.
    #[must_use]
    pub const fn after_an_instruction(self) -> Self {
        self.with_sti(false).with_mov_ss(false)
    }
}

/// Access rights of a segment (table 25-2).
#[bitfield(u32, defmt = cfg(feature = "defmt"))]
#[derive(PartialEq, Eq)]
pub struct AccessRights {
    /// The type field of its descriptor.
    #[bits(4)]
    pub kind: u8,
    /// Code or data, not a table or a task.
    pub code_or_data: bool,
    #[bits(2)]
    __: u8,
    /// It is present.
    pub present: bool,
    #[bits(6)]
    __: u8,
    /// 32 bits.
    pub wide: bool,
    /// The limit counts pages.
    pub granularity: bool,
    /// There is no such segment.
    pub unusable: bool,
    #[bits(15)]
    __: u16,
}

impl AccessRights {
    /// Code that is executable and readable, and was used.
    pub const CODE: Self = Self::new().with_kind(0xb).with_code_or_data(true).with_present(true).with_wide(true).with_granularity(true);
    /// Data that is writable, and was used.
    pub const DATA: Self = Self::CODE.with_kind(0x3);
    /// A busy 32-bit task.
    pub const TASK: Self = Self::new().with_kind(0xb).with_present(true);
    /// None.
    pub const NONE: Self = Self::new().with_unusable(true);
}
