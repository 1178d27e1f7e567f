//! What local APICs are told.

use core::fmt;

use crossvm_core::{ErrorType, Level, Message};

use crate::spec::DeliveryMode;
use crate::spec::message::{MessageAddress, MessageData};

/// How an interrupt is triggered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Trigger {
    /// By an edge: it interrupts once.
    #[default]
    Edge,
    /// By a level: it interrupts again after each end of interrupt until the level falls.
    Level,
}

impl Trigger {
    pub(crate) const fn from_level_bit(level: bool) -> Self {
        if level { Self::Level } else { Self::Edge }
    }

    pub(crate) const fn is_level(self) -> bool {
        matches!(self, Self::Level)
    }
}

/// Whom an interrupt goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Destination {
    /// The processor whose APIC has this identifier; 0xff: all.
    Physical(u8),
    /// The processors whose logical destination register matches, in the model that their destination format register sets.
    Logical(u8),
}

impl Destination {
    pub(crate) const fn new(logical: bool, id: u8) -> Self {
        if logical { Self::Logical(id) } else { Self::Physical(id) }
    }

    const fn parts(self) -> (bool, u8) {
        match self {
            Self::Physical(id) => (false, id),
            Self::Logical(id) => (true, id),
        }
    }
}

/// An interrupt on its way from an IOAPIC or a device to local APICs.
///
/// As hypervisors take it, an address and data: [`From`] for [`Message`], and back by [`ApicMessage::from_message`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ApicMessage {
    /// Whom it goes to.
    pub destination: Destination,
    /// It may go to any one processor of the destination.
    pub redirection_hint: bool,
    /// How it is delivered.
    pub mode: DeliveryMode,
    /// The vector, where the mode has one. Those below 16 are for the guest to avoid: a local APIC notes them as errors.
    pub vector: u8,
    /// Whether its end is told to the IOAPIC.
    pub trigger: Trigger,
    /// Of a level: asserted or not. Low where the trigger is an edge and nobody has set the bit.
    pub level: Level,
}

impl ApicMessage {
    /// The interrupt that a device's message means (Intel SDM Vol. 3A, §11.11); `None` where it means none: another address, or a reserved
    /// delivery mode. Reserved bits are ignored.
    #[must_use]
    pub const fn from_message(message: Message) -> Option<Self> {
        let (address, data) = (MessageAddress::from_bits(message.address), MessageData::from_bits(message.data));
        if address.base() != MessageAddress::BASE || data.mode().is_reserved() {
            return None;
        }
        Some(Self {
            destination: Destination::new(address.logical(), address.destination()),
            redirection_hint: address.redirection_hint(),
            mode: data.mode(),
            vector: data.vector(),
            trigger: Trigger::from_level_bit(data.level()),
            level: Level::from_asserted(data.assert()),
        })
    }
}

impl From<ApicMessage> for Message {
    fn from(message: ApicMessage) -> Self {
        let (logical, id) = message.destination.parts();
        let address = MessageAddress::new().with_logical(logical).with_redirection_hint(message.redirection_hint).with_destination(id);
        let data = MessageData::new().with_vector(message.vector).with_mode(message.mode);
        let data = data.with_assert(message.level.is_high()).with_level(message.trigger.is_level());
        Self { address: address.with_base(MessageAddress::BASE).into_bits(), data: data.into_bits() }
    }
}

impl fmt::Display for ApicMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "vector {:#x} ({:?}, {:?}) to {:?}", self.vector, self.mode, self.trigger, self.destination)
    }
}

/// The local APICs of a VM's vCPUs.
///
/// # Contract
///
/// 1. After a successful `deliver`, the vCPUs of the destination are interrupted as the message says, once they take interrupts.
/// 2. The end of a level-triggered interrupt is told to the IOAPIC: [`Chipset::end_of_interrupt`](crate::Chipset::end_of_interrupt).
/// 3. A failed `deliver` has interrupted nobody. It is called again with the same message, so that nothing is lost.
/// 4. A message that nobody takes (no such vCPU, a vector below 16) is dropped, which is no error: the guest has chosen it.
/// 5. `deliver` never blocks, and never calls back.
pub trait LocalApics: ErrorType {
    /// Delivers an interrupt.
    ///
    /// # Errors
    /// What the hypervisor reports.
    fn deliver(&mut self, message: ApicMessage) -> Result<(), Self::Error>;
}

impl<T: LocalApics + ?Sized> LocalApics for &mut T {
    fn deliver(&mut self, message: ApicMessage) -> Result<(), Self::Error> {
        T::deliver(self, message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(address: u64, data: u32) -> Option<ApicMessage> {
        ApicMessage::from_message(Message { address, data })
    }

    #[test]
    fn a_message_tells_destination_hint_mode_vector_and_trigger() {
        let plain = ApicMessage {
            destination: Destination::Physical(0),
            redirection_hint: false,
            mode: DeliveryMode::Fixed,
            vector: 0x31,
            trigger: Trigger::Edge,
            level: Level::Low,
        };
        assert_eq!(decode(0xfee0_0000, 0x31), Some(plain));
        assert_eq!(decode(0xfeea_5000, 0x31), Some(ApicMessage { destination: Destination::Physical(0xa5), ..plain }));
        assert_eq!(decode(0xfee0_3004, 0x31), Some(ApicMessage { destination: Destination::Logical(3), ..plain }));
        assert_eq!(decode(0xfee0_0008, 0x31), Some(ApicMessage { redirection_hint: true, ..plain }));
        assert_eq!(decode(0xfee0_0000, 0x131), Some(ApicMessage { mode: DeliveryMode::LowestPriority, ..plain }));
        assert_eq!(decode(0xfee0_0000, 0x8031), Some(ApicMessage { trigger: Trigger::Level, ..plain }));
        assert_eq!(decode(0xfee0_0000, 0xc031), Some(ApicMessage { trigger: Trigger::Level, level: Level::High, ..plain }));
    }

    #[test]
    fn another_address_or_a_reserved_mode_is_no_message() {
        for address in [0, 0xfed0_0000, 0xfef0_0000, 0x1_fee0_0000, 1 << 63 | 0xfee0_0000, u64::MAX] {
            assert_eq!(decode(address, 0x31), None, "{address:#x}");
        }
        assert_eq!((decode(0xfee0_0000, 0x331), decode(0xfee0_0000, 0x631)), (None, None));
    }

    #[test]
    fn reserved_bits_mean_nothing() {
        assert_eq!(decode(0xfee0_0ff3, 0xffff_3831), decode(0xfee0_0000, 0x31));
    }

    #[test]
    fn every_message_survives_being_written_and_read() {
        for (address, data) in (0..0x1000).flat_map(|bits| [(bits << 3 & 0xff00c, bits & 0x7ff), (0x5004, bits << 4 & 0xc7ff | bits & 0xf)])
        {
            let message = Message { address: 0xfee0_0000 | u64::from(address), data };
            if let Some(apic) = ApicMessage::from_message(message) {
                assert_eq!(Message::from(apic), message);
            } else {
                assert!(matches!(data >> 8 & 7, 3 | 6), "{message}");
            }
        }
    }
}
