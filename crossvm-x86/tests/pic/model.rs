//! Two 8259A as the data sheet tells of them (Intel 231468), in the plainest way: arrays of flags, and priorities as a list.

/// What the next write to the data port is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Ready,
    Vectors,
    Cascade,
    Modes,
}

#[derive(Debug, Clone)]
pub(crate) struct Chip {
    master: bool,
    line: [bool; 8],
    edge: [bool; 8],
    service: [bool; 8],
    mask: [bool; 8],
    level: [bool; 8],
    /// Highest priority first.
    order: Vec<usize>,
    base: u8,
    stage: Stage,
    /// ICW1 said that an ICW4 follows, and that the chip is alone.
    wants_modes: bool,
    alone: bool,
    auto_eoi: bool,
    nested: bool,
    special: bool,
    auto_rotate: bool,
    shows_service: bool,
    poll: bool,
}

fn byte(flags: [bool; 8]) -> u8 {
    (0..8).filter(|input| flags[*input]).map(|input| 1 << input).sum()
}

fn flags(byte: u8) -> [bool; 8] {
    std::array::from_fn(|input| byte >> input & 1 != 0)
}

impl Chip {
    fn new(master: bool) -> Self {
        Self {
            master,
            line: [false; 8],
            edge: [false; 8],
            service: [false; 8],
            mask: [false; 8],
            level: [false; 8],
            order: (0..8).collect(),
            base: 0,
            stage: Stage::Ready,
            wants_modes: false,
            alone: false,
            auto_eoi: false,
            nested: false,
            special: false,
            auto_rotate: false,
            shows_service: false,
            poll: false,
        }
    }

    fn is_level(&self, input: usize) -> bool {
        self.level[input] || self.master && input == 2
    }

    fn requested(&self, input: usize) -> bool {
        if self.is_level(input) { self.line[input] } else { self.edge[input] }
    }

    fn set(&mut self, input: usize, high: bool) {
        if !high {
            self.edge[input] = false;
        } else if !self.line[input] && !self.is_level(input) {
            self.edge[input] = true;
        }
        self.line[input] = high;
    }

    /// Goes down the priorities: the first request that is let through, unless something in service stands before it.
    fn pending(&self) -> Option<usize> {
        for input in &self.order {
            let input = *input;
            let own = self.service[input] && !(self.special && self.mask[input]);
            let asks = self.requested(input) && !self.mask[input];
            if asks && (!own || self.nested && self.master && input == 2) {
                return Some(input);
            }
            if own {
                return None;
            }
        }
        None
    }

    fn make_lowest(&mut self, input: usize) {
        while self.order[7] != input {
            self.order.rotate_left(1);
        }
    }

    fn take(&mut self, input: usize) {
        self.edge[input] = false;
        if !self.auto_eoi {
            self.service[input] = true;
            return;
        }
        // What was in service before, after a change of modes, ends as well.
        self.service[input] = false;
        if self.auto_rotate {
            self.make_lowest(input);
        }
    }

    fn poll(&mut self) -> u8 {
        self.poll = false;
        match self.pending() {
            Some(input) => {
                self.take(input);
                0x80 + u8::try_from(input).unwrap()
            }
            None => 7,
        }
    }

    fn read(&mut self, data: bool) -> u8 {
        if self.poll {
            self.poll()
        } else if data {
            byte(self.mask)
        } else if self.shows_service {
            byte(self.service)
        } else {
            byte(std::array::from_fn(|input| self.requested(input)))
        }
    }

    fn command(&mut self, value: u8) {
        let input = usize::from(value % 8);
        match (value >> 3 & 3, value >> 5) {
            (2 | 3, _) => {
                let fresh = Self::new(self.master);
                let (wants_modes, alone) = (value & 1 != 0, value & 2 != 0);
                let (auto_eoi, nested) = if wants_modes { (self.auto_eoi, self.nested) } else { (false, false) };
                *self = Self {
                    line: self.line,
                    level: self.level,
                    base: self.base,
                    stage: Stage::Vectors,
                    wants_modes,
                    alone,
                    auto_eoi,
                    nested,
                    ..fresh
                };
            }
            (1, special) => {
                match special & 3 {
                    2 => self.special = false,
                    3 => self.special = true,
                    _ => {}
                }
                self.poll = value & 4 != 0;
                match value & 3 {
                    2 => self.shows_service = false,
                    3 => self.shows_service = true,
                    _ => {}
                }
            }
            (_, 0) => self.auto_rotate = false,
            (_, 4) => self.auto_rotate = true,
            (_, kind @ (1 | 5)) => {
                let ends = |input: &usize| self.service[*input] && !(self.special && self.mask[*input]);
                if let Some(input) = self.order.iter().copied().find(ends) {
                    self.service[input] = false;
                    if kind == 5 {
                        self.make_lowest(input);
                    }
                }
            }
            (_, 2) => {}
            (_, 3) => self.service[input] = false,
            (_, 6) => self.make_lowest(input),
            _ => {
                self.service[input] = false;
                self.make_lowest(input);
            }
        }
    }

    fn data(&mut self, value: u8) {
        match self.stage {
            Stage::Ready => self.mask = flags(value),
            Stage::Vectors => {
                self.base = value / 8 * 8;
                self.stage = if self.alone { self.after_cascade() } else { Stage::Cascade };
            }
            Stage::Cascade => self.stage = self.after_cascade(),
            Stage::Modes => {
                self.auto_eoi = value & 2 != 0;
                self.nested = value & 16 != 0;
                self.stage = Stage::Ready;
            }
        }
    }

    fn after_cascade(&self) -> Stage {
        if self.wants_modes { Stage::Modes } else { Stage::Ready }
    }

    fn set_level_triggered(&mut self, value: u8, never: &[usize]) {
        self.level = flags(value);
        never.iter().for_each(|input| self.level[*input] = false);
        (0..8).filter(|input| self.level[*input]).for_each(|input| self.edge[input] = false);
    }
}

/// Both of them.
#[derive(Debug, Clone)]
pub(crate) struct Model {
    pub(crate) chips: [Chip; 2],
}

impl Model {
    pub(crate) fn new() -> Self {
        Self { chips: [Chip::new(true), Chip::new(false)] }
    }

    fn wire(&mut self) {
        let output = self.chips[1].pending().is_some();
        self.chips[0].set(2, output);
    }

    pub(crate) fn reset(&mut self) {
        for chip in &mut self.chips {
            *chip = Chip { line: chip.line, ..Chip::new(chip.master) };
        }
        self.wire();
    }

    pub(crate) fn set(&mut self, irq: usize, high: bool) {
        self.chips[irq / 8].set(irq % 8, high);
        self.wire();
    }

    pub(crate) fn pulse(&mut self, irq: usize) {
        let chip = &mut self.chips[irq / 8];
        if !chip.is_level(irq % 8) {
            chip.edge[irq % 8] = true;
        }
        self.wire();
    }

    pub(crate) fn pending(&self) -> bool {
        self.chips[0].pending().is_some()
    }

    /// The master's choice: an input of its own, or the slave.
    pub(crate) fn first_pulse(&mut self) -> Option<usize> {
        let input = self.chips[0].pending()?;
        self.chips[0].take(input);
        Some(input)
    }

    pub(crate) fn second_pulse(&mut self, chosen: Option<usize>) -> u8 {
        let (chip, input) = match chosen {
            Some(2) => {
                let input = self.chips[1].pending();
                if let Some(input) = input {
                    self.chips[1].take(input);
                }
                (1, input)
            }
            other => (0, other),
        };
        self.wire();
        self.chips[chip].base + u8::try_from(input.unwrap_or(7)).unwrap()
    }

    pub(crate) fn read(&mut self, port: u16) -> Option<u8> {
        let value = match port {
            0x20 | 0x21 => self.chips[0].read(port == 0x21),
            0xa0 | 0xa1 => self.chips[1].read(port == 0xa1),
            0x4d0 => byte(self.chips[0].level),
            0x4d1 => byte(self.chips[1].level),
            _ => return None,
        };
        self.wire();
        Some(value)
    }

    pub(crate) fn write(&mut self, port: u16, value: u8) -> bool {
        match port {
            0x20 => self.chips[0].command(value),
            0x21 => self.chips[0].data(value),
            0xa0 => self.chips[1].command(value),
            0xa1 => self.chips[1].data(value),
            0x4d0 => self.chips[0].set_level_triggered(value, &[0, 1, 2]),
            0x4d1 => self.chips[1].set_level_triggered(value, &[0, 5]),
            _ => return false,
        }
        self.wire();
        true
    }
}
