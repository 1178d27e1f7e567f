//! Messages to local APICs (Intel SDM Vol. 3A, §11.11).

use bitfield_struct::bitfield;

use super::DeliveryMode;

/// Address of a message (§11.11.1).
#[bitfield(u64, defmt = cfg(feature = "defmt"))]
#[derive(PartialEq, Eq)]
pub struct MessageAddress {
    #[bits(2)]
    __: u8,
    /// The destination is a logical one, not an APIC's identifier.
    pub logical: bool,
    /// The message may go to any one processor of the destination.
    pub redirection_hint: bool,
    __: u8,
    /// APIC identifier, or set of processors.
    pub destination: u8,
    /// [`MessageAddress::BASE`], else it is no message.
    #[bits(44)]
    pub base: u64,
}

impl MessageAddress {
    /// Bits 63 to 20 of the address of every message.
    pub const BASE: u64 = 0xfee;
}

/// Data of a message (§11.11.2).
#[bitfield(u32, defmt = cfg(feature = "defmt"))]
#[derive(PartialEq, Eq)]
pub struct MessageData {
    /// The vector, 0x10 to 0xfe.
    pub vector: u8,
    /// How it is delivered.
    #[bits(3, default = DeliveryMode::Fixed)]
    pub mode: DeliveryMode,
    #[bits(3)]
    __: u8,
    /// Of a level-triggered message: the level is asserted.
    pub assert: bool,
    /// The message is level-triggered, not an edge.
    pub level: bool,
    __: u16,
}
