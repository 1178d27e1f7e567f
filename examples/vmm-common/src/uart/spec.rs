//! Registers of the PL011 (Arm DDI 0183, chapter 3): offsets and layouts. No behaviour.

use bitfield_struct::bitfield;

/// Data register, §3.3.1.
pub const DR: u64 = 0x000;
/// Receive status and error clear, §3.3.2.
pub const RSR: u64 = 0x004;
/// [`Flags`], §3.3.3.
pub const FR: u64 = 0x018;
/// IrDA low-power counter, §3.3.4.
pub const ILPR: u64 = 0x020;
/// Integer baud rate, §3.3.5.
pub const IBRD: u64 = 0x024;
/// Fractional baud rate, §3.3.6.
pub const FBRD: u64 = 0x028;
/// [`LineControl`], §3.3.7.
pub const LCR_H: u64 = 0x02c;
/// Control, §3.3.8.
pub const CR: u64 = 0x030;
/// [`FifoLevel`], §3.3.9.
pub const IFLS: u64 = 0x034;
/// [`Interrupts`]: mask, §3.3.10.
pub const IMSC: u64 = 0x038;
/// [`Interrupts`]: raw status, §3.3.11.
pub const RIS: u64 = 0x03c;
/// [`Interrupts`]: masked status, §3.3.12.
pub const MIS: u64 = 0x040;
/// [`Interrupts`]: clear, §3.3.13.
pub const ICR: u64 = 0x044;
/// DMA control, §3.3.14.
pub const DMACR: u64 = 0x048;
/// First of the eight identification registers, one byte every four, §3.3.15 and §3.3.19.
pub const ID: u64 = 0xfe0;
/// Size of the register block in bytes.
pub const SIZE: u64 = 0x1000;

/// Peripheral and PrimeCell identification: part 0x011 by Arm, revision 1 (FIFOs of 16).
pub const IDENTIFICATION: [u8; 8] = [0x11, 0x10, 0x14, 0x00, 0x0d, 0xf0, 0x05, 0xb1];
/// Depth of the receive FIFO.
pub const FIFO_DEPTH: usize = 16;
/// Control at reset: transmitter and receiver enabled.
pub const CR_RESET: u16 = 0x300;

/// Flag register.
#[bitfield(u16)]
#[derive(PartialEq, Eq)]
pub struct Flags {
    /// Clear to send.
    pub clear_to_send: bool,
    /// Data set ready.
    pub data_set_ready: bool,
    /// Data carrier detected.
    pub carrier_detect: bool,
    /// Busy transmitting.
    pub busy: bool,
    /// The receive FIFO is empty.
    pub receive_empty: bool,
    /// The transmit FIFO is full.
    pub transmit_full: bool,
    /// The receive FIFO is full.
    pub receive_full: bool,
    /// The transmit FIFO is empty.
    pub transmit_empty: bool,
    /// Ring indicator.
    pub ring: bool,
    #[bits(7)]
    _reserved: u8,
}

/// Line control register.
#[bitfield(u8)]
#[derive(PartialEq, Eq)]
pub struct LineControl {
    /// Send a break.
    pub send_break: bool,
    /// Parity.
    pub parity: bool,
    /// Even parity.
    pub even: bool,
    /// Two stop bits.
    pub two_stop: bool,
    /// The FIFOs are enabled; else they hold one character.
    pub fifos: bool,
    /// Character length less five.
    #[bits(2)]
    pub length: u8,
    /// Stick parity.
    pub stick: bool,
}

/// FIFO level select register.
#[bitfield(u8)]
#[derive(PartialEq, Eq)]
pub struct FifoLevel {
    /// Transmit level.
    #[bits(3)]
    pub transmit: u8,
    /// Receive level: eighths 1, 2, 4, 6, 7.
    #[bits(3)]
    pub receive: u8,
    #[bits(2)]
    _reserved: u8,
}

/// Interrupts, in the layout of IMSC, RIS, MIS and ICR.
#[bitfield(u16)]
#[derive(PartialEq, Eq)]
pub struct Interrupts {
    /// Ring indicator, clear to send, carrier, data set ready: never.
    #[bits(4)]
    pub modem: u8,
    /// The receive FIFO has reached its level.
    pub receive: bool,
    /// The transmit FIFO has fallen to its level.
    pub transmit: bool,
    /// Something waits in the receive FIFO and nothing has come for a while.
    pub receive_timeout: bool,
    /// Framing, parity, break, overrun: never.
    #[bits(4)]
    pub errors: u8,
    #[bits(5)]
    _reserved: u8,
}
