//! Ports and words of the 8254 (Intel 231164), and of the port that its third counter is wired to on PCs.

use bitfield_struct::bitfield;

/// Ticks in a second: 105 MHz / 88.
pub const FREQUENCY: u64 = 1_193_182;

/// Port of the first counter; two more follow.
pub const COUNTER: u16 = 0x40;
/// Port of the control word.
pub const CONTROL: u16 = 0x43;
/// Port B of a PC: gate and output of the third counter.
pub const PORT_B: u16 = 0x61;

/// The control word. Counter 3 means a read-back command, whose layout is [`ReadBack`].
#[bitfield(u8, defmt = cfg(feature = "defmt"))]
#[derive(PartialEq, Eq)]
pub struct ControlWord {
    /// The counter counts decimal digits; ignored, it counts in binary.
    pub decimal: bool,
    /// The mode, 0 to 5; 6 and 7 are 2 and 3.
    #[bits(3)]
    pub mode: u8,
    /// Which bytes of the count are accessed: 1 the lower, 2 the upper, 3 both; 0 latches the count.
    #[bits(2)]
    pub access: u8,
    /// The counter.
    #[bits(2)]
    pub counter: u8,
}

/// The read-back command.
#[bitfield(u8, defmt = cfg(feature = "defmt"))]
#[derive(PartialEq, Eq)]
pub struct ReadBack {
    __: bool,
    /// The counters that it is for, one bit each.
    #[bits(3)]
    pub counters: u8,
    /// Clear: their status is latched.
    pub no_status: bool,
    /// Clear: their counts are.
    pub no_count: bool,
    #[bits(2)]
    __: u8,
}

/// The status of a counter.
#[bitfield(u8, defmt = cfg(feature = "defmt"))]
#[derive(PartialEq, Eq)]
pub struct CounterStatus {
    /// As in [`ControlWord`], the three of them.
    #[bits(6)]
    pub control: u8,
    /// No count has been written since the control word.
    pub no_count: bool,
    /// The output is high.
    pub output: bool,
}

/// Port B.
#[bitfield(u8, defmt = cfg(feature = "defmt"))]
#[derive(PartialEq, Eq)]
pub struct PortB {
    /// The gate of the third counter.
    pub gate: bool,
    /// Its output goes to the speaker.
    pub speaker: bool,
    #[bits(2)]
    __: u8,
    /// Read only: changes with each refresh of memory, every 15 µs.
    pub refresh: bool,
    /// Read only: the third counter's output.
    pub output: bool,
    #[bits(2)]
    __: u8,
}
