//! The 8254 timer of a PC, for VMMs whose hypervisor has none (KVM with a split irqchip).

mod counter;

use self::counter::Counter;
use crate::spec::pit::{CONTROL, COUNTER, ControlWord, FREQUENCY, PORT_B, PortB, ReadBack};

/// Nanoseconds in a second.
const NANOSECONDS: u64 = 1_000_000_000;

/// An 8254 with port B. The first counter's output is the line GSI 0, the third's is for guests that measure other clocks with it.
///
/// Plain data: the VMM says what time it is, in nanoseconds since any moment, never less than before. It sets a timer for
/// [`next_tick`](Self::next_tick), and then and after each write [pulses](crate::Chipset::pulse) GSI 0 where [`take_ticks`](Self::take_ticks) gives
/// any.
///
/// Modes 0, 2, 3 and 4 in full; 1 and 5 trigger by the third counter's gate, and the count must be written before. A count that is written
/// while another runs begins at once. All counts are binary.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Pit {
    counters: [Counter; 3],
    /// Bits that read as they were written.
    port_b: PortB,
}

/// Ticks of the 8254's clock at a time in nanoseconds.
fn ticks(now: u64) -> u64 {
    scale(now, FREQUENCY, NANOSECONDS)
}

/// `value` times `numerator` by `denominator`, cut to 64 bits.
fn scale(value: u64, numerator: u64, denominator: u64) -> u64 {
    let product = u128::from(value).wrapping_mul(numerator.into());
    product.checked_div(denominator.into()).and_then(|scaled| u64::try_from(scaled).ok()).unwrap_or(u64::MAX)
}

impl Pit {
    /// At power-on: nothing counts.
    #[must_use]
    pub const fn new() -> Self {
        Self { counters: [Counter::new(true), Counter::new(true), Counter::new(false)], port_b: PortB::new() }
    }

    /// The guest reads a byte at `port` (0x40 to 0x43 and 0x61); `None` where the port is another device's.
    #[must_use]
    pub fn read(&mut self, port: u16, now: u64) -> Option<u8> {
        let now = ticks(now);
        match port {
            CONTROL => Some(0),
            PORT_B => {
                let output = self.counters.last().is_some_and(|counter| counter.output(now));
                // Memory is refreshed every 18 ticks.
                Some(self.port_b.with_output(output).with_refresh(now.wrapping_div(18) & 1 != 0).into_bits())
            }
            _ => self.counter(port).map(|counter| counter.read(now)),
        }
    }

    /// The guest writes a byte at `port`; `false` where the port is another device's.
    pub fn write(&mut self, port: u16, value: u8, now: u64) -> bool {
        let now = ticks(now);
        match port {
            CONTROL => self.write_control(value, now),
            PORT_B => {
                let written = PortB::from_bits(value);
                self.port_b = PortB::new().with_gate(written.gate()).with_speaker(written.speaker());
                if let Some(counter) = self.counters.last_mut() {
                    counter.set_gate(written.gate(), now);
                }
            }
            _ => match self.counter(port) {
                Some(counter) => counter.write(value, now),
                None => return false,
            },
        }
        true
    }

    /// How often the first counter's output has risen since this was last asked.
    #[must_use = "the guest counts them"]
    pub fn take_ticks(&mut self, now: u64) -> u64 {
        self.counters.first_mut().map_or(0, |counter| counter.take_rises(ticks(now)))
    }

    /// When it rises next: a time in nanoseconds, which may have passed; `None` where it does not.
    #[must_use]
    pub fn next_tick(&self) -> Option<u64> {
        let rise = self.counters.first()?.next_rise()?;
        // The first nanosecond at which the tick has come.
        Some(scale(rise, NANOSECONDS, FREQUENCY).saturating_add(1))
    }

    fn counter(&mut self, port: u16) -> Option<&mut Counter> {
        self.counters.get_mut(usize::from(port.checked_sub(COUNTER)?))
    }

    fn write_control(&mut self, value: u8, now: u64) {
        let control = ControlWord::from_bits(value);
        if let Some(counter) = self.counters.get_mut(usize::from(control.counter())) {
            match control.access() {
                0 => counter.latch_count(now),
                _ => counter.write_control(control),
            }
            return;
        }
        let command = ReadBack::from_bits(value);
        for (counter, place) in self.counters.iter_mut().zip(0..3_u32) {
            if command.counters() & 1_u8.wrapping_shl(place) == 0 {
                continue;
            }
            if !command.no_count() {
                counter.latch_count(now);
            }
            if !command.no_status() {
                counter.latch_status(now);
            }
        }
    }
}

impl Default for Pit {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first nanosecond of a tick.
    fn at(tick: u64) -> u64 {
        (tick * NANOSECONDS).div_ceil(FREQUENCY)
    }

    fn write(pit: &mut Pit, tick: u64, writes: &[(u16, u8)]) {
        writes.iter().for_each(|(port, value)| assert!(pit.write(*port, *value, at(tick))));
    }

    /// The count of a counter, latched.
    fn count(pit: &mut Pit, counter: u8, tick: u64) -> u16 {
        write(pit, tick, &[(0x43, counter << 6)]);
        let port = 0x40 + u16::from(counter);
        u16::from_le_bytes([(); 2].map(|()| pit.read(port, at(tick + 50)).unwrap()))
    }

    fn output(pit: &mut Pit, tick: u64) -> bool {
        pit.read(0x61, at(tick)).unwrap() & 0x20 != 0
    }

    #[test]
    fn a_rate_generator_ticks_at_each_period_and_none_is_lost() {
        for control in [0x34, 0x36] {
            let mut pit = Pit::new();
            assert_eq!((pit.next_tick(), pit.take_ticks(at(1000))), (None, 0));
            write(&mut pit, 1000, &[(0x43, control), (0x40, 0x9c), (0x40, 0x2e)]);
            let period = 0x2e9c;
            for n in 1..=3 {
                let next = pit.next_tick().unwrap();
                assert!((at(1000 + n * period)..=at(1000 + n * period) + 1).contains(&next));
                assert_eq!((pit.take_ticks(next - 2), pit.take_ticks(next), pit.take_ticks(next)), (0, 1, 0));
            }
            assert_eq!(pit.take_ticks(at(1000 + 10 * period)), 7);
        }
    }

    #[test]
    fn a_count_of_zero_is_65536() {
        let mut pit = Pit::new();
        write(&mut pit, 0, &[(0x43, 0x34), (0x40, 0), (0x40, 0)]);
        assert_eq!((pit.take_ticks(at(0xffff)), pit.take_ticks(at(0x1_0000)), count(&mut pit, 0, 0x1_0001)), (0, 1, 0xffff));
    }

    #[test]
    fn a_terminal_count_ticks_once_and_counts_on() {
        let mut pit = Pit::new();
        write(&mut pit, 10, &[(0x43, 0x30), (0x40, 100), (0x40, 0)]);
        assert_eq!((count(&mut pit, 0, 40), pit.take_ticks(at(109)), pit.take_ticks(at(110)), pit.take_ticks(at(99_999))), (70, 0, 1, 0));
        assert_eq!((pit.next_tick(), count(&mut pit, 0, 111)), (None, 0xffff));
        write(&mut pit, 200, &[(0x40, 50), (0x40, 0)]);
        assert_eq!((pit.take_ticks(at(249)), pit.take_ticks(at(250))), (0, 1));
    }

    #[test]
    fn a_strobe_ticks_once_after_its_count() {
        let mut pit = Pit::new();
        write(&mut pit, 0, &[(0x43, 0x38), (0x40, 10), (0x40, 0)]);
        assert_eq!((pit.take_ticks(at(10)), pit.take_ticks(at(11)), pit.take_ticks(at(99)), pit.next_tick()), (0, 1, 0, None));
    }

    #[test]
    fn the_third_counter_counts_while_its_gate_is_high_and_its_output_can_be_read() {
        // As Linux measures the clock of the processor.
        let mut pit = Pit::new();
        write(&mut pit, 0, &[(0x61, 0x01), (0x43, 0xb0), (0x42, 100), (0x42, 0)]);
        assert!(!output(&mut pit, 99) && output(&mut pit, 100) && output(&mut pit, 1000));
        write(&mut pit, 1000, &[(0x42, 100), (0x42, 0)]);
        write(&mut pit, 1030, &[(0x61, 0x00)]);
        assert_eq!((count(&mut pit, 2, 2000), output(&mut pit, 3000)), (70, false));
        write(&mut pit, 3000, &[(0x61, 0x03)]);
        assert_eq!((count(&mut pit, 2, 3010), output(&mut pit, 3069), output(&mut pit, 3070)), (60, false, true));
        assert_eq!(pit.read(0x61, at(3070)).unwrap() & 0x0f, 0x03);
    }

    #[test]
    fn bytes_are_read_as_the_control_word_says_and_a_latched_count_stays() {
        let mut pit = Pit::new();
        write(&mut pit, 0, &[(0x43, 0x34), (0x40, 0x34), (0x40, 0x12)]);
        assert_eq!([pit.read(0x40, at(0)), pit.read(0x40, at(0)), pit.read(0x40, at(0))], [Some(0x34), Some(0x12), Some(0x34)]);
        assert_eq!(pit.read(0x40, at(0)), Some(0x12));
        write(&mut pit, 4, &[(0x43, 0x00)]);
        write(&mut pit, 9, &[(0x43, 0x00)]);
        assert_eq!([pit.read(0x40, at(20)), pit.read(0x40, at(20)), pit.read(0x40, at(20))], [Some(0x30), Some(0x12), Some(0x20)]);
        let mut pit = Pit::new();
        write(&mut pit, 0, &[(0x43, 0x14), (0x40, 0x80)]);
        assert_eq!([pit.read(0x40, at(1)), pit.read(0x40, at(2))], [Some(0x7f), Some(0x7e)]);
        write(&mut pit, 0, &[(0x43, 0x24), (0x40, 0x80)]);
        assert_eq!([pit.read(0x40, at(1)), pit.read(0x40, at(2))], [Some(0x7f), Some(0x7f)]);
    }

    #[test]
    fn a_read_back_gives_status_then_count() {
        let mut pit = Pit::new();
        write(&mut pit, 0, &[(0x43, 0x34)]);
        write(&mut pit, 0, &[(0x43, 0xe2)]);
        assert_eq!(pit.read(0x40, at(0)), Some(0xf4), "output high, no count yet");
        write(&mut pit, 0, &[(0x40, 100), (0x40, 0)]);
        write(&mut pit, 10, &[(0x43, 0xc2)]);
        assert_eq!([pit.read(0x40, at(50)), pit.read(0x40, at(50)), pit.read(0x40, at(50))], [Some(0xb4), Some(90), Some(0)]);
    }

    #[test]
    fn a_square_wave_is_high_for_the_first_half_and_counts_by_twos() {
        let mut pit = Pit::new();
        write(&mut pit, 0, &[(0x61, 0x01), (0x43, 0xb6), (0x42, 100), (0x42, 0)]);
        assert!(output(&mut pit, 49) && !output(&mut pit, 50) && !output(&mut pit, 99) && output(&mut pit, 100));
        assert_eq!([0, 10, 50, 60].map(|tick| count(&mut pit, 2, tick)), [100, 80, 100, 80]);
    }

    #[test]
    fn every_write_and_read_has_a_result_whatever_the_time() {
        let mut pit = Pit::new();
        for now in [0, 1, at(70_000), u64::MAX / 2, u64::MAX] {
            for port in (0x3f..=0x44).chain([0x60, 0x61, 0x62]) {
                for value in 0..=u8::MAX {
                    assert_eq!(pit.write(port, value, now), (0x40..=0x43).contains(&port) || port == 0x61);
                    let _ = (pit.read(port, now), pit.take_ticks(now), pit.next_tick());
                }
            }
        }
    }
}
