//! Messages to a local APIC (Vol. 3A, §11.11).

use bitfield_struct::bitfield;

/// Address of a message (§11.11.1).
#[bitfield(u64, defmt = cfg(feature = "defmt"))]
#[derive(PartialEq, Eq)]
pub struct MessageAddress {
    #[bits(2)]
    __: u8,
    /// The destination is a logical one.
    pub logical: bool,
    /// The message may go to any of several processors.
    pub redirect: bool,
    __: u8,
    /// The processor's APIC identifier.
    pub destination: u8,
    /// [`MessageAddress::BASE`], else it is no message.
    #[bits(44)]
    pub base: u64,
}

impl MessageAddress {
    /// Address bits 63 to 20 of a message.
    pub const BASE: u64 = 0xfee;
}

/// How a message interrupts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[repr(u8)]
pub enum DeliveryMode {
    /// As the vector that it names.
    Fixed = 0,
    /// As the vector that it names, on the processor that has the least to do.
    LowestPriority = 1,
    /// In another way: SMI, NMI, INIT, `ExtINT`.
    Other = 7,
}

impl DeliveryMode {
    const fn into_bits(self) -> u8 {
        self as u8
    }

    const fn from_bits(bits: u8) -> Self {
        match bits {
            0 => Self::Fixed,
            1 => Self::LowestPriority,
            _ => Self::Other,
        }
    }
}

/// Data of a message (§11.11.2).
#[bitfield(u32, defmt = cfg(feature = "defmt"))]
#[derive(PartialEq, Eq)]
pub struct MessageData {
    /// The vector.
    pub vector: u8,
    /// How it interrupts.
    #[bits(3, default = DeliveryMode::Fixed)]
    pub mode: DeliveryMode,
    #[bits(4)]
    __: u8,
    /// A message that is a level, not an edge.
    pub level: bool,
    #[bits(16)]
    __: u16,
}
