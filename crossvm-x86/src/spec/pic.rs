//! Command words of the 8259A (Intel 231468), and the edge/level registers that PCs have in addition.

use bitfield_struct::bitfield;

/// Command port of the master.
pub const MASTER_COMMAND: u16 = 0x20;
/// Data port of the master.
pub const MASTER_DATA: u16 = 0x21;
/// Command port of the slave.
pub const SLAVE_COMMAND: u16 = 0xa0;
/// Data port of the slave.
pub const SLAVE_DATA: u16 = 0xa1;
/// ELCR of the master: a bit is set where the input is level-triggered.
pub const MASTER_ELCR: u16 = 0x4d0;
/// ELCR of the slave.
pub const SLAVE_ELCR: u16 = 0x4d1;

/// Inputs of the master that may be level-triggered: not 0 (timer), 1 (keyboard) and 2 (the slave).
pub const MASTER_ELCR_WRITABLE: u8 = 0xf8;
/// Inputs of the slave that may be: not 8 (clock) and 13 (coprocessor).
pub const SLAVE_ELCR_WRITABLE: u8 = 0xde;

/// ICW1: written to the command port with bit 4 set.
#[bitfield(u8, defmt = cfg(feature = "defmt"))]
#[derive(PartialEq, Eq)]
pub struct Icw1 {
    /// An ICW4 follows.
    pub icw4: bool,
    /// There is no other 8259: no ICW3 follows.
    pub single: bool,
    /// Distance of the vectors on an MCS-80; ignored.
    pub interval: bool,
    /// All inputs level-triggered; the ELCR decides on a PC, so ignored.
    pub level: bool,
    /// Set: this is an ICW1.
    pub initialize: bool,
    /// Address bits of an MCS-80; ignored.
    #[bits(3)]
    pub address: u8,
}

/// ICW4.
#[bitfield(u8, defmt = cfg(feature = "defmt"))]
#[derive(PartialEq, Eq)]
pub struct Icw4 {
    /// The processor is an 8086, not an MCS-80; ignored.
    pub is_8086: bool,
    /// An interrupt ends when it is acknowledged.
    pub auto_eoi: bool,
    /// Buffered mode; ignored.
    #[bits(2)]
    pub buffered: u8,
    /// Special fully nested mode.
    pub fully_nested: bool,
    #[bits(3)]
    __: u8,
}

/// OCW2: written to the command port with bits 4 and 3 clear.
#[bitfield(u8, defmt = cfg(feature = "defmt"))]
#[derive(PartialEq, Eq)]
pub struct Ocw2 {
    /// The input that is meant, where `specific` is set.
    #[bits(3)]
    pub input: u8,
    #[bits(2)]
    __: u8,
    /// Ends an interrupt.
    pub eoi: bool,
    /// Of the input named, not of the highest in service.
    pub specific: bool,
    /// Rotates priorities.
    pub rotate: bool,
}

/// OCW3: written to the command port with bit 4 clear and bit 3 set.
#[bitfield(u8, defmt = cfg(feature = "defmt"))]
#[derive(PartialEq, Eq)]
pub struct Ocw3 {
    /// Of the register selected: in service, not requested.
    pub in_service: bool,
    /// Selects a register to read.
    pub select: bool,
    /// The next read acknowledges.
    pub poll: bool,
    /// Set: this is an OCW3.
    pub ocw3: bool,
    #[bits(1)]
    __: u8,
    /// Of special mask mode: on, not off.
    pub special_mask: bool,
    /// Switches special mask mode.
    pub switches_special_mask: bool,
    #[bits(1)]
    __: u8,
}

/// What a read gives in poll mode.
#[bitfield(u8, defmt = cfg(feature = "defmt"))]
#[derive(PartialEq, Eq)]
pub struct PollWord {
    /// The input of the highest priority that interrupts.
    #[bits(3)]
    pub input: u8,
    #[bits(4)]
    __: u8,
    /// There is one.
    pub interrupt: bool,
}
