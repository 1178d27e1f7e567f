//! The event registers as a state machine over the words of an event page.

use core::sync::atomic::Ordering;

use super::{Name, spec};
use crate::{EventPage, Rights, Width};

/// What a guest's write to the event registers asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum RegisterWrite {
    /// Signal the peer.
    Emit,
    /// Set COUNT to this value.
    SetCount(u32),
    /// Take this many events off COUNT.
    Acknowledge(u32),
    /// Nothing: the register is read-only or does not exist.
    Ignored,
}

/// What the guest finds in its event registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Profile {
    /// EMIT, COUNT and NAME alone, as guests of seL4's module know them.
    Reference,
    /// A superset: signature, exact acknowledgement, sizes and rights of the dataports.
    #[default]
    Extended,
}

impl Profile {
    /// Decodes a write at `offset` of the event registers. Bits of `value` beyond the width are ignored.
    ///
    /// A register is written by an access that starts at its offset, whatever the width: an access that starts elsewhere is ignored.
    #[must_use]
    pub fn decode_write(self, offset: u64, width: Width, value: u64) -> RegisterWrite {
        // Registers have 32 bits: what a wider store carries above them is dropped.
        let [b0, b1, b2, b3, ..] = (value & width.mask()).to_le_bytes();
        let value = u32::from_le_bytes([b0, b1, b2, b3]);
        match (offset, self) {
            (spec::EMIT, _) => RegisterWrite::Emit,
            (spec::COUNT, _) => RegisterWrite::SetCount(value),
            (spec::ACK, Self::Extended) => RegisterWrite::Acknowledge(value),
            _ => RegisterWrite::Ignored,
        }
    }
}

/// The event registers of one connection, over the page that the guest reads.
#[derive(Debug)]
pub(crate) struct EventRegisters<'a, P>(pub(crate) &'a P);

impl<P: EventPage> EventRegisters<'_, P> {
    /// Writes what stays the same for the connection's life.
    pub(crate) fn describe(&self, profile: Profile, name: &Name, dataports: impl Iterator<Item = (u64, Rights)>) {
        for (index, bytes) in name.padded().as_chunks::<4>().0.iter().enumerate() {
            self.store((spec::NAME / 4).saturating_add(index as u64), u32::from_le_bytes(*bytes));
        }
        if profile == Profile::Reference {
            return;
        }
        self.store(spec::SIGNATURE / 4, spec::SIGNATURE_VALUE);
        self.store(spec::VERSION / 4, spec::VERSION_VALUE);
        let mut count = 0u32;
        let mut at = spec::DATAPORT / 4;
        for (size, rights) in dataports {
            let [b0, b1, b2, b3, b4, b5, b6, b7] = size.to_le_bytes();
            self.store(at, u32::from_le_bytes([b0, b1, b2, b3]));
            self.store(at.saturating_add(1), u32::from_le_bytes([b4, b5, b6, b7]));
            self.store(
                at.saturating_add(2),
                match rights {
                    Rights::Read => 1,
                    Rights::ReadWrite => 3,
                },
            );
            at = at.saturating_add(spec::DATAPORT_STRIDE / 4);
            count = count.saturating_add(1);
        }
        self.store(spec::DATAPORTS / 4, count);
    }

    /// COUNT.
    pub(crate) fn count(&self) -> u32 {
        self.load(spec::COUNT / 4)
    }

    /// Sets COUNT.
    pub(crate) fn set_count(&self, count: u32) {
        self.store(spec::COUNT / 4, count);
    }

    /// `events` events more. A counter that is full stays full: it never wraps to "nothing happened".
    pub(crate) fn add_events(&self, events: u32) {
        self.set_count(self.count().saturating_add(events));
    }

    /// `events` events less, at most all.
    pub(crate) fn acknowledge(&self, events: u32) {
        self.set_count(self.count().saturating_sub(events));
    }

    /// One emit more that could not be delivered.
    pub(crate) fn add_dropped(&self, profile: Profile) {
        if profile == Profile::Extended {
            self.store(spec::DROPPED / 4, self.load(spec::DROPPED / 4).saturating_add(1));
        }
    }

    /// The counters as they are at power-on.
    pub(crate) fn reset(&self) {
        self.set_count(0);
        // Zero in both profiles at power-on.
        self.store(spec::DROPPED / 4, 0);
    }

    /// What a load at `offset` gives; bytes outside the page read as zero.
    pub(crate) fn read(&self, offset: u64, width: Width) -> u64 {
        let mut bytes = [0u8; 8];
        let addresses = core::iter::successors(Some(offset), |at| at.checked_add(1));
        for (at, byte) in addresses.zip(bytes.iter_mut()) {
            let [b0, b1, b2, b3] = self.load(at / 4).to_le_bytes();
            *byte = match at % 4 {
                0 => b0,
                1 => b1,
                2 => b2,
                _ => b3,
            };
        }
        u64::from_le_bytes(bytes) & width.mask()
    }

    fn load(&self, word: u64) -> u32 {
        usize::try_from(word).ok().and_then(|word| self.0.words().get(word)).map_or(0, |word| u32::from_le(word.load(Ordering::Acquire)))
    }

    /// Release: a guest that sees the new value sees everything that was written before it.
    fn store(&self, word: u64, value: u32) {
        let Ok(index) = usize::try_from(word) else { return };
        if let Some(word) = self.0.words().get(index) {
            word.store(value.to_le(), Ordering::Release);
            self.0.published(index);
        }
    }
}
