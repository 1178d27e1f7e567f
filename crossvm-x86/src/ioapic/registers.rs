//! Accesses of the guest to an IOAPIC's registers.

use crossvm_core::Width;

use super::{IoApic, IoApicVersion, Pin};
use crate::spec::ioapic::{ARBITRATION, EOI, ID, Identifier, REDIRECTION, SELECT, VERSION, VersionRegister, WINDOW};

/// Half of a redirection entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Half {
    Lower,
    Upper,
}

impl<const PINS: usize> IoApic<PINS> {
    /// Bits of IOREGSEL.
    const SELECT_MASK: u16 = if PINS > 120 { 0x1ff } else { 0xff };

    /// The guest loads `width` at `offset` from the IOAPIC's first byte.
    ///
    /// A load that begins at IOREGSEL (0x00) or IOWIN (0x10) gives the register, cut or filled with zeros to the width. All other offsets read as
    /// zero, those of a register's later bytes too, and so do the registers that do not exist.
    #[must_use]
    pub fn read(&self, offset: u32, width: Width) -> u64 {
        let register = match offset {
            SELECT => u32::from(self.select),
            WINDOW => self.selected(),
            _ => 0,
        };
        u64::from(register) & width.mask()
    }

    /// The guest stores `width` at `offset`. Gives the pin whose redirection entry has changed, if one has: see [`route`](Self::route).
    ///
    /// A store that begins at a register writes all of it, filled with zeros where the store is narrower, as KVM has it. All others are ignored,
    /// and the end-of-interrupt register (0x40) is where the version is 0x20.
    pub fn write(&mut self, offset: u32, width: Width, value: u64) -> Option<Pin> {
        #[expect(clippy::cast_possible_truncation, reason = "registers have 32 bits")]
        let value = (value & width.mask()) as u32;
        let [low, second, ..] = value.to_le_bytes();
        match offset {
            SELECT => self.select = u16::from_le_bytes([low, second]) & Self::SELECT_MASK,
            WINDOW => return self.write_selected(value),
            EOI if self.version == IoApicVersion::V20 => self.end_of_interrupt(low),
            _ => {}
        }
        None
    }

    fn selected(&self) -> u32 {
        match self.select {
            ID | ARBITRATION => self.id.into_bits(),
            VERSION => VersionRegister::new().with_version(self.version.number()).with_last_entry(Self::LAST).into_bits(),
            _ => self
                .selected_half()
                .and_then(|(pin, half)| {
                    let entry = self.entry(pin)?.into_bits();
                    #[expect(clippy::cast_possible_truncation, reason = "one half, then the other")]
                    let (lower, upper) = (entry as u32, (entry >> 32) as u32);
                    Some(if half == Half::Lower { lower } else { upper })
                })
                .unwrap_or(0),
        }
    }

    fn write_selected(&mut self, value: u32) -> Option<Pin> {
        if self.select == ID {
            self.id = Identifier::from_bits(value & Identifier::WRITABLE);
            return None;
        }
        let (pin, half) = self.selected_half()?;
        let state = self.pins.get_mut(pin.index())?;
        let (value, mask) = match half {
            Half::Lower => (u64::from(value), u64::from(u32::MAX)),
            Half::Upper => (u64::from(value) << 32, u64::from(u32::MAX) << 32),
        };
        state.write(value, mask).then_some(pin)
    }

    /// The pin and half that IOREGSEL selects, where it selects one.
    fn selected_half(&self) -> Option<(Pin, Half)> {
        let index = self.select.checked_sub(REDIRECTION)?;
        let half = if index & 1 == 0 { Half::Lower } else { Half::Upper };
        Some((Pin::new(u32::from(index >> 1)).filter(|pin| pin.index() < PINS)?, half))
    }

    #[expect(clippy::cast_possible_truncation, reason = "at most 239")]
    const LAST: u8 = PINS.saturating_sub(1) as u8;
}
