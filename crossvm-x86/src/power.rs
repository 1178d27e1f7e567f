//! The fixed hardware of ACPI that a guest needs to switch the machine off (ACPI 6.5, §4.8.3).

use crossvm_core::Width;

use crate::spec::power::{ControlRegister, S5};

/// What the guest has made of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[must_use = "the guest believes it"]
pub enum PowerEffect {
    /// It has switched it off.
    Off,
}

/// PM1a's status, enable and control registers.
///
/// There are no buttons, no timer and no alarm, so that no status bit is ever set and ACPI's interrupt never comes.
///
/// Accesses that begin at a register reach it, cut or filled with zeros to its 16 bits; one of 4 bytes at the event block reaches both
/// registers there. All others read as zero and change nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct PowerManagement {
    enabled: u16,
    /// What it reads as.
    control: ControlRegister,
}

impl PowerManagement {
    /// At power-on.
    #[must_use]
    pub const fn new() -> Self {
        Self { enabled: 0, control: ControlRegister::new().with_acpi_enabled(true) }
    }

    /// The guest reads `width` at `offset` of the event block (4 bytes: status, then enable).
    #[must_use]
    pub fn read_event(&self, offset: u16, width: Width) -> u64 {
        let value = match offset {
            0 => u64::from(self.enabled) << 16,
            2 => u64::from(self.enabled),
            _ => 0,
        };
        value & width.mask()
    }

    /// The guest writes there.
    pub fn write_event(&mut self, offset: u16, width: Width, value: u64) {
        #[expect(clippy::cast_possible_truncation, reason = "the registers have 16 bits")]
        match (offset, width) {
            (0, Width::U32 | Width::U64) => self.enabled = (value >> 16) as u16,
            (2, _) => self.enabled = (value & width.mask()) as u16,
            _ => {}
        }
    }

    /// The guest reads `width` at `offset` of the control block (2 bytes).
    #[must_use]
    pub fn read_control(&self, offset: u16, width: Width) -> u64 {
        if offset == 0 { u64::from(self.control.into_bits()) & width.mask() } else { 0 }
    }

    /// The guest writes there.
    pub fn write_control(&mut self, offset: u16, width: Width, value: u64) -> Option<PowerEffect> {
        if offset != 0 {
            return None;
        }
        #[expect(clippy::cast_possible_truncation, reason = "the register has 16 bits")]
        let control = ControlRegister::from_bits((value & width.mask()) as u16);
        self.control = ControlRegister::from_bits(control.into_bits() & ControlRegister::KEPT).with_acpi_enabled(true);
        (control.sleep() && control.sleep_type() == S5).then_some(PowerEffect::Off)
    }
}

impl Default for PowerManagement {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_s5_with_the_sleep_bit_switches_off() {
        for control in 0..=u16::MAX {
            let effect = PowerManagement::new().write_control(0, Width::U16, control.into());
            assert_eq!(effect.is_some(), control >> 10 & 0xf == 0b1101, "{control:#x}");
        }
        assert_eq!(PowerManagement::new().write_control(1, Width::U16, 0x3400), None);
        assert_eq!(PowerManagement::new().write_control(0, Width::U8, 0x3400), None);
    }

    #[test]
    fn a_guest_finds_acpi_enabled_and_what_it_wrote() {
        let mut power = PowerManagement::new();
        assert_eq!(power.read_control(0, Width::U16), 1);
        assert_eq!(power.write_control(0, Width::U16, 0x1400), None);
        assert_eq!((power.read_control(0, Width::U16), power.read_control(1, Width::U16)), (0x1401, 0));
        power.write_event(2, Width::U16, 0x120);
        assert_eq!(
            (power.read_event(0, Width::U32), power.read_event(2, Width::U16), power.read_event(0, Width::U16)),
            (0x120_0000, 0x120, 0)
        );
        power.write_event(0, Width::U32, 0x20_ffff);
        power.write_event(0, Width::U16, 0xffff);
        assert_eq!(power.read_event(0, Width::U64), 0x20_0000);
    }
}
