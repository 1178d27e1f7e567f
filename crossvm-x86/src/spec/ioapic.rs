//! Registers of the 82093AA (Intel 290566, §3), and the one that chipsets of version 0x20 have in addition.

use bitfield_struct::bitfield;

use super::DeliveryMode;

/// IOREGSEL (§3.1.1): offset of the register that selects another.
pub const SELECT: u32 = 0x00;
/// IOWIN (§3.1.2): offset of the window on the selected register.
pub const WINDOW: u32 = 0x10;
/// EOIR: offset of the end-of-interrupt register, in version 0x20 only.
pub const EOI: u32 = 0x40;

/// Index of IOAPICID (§3.2.1).
pub const ID: u16 = 0x00;
/// Index of IOAPICVER (§3.2.2).
pub const VERSION: u16 = 0x01;
/// Index of IOAPICARB (§3.2.3).
pub const ARBITRATION: u16 = 0x02;
/// Index of the lower half of the first redirection entry (§3.2.4). The upper half follows, then the next entry.
pub const REDIRECTION: u16 = 0x10;

/// IOAPICID and IOAPICARB (§3.2.1, §3.2.3).
#[bitfield(u32, defmt = cfg(feature = "defmt"))]
#[derive(PartialEq, Eq)]
pub struct Identifier {
    #[bits(24)]
    __: u32,
    /// The IOAPIC's identifier; in IOAPICARB, its priority on the bus that it once had.
    #[bits(4)]
    pub id: u8,
    #[bits(4)]
    __: u8,
}

impl Identifier {
    /// The bits that the guest can write.
    pub const WRITABLE: u32 = 0x0f00_0000;
}

/// IOAPICVER (§3.2.2).
#[bitfield(u32, defmt = cfg(feature = "defmt"))]
#[derive(PartialEq, Eq)]
pub struct VersionRegister {
    /// 0x11, or 0x20 where there is an end-of-interrupt register.
    pub version: u8,
    __: u8,
    /// Number of the last redirection entry: 0 to 239.
    pub last_entry: u8,
    __: u8,
}

/// Entry of the redirection table (§3.2.4): what becomes of a pin's interrupt.
#[bitfield(u64, defmt = cfg(feature = "defmt"))]
#[derive(PartialEq, Eq)]
pub struct RedirectionEntry {
    /// The vector, 0x10 to 0xfe.
    pub vector: u8,
    /// How it is delivered.
    #[bits(3, default = DeliveryMode::Fixed)]
    pub mode: DeliveryMode,
    /// The destination is a logical one, not an APIC's identifier.
    pub logical: bool,
    /// Read only: an interrupt of this pin is still to be delivered.
    pub delivery_status: bool,
    /// The pin is active low.
    pub active_low: bool,
    /// Read only: the local APIC has taken a level interrupt and not ended it.
    pub remote_irr: bool,
    /// The pin is level-triggered, not edge-triggered.
    pub level: bool,
    /// The pin interrupts nobody.
    pub masked: bool,
    #[bits(39)]
    __: u64,
    /// APIC identifier, or set of processors.
    pub destination: u8,
}

impl RedirectionEntry {
    /// At power-on: masked.
    pub const RESET: Self = Self::new().with_masked(true);

    /// The bits that the guest can write. All others are reserved or read only.
    pub const WRITABLE: u64 = 0xff00_0000_0001_afff;
}
