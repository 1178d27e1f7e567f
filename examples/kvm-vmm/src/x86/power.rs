//! Power: the fixed registers of ACPI, the reset register, and the exit port.

use crossvm_core::Width;
use crossvm_x86::acpi::{PowerPorts, ResetPort};
use crossvm_x86::{PowerEffect, PowerManagement};

/// Where ACPI's registers are.
pub(crate) const PORTS: PowerPorts = PowerPorts { event: 0x600, control: 0x604 };
/// The reset register: that of PCs, which ACPI tables name and kernels try without them too.
pub(crate) const RESET: ResetPort = ResetPort { port: 0xcf9, value: RESET_CPU | 0x02 };
/// Bit of what is written there that counts.
const RESET_CPU: u8 = 1 << 2;
/// The keyboard controller's command port, and the command that pulses its reset line.
const KEYBOARD: u16 = 0x64;
const PULSE_RESET: u8 = 0xfe;
/// A port for payloads without ACPI: the byte written is the reason; see [`Power::write`].
pub(crate) const EXIT: u16 = 0xf4;

/// What a guest asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Request {
    /// Off.
    PowerOff,
    /// To start again.
    Reset,
    /// The end, with what a payload says: zero is good.
    Exit(u8),
}

/// The registers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Power(PowerManagement);

/// Registers of ACPI, with the offset in them.
enum Register {
    Event(u16),
    Control(u16),
}

fn register(port: u16) -> Option<Register> {
    let at = |first: u16, bytes: u16| port.checked_sub(first).filter(|offset| *offset < bytes);
    at(PORTS.event, 4).map(Register::Event).or_else(|| at(PORTS.control, 2).map(Register::Control))
}

impl Power {
    /// A guest's `in`: `None` where the port is not one of these.
    pub(crate) fn read(&self, port: u16, width: Width) -> Option<u64> {
        register(port).map(|register| match register {
            Register::Event(offset) => self.0.read_event(offset, width),
            Register::Control(offset) => self.0.read_control(offset, width),
        })
    }

    /// A guest's `out`: what it asks for with it. Ports that are not of these ask for nothing.
    ///
    /// The exit port takes any width; of the value, the lowest byte counts.
    pub(crate) fn write(&mut self, port: u16, width: Width, value: u32) -> Option<Request> {
        let [low, ..] = value.to_le_bytes();
        match register(port) {
            Some(Register::Event(offset)) => {
                self.0.write_event(offset, width, value.into());
                return None;
            }
            Some(Register::Control(offset)) => {
                return self.0.write_control(offset, width, value.into()).map(|PowerEffect::Off| Request::PowerOff);
            }
            None => {}
        }
        match port {
            _ if port == RESET.port && width == Width::U8 => (low & RESET_CPU != 0).then_some(Request::Reset),
            KEYBOARD => (low == PULSE_RESET).then_some(Request::Reset),
            EXIT => Some(Request::Exit(low)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_request_has_its_port() {
        let mut power = Power::default();
        assert_eq!(power.write(PORTS.control, Width::U16, 0x3401), Some(Request::PowerOff));
        assert_eq!(power.write(PORTS.control, Width::U16, 0x1401), None, "no SLP_EN");
        assert_eq!(power.write(RESET.port, Width::U8, 0x02), None);
        assert_eq!(power.write(RESET.port, Width::U32, u32::MAX), None, "that is configuration space");
        assert_eq!(power.write(RESET.port, Width::U8, RESET.value.into()), Some(Request::Reset));
        assert_eq!(power.write(KEYBOARD, Width::U8, 0xfe), Some(Request::Reset));
        assert_eq!(power.write(KEYBOARD, Width::U8, 0xaa), None);
        assert_eq!(power.write(EXIT, Width::U32, 0x1_0007), Some(Request::Exit(7)));
        assert_eq!(power.write(0x80, Width::U8, 0xff), None);
    }

    #[test]
    fn registers_are_at_their_ports() {
        let mut power = Power::default();
        assert_eq!(power.write(PORTS.event + 2, Width::U16, 0x0120), None);
        assert_eq!(power.read(PORTS.event, Width::U32), Some(0x0120_0000));
        assert_eq!(power.read(PORTS.control, Width::U16), Some(1), "ACPI is enabled");
        assert_eq!((power.read(PORTS.control + 2, Width::U16), power.read(RESET.port, Width::U8)), (None, None));
    }
}
