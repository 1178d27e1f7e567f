//! One 8259A: requests, priorities, and the command words.

use crossvm_core::Level;

use crate::spec::pic::{Icw1, Icw4, Ocw2, Ocw3, PollWord};

/// An input, 0 to 7.
pub(super) type Input = u8;

/// The input of the default interrupt, of which no request is left (8259A, "Interrupt Sequence").
pub(super) const SPURIOUS: Input = 7;

/// What the next write to the data port is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
enum Expects {
    /// OCW1: the mask.
    Mask,
    Icw2,
    Icw3,
    Icw4,
}

/// An 8259A.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub(super) struct Chip {
    /// Inputs that are high.
    lines: u8,
    /// Edges that have come and wait for their acknowledge.
    edges: u8,
    in_service: u8,
    mask: u8,
    /// ELCR: inputs that are levels.
    levels: u8,
    /// The bits of it that the guest can set.
    levels_writable: u8,
    /// Upper five bits of the vectors.
    base: u8,
    /// The input of the lowest priority. The highest is the one after it.
    lowest: Input,
    expects: Expects,
    icw1: Icw1,
    icw4: Icw4,
    special_mask: bool,
    rotates_on_auto_eoi: bool,
    /// The command port reads the inputs in service, not those requested.
    reads_in_service: bool,
    polls: bool,
    /// Input of another 8259A, which has a chip of its own behind it.
    cascade: Option<Input>,
}

const fn bit(input: Input) -> u8 {
    1 << (input & 7)
}

impl Chip {
    pub(super) const fn new(levels_writable: u8, cascade: Option<Input>) -> Self {
        Self {
            lines: 0,
            edges: 0,
            in_service: 0,
            mask: 0,
            levels: 0,
            levels_writable,
            base: 0,
            lowest: 7,
            expects: Expects::Mask,
            icw1: Icw1::new(),
            icw4: Icw4::new(),
            special_mask: false,
            rotates_on_auto_eoi: false,
            reads_in_service: false,
            polls: false,
            cascade,
        }
    }

    /// Back to power-on, with the lines as they are.
    pub(super) const fn reset(&mut self) {
        *self = Self { lines: self.lines, ..Self::new(self.levels_writable, self.cascade) };
    }

    pub(super) const fn set_line(&mut self, input: Input, level: Level) {
        let bit = bit(input);
        if level.is_high() {
            self.edges |= bit & !self.lines & !self.level_triggered();
            self.lines |= bit;
        } else {
            // An input must stay active until it is acknowledged.
            self.lines &= !bit;
            self.edges &= !bit;
        }
    }

    /// An edge that stays until it is acknowledged.
    pub(super) const fn pulse(&mut self, input: Input) {
        self.edges |= bit(input) & !self.level_triggered();
    }

    /// Inputs that are levels. The one of the other chip is: its output is one wire, and nothing of it may be lost.
    const fn level_triggered(&self) -> u8 {
        match self.cascade {
            Some(input) => self.levels | bit(input),
            None => self.levels,
        }
    }

    /// IRR.
    const fn requests(&self) -> u8 {
        let levels = self.level_triggered();
        self.lines & levels | self.edges & !levels
    }

    /// The input of `set` that has the highest priority, and how many priorities are above it.
    fn highest(&self, set: u8) -> Option<(u32, Input)> {
        let first = self.lowest.wrapping_add(1) & 7;
        let rank = set.rotate_right(u32::from(first)).trailing_zeros();
        let input = u8::try_from(rank).ok().filter(|rank| *rank < 8)?.wrapping_add(first) & 7;
        Some((rank, input))
    }

    /// The input that interrupts now.
    pub(super) fn interrupts(&self) -> Option<Input> {
        let (rank, input) = self.highest(self.requests() & !self.mask)?;
        // In special mask mode, a masked input in service holds nothing back.
        let holding = if self.special_mask { self.in_service & !self.mask } else { self.in_service };
        match self.highest(holding) {
            None => Some(input),
            Some((in_service, _)) if rank < in_service => Some(input),
            // In special fully nested mode the other chip may interrupt its own interrupt.
            Some((in_service, _)) if rank == in_service && self.icw4.fully_nested() && self.cascade == Some(input) => Some(input),
            Some(_) => None,
        }
    }

    /// The processor acknowledges `input`.
    pub(super) fn acknowledge(&mut self, input: Input) {
        self.edges &= !bit(input);
        self.in_service |= bit(input);
        if self.icw4.auto_eoi() {
            self.end(input, self.rotates_on_auto_eoi);
        }
    }

    const fn end(&mut self, input: Input, rotate: bool) {
        self.in_service &= !bit(input);
        if rotate {
            self.lowest = input & 7;
        }
    }

    pub(super) const fn vector(&self, input: Input) -> u8 {
        self.base | input & 7
    }

    /// A read of the command port, or in poll mode of any.
    pub(super) fn read_command(&mut self) -> u8 {
        if self.polls {
            return self.poll();
        }
        if self.reads_in_service { self.in_service } else { self.requests() }
    }

    pub(super) fn read_data(&mut self) -> u8 {
        if self.polls { self.poll() } else { self.mask }
    }

    /// A read that acknowledges instead of the processor. Where nothing interrupts, the default input, without the flag.
    fn poll(&mut self) -> u8 {
        self.polls = false;
        let Some(input) = self.interrupts() else { return PollWord::new().with_input(SPURIOUS).into_bits() };
        self.acknowledge(input);
        PollWord::new().with_interrupt(true).with_input(input).into_bits()
    }

    pub(super) fn write_command(&mut self, value: u8) {
        if Icw1::from_bits(value).initialize() {
            self.initialize(Icw1::from_bits(value));
        } else if Ocw3::from_bits(value).ocw3() {
            self.write_ocw3(Ocw3::from_bits(value));
        } else {
            self.write_ocw2(Ocw2::from_bits(value));
        }
    }

    /// ICW1 forgets all but the ELCR, the vectors and, where an ICW4 follows, what the last one said. Edges must come again.
    const fn initialize(&mut self, icw1: Icw1) {
        let icw4 = if icw1.icw4() { self.icw4 } else { Icw4::new() };
        let fresh = Self::new(self.levels_writable, self.cascade);
        *self = Self { lines: self.lines, levels: self.levels, base: self.base, expects: Expects::Icw2, icw1, icw4, ..fresh };
    }

    const fn write_ocw3(&mut self, ocw3: Ocw3) {
        if ocw3.switches_special_mask() {
            self.special_mask = ocw3.special_mask();
        }
        self.polls = ocw3.poll();
        if ocw3.select() {
            self.reads_in_service = ocw3.in_service();
        }
    }

    fn write_ocw2(&mut self, ocw2: Ocw2) {
        match (ocw2.eoi(), ocw2.specific(), ocw2.rotate()) {
            (true, true, rotate) => self.end(ocw2.input(), rotate),
            (true, false, rotate) => {
                let ended = if self.special_mask { self.in_service & !self.mask } else { self.in_service };
                if let Some((_, input)) = self.highest(ended) {
                    self.end(input, rotate);
                }
            }
            (false, false, rotate) => self.rotates_on_auto_eoi = rotate,
            (false, true, true) => self.lowest = ocw2.input(),
            // No operation.
            (false, true, false) => {}
        }
    }

    pub(super) const fn write_data(&mut self, value: u8) {
        let after_icw3 = if self.icw1.icw4() { Expects::Icw4 } else { Expects::Mask };
        self.expects = match self.expects {
            Expects::Mask => {
                self.mask = value;
                Expects::Mask
            }
            Expects::Icw2 => {
                self.base = value & 0xf8;
                if self.icw1.single() { after_icw3 } else { Expects::Icw3 }
            }
            // The chips are wired as on every PC, whatever it says.
            Expects::Icw3 => after_icw3,
            Expects::Icw4 => {
                self.icw4 = Icw4::from_bits(value);
                Expects::Mask
            }
        };
    }

    pub(super) const fn levels(&self) -> u8 {
        self.levels
    }

    /// The guest writes the ELCR. An input that becomes a level forgets its edge; one that becomes an edge waits for one.
    pub(super) const fn set_levels(&mut self, value: u8) {
        self.levels = value & self.levels_writable;
        self.edges &= !self.levels;
    }
}
