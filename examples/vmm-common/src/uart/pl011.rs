//! The state machine.

use crossvm_core::{Level, Width};
use heapless::Deque;

use super::spec::{self, FifoLevel, Flags, Interrupts, LineControl};

/// A byte that the guest transmits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transmit(pub u8);

/// A virtual PL011.
#[derive(Debug)]
pub struct Pl011 {
    received: Deque<u8, { spec::FIFO_DEPTH }>,
    raw: Interrupts,
    mask: Interrupts,
    line: LineControl,
    level: FifoLevel,
    control: u16,
    baud: (u16, u8),
    low_power: u8,
    dma: u8,
}

impl Default for Pl011 {
    fn default() -> Self {
        Self::new()
    }
}

impl Pl011 {
    /// As it is after reset.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            received: Deque::new(),
            raw: Interrupts::new(),
            mask: Interrupts::new(),
            line: LineControl::new(),
            level: FifoLevel::new().with_transmit(2).with_receive(2),
            control: spec::CR_RESET,
            baud: (0, 0),
            low_power: 0,
            dma: 0,
        }
    }

    /// The level of the combined interrupt output.
    #[must_use]
    pub fn interrupt(&self) -> Level {
        Level::from_asserted(self.pending().into_bits() != 0)
    }

    /// Whether another received byte fits.
    #[must_use]
    pub fn can_receive(&self) -> bool {
        self.received.len() < self.depth()
    }

    /// Receives a byte. One that does not fit is lost, as on a wire: ask [`Pl011::can_receive`] first.
    pub fn receive(&mut self, byte: u8) {
        if self.can_receive() && self.received.push_back(byte).is_ok() {
            self.update_receive();
        }
    }

    /// The guest loads from `offset`. All registers are 16 bits wide at most; wider loads give zeroes above.
    pub fn read(&mut self, offset: u64, width: Width) -> u64 {
        let value = match offset {
            spec::DR => u16::from(self.take()),
            spec::FR => self.flags().into_bits(),
            spec::ILPR => u16::from(self.low_power),
            spec::IBRD => self.baud.0,
            spec::FBRD => u16::from(self.baud.1),
            spec::LCR_H => u16::from(self.line.into_bits()),
            spec::CR => self.control,
            spec::IFLS => u16::from(self.level.into_bits()),
            spec::IMSC => self.mask.into_bits(),
            spec::RIS => self.raw.into_bits(),
            spec::MIS => self.pending().into_bits(),
            spec::DMACR => u16::from(self.dma),
            _ => u16::from(identification(offset)),
        };
        u64::from(value) & width.mask()
    }

    /// The guest stores to `offset`. Gives the byte that it transmits, if the store does.
    pub fn write(&mut self, offset: u64, width: Width, value: u64) -> Option<Transmit> {
        let [low, high, ..] = (value & width.mask()).to_le_bytes();
        let value = u16::from_le_bytes([low, high]);
        match offset {
            spec::DR => {
                // Sent already, so the FIFO falls to its level again with each byte.
                self.raw.set_transmit(true);
                return Some(Transmit(low));
            }
            spec::ILPR => self.low_power = low,
            spec::IBRD => self.baud.0 = value,
            spec::FBRD => self.baud.1 = low & 0x3f,
            spec::LCR_H => {
                let line = LineControl::from_bits(low);
                // Switching the FIFOs flushes them.
                if line.fifos() != self.line.fifos() {
                    self.received.clear();
                }
                self.line = line;
                self.update_receive();
            }
            spec::CR => self.control = value,
            spec::IFLS => {
                self.level = FifoLevel::from_bits(low & 0x3f);
                self.update_receive();
            }
            spec::IMSC => self.mask = Interrupts::from_bits(value & 0x7ff),
            spec::ICR => {
                let raw = Interrupts::from_bits(self.raw.into_bits() & !value);
                // What waits still waits, and times out again.
                self.raw = raw.with_receive_timeout(!self.received.is_empty());
            }
            spec::DMACR => self.dma = low & 0b111,
            _ => {}
        }
        None
    }

    fn pending(&self) -> Interrupts {
        Interrupts::from_bits(self.raw.into_bits() & self.mask.into_bits())
    }

    fn depth(&self) -> usize {
        if self.line.fifos() { spec::FIFO_DEPTH } else { 1 }
    }

    fn flags(&self) -> Flags {
        Flags::new()
            .with_clear_to_send(true)
            .with_data_set_ready(true)
            .with_carrier_detect(true)
            .with_transmit_empty(true)
            .with_receive_empty(self.received.is_empty())
            .with_receive_full(!self.can_receive())
    }

    fn take(&mut self) -> u8 {
        let byte = self.received.pop_front().unwrap_or(0);
        self.update_receive();
        byte
    }

    /// Both follow what waits in the FIFO: time does not pass in here, so whatever waits has waited long enough.
    fn update_receive(&mut self) {
        let trigger = match (self.line.fifos(), self.level.receive()) {
            (false, _) => 1,
            (true, 0) => spec::FIFO_DEPTH / 8,
            (true, 1) => spec::FIFO_DEPTH / 4,
            (true, 2) => spec::FIFO_DEPTH / 2,
            (true, 3) => spec::FIFO_DEPTH * 3 / 4,
            (true, _) => spec::FIFO_DEPTH * 7 / 8,
        };
        self.raw.set_receive(self.received.len() >= trigger);
        self.raw.set_receive_timeout(!self.received.is_empty());
    }
}

/// The identification registers: one byte every four bytes.
fn identification(offset: u64) -> u8 {
    let index = offset.checked_sub(spec::ID).filter(|above| above.is_multiple_of(4)).and_then(|above| usize::try_from(above / 4).ok());
    index.and_then(|index| spec::IDENTIFICATION.get(index)).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TX: u64 = 1 << 5;
    const RX: u64 = 1 << 4;
    const RT: u64 = 1 << 6;

    fn read(uart: &mut Pl011, offset: u64) -> u64 {
        uart.read(offset, Width::U32)
    }

    #[test]
    fn linux_finds_an_arm_pl011() {
        let mut uart = Pl011::new();
        // amba_read_periphid: four bytes each, least significant first.
        let mut id = |base: u64| (0..4u64).fold(0, |id, index| id | read(&mut uart, base + 4 * index) << (8 * index));
        assert_eq!(id(0xfe0), 0x0014_1011);
        assert_eq!(id(0xff0), 0xb105_f00d);
    }

    #[test]
    fn a_byte_is_transmitted_at_once_and_interrupts_once() {
        let mut uart = Pl011::new();
        uart.write(spec::IMSC, Width::U16, TX);
        assert_eq!(uart.interrupt(), Level::Low, "nothing has been sent: the FIFO has not fallen to its level");
        assert_eq!(uart.write(spec::DR, Width::U16, 0x41), Some(Transmit(b'A')));
        assert_eq!(uart.interrupt(), Level::High);
        assert_eq!(read(&mut uart, spec::FR) & 0xa8, 0x80, "empty, neither full nor busy");
        uart.write(spec::ICR, Width::U16, TX);
        assert_eq!((uart.interrupt(), read(&mut uart, spec::RIS)), (Level::Low, 0));
    }

    #[test]
    fn what_is_received_interrupts_until_it_is_read() {
        let mut uart = Pl011::new();
        uart.write(spec::LCR_H, Width::U16, 0x70);
        uart.write(spec::IMSC, Width::U16, RX | RT);
        for byte in 0..8 {
            assert!(uart.can_receive());
            uart.receive(byte);
            assert_eq!(uart.interrupt(), Level::High);
            assert_eq!(read(&mut uart, spec::MIS) & RX != 0, byte == 7, "the level is one half of 16");
        }
        for byte in 0..8 {
            assert_eq!(uart.interrupt(), Level::High);
            assert_eq!(read(&mut uart, spec::FR) & 0x10, 0);
            assert_eq!(read(&mut uart, spec::DR), byte);
        }
        assert_eq!(uart.interrupt(), Level::Low);
        assert_eq!(read(&mut uart, spec::FR) & 0x10, 0x10);
    }

    #[test]
    fn the_fifo_holds_16_or_1() {
        let mut uart = Pl011::new();
        uart.receive(1);
        assert!(!uart.can_receive());
        assert_eq!(read(&mut uart, spec::FR) & 0x40, 0x40);
        uart.receive(2);
        assert_eq!((read(&mut uart, spec::DR), read(&mut uart, spec::DR)), (1, 0));
        uart.write(spec::LCR_H, Width::U16, 0x10);
        for byte in 0..20 {
            uart.receive(byte);
        }
        assert_eq!(core::iter::from_fn(|| (read(&mut uart, spec::FR) & 0x10 == 0).then(|| read(&mut uart, spec::DR))).count(), 16);
    }

    proptest! {
        /// Whatever a guest does, the line is what the two interrupt registers say, and no more than the FIFO holds waits.
        #[test]
        fn the_line_is_status_and_mask(accesses in proptest::collection::vec((0u64..0x1004, 0u8..4, any::<u64>(), any::<bool>()), 0..200)) {
            let mut uart = Pl011::new();
            for (offset, width, value, write) in accesses {
                let offset = if offset < 0x100 { (offset % 0x4c) & !3 } else { offset };
                let width = Width::ALL[usize::from(width)];
                if write {
                    uart.write(offset, width, value);
                } else {
                    prop_assert!(uart.read(offset, width) <= width.mask().min(0xffff));
                }
                if value % 3 == 0 {
                    uart.receive(7);
                }
                let (raw, mask) = (uart.read(spec::RIS, Width::U64), uart.read(spec::IMSC, Width::U64));
                prop_assert_eq!(uart.read(spec::MIS, Width::U64), raw & mask);
                prop_assert_eq!(uart.interrupt().is_high(), raw & mask != 0);
                prop_assert!(uart.received.len() <= uart.depth());
            }
        }
    }
}
