//! An IOAPIC as the 82093AA's data sheet tells of it (Intel 290566), in the plainest way: two words of 32 bits for each pin, and a flag for an edge
//! that is on its way.

use crossvm_core::Message;

/// Bits of the lower word of an entry.
const STATUS: u32 = 1 << 12;
const LOW_ACTIVE: u32 = 1 << 13;
const IRR: u32 = 1 << 14;
const LEVEL: u32 = 1 << 15;
const MASK: u32 = 1 << 16;
/// What a guest's write changes of the words.
const LOWER: u32 = 0x1_afff;
const UPPER: u32 = 0xff00_0000;

#[derive(Debug, Clone, Copy)]
pub(crate) struct PinModel {
    lower: u32,
    upper: u32,
    line: bool,
    /// `Some(true)`: the wire is low when the device asserts it.
    wire: Option<bool>,
    edge: bool,
}

impl PinModel {
    fn mode(&self) -> u32 {
        self.lower >> 8 & 7
    }

    fn level(&self) -> bool {
        self.lower & LEVEL != 0 && self.mode() < 2
    }

    fn active(&self) -> bool {
        // The voltage, and the voltage that the guest takes for active.
        let programmed = self.lower & LOW_ACTIVE != 0;
        let voltage = self.line != self.wire.unwrap_or(programmed);
        voltage != programmed
    }

    fn due(&self) -> bool {
        self.lower & MASK == 0 && if self.level() { self.active() && self.lower & IRR == 0 } else { self.edge }
    }

    fn strike(&mut self) {
        let listens = self.lower & MASK == 0 && !self.level() && ![3, 6].contains(&self.mode());
        self.edge |= listens;
    }

    fn written(&mut self) {
        if self.level() {
            self.edge = false;
        } else {
            self.lower &= !IRR;
        }
        if [3, 6].contains(&self.mode()) {
            self.edge = false;
        }
    }

    /// Address and data that the entry stands for.
    fn message(&self) -> Message {
        let logical = u64::from(self.lower >> 11 & 1);
        let address = 0xfee0_0000 | u64::from(self.upper >> 24) << 12 | logical << 2;
        let level = if self.level() { 0xc000 } else { 0 };
        Message { address, data: self.lower & 0x7ff | level }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Model {
    pub(crate) pins: Vec<PinModel>,
    version: u32,
    id: u32,
    select: u64,
}

impl Model {
    pub(crate) fn new(pins: usize, version: u32) -> Self {
        let pin = PinModel { lower: MASK, upper: 0, line: false, wire: None, edge: false };
        Self { pins: vec![pin; pins], version, id: 0, select: 0 }
    }

    pub(crate) fn wire(&mut self, pin: usize, low: bool) {
        self.pins[pin].wire = Some(low);
    }

    pub(crate) fn reset(&mut self) {
        (self.id, self.select) = (0, 0);
        for pin in &mut self.pins {
            *pin = PinModel { lower: MASK, upper: 0, edge: false, ..*pin };
        }
    }

    pub(crate) fn set(&mut self, pin: usize, high: bool) {
        let Some(pin) = self.pins.get_mut(pin) else { return };
        let before = pin.active();
        pin.line = high;
        if pin.active() && !before {
            pin.strike();
        }
    }

    pub(crate) fn pulse(&mut self, pin: usize) {
        if let Some(pin) = self.pins.get_mut(pin) {
            pin.strike();
        }
    }

    pub(crate) fn end(&mut self, vector: u32) {
        for pin in self.pins.iter_mut().filter(|pin| pin.lower & 0xff == vector) {
            pin.lower &= !IRR;
        }
    }

    pub(crate) fn read(&self, offset: u32, bits: u32) -> u64 {
        let value = match offset {
            0 => self.select,
            0x10 => u64::from(self.register()),
            _ => 0,
        };
        value & (u64::MAX >> (64 - bits))
    }

    fn register(&self) -> u32 {
        let last = u32::try_from(self.pins.len() - 1).unwrap();
        match self.select {
            0 | 2 => self.id << 24,
            1 => last << 16 | self.version,
            select @ 0x10.. => match self.pins.get(usize::try_from(select - 0x10).unwrap() / 2) {
                Some(pin) if select % 2 == 0 => pin.lower | if pin.due() { STATUS } else { 0 },
                Some(pin) => pin.upper,
                None => 0,
            },
            _ => 0,
        }
    }

    /// Gives the pin whose entry has changed.
    pub(crate) fn write(&mut self, offset: u32, bits: u32, value: u64) -> Option<usize> {
        let value = u32::try_from(value & (u64::MAX >> (64 - bits)) & 0xffff_ffff).unwrap();
        match offset {
            0 => self.select = u64::from(value) % if self.pins.len() > 120 { 0x200 } else { 0x100 },
            0x10 if self.select == 0 => self.id = value >> 24 & 0xf,
            0x10 if self.select >= 0x10 => {
                let index = usize::try_from(self.select - 0x10).unwrap();
                let pin = self.pins.get_mut(index / 2)?;
                let before = (pin.lower & LOWER, pin.upper);
                match index % 2 {
                    0 => pin.lower = pin.lower & IRR | value & LOWER,
                    _ => pin.upper = value & UPPER,
                }
                pin.written();
                return (before != (pin.lower & LOWER, pin.upper)).then_some(index / 2);
            }
            0x40 if self.version == 0x20 => self.end(value & 0xff),
            _ => {}
        }
        None
    }

    /// Sends what is due, in the order of the pins, where `accept` takes it. Gives what was offered.
    pub(crate) fn deliver(&mut self, mut accept: impl FnMut() -> bool) -> Vec<Message> {
        let mut offered = Vec::new();
        for pin in self.pins.iter_mut().filter(|pin| pin.due()) {
            offered.push(pin.message());
            if accept() {
                if pin.level() {
                    pin.lower |= IRR;
                }
                pin.edge = false;
            }
        }
        offered
    }

    pub(crate) fn route(&self, pin: usize) -> (Message, bool, bool) {
        let pin = &self.pins[pin];
        (pin.message(), pin.level(), pin.lower & MASK != 0)
    }
}
