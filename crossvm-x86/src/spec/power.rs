//! Registers of ACPI's fixed hardware (ACPI 6.5, §4.8.3).

use bitfield_struct::bitfield;

/// What [`ControlRegister::sleep_type`] says of the state S5: off.
pub const S5: u8 = 5;

/// PM1 control register (§4.8.3.2.1).
#[bitfield(u16, defmt = cfg(feature = "defmt"))]
#[derive(PartialEq, Eq)]
pub struct ControlRegister {
    /// Read only: power management interrupts by ACPI's interrupt, not in another way.
    pub acpi_enabled: bool,
    #[bits(9)]
    __: u16,
    /// The state that the machine is to go to.
    #[bits(3)]
    pub sleep_type: u8,
    /// Written as one: go there. Reads as zero.
    pub sleep: bool,
    #[bits(2)]
    __: u8,
}

impl ControlRegister {
    /// The bits that read as they were written: the sleep type.
    pub const KEPT: u16 = 0x1c00;
}
