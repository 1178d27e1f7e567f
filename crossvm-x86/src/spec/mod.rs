//! Layouts and constants of the specifications, and no behaviour.

pub mod ioapic;
pub mod message;
pub mod pic;
pub mod pit;
pub mod power;

/// How an interrupt is delivered: field of a redirection entry (82093AA, §3.2.4) and of message data (Intel SDM Vol. 3A, §11.11.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[repr(u8)]
pub enum DeliveryMode {
    /// As its vector, to all processors of the destination.
    Fixed = 0,
    /// As its vector, to the one processor of the destination that has the least to do.
    LowestPriority = 1,
    /// As a system management interrupt. The vector is to be zero.
    Smi = 2,
    /// Reserved: nothing is delivered.
    Reserved3 = 3,
    /// As a non-maskable interrupt; the vector is ignored.
    Nmi = 4,
    /// As INIT; the vector is to be zero.
    Init = 5,
    /// Reserved: nothing is delivered.
    Reserved6 = 6,
    /// As an interrupt whose vector the processor asks the 8259 for.
    ExtInt = 7,
}

impl DeliveryMode {
    /// Whether the interrupt has a vector of its own, and so an end of interrupt.
    #[must_use]
    pub const fn has_vector(self) -> bool {
        matches!(self, Self::Fixed | Self::LowestPriority)
    }

    /// Whether it is one of the two reserved encodings.
    #[must_use]
    pub const fn is_reserved(self) -> bool {
        matches!(self, Self::Reserved3 | Self::Reserved6)
    }

    const fn into_bits(self) -> u8 {
        self as u8
    }

    const fn from_bits(bits: u8) -> Self {
        match bits & 7 {
            0 => Self::Fixed,
            1 => Self::LowestPriority,
            2 => Self::Smi,
            3 => Self::Reserved3,
            4 => Self::Nmi,
            5 => Self::Init,
            6 => Self::Reserved6,
            _ => Self::ExtInt,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::DeliveryMode;

    #[test]
    fn every_encoding_is_a_mode_and_back() {
        for bits in 0..8 {
            assert_eq!(DeliveryMode::from_bits(bits).into_bits(), bits);
        }
    }
}
